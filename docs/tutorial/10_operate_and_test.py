"""# Operate it, and test it

Operators look, and mend: counts, why a job waits, what failed and with which error; a failed job is run again, with a
payload that was put right. Every verb is there on the command line too.

For tests there is a clock that the test moves, and `run_waiting`, which runs what a queue holds in the test's own
task, on a real server: a retry after an hour takes no time. There is a pytest plugin that brings the server.
"""

import asyncio
import os

from dhanam_jobs.engine import Engine, JobContext, JobFilter, Registry, RetryPolicy
from dhanam_jobs.engine.testing import ManualClock, run_waiting

registry = Registry()


@registry.job("letter", queue="tutorial-post", retry=RetryPolicy(attempts=2, base=3600))
async def letter(ctx: JobContext, payload: str) -> str:
    if "@" not in payload:
        raise ValueError(f"no address: {payload}")
    return f"sent to {payload}"


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    clock = ManualClock()
    async with Engine.connect(url, registry=registry, clock=clock) as engine:
        queue = engine.queue("tutorial-post")
        job = await queue.enqueue("letter", "ben")
        print("it waits:", (await queue.operations.explain(job.id)).reasons[0].code)

        before = clock.now
        for ran in await run_waiting(engine, through_delays=True):
            print(f"attempt {ran.attempt}: {ran.outcome}, {ran.reason}")
        print("it took", clock.now - before)

        page = await queue.operations.page("failed", where=JobFilter(text="no address"))
        print("failed:", len(page.jobs))
        await queue.operations.retry(job.id, payload="ben@example.org")
        print((await run_waiting(engine))[0].result)
        await queue.operations.obliterate()


asyncio.run(main())
