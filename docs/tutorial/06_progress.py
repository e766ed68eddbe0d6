"""# How far it is, and how to stop it

A handler tells its progress, a number or anything that JSON can hold, and logs lines that are kept with the job.
Anybody may read them while it runs, and cancel it, from any process and with a reason. A coroutine gets
`asyncio.CancelledError` at its next `await`; a plain `def` runs in a thread and looks at `ctx.interrupted`; a handler
with `process=True` has a process of its own, which is killed.
"""

import asyncio
import os

from dhanam_jobs.engine import Engine, JobContext, JobFailed, Registry, Worker

registry = Registry()
halfway = asyncio.Event()


@registry.job("export", queue="tutorial-export")
async def export(ctx: JobContext, payload: int) -> None:
    for row in range(1, payload + 1):
        ctx.log(f"row {row}")
        await ctx.progress({"done": row, "of": payload})
        if row == payload // 2:
            halfway.set()
            await asyncio.sleep(3600)


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("tutorial-export")
        async with Worker(queue):
            job = await queue.enqueue("export", 4)
            await halfway.wait()
            notes = await queue.notes(job.id)
            print("progress:", notes.progress)
            print("log:", [line.text for line in notes.lines])

            await queue.cancel(job.id, reason="nobody needs it")
            try:
                await job.result(timeout=10)
            except JobFailed as ended:
                print(f"{ended.state}: {ended.reason}")


asyncio.run(main())
