"""# Fair to everybody

A **limit** holds for a queue or for a key (a tenant, a user, a provider): so many jobs at once, or so many starts in
a period, over all processes. It can be changed while everything runs. Keys take turns: the tenant with a thousand
jobs does not keep the one with a single job waiting.

`Limited(seconds)` is what a handler raises when a provider says "slow down": its key rests, its job goes back to the
front without losing an attempt, and other keys go on.
"""

import asyncio
import os

import msgspec

from dhanam_jobs.engine import Engine, JobContext, Limit, Registry, Worker

registry = Registry()
registry.queue("tutorial-sync", concurrency=1, key_limit=Limit(concurrency=2))
order: list[str] = []


class Sync(msgspec.Struct):
    tenant: str
    page: int


@registry.job("sync", queue="tutorial-sync", key="tenant")
async def sync(ctx: JobContext, payload: Sync) -> None:
    order.append(f"{payload.tenant} {payload.page}")


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("tutorial-sync")
        await queue.enqueue_many([Sync("big", page) for page in range(1, 5)])
        late = await queue.enqueue_many([Sync("small", 1), Sync("tiny", 1)])
        print("big has", (await queue.limits.of_key("big")).waiting, "jobs waiting")

        await queue.limits.set_queue(Limit(starts=100, period=1))
        async with Worker(queue):
            for job in late:
                await job.result(timeout=10)
        print(", ".join(order[:3]))
        await queue.limits.set_queue(None)
        await queue.operations.clear(force=True)


asyncio.run(main())
