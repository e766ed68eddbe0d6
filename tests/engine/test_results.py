"""Proves what waiting for a result brings, and that nobody waits for nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import (
    Discard,
    Engine,
    JobContext,
    JobFailed,
    JobNotFound,
    Queue,
    Registry,
    ResultTimeout,
    Retention,
    Worker,
)
from tests.engine.conftest import Keys

if TYPE_CHECKING:
    from tests.conftest import WaitUntil


@pytest.fixture
def queue(engine: Engine, registry: Registry) -> Queue:
    """A queue that keeps no record."""
    registry.queue("answers", concurrency=5, retention=Retention(completed=0, failed=0))

    @registry.job("answer", queue="answers")
    async def answer(ctx: JobContext, payload: Any) -> Any:
        if payload == "ill":
            raise Discard("no")
        return payload

    return engine.queue("answers")


async def test_a_result_that_is_waited_for_outlives_retention(queue: Queue, wait_until: WaitUntil, keys: Keys) -> None:
    """Every waiter gets it, though the record is gone at once; the next one too, for a while."""
    job = await queue.enqueue("answer", {"a": [1, None]})
    waiters = [asyncio.create_task(job.result(timeout=20)) for _ in range(3)]
    await wait_until(lambda: keys.command("ZCARD", f"{queue.root}:waited"), "somebody waits")
    async with Worker(queue):
        assert await asyncio.gather(*waiters) == [{"a": [1, None]}] * 3
    assert (await queue.counts()).retained_completed == 0
    assert await job.result(timeout=5) == {"a": [1, None]}
    assert 0 < await keys.command("PTTL", f"{queue.root}:result:{job.id}") <= 600_000


async def test_a_failure_that_is_waited_for_is_told_with_its_reason(
    queue: Queue, wait_until: WaitUntil, keys: Keys
) -> None:
    """JobFailed says id, state, type and reason."""
    job = await queue.enqueue("answer", "ill")
    waiter = asyncio.create_task(job.result(timeout=20))
    await wait_until(lambda: keys.command("ZCARD", f"{queue.root}:waited"), "somebody waits")
    async with Worker(queue):
        with pytest.raises(JobFailed) as failed:
            await waiter
    error = failed.value
    assert (error.job_id, error.state, error.error_type, error.reason) == (job.id, "failed", "Discard", "no")


async def test_a_job_that_ended_before_anybody_waited_and_was_evicted_is_not_found(
    queue: Queue, wait_until: WaitUntil
) -> None:
    """So is one that never was."""
    job = await queue.enqueue("answer", 1)
    async with Worker(queue):

        async def ended() -> bool:
            return (await queue.stats()).completed == 1

        await wait_until(ended, "the job has ended")
    with pytest.raises(JobNotFound, match=f"job {job.id} is not on queue 'answers'"):
        await job.result(timeout=5)


async def test_waiting_ends_at_its_limit_and_the_job_goes_on(queue: Queue) -> None:
    """A second wait gets the result."""
    job = await queue.enqueue("answer", 5)
    with pytest.raises(ResultTimeout, match="had not ended after 0 s"):
        await job.result(timeout=0)
    with pytest.raises(TimeoutError):
        await job.result(timeout=0.01)
    waiter = asyncio.create_task(job.result(timeout=20))
    async with Worker(queue):
        assert await waiter == 5


async def test_many_results_of_one_queue_come_over_one_reader(queue: Queue, keys: Keys) -> None:
    """A hundred waiters, one connection."""
    jobs = await queue.enqueue_many([("answer", n) for n in range(100)])
    waiters = [asyncio.create_task(job.result(timeout=20)) for job in jobs]
    async with Worker(queue):
        assert await asyncio.gather(*waiters) == list(range(100))
    names = [client["name"] for client in await keys.client.client_list()]
    assert sum(name.endswith(":results") for name in names) <= 1


async def test_a_waiter_that_is_cancelled_leaves_the_others_waiting(queue: Queue, engine: Engine) -> None:
    """Its wait is its own."""
    job = await queue.enqueue("answer", 1)
    first, second = (asyncio.create_task(job.result(timeout=20)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    async with Worker(queue):
        assert await second == 1
    assert first.cancelled()
