"""Proves what a unique key does for jobs that wait or run: who joins, who waits, and when the key is free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Discard, Engine, JobContext, JobState, Queue, Registry, RetryLater, Worker
from tests.engine.conftest import Hands, Keys

if TYPE_CHECKING:
    from tests.conftest import WaitUntil


class Door:
    """A handler that notes who runs, and fails, retries or waits as its payload says."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.open = asyncio.Event()
        self.inside = 0
        self.most_inside = 0

    async def handle(self, ctx: JobContext, payload: str) -> str:
        """The handler."""
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.begun.put_nowait(payload)
        try:
            if payload.startswith("wait"):
                await self.open.wait()
            if payload.startswith("retry") and ctx.attempt == 1:
                raise RetryLater(60)
            if payload.startswith("fail"):
                raise Discard("no")
            return payload
        finally:
            self.inside -= 1

    async def state(self, job_id: str) -> JobState:
        """The job's state."""
        info = await self.queue.get(job_id)
        assert info is not None
        return info.state


@pytest.fixture
def door(engine: Engine, registry: Registry) -> Door:
    """A door wide enough for five."""
    registry.queue("unique", concurrency=5)
    door = Door(engine.queue("unique"))

    @registry.job("enter", queue="unique")
    async def enter(ctx: JobContext, payload: str) -> str:
        return await door.handle(ctx, payload)

    return door


async def test_an_equal_payload_is_the_same_job_while_it_waits_and_while_it_runs(door: Door) -> None:
    """All callers get one result; afterwards the key is free for a new job."""
    first = await door.queue.enqueue("enter", "wait", unique="space-1")
    joined = await door.queue.enqueue("enter", "wait", unique="space-1")
    assert (first.created, joined.created, joined.id) == (True, False, first.id)
    async with Worker(door.queue):
        await door.begun.get()
        assert (await door.queue.enqueue("enter", "wait", unique="space-1")).id == first.id
        door.open.set()
        assert await joined.result(timeout=10) == "wait"
        again = await door.queue.enqueue("enter", "wait", unique="space-1")
        assert (again.created, again.id == first.id) == (True, False)
        await again.result(timeout=10)
    assert (await door.queue.counts()).added == 2


async def test_other_payloads_wait_for_each_other_in_order(door: Door) -> None:
    """A chain of three on one key never runs two at once, while another key goes its way."""
    chain = [await door.queue.enqueue("enter", f"wait {n}", unique="k") for n in range(3)]
    other = await door.queue.enqueue("enter", "beside", unique="other")
    assert [await door.state(job.id) for job in chain] == [JobState.WAITING, JobState.BLOCKED, JobState.BLOCKED]
    async with Worker(door.queue):
        assert await other.result(timeout=10) == "beside"
        door.begun = asyncio.Queue()
        assert await door.state(chain[1].id) is JobState.BLOCKED
        door.most_inside = 0
        door.open.set()
        assert [await job.result(timeout=10) for job in chain] == ["wait 0", "wait 1", "wait 2"]
    assert door.most_inside == 1


async def test_a_failure_frees_the_key_and_a_retry_does_not(door: Door, hands: Hands, wait_until: WaitUntil) -> None:
    """The second waits through the first one's retry, and runs after its end."""
    first = await door.queue.enqueue("enter", "retry", unique="k")
    second = await door.queue.enqueue("enter", "fail", unique="k")
    third = await door.queue.enqueue("enter", "well", unique="k")
    async with Worker(door.queue):

        async def delayed() -> bool:
            return await door.state(first.id) is JobState.DELAYED

        await wait_until(delayed, "the first waits for its retry")
        assert await door.state(second.id) is JobState.BLOCKED
        assert (await door.queue.enqueue("enter", "retry", unique="k")).id == first.id
        await hands.advance(door.queue, 60)
        assert await third.result(timeout=10) == "well"
    assert [await door.state(job.id) for job in (first, second)] == [JobState.COMPLETED, JobState.FAILED]
    assert [door.begun.get_nowait() for _ in range(4)] == ["retry", "retry", "fail", "well"]


async def test_a_reclaim_does_not_free_the_key(door: Door, hands: Hands) -> None:
    """The job is still the holder when it runs again."""
    first = await door.queue.enqueue("enter", "one", unique="k")
    second = await door.queue.enqueue("enter", "two", unique="k")
    await hands.claim(door.queue)
    await hands.die(door.queue)
    assert await door.state(second.id) is JobState.BLOCKED
    async with Worker(door.queue):
        assert await second.result(timeout=10) == "two"
    assert await door.state(first.id) is JobState.COMPLETED


async def test_everybody_who_asked_for_a_job_is_noted_on_it(door: Door) -> None:
    """Its first owner, then those who joined, each once; also on its record."""
    job = await door.queue.enqueue("enter", "one", unique="k", owner="ana")
    for owner in ("ben", "ana", "ben", "eva"):
        await door.queue.enqueue("enter", "one", unique="k", owner=owner)
    info = await job.info()
    assert info is not None
    assert info.owners == ["ana", "ben", "eva"]
    async with Worker(door.queue):
        await job.result(timeout=10)
    info = await job.info()
    assert info is not None
    assert (info.owners, info.state) == (["ana", "ben", "eva"], JobState.COMPLETED)


async def test_a_key_that_the_jobs_row_computes_holds_without_being_given(
    engine: Engine, registry: Registry, keys: Keys
) -> None:
    """From the decoded payload."""

    @registry.job("per_space", queue="spaces", unique=lambda payload: f"space-{payload['space']}")
    async def per_space(ctx: JobContext, payload: dict[str, Any]) -> Any:
        return payload["n"]

    queue = engine.queue("spaces")
    first = await queue.enqueue("per_space", {"space": 1, "n": 1})
    same = await queue.enqueue("per_space", {"space": 1, "n": 1})
    other = await queue.enqueue("per_space", {"space": 1, "n": 2})
    apart = await queue.enqueue("per_space", {"space": 2, "n": 1})
    assert (same.id == first.id, await keys.command("ZCARD", f"{queue.root}:blocked")) == (True, 1)
    async with Worker(queue):
        assert [await job.result(timeout=10) for job in (first, other, apart)] == [1, 2, 1]
