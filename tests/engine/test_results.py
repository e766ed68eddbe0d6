"""Proves what waiting for a result brings, and that nobody waits for nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
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


async def test_two_thousand_waiters_ask_in_a_few_calls(queue: Queue, keys: Keys, wait_until: WaitUntil) -> None:
    """What waits in one turn of the loop travels together."""
    jobs = await queue.enqueue_many([("answer", n) for n in range(2000)])
    before = await calls_of_scripts(keys)
    waiters = [asyncio.create_task(job.result(timeout=20)) for job in jobs]

    async def all_are_noted() -> bool:
        return bool(await keys.command("ZCARD", f"{queue.root}:waited") == 2000)

    await wait_until(all_are_noted, "all are noted")
    assert await calls_of_scripts(keys) - before <= 5  # 500 each; the first one may lack the script
    async with Worker(queue):
        assert await asyncio.gather(*waiters) == list(range(2000))


async def calls_of_scripts(keys: Keys) -> int:
    """How many scripts the server has run."""
    stats = await keys.client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


async def test_results_of_several_queues_come_over_one_connection(
    engine: Engine, registry: Registry, queue: Queue, keys: Keys
) -> None:
    """One that joins later is heard at once, though the reader waits for the others."""

    @registry.job("echo", queue="echoes")
    async def echo(ctx: JobContext, payload: int) -> int:
        return payload

    other = engine.queue("echoes")
    first = await queue.enqueue("answer", 1)
    waiting = asyncio.create_task(first.result(timeout=20))
    async with Worker(other):
        for number in range(3):
            assert await (await other.enqueue("echo", number, delay=0.05)).result(timeout=3) == number
            names = [client["name"] for client in await keys.client.client_list()]
            assert sum(name.endswith(":results") for name in names) == 1
    assert not waiting.done()
    async with Worker(queue):
        assert await waiting == 1


async def test_whoever_waits_for_a_job_that_is_cancelled_gets_the_reason(queue: Queue, engine: Engine) -> None:
    """It ended, though it never ran."""
    job = await queue.enqueue("answer", 1)
    waiter = asyncio.create_task(job.result(timeout=20))
    await asyncio.sleep(0)
    await queue.cancel(job.id, reason="not wanted any more")
    with pytest.raises(JobFailed) as failed:
        await waiter
    assert (failed.value.state, failed.value.reason) == ("cancelled", "not wanted any more")


@pytest.mark.parametrize("how", ["remove", "clear", "obliterate"])
async def test_whoever_waits_for_a_job_that_is_taken_away_is_told_so(
    queue: Queue, keys: Keys, wait_until: WaitUntil, how: str
) -> None:
    """At once, and in other words than for a job that never was."""
    jobs = [await queue.enqueue("answer", n) for n in range(3)]
    waiters = [asyncio.create_task(job.result(timeout=20)) for job in jobs]
    await wait_until(lambda: keys.command("ZCARD", f"{queue.root}:waited"), "somebody waits")
    if how == "remove":
        for job in jobs:
            await queue.operations.remove(job.id)
    elif how == "clear":
        await queue.operations.clear()
    else:
        await queue.operations.obliterate()
    for job, waiter in zip(jobs, waiters, strict=True):
        with pytest.raises(JobNotFound, match=f"job {job.id} was removed from queue 'answers' while somebody waited"):
            await waiter


async def test_an_engine_that_closes_ends_those_who_wait(
    redis_url: str, queue: Queue, keys: Keys, wait_until: WaitUntil
) -> None:
    """None is left waiting for ever."""
    job = await queue.enqueue("answer", 1)
    async with Engine.connect(redis_url) as other:
        waiters = [asyncio.create_task(other.queue("answers").job(job.id).result()) for _ in range(2)]
        await wait_until(lambda: keys.command("ZCARD", f"{queue.root}:waited"), "somebody waits")
    for ended in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError)
    await queue.operations.clear()


async def test_a_waiter_that_is_cancelled_leaves_the_others_waiting(queue: Queue, engine: Engine) -> None:
    """Its wait is its own."""
    job = await queue.enqueue("answer", 1)
    first, second = (asyncio.create_task(job.result(timeout=20)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    async with Worker(queue):
        assert await second == 1
    assert first.cancelled()


async def test_a_result_comes_as_the_type_that_is_asked_for(queue: Queue, wait_until: WaitUntil, keys: Keys) -> None:
    """A number as a Decimal, where decoding it blindly makes a float; one that doesn't fit is refused."""
    job = await queue.enqueue("answer", 1.5)
    exact = asyncio.create_task(job.result_as(Decimal, timeout=20))
    await wait_until(lambda: keys.command("ZCARD", f"{queue.root}:waited"), "somebody waits")
    async with Worker(queue):
        assert type(await exact) is Decimal
        with pytest.raises(msgspec.ValidationError):
            await job.result_as(list[int], timeout=5)
