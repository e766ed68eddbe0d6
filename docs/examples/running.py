"""Jobs that tell how far they are, that compute in a process, that are cancelled; and what stands around them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dhanam_jobs.engine import (
    Engine,
    JobContext,
    JobFailed,
    Middleware,
    ProcessContext,
    Record,
    Registry,
    RetryPolicy,
    Worker,
)

registry = Registry()


class Journal(Middleware):
    """Prints which jobs ran, and which failed for good."""

    async def run(self, ctx: JobContext, payload: Any, proceed: Any) -> Any:
        """Around every handler."""
        try:
            return await proceed(ctx, payload)
        finally:
            print(f"ran {ctx.job.name}")

    async def failed(self, ctx: JobContext, record: Record) -> None:
        """Once a failure is final."""
        assert record.error is not None
        print(f"{record.name} failed: {record.error.message}")


registry.use(Journal())


@asynccontextmanager
async def open_letters() -> AsyncIterator[list[str]]:
    """What handlers share: opened before the first job, closed after the last."""
    letters: list[str] = []
    yield letters
    print(f"closed with {len(letters)} letters")


@registry.job("write", queue="office")
async def write(ctx: JobContext, payload: list[str]) -> int:
    """Tells how far it is."""
    for number, name in enumerate(payload, 1):
        ctx.resources.append(f"Dear {name}")
        ctx.log(f"wrote to {name}")
        await ctx.progress({"done": number, "of": len(payload)})
    return len(payload)


@registry.job("count-primes", queue="office", process=True, timeout=60)
def count_primes(ctx: ProcessContext, payload: int) -> int:
    """Keeps a processor busy, and nobody waiting."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, payload))


@registry.job("wait", queue="office", retry=RetryPolicy(attempts=1))
async def wait(ctx: JobContext, payload: None) -> None:
    """Waits until somebody has enough of it."""
    await asyncio.Event().wait()


@registry.job("break", queue="office", retry=RetryPolicy(attempts=1))
async def break_(ctx: JobContext, payload: str) -> None:
    """Fails."""
    raise ValueError(payload)


async def main(url: str) -> None:
    """Runs one of each."""
    async with Engine.connect(url, prefix="example-running", registry=registry) as engine:
        queue = engine.queue("office")
        async with Worker(queue, resources=open_letters, concurrency=2) as worker:
            job = await queue.enqueue("write", ["Ana", "Ben"])
            await job.result(10)
            notes = await queue.notes(job.id)
            print(notes.progress, [line.text for line in notes.lines])

            print(await (await queue.enqueue("count-primes", 1000)).result(60))

            job = await queue.enqueue("wait")
            print(await queue.cancel(job.id, reason="the office closes"))
            try:
                await job.result(10)
            except JobFailed as failed:
                print(failed.state, failed.reason)

            worker.set_concurrency(1)
            job = await queue.enqueue("break", "no paper")
            try:
                await job.result(10)
            except JobFailed as failed:
                print(failed.state, failed.reason)
        await queue.operations.obliterate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"))
