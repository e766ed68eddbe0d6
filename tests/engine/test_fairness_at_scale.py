"""Proves that turns between tenants, and what parents are told, hold with many thousands of jobs."""

from __future__ import annotations

from collections import Counter

import pytest

from dhanam_jobs.engine import Child, Engine, JobContext, Registry, Retention, Worker, inspect_queue, scripts
from dhanam_jobs.engine.queue import Queue
from tests.engine.lua.ground import claims_of

BACKLOG = 100_000
TENANTS = 100


async def fill(queue: Queue, tenant: str, count: int) -> None:
    """That many waiting jobs of one tenant."""
    for first in range(0, count, 10_000):
        await queue.enqueue_many((("page", number) for number in range(first, min(count, first + 10_000))), key=tenant)


class Claims:
    """A worker that claims by hand, a call at a time."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._calls = 0

    async def take(self, want: int) -> list[str]:
        """The tenants of the jobs that are handed out, in order."""
        if not self._calls:
            await self._queue.engine.run(scripts.REGISTER, self._queue.root, "ana", "{}")
        self._calls += 1
        reply = await self._queue.engine.run(scripts.CLAIM, self._queue.root, "ana", self._calls, want, 0, "")
        return [fields["key"] for _, _, fields in claims_of(reply)]


@pytest.mark.long
async def test_a_tenant_s_single_job_is_among_the_next_two_starts_behind_a_hundred_thousand_of_another(
    engine: Engine,
) -> None:
    """Also one more after it has had its turn."""
    queue = engine.queue("pages")
    claims = Claims(queue)
    await fill(queue, "big", BACKLOG)
    assert await claims.take(5) == ["big"] * 5
    for _ in range(3):
        await queue.enqueue("page", 0, key="small")
        assert sorted(await claims.take(2)) == ["big", "small"]
    assert (await queue.counts()).waiting == BACKLOG - 8


@pytest.mark.long
async def test_a_hundred_tenants_of_unequal_backlog_get_equal_shares(engine: Engine) -> None:
    """Exactly the same, as long as each has a job left; in trips of any size."""
    queue = engine.queue("pages")
    claims = Claims(queue)
    for tenant in range(TENANTS):
        await fill(queue, f"t{tenant}", 200 + tenant * 16)
    shares: Counter[str] = Counter()
    for want in (1, 7, 92, 100, 250, 1_000, 550, *[1_000] * 18):
        shares.update(await claims.take(want))
        assert max(shares.values()) - min(shares[f"t{tenant}"] for tenant in range(TENANTS)) <= 1
    assert set(shares.values()) == {200}


@pytest.mark.long
async def test_of_a_thousand_children_on_a_queue_that_keeps_a_hundred_records_none_is_missing(
    engine: Engine, registry: Registry
) -> None:
    """Their parent adds their results up, and nothing is left of the family."""
    registry.queue("up")
    registry.queue("down", concurrency=50, retention=Retention(completed=100))

    @registry.job("page", queue="down")
    async def page(ctx: JobContext, payload: int) -> int:
        return payload

    @registry.job("sum", queue="up")
    async def add_up(ctx: JobContext, payload: int) -> list[int]:
        await ctx.add_children(Child(f"n{n}", "page", n, queue="down") for n in range(payload))
        return [end.result for end in await ctx.wait_children()]

    up, down = engine.queue("up"), engine.queue("down")
    async with Worker(up), Worker(down):
        job = await up.enqueue("sum", 1_000)
        assert await job.result(120) == list(range(1_000))
        counts = await down.counts()
        assert (counts.completed, counts.added) == (1_000, 1_000)
    assert await inspect_queue(up) == await inspect_queue(down) == []
