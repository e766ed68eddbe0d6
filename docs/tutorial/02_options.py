"""# Options

A job may ask for something: a priority from 0 (most urgent) to 9, an id of its own, a time limit, metadata. What the
call asks for goes before what the job's name asks for, and that before its queue.

`enqueue_many` stores a whole list in one trip, in order. An id makes enqueueing safe to repeat: a job of that id that
exists is handed back, and `created` says so. Payloads are checked where they are enqueued, not when the job fails at
night.
"""

import asyncio
import os

import msgspec

from dhanam_jobs.engine import Engine, InvalidPayload, JobContext, JobRequest, Registry, Worker

registry = Registry()
registry.queue("tutorial-mail", concurrency=1, priority=7)


class Mail(msgspec.Struct):
    to: str


@registry.job("send", queue="tutorial-mail", timeout=30)
async def send(ctx: JobContext, payload: Mail) -> None:
    print("to", payload.to, "with priority", ctx.job.priority)


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("tutorial-mail")
        jobs = await queue.enqueue_many(
            [
                Mail("the archive"),
                JobRequest(Mail("the customer"), id="order-7", priority=2),
                JobRequest(Mail("the fire brigade"), priority=0, meta={"why": "smoke"}),
            ]
        )
        again = await queue.enqueue(Mail("the customer"), id="order-7")
        print("a new job:", again.created)
        try:
            await queue.enqueue("send", {"too": "nobody"})
        except InvalidPayload as error:
            print("refused:", error)

        async with Worker(queue):
            for job in jobs:
                await job.result(timeout=10)
        await queue.operations.remove("order-7")


asyncio.run(main())
