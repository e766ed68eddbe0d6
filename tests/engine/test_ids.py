"""Proves that an id names one job for its whole life, and which ids a caller may choose."""

from __future__ import annotations

from typing import Any

import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Discard,
    Engine,
    JobContext,
    JobInfo,
    JobState,
    Queue,
    Registry,
    RetryLater,
    Worker,
)
from dhanam_jobs.engine.keys import check_custom_id
from tests.engine.conftest import Hands


@pytest.fixture
def queue(engine: Engine, registry: Registry) -> Queue:
    """A queue whose handler fails first, where the payload says so."""
    registry.queue("ids", concurrency=1)

    @registry.job("act", queue="ids")
    async def act(ctx: JobContext, payload: Any) -> Any:
        if payload == "retry" and ctx.attempt == 1:
            raise RetryLater(60)
        if payload == "fail":
            raise Discard("no")
        return payload

    return engine.queue("ids")


async def found(queue: Queue, job_id: str, state: JobState) -> JobInfo:
    """The job of that id, which must be in that state."""
    info = await queue.get(job_id)
    assert info is not None
    assert (info.id, info.state, info.queue) == (job_id, state, "ids")
    return info


@pytest.mark.parametrize("chosen", [None, "mine:2024/é"])
async def test_the_id_stays_through_delay_claim_reclaim_retry_and_end(
    queue: Queue, hands: Hands, chosen: str | None
) -> None:
    """A generated one and a chosen one alike; in every state `get` finds the job, with its creation time unchanged."""
    job = await queue.enqueue("act", "retry", id=chosen, delay=5, priority=3)
    info = await found(queue, job.id, JobState.DELAYED)
    assert (info.due_ms, info.priority, info.created_ms) == (hands.now + 5000, 3, hands.now)
    born = info.created_ms
    await hands.advance(queue, 5)
    await hands.claim(queue)
    assert (await found(queue, job.id, JobState.ACTIVE)).worker == "ghost"
    await hands.die(queue)
    assert (await found(queue, job.id, JobState.WAITING)).stalls == 1
    async with Worker(queue):
        first = await queue.enqueue("act", "well")
        assert await first.result(timeout=10) == "well"
        assert (await found(queue, job.id, JobState.DELAYED)).attempt == 1
        await hands.advance(queue, 60)
        assert await job.result(timeout=10) == "retry"
    info = await found(queue, job.id, JobState.COMPLETED)
    assert (info.created_ms, info.attempt, info.stalls, info.priority) == (born, 2, 1, 3)


async def test_failed_and_blocked_jobs_are_found_too(queue: Queue) -> None:
    """By their ids, with what they wait for or why they failed."""
    owner = await queue.enqueue("act", "fail", unique="k")
    blocked = await queue.enqueue("act", "well", unique="k")
    assert (await found(queue, blocked.id, JobState.BLOCKED)).unique == "k"
    async with Worker(queue):
        assert await blocked.result(timeout=10) == "well"
    info = await found(queue, owner.id, JobState.FAILED)
    assert info.error is not None
    assert info.error.message == "no"


async def test_generated_ids_are_unique_over_the_levels(queue: Queue) -> None:
    """Though two levels may use the same entry id in one millisecond."""
    jobs = [await queue.enqueue("act", n, priority=n % 10) for n in range(100)]
    assert len({job.id for job in jobs}) == 100
    for job in jobs[::17]:
        await found(queue, job.id, JobState.WAITING)


async def test_an_id_that_was_never_used_is_not_found(queue: Queue) -> None:
    """Nor one that looks like a generated one."""
    await queue.enqueue("act", 1)
    assert [await queue.get(one) for one in ("nobody", "5-1-1", "9-1-1", "5-1-s1")] == [None] * 4


async def test_enqueueing_a_known_id_returns_the_existing_job_in_every_state(queue: Queue) -> None:
    """Its payload, priority and state stay as they were, also once it has ended."""
    first = await queue.enqueue("act", "one", id="mine")
    again = await queue.enqueue("act", "two", id="mine", priority=0, delay=60)
    assert (first.created, again.created, again.id) == (True, False, "mine")
    info = await found(queue, "mine", JobState.WAITING)
    assert (bytes(info.payload), info.priority) == (b'"one"', 5)
    async with Worker(queue):
        assert await again.result(timeout=10) == "one"
        third = await queue.enqueue("act", "three", id="mine")
        assert (third.created, await third.result(timeout=10)) == (False, "one")
    assert (await queue.stats()).completed == 1


async def test_rerun_finished_replaces_an_ended_job_and_no_other(queue: Queue) -> None:
    """The new one has the same id, and both endings count."""
    first = await queue.enqueue("act", "one", id="mine", if_exists="rerun_finished")
    assert not (await queue.enqueue("act", "two", id="mine", if_exists="rerun_finished")).created
    async with Worker(queue):
        assert await first.result(timeout=10) == "one"
        again = await queue.enqueue("act", "two", id="mine", if_exists="rerun_finished")
        assert (again.created, await again.result(timeout=10)) == (True, "two")
    counts = await queue.counts()
    assert (counts.completed, counts.retained_completed, counts.added) == (2, 1, 2)


@pytest.mark.parametrize("job_id", ["5-1700000000000-0", "0-1-1", "5-1700000000000-s12", "9-0-s0"])
def test_an_id_that_looks_generated_is_refused(job_id: str) -> None:
    """It could be taken for another job."""
    with pytest.raises(ConfigurationError, match="looks like a generated one"):
        check_custom_id(job_id)


@pytest.mark.parametrize("job_id", ["", " ", "a b", "a\nb", "a\x00b", "a\u2003b", "x" * 257])
def test_an_id_that_is_empty_too_long_or_holds_blanks_is_refused(job_id: str) -> None:
    """Events list ids with blanks between them."""
    with pytest.raises(ConfigurationError, match="wanted 1 to 256 characters"):
        check_custom_id(job_id)


@pytest.mark.parametrize("job_id", ["1", "a-1-1", "10-1-1", "5-1", "5-1-1-1", "é", "x" * 256, "{a}:b", "😀"])
def test_any_other_id_is_accepted(job_id: str) -> None:
    """And comes back as it was given."""
    assert check_custom_id(job_id) == job_id
