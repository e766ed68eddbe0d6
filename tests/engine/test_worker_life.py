"""Proves how a worker starts, stands, drains and hands on, and that one job leaves no trace in the next."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Draining, Engine, JobContext, JobState, Queue, Registry, Supervisor, Worker
from tests.engine.conftest import Keys

if TYPE_CHECKING:
    from tests.conftest import WaitUntil


class Gate:
    """A handler that says when it has begun and ends when the test lets it."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.begun: asyncio.Queue[tuple[Any, int]] = asyncio.Queue()
        self.open = asyncio.Event()
        self.children: list[str] = []

    async def handle(self, ctx: JobContext, payload: Any) -> Any:
        """The handler."""
        self.begun.put_nowait((payload, ctx.attempt))
        await self.open.wait()
        if payload == "parent":
            self.children.append((await ctx.enqueue("pass", "child")).id)
        return payload


@pytest.fixture
def gate(engine: Engine, registry: Registry) -> Gate:
    """A closed gate on a queue of concurrency 2."""
    registry.queue("gate", concurrency=2)
    gate = Gate(engine.queue("gate"))

    @registry.job("pass", queue="gate")
    async def pass_(ctx: JobContext, payload: Any) -> Any:
        return await gate.handle(ctx, payload)

    return gate


async def test_a_context_variable_of_one_job_is_not_seen_by_the_next(engine: Engine, registry: Registry) -> None:
    """Though both run in the same slot."""
    variable = contextvars.ContextVar("tenant", default="nobody")

    @registry.job("tell", queue="tell")
    async def tell(ctx: JobContext, payload: str) -> str:
        before = variable.get()
        variable.set(payload)
        return before

    queue = engine.queue("tell")
    async with Worker(queue, concurrency=1):
        jobs = await queue.enqueue_many([("tell", "ana"), ("tell", "ben"), ("tell", "eva")])
        assert [await job.result(timeout=10) for job in jobs] == ["nobody"] * 3


async def test_no_more_jobs_run_than_there_are_slots(gate: Gate, engine: Engine) -> None:
    """The rest waits in Redis, where other workers can take it."""
    async with Worker(gate.queue) as worker:
        await gate.queue.enqueue_many([("pass", n) for n in range(5)])
        assert [(await gate.begun.get())[0] for _ in range(2)] == [0, 1]
        counts = await gate.queue.counts()
        assert (counts.active, counts.waiting, worker.running) == (2, 3, 2)
        gate.open.set()
        assert [(await gate.begun.get())[0] for _ in range(3)] == [2, 3, 4]


async def test_nothing_starts_once_pause_has_returned_and_all_of_it_after_resume(
    gate: Gate, wait_until: WaitUntil
) -> None:
    """A running job ends; an idle worker that is woken finds the queue paused."""
    gate.open.set()
    async with Worker(gate.queue) as worker:
        assert await gate.queue.pause() is True
        assert await gate.queue.pause() is False
        assert await gate.queue.is_paused()
        looked = worker.fetched
        job = await gate.queue.enqueue("pass", 1)
        await wait_until(lambda: worker.fetched > looked, "the worker was woken and looked")
        assert gate.begun.empty()
        assert (await gate.queue.counts()).waiting == 1
        assert await gate.queue.resume() is True
        assert await job.result(timeout=10) == 1
        assert not await gate.queue.is_paused()


async def test_a_job_that_runs_when_the_queue_is_paused_ends_and_nothing_follows_it(gate: Gate) -> None:
    """The settle that would bring the next one brings none."""
    async with Worker(gate.queue, concurrency=1):
        first, second = await gate.queue.enqueue_many([("pass", 1), ("pass", 2)])
        await gate.begun.get()
        await gate.queue.pause()
        gate.open.set()
        assert await first.result(timeout=10) == 1
        info = await second.info()
        assert info is not None
        assert info.state is JobState.WAITING
        await gate.queue.resume()
        assert await second.result(timeout=10) == 2


async def test_draining_ends_running_jobs_refuses_new_ones_and_accepts_what_the_running_enqueue(
    gate: Gate, engine: Engine, wait_until: WaitUntil
) -> None:
    """The queue itself is not paused, and the child waits for another process."""
    supervisor = Supervisor(engine)
    await supervisor.start()
    parent = await gate.queue.enqueue("pass", "parent")
    await gate.begun.get()
    drain = asyncio.create_task(supervisor.drain())
    await wait_until(lambda: not supervisor.accepting_jobs, "the drain has begun")
    with pytest.raises(Draining):
        await gate.queue.enqueue("pass", 1)
    with pytest.raises(Draining):
        await gate.queue.enqueue_many([("pass", 1)])
    gate.open.set()
    await drain
    info = await parent.info()
    assert info is not None
    assert info.state is JobState.COMPLETED
    child = await gate.queue.get(gate.children[0])
    assert child is not None
    assert child.state is JobState.WAITING
    assert not await gate.queue.is_paused()
    async with Worker(gate.queue):
        assert (await gate.begun.get())[0] == "child"


async def test_what_a_drain_interrupts_is_at_the_front_in_order_with_its_attempt_unspent(
    gate: Gate, engine: Engine, keys: Keys
) -> None:
    """The next worker runs it first, as attempt 1."""
    jobs = await gate.queue.enqueue_many([("pass", n) for n in range(3)])
    async with Supervisor(engine) as supervisor:
        assert [(await gate.begun.get())[0] for _ in range(2)] == [0, 1]
        await supervisor.drain(timeout=0)
    for job, stalls in zip(jobs, (0, 0, 0), strict=True):
        info = await job.info()
        assert info is not None
        assert (info.state, info.attempt, info.stalls) == (JobState.WAITING, 0, stalls)
    assert await keys.command("XLEN", f"{gate.queue.root}:front:5") == 2
    gate.open.set()
    async with Worker(gate.queue, concurrency=1):
        assert [await gate.begun.get() for _ in range(3)] == [(0, 1), (1, 1), (2, 1)]


async def test_a_name_that_this_worker_does_not_know_is_parked_and_taken_by_one_that_does(
    engine: Engine, registry: Registry, redis_url: str, wait_until: WaitUntil
) -> None:
    """It stays visible under its name, and the jobs behind it run."""

    @registry.job("known", queue="mixed")
    async def known(ctx: JobContext, payload: int) -> int:
        return payload

    newer = Registry()

    @newer.job("unknown", queue="mixed")
    async def unknown(ctx: JobContext, payload: int) -> int:
        return payload * 10

    queue = engine.queue("mixed")
    async with Engine.connect(redis_url) as producer, Engine.connect(redis_url, registry=newer) as other:
        strange = await producer.queue("mixed").enqueue("unknown", 4)
        plain = await producer.queue("mixed").enqueue("known", 1)
        async with Worker(queue):
            assert await plain.result(timeout=10) == 1
            info = await strange.info()
            assert info is not None
            assert (info.state, info.name, info.attempt) == (JobState.PARKED, "unknown", 0)
        async with Worker(other.queue("mixed")):
            assert await strange.result(timeout=10) == 40
        info = await strange.info()
        assert info is not None
        assert (info.id, info.attempt) == (strange.id, 1)


HAND_WRITTEN: list[list[str]] = [
    ["x", "y"],
    ["name", "pass"],
    ["payload", "1"],
    ["foo", "pass", "bar", "1"],
    ["name", "pass", "payload", "no JSON"],
    ["name", "pass", "payload", "1", "attempt", "many", "stalls", "x", "created", "once", "meta", "{"],
    ["name", "a b", "payload", "1"],
]


@pytest.mark.parametrize("fields", HAND_WRITTEN)
async def test_an_entry_written_by_hand_stops_no_worker(
    gate: Gate, damage: Keys, wait_until: WaitUntil, fields: list[str]
) -> None:
    """Whatever it lacks: it does not stay active, can be looked at, and the job behind it runs."""
    gate.open.set()
    await gate.queue.enqueue("pass", 0)
    entry = await damage.command("XADD", f"{gate.queue.root}:waiting:5", "*", *fields)
    async with Worker(gate.queue, concurrency=1):
        assert await (await gate.queue.enqueue("pass", 2)).result(timeout=10) == 2

        async def at_rest() -> bool:
            counts = await gate.queue.counts()
            return counts.active == counts.waiting == 0

        await wait_until(at_rest, "nothing is active")
    info = await gate.queue.get(f"5-{entry.decode()}")
    if fields[0] == "name" and len(fields) > 2 and "a b" not in fields:
        assert info is not None
        assert info.state in (JobState.COMPLETED, JobState.DELAYED, JobState.FAILED)


async def test_an_idle_worker_is_woken_by_a_delayed_job_alone(gate: Gate) -> None:
    """Nobody rings when it is due: the worker that watches the clock does."""
    gate.open.set()
    async with Worker(gate.queue):
        job = await gate.queue.enqueue("pass", 1, delay=0.05)
        assert await job.result(timeout=10) == 1


async def test_starting_and_stopping_twice_is_harmless(gate: Gate, keys: Keys) -> None:
    """And a worker that has left leaves no row."""
    worker = Worker(gate.queue)
    await worker.start()
    await worker.start()
    await worker.stop()
    await worker.stop()
    assert await keys.names(f"{gate.queue.root}:worker*") == set()
