"""Proves what a worker with `prefetch` claims ahead, and that it keeps nothing back that others should have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Engine,
    JobContext,
    JobFailed,
    JobState,
    Queue,
    Registry,
    Worker,
    inspect_queue,
)
from dhanam_jobs.engine.fleet import workers_of
from tests.conftest import WaitUntil
from tests.engine.conftest import Hands


class Gate:
    """A job `gate` on `work`; each run says its payload and waits until the gate opens."""

    def __init__(self, registry: Registry) -> None:
        self.begun: list[int] = []
        self.open = asyncio.Event()
        registry.queue("work", prefetch=3)
        registry.job("gate", queue="work")(self.run)

    async def run(self, ctx: JobContext, payload: int) -> int:
        self.begun.append(payload)
        await self.open.wait()
        return payload


@pytest.fixture
def gate(registry: Registry) -> Gate:
    """The gate, closed."""
    return Gate(registry)


async def claimed(queue: Queue, count: int, wait_until: WaitUntil) -> None:
    """Waits until so many jobs are active."""

    async def are() -> bool:
        return (await queue.counts()).active == count

    await wait_until(are, f"{count} jobs are claimed")


async def begun(gate: Gate, count: int, wait_until: WaitUntil) -> None:
    """Waits until so many jobs have begun."""

    async def have() -> bool:
        return len(gate.begun) == count

    await wait_until(have, f"{count} jobs have begun")


async def test_a_worker_claims_so_many_jobs_more_than_it_has_slots_and_begins_them_in_order(
    engine: Engine, gate: Gate, wait_until: WaitUntil
) -> None:
    """The row's number, seen by everybody; what it holds has not begun."""
    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("gate", n) for n in range(10)])
    async with Worker(queue, concurrency=2, lease_ms=300):
        await claimed(queue, 5, wait_until)
        await begun(gate, 2, wait_until)
        assert gate.begun == [0, 1]

        async def seen() -> bool:
            (worker,) = await workers_of(queue)
            return (worker.prefetch, worker.held, len(worker.running)) == (3, 3, 5)

        await wait_until(seen, "the worker's row tells of it")
        gate.open.set()
        assert [await job.result(10) for job in jobs] == list(range(10))
    assert gate.begun == list(range(10))


async def test_a_job_goes_to_whoever_has_a_slot_free(engine: Engine, gate: Gate, wait_until: WaitUntil) -> None:
    """A worker whose slots are taken doesn't come for a lone job, however much it may hold."""
    queue = engine.queue("work")
    async with Worker(queue, concurrency=1):
        await queue.enqueue("gate", 1)
        await claimed(queue, 1, wait_until)
        async with Worker(queue, concurrency=1, prefetch=0) as other:
            await queue.enqueue("gate", 2)
            await claimed(queue, 2, wait_until)
            assert other.running == 1
            gate.open.set()


@pytest.mark.parametrize("how", ["pause the queue", "pause the worker", "stop claiming"])
async def test_what_is_held_goes_back_to_the_front_in_order(
    engine: Engine, gate: Gate, wait_until: WaitUntil, how: str
) -> None:
    """At once, when the queue or the worker is paused or the worker drains; it costs neither attempt nor stall."""
    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("gate", n) for n in range(6)])
    async with Worker(queue, concurrency=2, sweep_ms=3_600_000) as worker:
        await claimed(queue, 5, wait_until)
        await begun(gate, 2, wait_until)
        if how == "pause the queue":
            await queue.pause()
        elif how == "pause the worker":
            worker.pause()
        else:
            worker.stop_claiming()
        await claimed(queue, 2, wait_until)
        gate.open.set()
        assert [await job.result(10) for job in jobs[:2]] == [0, 1]
        assert gate.begun == [0, 1]
    await queue.resume()
    async with Worker(queue, concurrency=1, prefetch=0):
        assert [await job.result(10) for job in jobs] == list(range(6))
        info = await queue.get(jobs[2].id)
    assert info is not None
    assert (info.attempt, info.stalls) == (1, 0)
    assert gate.begun == list(range(6))
    assert await inspect_queue(queue) == []


async def test_a_held_job_is_cancelled_without_having_begun(engine: Engine, gate: Gate, wait_until: WaitUntil) -> None:
    """Within a moment, although its worker is busy."""
    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("gate", n) for n in range(3)])
    async with Worker(queue, concurrency=1):
        await claimed(queue, 3, wait_until)
        await begun(gate, 1, wait_until)
        assert await queue.cancel(jobs[1].id, reason="no use") is JobState.ACTIVE
        with pytest.raises(JobFailed, match="no use"):
            await jobs[1].result(10)
        gate.open.set()
        assert await jobs[2].result(10) == 2
    assert gate.begun == [0, 2]


async def test_a_job_that_expires_while_it_is_held_is_not_begun(
    engine: Engine, gate: Gate, wait_until: WaitUntil
) -> None:
    """Its slot came too late."""
    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("gate", n) for n in range(2)], expires=0.5)
    async with Worker(queue, concurrency=1):
        await claimed(queue, 2, wait_until)
        await begun(gate, 1, wait_until)
        await asyncio.sleep(0.6)  # its moment passes
        gate.open.set()
        with pytest.raises(JobFailed, match="Expired"):
            await jobs[1].result(10)
    assert gate.begun == [0]


@pytest.mark.parametrize("value", [-1, 1001, 1.5, True, None])
def test_an_illegal_prefetch_is_refused(registry: Registry, value: Any) -> None:
    """Where it is given."""
    with pytest.raises(ConfigurationError, match="prefetch"):
        registry.queue("work", prefetch=value)


async def test_two_lanes_share_what_is_asked_for(engine: Engine, gate: Gate, wait_until: WaitUntil) -> None:
    """Together they claim what was asked for."""
    queue = engine.queue("work")
    await queue.enqueue_many([("gate", n) for n in range(60)])
    async with Worker(queue, concurrency=40, prefetch=9):
        await claimed(queue, 49, wait_until)
        await begun(gate, 40, wait_until)
        assert len(gate.begun) == 40
        gate.open.set()


async def test_a_dead_workers_held_jobs_keep_their_stalls(engine: Engine, gate: Gate, hands: Hands) -> None:
    """Those that it said at its last beat to hold; what runs counts one, and so does what was spared too often."""
    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("gate", n) for n in range(3)])
    for _ in range(4):
        await hands.claim(queue, 3)
        held = [f"{place} {entry}" for place, entry in await _claims(engine, queue)]
        doing = '{"held":["' + '","'.join(held[1:]) + '"]}'
        assert await engine.redis.hset(f"{queue.root}:worker:ghost", "doing", doing) == 1
        await hands.die(queue)
        assert not await engine.redis.exists(f"{queue.root}:spared")
    infos = [await queue.get(job.id) for job in jobs]
    assert [info.state for info in infos if info] == [JobState.FAILED, JobState.WAITING, JobState.WAITING]
    assert [info.stalls for info in infos if info] == [4, 1, 1]
    await queue.operations.clear()


async def _claims(engine: Engine, queue: Queue) -> list[tuple[str, str]]:
    found = []
    for place in ("front:5", "waiting:5"):
        if await engine.redis.exists(f"{queue.root}:{place}"):
            pending: Any = await engine.redis.xpending_range(f"{queue.root}:{place}", "workers", "-", "+", 10)
            found += [(place, item["message_id"].decode()) for item in pending]
    return found
