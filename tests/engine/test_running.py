"""Proves what a running job may tell, what it is told, and what stands around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dhanam_jobs.engine import (
    Engine,
    JobContext,
    JobFailed,
    JobState,
    Limited,
    Middleware,
    Record,
    Registry,
    ResourceScope,
    Retention,
    RetryPolicy,
    Supervisor,
    Worker,
    defaults,
)
from dhanam_jobs.engine.inbox import Message
from tests.conftest import WaitUntil


class Gate:
    """A job that says when it began and waits; `stubborn` makes it ignore its first cancellation."""

    def __init__(self, registry: Registry, **options: Any) -> None:
        self.begun: asyncio.Queue[JobContext] = asyncio.Queue()
        self.open = asyncio.Event()
        self.stubborn = False
        registry.job("gate", queue="work", **options)(self.run)

    async def run(self, ctx: JobContext, payload: Any) -> str:
        self.begun.put_nowait(ctx)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            await self.open.wait()
        return "through"


@pytest.fixture
def gate(registry: Registry) -> Gate:
    return Gate(registry, retry=RetryPolicy(attempts=3, base=0))


async def test_a_running_job_is_cancelled_with_its_reason(engine: Engine, gate: Gate) -> None:
    """The handler sees it as a cancellation, the caller as a failure that names the reason; it isn't run again."""
    queue = engine.queue("work")
    async with Worker(queue) as worker, asyncio.timeout(20):
        job = await queue.enqueue("gate", 1)
        ctx = await gate.begun.get()
        assert await queue.cancel(job.id, reason="not needed") is JobState.ACTIVE
        with pytest.raises(JobFailed, match="ended cancelled: Cancelled: not needed"):
            await job.result(timeout=10)
        assert (ctx.cancelled, ctx.interrupted, ctx.reason) == (True, True, "not needed")
        info = await queue.get(job.id)
        assert info is not None
        assert (info.state, info.attempt, info.worker) == (JobState.CANCELLED, 1, worker.name)
        assert [line.type for line in info.errors] == ["Cancelled"]
        assert (await queue.counts()).cancelled == 1
    assert gate.begun.empty()


async def test_jobs_cancelled_before_they_run_never_run(engine: Engine, gate: Gate) -> None:
    """Many in one call; an unknown one is nothing."""
    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("gate", n) for n in range(5)])
    verdicts = await queue.cancel_many([*(job.id for job in jobs), "nobody"])
    assert verdicts == [JobState.CANCELLED] * 5 + [None]
    async with Worker(queue):
        last = await queue.enqueue("gate", 9)
        gate.open.set()
        assert await last.result(timeout=10) == "through"
    assert gate.begun.qsize() == 1


async def test_a_handler_that_ignores_its_cancellation_is_visible(
    engine: Engine, gate: Gate, wait_until: WaitUntil
) -> None:
    """The job says that it should have ended; when it completes, it has completed."""
    gate.stubborn = True
    queue = engine.queue("work")
    async with Worker(queue) as worker, asyncio.timeout(20):
        job = await queue.enqueue("gate", 1)
        ctx = await gate.begun.get()
        await queue.cancel(job.id, reason="please")
        await wait_until(lambda: ctx.cancelled, "it is told")
        info = await queue.get(job.id)
        assert info is not None
        assert (info.state, info.cancelling) == (JobState.ACTIVE, "please")
        assert worker.lanes[0].doing()["interrupted"] == {job.id: "cancelled"}
        gate.open.set()
        assert await job.result(timeout=10) == "through"
    assert (await queue.counts()).cancelled == 0


async def test_a_cancellation_whose_message_was_lost_is_found_by_asking(
    engine: Engine, gate: Gate, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark at the job stays; a worker that heard nothing looks for marks."""
    monkeypatch.setattr(defaults, "INBOX_WAIT", 0.05)
    queue = engine.queue("work")
    async with Worker(queue) as worker, asyncio.timeout(20):
        job = await queue.enqueue("gate", 1)
        await gate.begun.get()
        await engine.redis.hset(f"{queue.root}:cancelling", job.id, '{"at_ms":"1","reason":"found"}')
        with pytest.raises(JobFailed, match="found"):
            await job.result(timeout=10)
        assert worker.running == 0


async def test_a_cancellation_that_overtakes_the_claim_is_kept_for_it(engine: Engine, gate: Gate) -> None:
    """A worker that hears of a claim which it does not know yet cancels it when it comes, without running it."""
    queue = engine.queue("work")
    async with Worker(queue) as worker, asyncio.timeout(20):
        worker.pause()
        job = await queue.enqueue("gate", 1)
        level, _, entry = job.id.partition("-")
        worker._told(0, Message(cancel=job.id, place=f"waiting:{level}", entry=entry, reason="early"))
        worker.resume()
        with pytest.raises(JobFailed, match="early"):
            await job.result(timeout=10)
    assert gate.begun.empty()


async def test_a_thread_sees_its_cancellation(engine: Engine, registry: Registry) -> None:
    """It can't be stopped, but it may look."""

    @registry.job("spin", queue="work")
    def spin(ctx: JobContext, payload: None) -> None:
        begun.set()
        while not ctx.cancelled:
            pause.wait(0.005)

    begun, pause = threading.Event(), threading.Event()
    queue = engine.queue("work")
    async with Worker(queue):
        job = await queue.enqueue("spin", None)
        await asyncio.to_thread(begun.wait, 10)
        await queue.cancel(job.id, reason="stop")
        with pytest.raises(JobFailed, match="stop"):
            await job.result(timeout=10)


async def test_progress_and_log_are_kept_with_the_job(engine: Engine, registry: Registry) -> None:
    """From the loop and from a thread; all that was logged is there when the job has ended."""

    @registry.job("loop", queue="work")
    async def loop(ctx: JobContext, payload: int) -> None:
        for n in range(payload):
            ctx.log(f"line {n}")
        await ctx.progress({"at": "half"})
        ctx.log("last")

    @registry.job("thread", queue="work")
    def thread(ctx: JobContext, payload: int) -> str:
        ctx.log("from a thread")
        ctx.progress_sync(0.5)
        return ctx.enqueue_sync("loop", 1)

    queue = engine.queue("work")
    async with Worker(queue):
        first, second = await queue.enqueue("loop", 1200), await queue.enqueue("thread", 1)
        await first.result(timeout=10)
        assert await queue.get(await second.result(timeout=10)) is not None
    notes = await queue.notes(first.id)
    assert notes.progress == {"at": "half"}
    assert notes.logged == len(notes.lines) == 1000
    assert (notes.lines[0].text, notes.lines[-1].text, notes.lines[-1].attempt) == ("line 201", "last", 1)
    assert [line.text for line in (await queue.notes(first.id, -2, 1)).lines] == ["line 1199"]
    notes = await queue.notes(second.id)
    assert (notes.progress, notes.logged) == (0.5, 1)


async def test_a_jobs_own_options_replace_its_rows(engine: Engine, registry: Registry) -> None:
    """Time limit, retry policy and retention, each for this job alone."""
    runs = []

    @registry.job("slow", queue="work", retry=RetryPolicy(attempts=1), timeout=60)
    async def slow(ctx: JobContext, payload: int) -> None:
        runs.append(payload)
        await asyncio.sleep(60)

    queue = engine.queue("work")
    async with Worker(queue):
        job = await queue.enqueue("slow", 1, timeout=0.02, retry=RetryPolicy(attempts=2, base=0))
        with pytest.raises(JobFailed, match=r"longer than 0\.02 s"):
            await job.result(timeout=10)
        unkept = await queue.enqueue("slow", 2, timeout=0.02, retention=Retention(failed=0))
        with pytest.raises(JobFailed):
            await unkept.result(timeout=10)
    assert runs == [1, 1, 2]
    assert await engine.redis.hkeys(f"{queue.root}:ended") == [job.id.encode()]
    assert (await queue.counts()).failed == 2


async def test_a_job_that_expired_is_failed_without_being_run(engine: Engine, registry: Registry) -> None:
    """One that was started before goes on to its retries."""
    runs = []

    @registry.job("late", queue="work", retry=RetryPolicy(attempts=2, base=0.02))
    async def late(ctx: JobContext, payload: int) -> None:
        runs.append(payload)
        if ctx.attempt == 1:
            raise ValueError("once")

    queue = engine.queue("work")
    expired = await queue.enqueue("late", 1, expires=datetime.now(UTC) - timedelta(seconds=1))
    async with Worker(queue):
        with pytest.raises(JobFailed, match="Expired"):
            await expired.result(timeout=10)
        started = await queue.enqueue("late", 2, expires=5)
        await started.result(timeout=10)
        info = await queue.get(expired.id)
    assert runs == [2, 2]
    assert info is not None
    assert (info.attempt, info.errors) == (0, [])


async def test_an_expired_job_is_in_the_metrics_of_its_name(engine: Engine, registry: Registry) -> None:
    """Although no worker was given it: it failed, and neither ran nor waited."""

    @registry.job("late", queue="work")
    async def late(ctx: JobContext, payload: int) -> None: ...

    queue = engine.queue("work")
    expired = await queue.enqueue("late", 1, expires=datetime.now(UTC) - timedelta(seconds=1))
    async with Worker(queue):
        with pytest.raises(JobFailed, match="Expired"):
            await expired.result(timeout=10)
    rows = await engine.metrics("work", name="late")
    assert sum(row.counts.failed for row in rows) == 1
    assert sum(row.counts.attempts for row in rows) == 0


@pytest.mark.parametrize("limited", [False, True])
async def test_a_job_that_was_started_in_time_and_handed_back_does_not_expire(
    engine: Engine, registry: Registry, limited: bool
) -> None:
    """Its worker stopped, or somebody asked for a rest: the promise was kept by its first start."""
    begun, runs = asyncio.Event(), []

    @registry.job("slow", queue="work")
    async def slow(ctx: JobContext, payload: int) -> None:
        runs.append(payload)
        begun.set()
        if len(runs) == 1:
            if limited:
                raise Limited(0.6, scope="queue")
            await asyncio.Event().wait()

    queue = engine.queue("work")
    job = await queue.enqueue("slow", 1, expires=0.5)
    async with Worker(queue, drain_timeout=0), asyncio.timeout(10):
        await begun.wait()
    await asyncio.sleep(0.6)  # its moment passes
    async with Worker(queue):
        await job.result(timeout=10)
    assert runs == [1, 1]


async def test_a_retry_says_what_it_failed_with(engine: Engine, registry: Registry, wait_until: WaitUntil) -> None:
    """While it waits for its next attempt: the error, a bounded traceback, a line of history."""

    @registry.job("fail", queue="work", retry=RetryPolicy(attempts=2, base=3600))
    async def fail(ctx: JobContext, payload: int) -> None:
        raise ValueError("x" * 10_000)

    queue = engine.queue("work")
    async with Worker(queue):
        job = await queue.enqueue("fail", 1)

        async def delayed() -> bool:
            info = await queue.get(job.id)
            return info is not None and info.state is JobState.DELAYED

        await wait_until(delayed, "it waits for its retry")
    info = await queue.get(job.id)
    assert info is not None
    assert info.error is not None
    assert info.error.type == "ValueError"
    assert len(info.error.traceback or "") == defaults.RETRY_TRACEBACK_BYTES
    assert len(info.errors[0].message) == 1000
    await queue.cancel(job.id)


async def test_a_back_off_is_asked_with_error_and_payload(engine: Engine, registry: Registry) -> None:
    """A permanent error isn't retried at all."""
    asked = []

    def backoff(failures: int, error: BaseException, payload: Any) -> float:
        asked.append((failures, str(error), payload))
        return 0.0

    policy = RetryPolicy(attempts=5, backoff=backoff, permanent=(KeyError,))

    @registry.job("fail", queue="work", retry=policy)
    async def fail(ctx: JobContext, payload: int) -> None:
        if ctx.attempt == 2:
            raise KeyError("for good")
        raise ValueError("for now")

    queue = engine.queue("work")
    async with Worker(queue):
        job = await queue.enqueue("fail", 7)
        with pytest.raises(JobFailed, match="for good"):
            await job.result(timeout=10)
    assert asked == [(1, "for now", 7)]


async def test_middleware_stands_around_every_run(engine: Engine, registry: Registry) -> None:
    """The first is the outermost; it may change payload, result and error, for handlers of every kind."""
    order = []

    class Layer(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def run(self, ctx: JobContext, payload: Any, proceed: Any) -> Any:
            order.append(f"{self.name} before {ctx.job.name}")
            try:
                return f"{self.name}({await proceed(ctx, payload + 1)})"
            except ValueError as error:
                raise KeyError(self.name) from error

    registry.use(Layer("a"), Middleware(), Layer("b"))

    @registry.job("loop", queue="work", retry=RetryPolicy(attempts=1))
    async def loop(ctx: JobContext, payload: int) -> int:
        if payload > 10:
            raise ValueError("too many")
        return payload

    @registry.job("thread", queue="work")
    def thread(ctx: JobContext, payload: int) -> int:
        return payload

    queue = engine.queue("work")
    async with Worker(queue):
        assert await (await queue.enqueue("loop", 1)).result(timeout=10) == "a(b(3))"
        assert await (await queue.enqueue("thread", 1)).result(timeout=10) == "a(b(3))"
        with pytest.raises(JobFailed, match="KeyError"):
            await (await queue.enqueue("loop", 10)).result(timeout=10)
    assert order[:2] == ["a before loop", "b before loop"]


async def test_hooks_are_told_of_a_final_failure_and_only_of_that(engine: Engine, registry: Registry) -> None:
    """The job's own and the middleware's, once it counts; they may enqueue, and their own errors harm nobody."""
    told: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()

    class Watch(Middleware):
        async def failed(self, ctx: JobContext, record: Record) -> None:
            assert record.error is not None
            told.put_nowait(("watch", record.error.message, record.attempt))
            await ctx.enqueue("well", 1)

    registry.use(Watch())

    def own(ctx: JobContext, record: Record) -> None:
        raise RuntimeError("a hook's own mistake")

    @registry.job("fail", queue="work", retry=RetryPolicy(attempts=2, base=0), on_failure=own)
    async def fail(ctx: JobContext, payload: int) -> None:
        raise ValueError(f"attempt {ctx.attempt}")

    @registry.job("well", queue="work")
    async def well(ctx: JobContext, payload: int) -> None:
        told.put_nowait(("well", "", 0))

    queue = engine.queue("work")
    async with Worker(queue), asyncio.timeout(20):
        await queue.enqueue("fail", 1)
        assert await told.get() == ("watch", "attempt 2", 2)
        assert (await told.get())[0] == "well"
    assert told.empty()


async def test_resources_are_opened_before_the_first_job_and_closed_after_the_last(
    engine: Engine, registry: Registry
) -> None:
    """Once for all workers of a supervisor, however they are given."""
    registry.queue("other")
    told = []

    @asynccontextmanager
    async def open_store() -> AsyncIterator[str]:
        told.append("open")
        yield "store"
        told.append("close")

    @registry.job("use", queue="work")
    async def use(ctx: JobContext, payload: int) -> Any:
        told.append("run")
        return ctx.resources

    async with Supervisor(engine, resources=open_store) as supervisor:
        assert len(supervisor.workers) == 2
        assert await (await engine.queue("work").enqueue("use", 1)).result(timeout=10) == "store"
    assert told == ["open", "run", "close"]


@pytest.mark.parametrize("given", ["value", "manager", "function", "coroutine function"])
async def test_a_scope_takes_whatever_it_is_given(given: str) -> None:
    """It opens at its first user and closes after its last."""
    told = []

    class Manager:
        def __enter__(self) -> str:
            told.append("open")
            return "thing"

        def __exit__(self, *_: object) -> None:
            told.append("close")

    async def make() -> str:
        return "thing"

    def make_manager() -> Manager:
        return Manager()

    choices = {"value": "thing", "manager": Manager(), "function": make_manager, "coroutine function": make}
    scope = ResourceScope(choices[given])
    assert [await scope.open(), await scope.open()] == ["thing", "thing"]
    await scope.close()
    assert "close" not in told
    await scope.close()
    assert told in (["open", "close"], [])


async def test_resources_that_can_not_be_opened_stop_the_worker_from_starting(
    engine: Engine, registry: Registry
) -> None:
    """The error is the caller's, and nothing of the worker is left in Redis."""
    registry.queue("work")

    def refuse() -> None:
        raise OSError("no store")

    with pytest.raises(OSError, match="no store"):
        await Worker(engine.queue("work"), resources=refuse).start()
    assert (await engine.queue("work").counts()).workers == 0


async def test_concurrency_changes_while_jobs_run(engine: Engine, gate: Gate, wait_until: WaitUntil) -> None:
    """More slots take more at once; fewer let what runs end first. By message it works from anywhere."""
    queue = engine.queue("work")
    async with Worker(queue, concurrency=1) as worker:
        jobs = await queue.enqueue_many([("gate", n) for n in range(4)])
        await wait_until(lambda: worker.running == 1, "one runs")
        assert await queue.worker(worker.name).set_concurrency(3)
        await wait_until(lambda: worker.running == 3, "three run")
        worker.set_concurrency(1)
        assert (await queue.counts()).waiting == 1
        gate.open.set()
        assert [await job.result(timeout=10) for job in jobs] == ["through"] * 4
        assert worker.concurrency == 1


async def test_one_worker_pauses_without_the_others(engine: Engine, gate: Gate, wait_until: WaitUntil) -> None:
    """The other takes all; after its resume it takes jobs again."""
    gate.open.set()
    queue = engine.queue("work")
    async with Worker(queue) as first, Worker(queue) as second:
        remote = queue.worker(first.name)
        assert await remote.pause()
        await wait_until(lambda: first.paused, "it was told")
        jobs = await queue.enqueue_many([("gate", n) for n in range(20)])
        for job in jobs:
            await job.result(timeout=10)
        workers = {info.worker for job in jobs if (info := await queue.get(job.id)) is not None}
        assert workers == {second.name}
        second.pause()
        assert await remote.resume()
        last = await queue.enqueue("gate", 1)
        assert await last.result(timeout=10) == "through"
    assert not await queue.worker("nobody").pause()


async def test_a_supervisor_drains_by_message(engine: Engine, gate: Gate, wait_until: WaitUntil) -> None:
    """It stops accepting, ends what runs, and its workers leave."""
    queue = engine.queue("work")
    supervisor = Supervisor(engine)
    await supervisor.start()
    job = await queue.enqueue("gate", 1)
    await gate.begun.get()
    assert await queue.worker(supervisor.workers[0].name).drain()
    await wait_until(lambda: not supervisor.accepting_jobs, "it was told")
    gate.open.set()
    assert await job.result(timeout=10) == "through"
    await supervisor.drain()
    assert (await queue.counts()).workers == 0
