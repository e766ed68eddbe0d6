"""Proves that users' tests run what waits in their own task, by the engine's own path, and move the clock on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from dhanam_jobs.engine import (
    Child,
    ConfigurationError,
    Discard,
    Engine,
    JobContext,
    JobFailed,
    JobRequest,
    JobState,
    Limit,
    Limited,
    Middleware,
    Record,
    Registry,
    Retention,
    RetryPolicy,
    Schedule,
    Snooze,
    Supervisor,
    SyncEngine,
    Unique,
    Worker,
)
from dhanam_jobs.engine.sweeper import Sweeper
from dhanam_jobs.engine.testing import ManualClock, Ran, run_waiting
from tests.conftest import WaitUntil
from tests.engine import running_handlers

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Greet(msgspec.Struct):
    """Whom to greet."""

    name: str


@pytest.fixture
async def clock() -> ManualClock:
    """Stands at noon of the first of March."""
    return ManualClock(START)


@pytest.fixture
async def timed(redis: Redis, redis_url: str, registry: Registry, clock: ManualClock) -> AsyncIterator[Engine]:
    """An engine by the manual clock, on an emptied server."""
    async with Engine.connect(redis_url, registry=registry, clock=clock) as engine:
        yield engine


def said(ran: list[Ran]) -> list[tuple[str, str, Any]]:
    """Name, outcome and result of each run."""
    return [(one.name, one.outcome, one.result) for one in ran]


# -- running what waits -----------------------------------------------------------------------------------------------


async def test_what_waits_runs_in_the_tests_own_task_in_order_and_settles(engine: Engine, registry: Registry) -> None:
    """Urgent ones first; the jobs that a job enqueues run too; records, results and events are the real ones."""
    tasks = set()

    @registry.job("greet", queue="hello")
    async def greet(ctx: JobContext, payload: Greet) -> str:
        tasks.add(asyncio.current_task())
        if payload.name == "Ana":
            await ctx.enqueue(Greet("Eva"))
        await ctx.progress(1)
        return f"hello {payload.name}"

    jobs = await engine.enqueue_many([Greet("Ana"), JobRequest(Greet("Ben"), priority=0)])
    ran = await run_waiting(engine)
    assert [(one.id, one.result) for one in ran[:2]] == [(jobs[1].id, "hello Ben"), (jobs[0].id, "hello Ana")]
    assert said(ran[2:]) == [("greet", "completed", "hello Eva")]
    assert ran[0].payload == Greet("Ben")
    assert (ran[0].error, ran[0].reason) == (None, None)
    assert tasks == {asyncio.current_task()}
    assert await jobs[0].result(timeout=10) == "hello Ana"
    counts = await engine.queue("hello").counts()
    assert (counts.completed, counts.active, counts.waiting, counts.workers) == (3, 0, 0, 0)
    assert await run_waiting(engine) == []


async def test_middleware_resources_threads_and_hooks_are_the_real_ones(engine: Engine, registry: Registry) -> None:
    """What surrounds a handler in a worker surrounds it here, and is closed at the end."""
    seen: list[str] = []

    class Note(Middleware):
        async def run(self, ctx: JobContext, payload: Any, proceed: Any) -> Any:
            seen.append(f"before {ctx.job.name}")
            return await proceed(ctx, payload)

        async def failed(self, ctx: JobContext, record: Record) -> None:
            seen.append(f"failed {record.name}")

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        seen.append("open")
        yield "resource"
        seen.append("close")

    registry.use(Note())

    @registry.job("plain", queue="hello")
    def plain(ctx: JobContext, payload: None) -> list[Any]:
        return [ctx.resources, threading.current_thread() is threading.main_thread()]

    @registry.job("bad", queue="other")
    async def bad(ctx: JobContext, payload: None) -> None:
        raise Discard("no use")

    await engine.queue("other").enqueue("bad")
    await engine.queue("hello").enqueue("plain")
    ran = await run_waiting(engine, resources=opened)
    assert said(ran) == [("plain", "completed", ["resource", False]), ("bad", "failed", None)]
    assert isinstance(ran[1].error, Discard)
    assert ran[1].reason == "Discard: no use"
    assert seen == ["open", "before plain", "before bad", "failed bad", "close"]


async def test_only_the_queues_that_are_named_are_run_and_a_paused_one_is_not(
    engine: Engine, registry: Registry
) -> None:
    """Their jobs stay as they were."""
    for queue in ("one", "two", "three"):
        registry.job("go", queue=queue)(_nothing)
    for queue in ("one", "two", "three"):
        await engine.queue(queue).enqueue("go")
    await engine.queue("two").pause()
    assert [one.queue for one in await run_waiting(engine, "one", "two")] == ["one"]
    await engine.queue("two").resume()
    assert [one.queue for one in await run_waiting(engine)] == ["two", "three"]


async def _nothing(ctx: JobContext, payload: Any) -> None:
    """Does nothing."""


async def test_a_retry_waits_for_the_clock_and_runs_when_it_is_moved(
    timed: Engine, registry: Registry, clock: ManualClock
) -> None:
    """Five seconds, then ten; a millisecond less is too early, however slow the test is."""

    @registry.job("frail", queue="hello", retry=RetryPolicy(attempts=3, base=5))
    async def frail(ctx: JobContext, payload: None) -> int:
        if ctx.attempt < 3:
            raise OSError(f"attempt {ctx.attempt}")
        return ctx.attempt

    job = await timed.queue("hello").enqueue("frail")
    ran = await run_waiting(timed)
    assert [(one.outcome, one.attempt, str(one.error), one.reason) for one in ran] == [
        ("delayed", 1, "attempt 1", "OSError: attempt 1")
    ]
    clock.advance(4.999)
    assert await run_waiting(timed) == []
    clock.advance(0.001)
    assert [one.attempt for one in await run_waiting(timed)] == [2]
    clock.advance(10)
    assert said(await run_waiting(timed)) == [("frail", "completed", 3)]
    info = await timed.queue("hello").get(job.id)
    assert info is not None
    assert info.finished_ms == clock.now_ms()
    assert [error.at_ms for error in info.errors] == [clock.now_ms() - 15_000, clock.now_ms() - 10_000]


async def test_through_delays_moves_the_clock_to_each_next_run(
    timed: Engine, registry: Registry, clock: ManualClock
) -> None:
    """Retries, snoozes, delays and rests, in the order of their times; the clock ends at the last of them."""
    at: list[tuple[str, float]] = []
    rested: list[bool] = []

    def now() -> float:
        return (clock.now - START).total_seconds()

    @registry.job("frail", queue="hello", retry=RetryPolicy(attempts=2, base=60))
    async def frail(ctx: JobContext, payload: None) -> None:
        at.append(("frail", now()))
        if ctx.attempt == 1:
            raise OSError

    @registry.job("sleepy", queue="hello")
    async def sleepy(ctx: JobContext, payload: None) -> None:
        at.append(("sleepy", now()))
        if now() < 90:
            raise Snooze(30)

    @registry.job("limited", queue="other", key=lambda payload: "tenant")
    async def limited(ctx: JobContext, payload: None) -> None:
        at.append(("limited", now()))
        if not rested:
            rested.append(True)
            raise Limited(45)

    await timed.queue("hello").enqueue("frail")
    await timed.queue("hello").enqueue("sleepy", delay=3600)
    await timed.queue("other").enqueue("limited")
    ran = await run_waiting(timed, through_delays=True)
    assert at == [("frail", 0), ("limited", 0), ("limited", 45), ("frail", 60), ("sleepy", 3600)]
    assert [one.outcome for one in ran] == ["delayed", "limited", "completed", "completed", "completed"]
    assert clock.now == START + timedelta(hours=1)


async def test_families_run_to_their_end_over_queues(engine: Engine, registry: Registry) -> None:
    """A parent that waits, its children elsewhere, and theirs."""

    @registry.job("page", queue="pages")
    async def page(ctx: JobContext, payload: int) -> int:
        return payload * 10

    @registry.job("sum", queue="sums")
    async def add_up(ctx: JobContext, payload: int) -> int:
        await ctx.add_children([Child(f"p{n}", "page", n, queue="pages") for n in range(payload)])
        return sum(end.result for end in await ctx.wait_children())

    @registry.job("all", queue="alls")
    async def everything(ctx: JobContext, payload: None) -> list[int]:
        return [end.result for end in await ctx.wait_children()]

    children = [Child("a", "sum", 3, queue="sums"), Child("b", "sum", 2, queue="sums")]
    job = await engine.queue("alls").enqueue_parent("all", children=children)
    ran = await run_waiting(engine)
    assert await job.result(timeout=10) == [30, 10]
    assert sorted(one.outcome for one in ran) == ["completed"] * 8 + ["waits"] * 2
    assert ran[-1].result == [30, 10]


async def test_a_handler_with_a_process_of_its_own_has_one(engine: Engine, registry: Registry) -> None:
    """What it tells and enqueues comes from there, and the process is gone afterwards."""
    registry.job("tell", queue="hello", process=True)(running_handlers.tell)
    registry.job("add", queue="hello", process=True)(running_handlers.add)
    job = await engine.queue("hello").enqueue("tell", "x")
    told, added = await run_waiting(engine)
    assert (told.result, added.result["sum"]) == (added.id, 3)
    assert added.result["pid"] != os.getpid()
    assert (await engine.queue("hello").notes(job.id)).progress == {"done": 1}
    with pytest.raises(ProcessLookupError):
        os.kill(added.result["pid"], 0)


async def test_a_handler_that_takes_too_long_is_interrupted_and_the_test_goes_on(
    engine: Engine, registry: Registry
) -> None:
    """The test's own task is not left with a cancellation."""

    @registry.job("slow", queue="hello", timeout=0.05, retry=RetryPolicy(attempts=1))
    async def slow(ctx: JobContext, payload: None) -> None:
        await asyncio.Event().wait()

    @registry.job("odd", queue="hello", retry=RetryPolicy(attempts=1))
    async def odd(ctx: JobContext, payload: None) -> None:
        raise asyncio.CancelledError

    await engine.queue("hello").enqueue("slow")
    await engine.queue("hello").enqueue("odd")
    ran = await run_waiting(engine)
    assert [(one.outcome, (one.reason or "").partition(":")[0]) for one in ran] == [
        ("failed", "TimeoutError"),
        ("failed", "CancelledError"),
    ]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_test_that_is_cut_off_gives_its_job_back(engine: Engine, registry: Registry) -> None:
    """The cancellation is the test's, not the handler's."""

    @registry.job("slow", queue="hello")
    async def slow(ctx: JobContext, payload: None) -> None:
        await asyncio.Event().wait()

    job = await engine.queue("hello").enqueue("slow")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run_waiting(engine)
    info = await engine.queue("hello").get(job.id)
    assert info is not None
    assert (info.state, info.attempt) == (JobState.WAITING, 0)
    await engine.queue("hello").cancel(job.id)


async def test_a_job_that_enqueues_itself_for_ever_is_noticed(engine: Engine, registry: Registry) -> None:
    """With its name in the message."""

    @registry.job("again", queue="hello")
    async def again(ctx: JobContext, payload: None) -> None:
        await ctx.enqueue("again")

    await engine.queue("hello").enqueue("again")
    with pytest.raises(AssertionError, match=r"20 jobs ran and there are more; .*again"):
        await run_waiting(engine, at_most=20)
    await engine.queue("hello").operations.clear()


async def test_a_job_without_a_handler_is_parked_and_through_delays_wants_a_manual_clock(
    engine: Engine, redis_url: str
) -> None:
    """Both are told as what they are."""
    async with Engine.connect(redis_url) as producer:
        await producer.queue("hello").enqueue("unknown")
    engine.registry.job("known", queue="hello")(_nothing)
    assert [(one.name, one.outcome) for one in await run_waiting(engine)] == [("unknown", "parked")]
    with pytest.raises(ConfigurationError, match="ManualClock"):
        await run_waiting(engine, through_delays=True)
    await engine.queue("hello").operations.clear()


# -- the clock --------------------------------------------------------------------------------------------------------


async def test_the_clock_stands_until_it_is_moved_and_never_goes_back() -> None:
    """Illegal moves are refused by name."""
    clock = ManualClock(START)
    clock.advance(1.5)
    assert clock.now == START + timedelta(seconds=1.5)
    clock.move_to(START + timedelta(days=1))
    assert repr(clock) == "<ManualClock 2026-03-02T12:00:00+00:00>"
    with pytest.raises(ConfigurationError, match="wanted nothing before"):
        clock.move_to(START)
    for wrong in (-1, float("nan"), float("inf"), True):
        with pytest.raises(ConfigurationError, match="wanted seconds from 0"):
            clock.advance(wrong)
    with pytest.raises(ConfigurationError, match="time zone"):
        ManualClock(datetime(2026, 3, 1))
    assert abs(ManualClock().now - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_running_worker_is_woken_by_the_clock_and_keeps_its_lease_through_leaps(
    timed: Engine, registry: Registry, clock: ManualClock
) -> None:
    """Hours pass in one call, and a sweep finds nobody dead."""
    registry.job("later", queue="hello")(_nothing)
    queue = timed.queue("hello")
    async with Worker(queue) as worker:
        name = worker.name
        job = await queue.enqueue("later", delay=3600)
        for _ in range(4):
            clock.advance(900)
            await Sweeper([queue], interval_ms=1).run_once()
        await job.result(timeout=10)
        clock.advance(86_400)
        await Sweeper([queue], interval_ms=1).run_once()
        await (await queue.enqueue("later")).result(timeout=10)
        assert worker.name == name


async def test_debounce_throttle_expiry_and_rates_follow_the_clock(
    timed: Engine, registry: Registry, clock: ManualClock
) -> None:
    """Each is due when the clock says so."""

    @registry.job("save", queue="hello")
    async def save(ctx: JobContext, payload: int) -> int:
        return payload

    queue = timed.queue("hello")
    for n in (1, 2):
        await queue.enqueue("save", n, unique=Unique("d", "debounce", period=10))
        clock.advance(6)
    assert await run_waiting(timed) == []
    clock.advance(4)
    assert said(await run_waiting(timed)) == [("save", "completed", 2)]

    throttle = Unique("t", "throttle", period=60)
    assert (await queue.enqueue("save", 3, unique=throttle)).created
    clock.advance(59)
    assert not (await queue.enqueue("save", 4, unique=throttle)).created
    clock.advance(1)
    assert (await queue.enqueue("save", 5, unique=throttle)).created
    assert [one.result for one in await run_waiting(timed)] == [3, 5]

    expiring = await queue.enqueue("save", 6, expires=30)
    clock.advance(31)
    await run_waiting(timed)
    info = await expiring.info()
    assert info is not None
    assert info.error is not None
    assert (info.state, info.error.type) == (JobState.FAILED, "Expired")

    await queue.limits.set_queue(Limit(starts=2, period=60))
    await queue.enqueue_many([("save", n) for n in range(5)])
    assert len(await run_waiting(timed)) == 2
    clock.advance(60)
    assert len(await run_waiting(timed)) == 2
    clock.advance(60)
    assert len(await run_waiting(timed)) == 1


async def test_schedules_fire_by_the_clock_inline_and_under_a_supervisor(
    timed: Engine, registry: Registry, clock: ManualClock, wait_until: WaitUntil
) -> None:
    """The hour comes when the test says so."""
    hours: list[int] = []

    @registry.job("hourly", queue="hello")
    async def hourly(ctx: JobContext, payload: Any) -> None:
        hours.append(clock.now.hour)

    def fired(hour: int) -> bool:
        return hours[-1] == hour

    await timed.schedules.upsert(Schedule(name="every-hour", job="hourly", cron="0 * * * *"))
    assert await run_waiting(timed) == []
    clock.move_to(START + timedelta(hours=1))
    assert [one.id for one in await run_waiting(timed)] == ["every-hour-20260301T130000Z"]
    async with Supervisor(timed, schedules=None):
        for hour in (14, 15):
            clock.advance(3600)
            await wait_until(partial(fired, hour), f"the schedule of {hour} fires")
    assert hours == [13, 14, 15]
    await timed.schedules.remove("every-hour")


async def test_a_running_worker_follows_the_clock_in_all_that_it_waits_for(
    timed: Engine, registry: Registry, clock: ManualClock, wait_until: WaitUntil
) -> None:
    """Retries, debounces, rates, rests and expiry, as with Redis's own clock but without the waiting."""
    at: list[tuple[int, float]] = []

    @registry.job("note", queue="hello", retry=RetryPolicy(attempts=2, base=600), key=lambda payload: "tenant")
    async def note(ctx: JobContext, payload: int) -> int:
        at.append((payload, (clock.now - START).total_seconds()))
        if payload == 1 and ctx.attempt == 1:
            raise OSError
        if payload == 2 and len([number for number, _ in at if number == 2]) == 1:
            raise Limited(1200)
        return payload

    queue = timed.queue("hello")

    async def delayed() -> int:
        return (await queue.counts()).delayed

    async def rests() -> float | None:
        return (await queue.limits.of_key("tenant")).free_in

    async with Worker(queue):
        retried = await queue.enqueue("note", 1)
        await wait_until(delayed, "the retry waits")
        clock.advance(599)
        expired = await queue.enqueue("note", 0, delay=1000, expires=10)
        clock.advance(1)
        assert await retried.result(timeout=10) == 1
        rested = await queue.enqueue("note", 2)
        await wait_until(rests, "the key rests")
        clock.advance(1199)
        clock.advance(1)
        assert await rested.result(timeout=10) == 2
        with pytest.raises(JobFailed, match="Expired"):
            await expired.result(timeout=10)
        debounced = await queue.enqueue("note", 3, unique=Unique("d", "debounce", period=3600))
        clock.advance(3600)
        assert await debounced.result(timeout=10) == 3
        await queue.limits.set_queue(Limit(starts=1, period=7200))
        first, second = await queue.enqueue_many([("note", 4), ("note", 5)])
        await first.result(timeout=10)
        clock.advance(7200)
        assert await second.result(timeout=10) == 5
    assert at == [(1, 0), (1, 600), (2, 600), (2, 1800), (3, 5400), (4, 5400), (5, 12600)]


async def test_retention_by_age_follows_the_clock_when_it_is_tidied(
    timed: Engine, registry: Registry, clock: ManualClock
) -> None:
    """A record goes an hour after its end, and not a second before."""
    registry.queue("hello", retention=Retention(completed_age=3600))
    registry.job("go", queue="hello")(_nothing)
    queue = timed.queue("hello")
    job = await queue.enqueue("go")
    await run_waiting(timed)
    for seconds, kept in ((3599, True), (2, False)):
        clock.advance(seconds)
        await queue.operations.tidy()
        assert (await job.info() is not None) is kept


async def test_hooks_are_told_of_failures_outside_of_runs_and_what_they_enqueue_runs(
    timed: Engine, registry: Registry, clock: ManualClock
) -> None:
    """An expired job never runs; its hook is called all the same, before `run_waiting` returns."""

    async def alarm(ctx: JobContext, record: Record) -> None:
        await ctx.enqueue("alarm", record.error.type if record.error else None)

    registry.job("late", queue="hello", on_failure=alarm)(_nothing)

    @registry.job("alarm", queue="hello")
    async def alarmed(ctx: JobContext, payload: str) -> str:
        return payload

    await run_waiting(timed)  # from now on the hook is known in Redis
    await timed.queue("hello").enqueue("late", expires=30)
    clock.advance(31)
    assert said(await run_waiting(timed))[-1] == ("alarm", "completed", "Expired")


async def test_a_blocking_client_shares_the_clock(
    timed: Engine, registry: Registry, redis_url: str, clock: ManualClock
) -> None:
    """What it delays is due by it."""
    registry.job("later", queue="hello")(_nothing)
    with SyncEngine.connect(redis_url, registry=registry, clock=clock) as blocking:
        await asyncio.to_thread(blocking.queue("hello").enqueue, "later", delay=60)
    assert await run_waiting(timed) == []
    clock.advance(60)
    assert said(await run_waiting(timed)) == [("later", "completed", None)]
