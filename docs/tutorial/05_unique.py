"""# Once is enough

A **unique key** belongs to one job at a time. While a job holds it, waiting or running, another one with the same
payload *is* that job: both callers get the same id. `Unique` says otherwise:

- `throttle`: for a period, every further call is the first one;
- `debounce`: the job runs when nobody has called for a period, with the newest data;
- `keep_last`: while one runs, a single follow-up is kept, with the newest data.
"""

import asyncio
import os

from dhanam_jobs.engine import Engine, JobContext, Registry, Unique, Worker

registry = Registry()


@registry.job("index", queue="tutorial-search")
async def index(ctx: JobContext, payload: dict[str, int]) -> int:
    return payload["version"]


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("tutorial-search")
        first = await queue.enqueue("index", {"version": 1}, unique="page-7")
        second = await queue.enqueue("index", {"version": 1}, unique="page-7")
        print("the same job:", first.id == second.id, "- created:", second.created)

        typing = Unique("page-8", "debounce", period=0.3)
        for version in (1, 2, 3):
            edit = await queue.enqueue("index", {"version": version}, unique=typing)

        async with Worker(queue):
            print("indexed version", await first.result(timeout=10))
            print("indexed version", await edit.result(timeout=10))


asyncio.run(main())
