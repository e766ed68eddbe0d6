"""One provider that allows three calls at once, tenants that take turns, and a connection that asks for a rest."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from dhanam_jobs.engine import Engine, JobContext, Limit, Limited, Registry, Worker

registry = Registry()
registry.queue("sync", limit=Limit(concurrency=3), key_limit=Limit(concurrency=1))


class Sync(msgspec.Struct):
    """One page of one tenant's data."""

    tenant: str
    page: int


order: list[str] = []
asked_for_a_rest = False


@registry.job("sync", queue="sync", key="tenant")
async def sync(ctx: JobContext, payload: Sync) -> None:
    """Notes who ran; the provider sends `small` away once."""
    global asked_for_a_rest
    if payload.tenant == "small" and not asked_for_a_rest:
        asked_for_a_rest = True
        raise Limited(0.2)
    order.append(payload.tenant)


async def main(url: str) -> None:
    """Enqueues 50 pages of one tenant, then one page each of two others, and reads what limits them."""
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("sync")
        await queue.enqueue_many([Sync("big", page) for page in range(50)])
        late = await queue.enqueue_many([Sync("quick", 0), Sync("small", 0)])
        print((await queue.limits.of_key("big")).waiting, "pages of big wait")

        await queue.limits.set_key("big", Limit(concurrency=2))
        async with Worker(queue, concurrency=10):
            await asyncio.gather(*(job.result(timeout=10) for job in late))
            print("quick was among the first three:", "quick" in order[:3])
            print("small ran on attempt", (await queue.get(late[1].id) or sys.exit(1)).attempt)
        print("its limit was", await queue.limits.set_key("big", None))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"))
