"""Proves that what is kept of ended jobs is exactly what retention says, and that counters count for life."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import Discard, Engine, JobContext, Queue, Registry, Retention, Worker


async def run(engine: Engine, registry: Registry, retention: Retention | None, well: int, ill: int) -> Queue:
    """Runs so many jobs that complete and that fail, and returns the queue at rest."""
    registry.queue("kept", concurrency=20, retention=retention)

    @registry.job("end", queue="kept")
    async def end(ctx: JobContext, payload: bool) -> None:
        if not payload:
            raise Discard("no")

    queue = engine.queue("kept")
    jobs = await queue.enqueue_many([("end", True)] * well + [("end", False)] * ill)
    async with Worker(queue):
        await (await queue.enqueue("end", True)).result(timeout=20)
    assert len(jobs) == well + ill
    return queue


@pytest.mark.parametrize(
    ("retention", "completed", "failed"),
    [
        (None, 100, 50),
        (Retention(completed=7, failed=3), 7, 3),
        (Retention(completed=0, failed=0), 0, 0),
        (Retention(completed=None, failed=None), 151, 80),
    ],
)
async def test_the_newest_are_kept_and_all_are_counted(
    engine: Engine, registry: Registry, retention: Retention | None, completed: int, failed: int
) -> None:
    """100 and 50 by default; 0 keeps none, None all."""
    queue = await run(engine, registry, retention, 150, 80)
    counts = await queue.counts()
    assert (counts.completed, counts.failed, counts.added) == (151, 80, 231)
    assert (counts.retained_completed, counts.retained_failed) == (completed, failed)
    assert (counts.waiting, counts.active, counts.delayed) == (0, 0, 0)


async def test_an_evicted_job_is_not_found_and_the_last_one_is(engine: Engine, registry: Registry) -> None:
    """Eviction takes the record, not the list's entry alone."""
    registry.queue("kept", concurrency=1, retention=Retention(completed=2))

    @registry.job("end", queue="kept")
    async def end(ctx: JobContext, payload: int) -> int:
        return payload

    queue = engine.queue("kept")
    jobs = await queue.enqueue_many([("end", n) for n in range(4)])
    async with Worker(queue):
        assert await jobs[-1].result(timeout=10) == 3
    found = [await queue.get(job.id) for job in jobs]
    assert [one is not None for one in found] == [False, False, True, True]


async def test_the_specifications_stats_show_lifetime_counts_in_its_order(engine: Engine, registry: Registry) -> None:
    """`completed` goes beyond what is kept."""
    queue = await run(engine, registry, Retention(completed=1, failed=1), 4, 2)
    stats = await queue.stats()
    assert stats.__struct_fields__ == ("name", "waiting", "active", "completed", "failed", "delayed")
    assert (stats.completed, stats.failed) == (5, 2)
    assert await engine.stats() == [stats]
