"""# Retries

A handler that raises is run again, by its `RetryPolicy`: three attempts by default, after 5 and 10 seconds; here
after a tenth and a fifth of one. `Discard` fails at once, `RetryLater(seconds)` says when to try again, and
`Snooze(seconds)` costs no attempt.

Every attempt leaves a line of history. When they are spent the job is *failed*: its record keeps the error with its
traceback, and `result()` raises `JobFailed`.
"""

import asyncio
import os

from dhanam_jobs.engine import Discard, Engine, JobContext, JobFailed, Registry, RetryPolicy, Worker

registry = Registry()
registry.queue("tutorial-bank", retry=RetryPolicy(attempts=3, base=0.1))


@registry.job("balance", queue="tutorial-bank")
async def balance(ctx: JobContext, payload: str) -> int:
    if payload == "closed":
        raise Discard("this account was closed")
    if ctx.attempt < 3:
        raise ConnectionError(f"the bank is away ({ctx.attempt})")
    return 42


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("tutorial-bank")
        async with Worker(queue):
            job = await queue.enqueue("balance", "giro")
            print("balance:", await job.result(timeout=10))
            info = await job.info()
            assert info is not None  # as long as its record is kept
            for error in info.errors:
                print(f"attempt {error.attempt}: {error.type}: {error.message}")

            job = await queue.enqueue("balance", "closed")
            try:
                await job.result(timeout=10)
            except JobFailed as failed:
                print("failed:", failed.error_type, "-", failed.reason)


asyncio.run(main())
