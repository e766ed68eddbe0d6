"""How jobs travel into a queue: whole chunks, order, room, and who is told that a job was there already."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    ConfigurationError,
    Engine,
    EnqueueOptions,
    InvalidPayload,
    Job,
    JobContext,
    JobRequest,
    JobState,
    Middleware,
    QueueFull,
    Registry,
    Unique,
    Worker,
    defaults,
)
from dhanam_jobs.engine.middleware import Enqueue


def echo_jobs(registry: Registry) -> list[int]:
    """A queue `q` whose job `echo` notes its payload in the list returned, and returns it."""
    ran: list[int] = []

    @registry.job("echo", queue="q")
    async def echo(ctx: JobContext, payload: int) -> int:
        ran.append(payload)
        return payload

    return ran


async def drain(engine: Engine, *jobs: Job) -> None:
    """Runs the queue until these jobs have ended."""
    async with Worker(engine.queue("q"), concurrency=5):
        for job in jobs:
            await job.result(timeout=10)


async def test_a_bulk_keeps_its_order_over_chunks_and_each_job_has_its_own_options(
    engine: Engine, registry: Registry
) -> None:
    """The jobs come back as they were given, and run in that order within a level."""
    ran = echo_jobs(registry)
    jobs = [JobRequest("echo", n, id=f"own-{n}") if n % 7 == 0 else ("echo", n) for n in range(1_201)]
    stored = await engine.queue("q").enqueue_many(jobs, owner="ana")
    assert [job.id for job in stored[::7]] == [f"own-{n}" for n in range(0, 1_201, 7)]
    info = await stored[8].info()
    assert info is not None
    assert info.owners == ["ana"]
    async with Worker(engine.queue("q"), concurrency=1):
        await stored[-1].result(timeout=20)
    assert ran == list(range(1_201))


async def test_duplicates_get_one_id_and_are_told(engine: Engine, registry: Registry) -> None:
    """By id and by key, from one bulk and from calls at the same time."""
    echo_jobs(registry)
    queue = engine.queue("q")
    bulk = await queue.enqueue_many([JobRequest("echo", 1, unique="k"), JobRequest("echo", 1, unique="k")])
    assert (bulk[0].id == bulk[1].id, bulk[0].created, bulk[1].created) == (True, True, False)
    calls = await asyncio.gather(
        *(queue.enqueue("echo", n, unique=Unique("t", "throttle", period=60)) for n in range(50))
    )
    assert len({job.id for job in calls}) == 1
    assert [job.created for job in calls].count(True) == 1
    await drain(engine, bulk[0], calls[0])


async def test_a_refused_option_stores_nothing_of_a_bulk(engine: Engine, registry: Registry) -> None:
    """Neither does a refused payload."""
    echo_jobs(registry)
    queue = engine.queue("q")
    for last in (JobRequest("echo", 2, priority=99), JobRequest("echo", "two")):
        with pytest.raises((ConfigurationError, InvalidPayload)):
            await queue.enqueue_many([("echo", 1), last])
    with pytest.raises(ConfigurationError, match="tuple of 3"):
        await queue.enqueue_many([("echo", 1, {"priority": 1})])
    assert (await queue.counts()).added == 0


async def test_chunks_are_bounded_by_size_as_well(
    engine: Engine, redis: redis_async.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bulk of large payloads goes in several calls, each whole."""
    monkeypatch.setattr(defaults, "ENQUEUE_CHUNK_BYTES", 10_000)
    queue = engine.queue("q")
    await queue.enqueue("blob", "")
    await redis.config_resetstat()
    stored = await queue.enqueue_many([("blob", "x" * 3_000)] * 9 + [("blob", "x" * 30_000)])
    calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert (len(stored), calls) == (10, 4)
    assert (await queue.counts()).added == 11


async def test_a_full_queue_refuses_one_caller_and_stores_what_fits_of_another(
    engine: Engine, registry: Registry
) -> None:
    """Callers whose jobs travelled together are told apart, and a bulk is stored whole or not at all."""
    echo_jobs(registry)
    queue = engine.queue("q")
    assert await queue.limit_length(5) is None
    outcomes = await asyncio.gather(
        queue.enqueue_many([("echo", n) for n in range(4)]),
        queue.enqueue_many([("echo", n) for n in range(4)]),
        queue.enqueue("echo", 9),
        return_exceptions=True,
    )
    first, second, third = outcomes
    assert isinstance(first, list)
    assert isinstance(second, QueueFull)
    assert (second.queue, second.limit, second.wanted) == ("q", 5, 4)
    assert isinstance(third, Job)
    assert await queue.limit_length(None) == 5
    await drain(engine, *first, third)


async def test_chunks_behind_one_without_room_are_not_tried(engine: Engine, registry: Registry) -> None:
    """Else a smaller one would overtake it; the error says which jobs it speaks of."""
    echo_jobs(registry)
    queue = engine.queue("q")
    await queue.limit_length(700)
    with pytest.raises(QueueFull, match=r"701 of 1201 jobs, at positions 500 to 1200; the others were stored"):
        await queue.enqueue_many([("echo", n) for n in range(1_201)])
    assert (await queue.counts()).added == 500
    with pytest.raises(QueueFull, match="700"):
        await queue.enqueue_many([("echo", n) for n in range(500)])
    await queue.limit_length(None)
    await drain(engine, await queue.enqueue("echo", -1))


async def test_enqueue_waits_for_room_and_goes_on_in_order(engine: Engine, registry: Registry) -> None:
    """While workers make room, every job of the bulk is stored, in order."""
    ran = echo_jobs(registry)
    registry.queue("q", max_length=600)
    queue = engine.queue("q")
    filling = await queue.enqueue_many([("echo", -1)] * 500)
    waiting = asyncio.create_task(queue.enqueue_many([("echo", n) for n in range(1_300)], room_timeout=30))
    with pytest.raises(QueueFull):
        await queue.enqueue_many([("echo", -1)] * 500, room_timeout=0.05)
    async with Worker(queue, concurrency=1):
        stored = await waiting
        await stored[-1].result(timeout=20)
    assert len(filling) == 500
    assert [n for n in ran if n >= 0] == list(range(1_300))


async def test_what_can_never_fit_is_refused_without_waiting(engine: Engine, registry: Registry) -> None:
    """A chunk larger than the limit waits for nothing."""
    echo_jobs(registry)
    queue = engine.queue("q")
    await queue.limit_length(3)
    async with asyncio.timeout(20):
        with pytest.raises(QueueFull):
            await queue.enqueue_many([("echo", n) for n in range(4)], room_timeout=3600)


async def test_the_row_s_limit_holds_for_producers_that_do_not_know_it(
    engine: Engine, registry: Registry, redis_url: str
) -> None:
    """The limit is the queue's, in Redis, from the first job of a process whose row has one."""
    echo_jobs(registry)
    registry.queue("q", max_length=1)
    job = await engine.queue("q").enqueue("echo", 1)
    async with Engine.connect(redis_url) as other:
        with pytest.raises(QueueFull):
            await other.queue("q").enqueue("echo", 2)
    await drain(engine, job)


async def test_a_key_freed_by_hand_lets_the_next_job_run_beside_the_first(engine: Engine, registry: Registry) -> None:
    """The caller is told who held it."""
    begun, gate = asyncio.Event(), asyncio.Event()

    @registry.job("hold", queue="q")
    async def hold(ctx: JobContext, payload: int) -> int:
        if payload == 1:
            begun.set()
            await gate.wait()
        return payload

    queue = engine.queue("q")
    async with Worker(queue, concurrency=2):
        first = await queue.enqueue("hold", 1, unique="k")
        await begun.wait()
        second = await queue.enqueue("hold", 2, unique="k")
        info = await second.info()
        assert info is not None
        assert info.state is JobState.BLOCKED
        assert await queue.free_key("k") == first.id
        assert await second.result(timeout=10) == 2
        gate.set()
        assert await first.result(timeout=10) == 1
    assert await queue.free_key("k") is None


class Stamp(Middleware):
    """Gives every job an owner, refuses those called `no`, and answers for those called `known` by itself."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.known: Job | None = None

    async def enqueue(self, request: JobRequest, proceed: Enqueue) -> Job:
        if request.payload == -1:
            raise ValueError("not this one")
        if request.payload == 0 and self.known is not None:
            return self.known
        options: EnqueueOptions = {**request.options, "owner": "stamp"}
        job = await proceed(JobRequest(request.job, request.payload, **options))
        self.seen.append(request.payload)
        return job


async def test_middleware_sees_every_job_and_a_bulk_stays_one_call(
    engine: Engine, registry: Registry, redis: redis_async.Redis
) -> None:
    """What it changes is what is stored; order, and the number of calls, are as without it."""
    ran = echo_jobs(registry)
    stamp = Stamp()
    registry.use(stamp)
    queue = engine.queue("q")
    stamp.known = await queue.enqueue("echo", 100)
    await redis.config_resetstat()
    stored = await queue.enqueue_many(("echo", n) for n in range(5))
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 1
    assert (stored[0], stamp.seen) == (stamp.known, [100, 1, 2, 3, 4])
    info = await stored[3].info()
    assert info is not None
    assert info.owners == ["stamp"]
    async with Worker(queue, concurrency=1):
        await stored[-1].result(timeout=10)
    assert ran == [100, 1, 2, 3, 4]


async def test_a_job_that_middleware_refuses_keeps_its_whole_bulk_out(engine: Engine, registry: Registry) -> None:
    """Nothing was stored, and nobody waits for an answer for ever."""
    echo_jobs(registry)
    registry.use(Stamp())
    queue = engine.queue("q")
    with pytest.raises(ValueError, match="not this one"):
        await queue.enqueue_many([("echo", 1), ("echo", -1), ("echo", 2)])
    with pytest.raises(InvalidPayload):
        await queue.enqueue_many([("echo", 1), ("echo", "two")])
    assert await queue.enqueue_many([]) == []
    assert (await queue.counts()).added == 0
