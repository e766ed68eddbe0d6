"""A queue after a bad night: look at what failed, mend it, run it again, and clear the rest away."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import msgspec

from dhanam_jobs.engine import Engine, JobContext, JobFailed, JobFilter, Registry, RetryPolicy, Worker

registry = Registry()
registry.queue("post", retry=RetryPolicy(attempts=1))


class Letter(msgspec.Struct):
    """The payload: where a letter goes."""

    to: str


@registry.job("send-letter", queue="post")
async def send(ctx: JobContext, payload: Letter) -> str:
    """Sends what has an address."""
    if "@" not in payload.to:
        raise ValueError(f"no address: {payload.to}")
    return f"sent to {payload.to}"


async def main(url: str) -> None:
    """Prints what an operator sees."""
    async with Engine.connect(url, prefix="example-operators", registry=registry) as engine:
        queue = engine.queue("post")
        operations = queue.operations
        jobs = await queue.enqueue_many([Letter("ana@example.org"), Letter("ben"), Letter("eva@example.org")])
        later = await queue.enqueue(Letter("zoe@example.org"), delay=3600)

        print((await operations.explain(jobs[1].id)).reasons[0].text)
        async with Worker(queue):
            await jobs[2].result(10)
            with contextlib.suppress(JobFailed):
                await jobs[1].result(10)

            page = await operations.page("failed", where=JobFilter(text="no address"))
            print(f"{len(page.jobs)} failed, searched {page.searched} of {page.total}: {page.jobs[0].error.message}")  # type: ignore[union-attr]
            await operations.retry(jobs[1].id, payload=Letter("ben@example.org"))
            print(await jobs[1].result(10))

            await operations.promote(later.id)
            print(await later.result(10))
        print(f"{await operations.clear()} jobs and records removed")
        await operations.obliterate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"))
