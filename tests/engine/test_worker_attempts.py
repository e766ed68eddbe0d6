"""Proves what follows from an attempt: retries and their due times, signals, time limits, and what is told of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Discard,
    Engine,
    JobContext,
    JobFailed,
    JobInfo,
    JobState,
    Limited,
    Queue,
    Registry,
    RetryLater,
    RetryPolicy,
    Snooze,
    Worker,
)
from tests.engine.conftest import Hands, Keys

if TYPE_CHECKING:
    from tests.conftest import WaitUntil

Step = Callable[[JobContext], Awaitable[Any]]


class Play:
    """A queue whose handler does what the test says, attempt by attempt."""

    def __init__(self, queue: Queue, wait_until: WaitUntil) -> None:
        self.queue = queue
        self.steps: list[Any] = []
        self.attempts: list[int] = []
        self._wait_until = wait_until

    async def handle(self, ctx: JobContext) -> Any:
        """Does the next step: raises it if it is an error, else returns it."""
        self.attempts.append(ctx.attempt)
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    async def state(self, job_id: str, state: JobState, attempts: int) -> JobInfo:
        """The job once it is in that state after so many executions in all."""

        async def look() -> JobInfo | None:
            info = await self.queue.get(job_id)
            assert info is not None
            return info if info.state is state and len(self.attempts) == attempts else None

        found = await self._wait_until(look, f"{job_id} {state} after {attempts} executions")
        assert isinstance(found, JobInfo)
        return found


@pytest.fixture
def play(engine: Engine, registry: Registry, wait_until: WaitUntil) -> Play:
    """A queue with the default retry policy."""
    registry.queue("play", concurrency=1)
    play = Play(engine.queue("play"), wait_until)

    @registry.job("act", queue="play")
    async def act(ctx: JobContext, payload: Any) -> Any:
        return await play.handle(ctx)

    return play


async def test_a_failed_job_is_retried_after_5_and_10_seconds_and_then_fails(play: Play, hands: Hands) -> None:
    """Three executions; the id stays; the history has a line for each."""
    play.steps = [ValueError("one"), KeyError("two"), ValueError("three")]
    job = await play.queue.enqueue("act", 7)
    async with Worker(play.queue):
        for attempt, wait in ((1, 5), (2, 10)):
            info = await play.state(job.id, JobState.DELAYED, attempt)
            assert (info.due_ms, info.attempt) == (hands.now + wait * 1000, attempt)
            await hands.advance(play.queue, wait)
        info = await play.state(job.id, JobState.FAILED, 3)
    assert play.attempts == [1, 2, 3]
    assert info.error is not None
    assert (info.error.type, info.error.message, info.attempt) == ("ValueError", "three", 3)
    assert "test_worker_attempts.py" in (info.error.traceback or "")
    assert [(line.attempt, line.type) for line in info.errors] == [
        (1, "ValueError"),
        (2, "KeyError"),
        (3, "ValueError"),
    ]
    assert (await play.queue.stats()).failed == 1


async def test_a_retry_that_succeeds_completes_the_job(play: Play, hands: Hands) -> None:
    """Its record keeps the history, and it counts as completed alone."""
    play.steps = [ValueError("one"), "well"]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        await play.state(job.id, JobState.DELAYED, 1)
        await hands.advance(play.queue, 5)
        info = await play.state(job.id, JobState.COMPLETED, 2)
    assert (info.attempt, [line.message for line in info.errors]) == (2, ["one"])
    stats = await play.queue.stats()
    assert (stats.completed, stats.failed, stats.delayed) == (1, 0, 0)


async def test_discard_fails_at_once_with_its_reason(play: Play) -> None:
    """No retry, no traceback."""
    play.steps = [Discard("card closed")]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        with pytest.raises(JobFailed, match="Discard: card closed"):
            await job.result(timeout=10)
    info = await job.info()
    assert info is not None
    assert info.error is not None
    assert (info.attempt, info.error.traceback) == (1, None)


async def test_retry_later_chooses_the_wait_and_costs_an_attempt(play: Play, hands: Hands) -> None:
    """After the last attempt it fails as any other error."""
    play.steps = [RetryLater(77), RetryLater(1), RetryLater(1, "still closed")]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        info = await play.state(job.id, JobState.DELAYED, 1)
        assert info.due_ms == hands.now + 77_000
        await hands.advance(play.queue, 77)
        await play.state(job.id, JobState.DELAYED, 2)
        await hands.advance(play.queue, 1)
        info = await play.state(job.id, JobState.FAILED, 3)
    assert info.error is not None
    assert info.error.message == "still closed"


async def test_snooze_costs_no_attempt(play: Play, hands: Hands) -> None:
    """The next execution is the same attempt."""
    play.steps = [Snooze(30), Snooze(0.5), ValueError("x"), "well"]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        info = await play.state(job.id, JobState.DELAYED, 1)
        assert (info.due_ms, info.attempt, info.snoozes) == (hands.now + 30_000, 0, 1)
        await hands.advance(play.queue, 30)
        await play.state(job.id, JobState.DELAYED, 2)
        await hands.advance(play.queue, 0.5)
        info = await play.state(job.id, JobState.DELAYED, 3)
        assert info.due_ms == hands.now + 5000
        await hands.advance(play.queue, 5)
        info = await play.state(job.id, JobState.COMPLETED, 4)
    assert play.attempts == [1, 1, 1, 2]
    assert info.snoozes == 2


@pytest.mark.parametrize(
    ("result", "kind"),
    [(object(), "ResultNotEncodable"), ({1: {object()}}, "ResultNotEncodable"), ("x" * 1_000_000, "ResultTooLarge")],
)
async def test_a_result_that_cannot_be_kept_fails_the_job_with_that_reason(
    play: Play, result: object, kind: str
) -> None:
    """At once: running it again would give the same."""
    play.steps = [result]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        with pytest.raises(JobFailed) as failed:
            await job.result(timeout=10)
    assert failed.value.error_type == kind
    assert play.attempts == [1]


class Mute(Exception):
    """An error that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Speechless(Exception):
    """An error whose text ends more than an attempt."""

    def __str__(self) -> str:
        raise SystemExit("no words")


class Foundation(BaseException):
    """An error that `except Exception` doesn't catch, as those of test libraries and other frameworks."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("caf\udce9.csv"),
        Mute(),
        Speechless(),
        asyncio.CancelledError(),
        Foundation("deep"),
        SystemExit(2),
        BaseExceptionGroup("several", [Foundation("deep"), ValueError("x")]),
        StopIteration("it"),
    ],
)
async def test_an_odd_error_ends_the_attempt_and_neither_slot_nor_job_is_lost(
    play: Play, hands: Hands, error: BaseException
) -> None:
    """Texts that are no UTF-8, errors without a text, what is no Exception: each is a failed attempt."""
    play.steps = [error, "well", "next"]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        info = await play.state(job.id, JobState.DELAYED, 1)
        assert len(info.errors) == 1
        await hands.advance(play.queue, 5)
        await play.state(job.id, JobState.COMPLETED, 2)
        assert await (await play.queue.enqueue("act")).result(timeout=10) == "next"


@pytest.mark.parametrize("error", [StopIteration("it"), Foundation("deep"), SystemExit(2)])
async def test_an_odd_error_in_a_thread_ends_the_attempt_and_frees_its_slot(
    engine: Engine, registry: Registry, error: BaseException
) -> None:
    """A future takes no StopIteration: without care the slot would be taken for ever, past its time limit too."""

    @registry.job("odd", queue="threads", retry=RetryPolicy(attempts=1))
    def odd(ctx: JobContext, payload: bool) -> str:
        if payload:
            raise error
        return "well"

    queue = engine.queue("threads")
    async with Worker(queue, concurrency=1):
        job = await queue.enqueue("odd", True)
        with pytest.raises(JobFailed):
            await job.result(timeout=10)
        assert await (await queue.enqueue("odd", False)).result(timeout=10) == "well"


async def test_an_error_text_of_megabytes_is_kept_up_to_4096_characters(play: Play) -> None:
    """Fifty failed records and ten thousand dead letters must not hold whole answers of a provider."""
    play.steps = [Discard("m" * 5_000_000)]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        with pytest.raises(JobFailed) as failed:
            await job.result(timeout=10)
    assert failed.value.reason == "m" * 4096


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, True, "soon", None, 1e10])
@pytest.mark.parametrize("signal", [Snooze, RetryLater, Limited])
def test_a_wait_that_is_no_time_is_refused_where_it_is_given(signal: Any, seconds: Any) -> None:
    """The handler's attempt fails by it, with a text that says what was wrong."""
    with pytest.raises(ConfigurationError, match=f"{signal.__name__}: .* wanted seconds from 0 to ten years"):
        signal(seconds)


def test_a_limit_of_an_unknown_scope_is_refused_where_it_is_given() -> None:
    """It would have been taken for the queue's."""
    with pytest.raises(ConfigurationError, match="scope 'galaxy': wanted 'key' or 'queue'"):
        Limited(1, "galaxy")  # type: ignore[arg-type]


async def test_a_message_that_is_no_utf8_is_kept_as_far_as_it_goes(play: Play) -> None:
    """The name of a file that came as bytes is still told."""
    play.steps = [Discard("caf\udce9.csv")]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        with pytest.raises(JobFailed, match=r"Discard: caf\\udce9\.csv"):
            await job.result(timeout=10)


async def test_a_payload_that_no_longer_fits_its_type_fails_at_once(
    engine: Engine, registry: Registry, redis_url: str
) -> None:
    """It was enqueued by another release; retrying it would not help."""

    @registry.job("strict", queue="strict")
    async def strict(ctx: JobContext, payload: dict[str, int]) -> None:
        raise AssertionError("never called")

    async with Engine.connect(redis_url) as other:
        job = await other.queue("strict").enqueue("strict", {"a": "text"})
        async with Worker(engine.queue("strict")):
            with pytest.raises(JobFailed, match="Expected `int`"):
                await job.result(timeout=10)


async def test_an_attempt_past_its_time_limit_is_cancelled_and_fails(engine: Engine, registry: Registry) -> None:
    """The handler sees a cancellation, and the reason names the limit."""
    seen = asyncio.Event()

    @registry.job("slow", queue="slow", timeout=0.05, retry=RetryPolicy(attempts=1))
    async def slow(ctx: JobContext, payload: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.set()
            raise

    queue = engine.queue("slow")
    async with Worker(queue):
        job = await queue.enqueue("slow")
        with pytest.raises(JobFailed, match=r"TimeoutError: the attempt took longer than 0\.05 s"):
            await job.result(timeout=10)
    assert seen.is_set()


async def test_a_thread_past_its_time_limit_keeps_its_slot_until_it_ends(
    engine: Engine, registry: Registry, wait_until: WaitUntil
) -> None:
    """No retry and no other job starts beside it; when it ends, its attempt has failed."""
    go, ran = threading.Event(), []
    contexts: list[JobContext] = []

    @registry.job("block", queue="block", timeout=0.05, retry=RetryPolicy(attempts=1))
    def block(ctx: JobContext, payload: int) -> str:
        contexts.append(ctx)
        ran.append(payload)
        if payload == 1:
            go.wait(30)
        return "too late" if payload == 1 else "well"

    queue = engine.queue("block")
    async with Worker(queue, concurrency=1):
        first, second = await queue.enqueue("block", 1), await queue.enqueue("block", 2)
        await wait_until(lambda: contexts and contexts[0].interrupted, "the time limit has passed")
        counts = await queue.counts()
        assert (ran, counts.active, counts.waiting) == ([1], 1, 1)
        go.set()
        with pytest.raises(JobFailed, match="TimeoutError"):
            await first.result(timeout=10)
        assert await second.result(timeout=10) == "well"


async def test_a_plain_function_runs_in_a_thread_and_its_errors_are_retried(engine: Engine, registry: Registry) -> None:
    """The loop goes on meanwhile."""
    loop_thread = threading.get_ident()

    @registry.job("sync", queue="sync", retry=RetryPolicy(attempts=2, base=0))
    def sync(ctx: JobContext, payload: Any) -> bool:
        if ctx.attempt == 1:
            raise ValueError("first")
        return threading.get_ident() != loop_thread

    queue = engine.queue("sync")
    async with Worker(queue):
        assert await (await queue.enqueue("sync")).result(timeout=10) is True


async def test_each_state_that_a_job_passes_through_is_an_event_in_order(play: Play, hands: Hands, keys: Keys) -> None:
    """From waiting by way of a retry to completed."""
    play.steps = [ValueError("x"), 1]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        await play.state(job.id, JobState.DELAYED, 1)
        await hands.advance(play.queue, 5)
        await play.state(job.id, JobState.COMPLETED, 2)
    told = [fields for _, fields in await keys.command("XRANGE", f"{play.queue.root}:events", "-", "+")]
    states = [state.decode() for fields in told for state, ids in fields.items() if ids.decode() == job.id]
    assert states == ["waiting", "active", "delayed", "waiting", "active", "completed"]


async def test_a_handler_that_cannot_decode_an_answer_is_retried(play: Play, hands: Hands) -> None:
    """Only the job's own payload is refused at once."""
    play.steps = [msgspec.ValidationError("a provider's answer"), "well"]
    job = await play.queue.enqueue("act")
    async with Worker(play.queue):
        await play.state(job.id, JobState.DELAYED, 1)
        await hands.advance(play.queue, 5)
        await play.state(job.id, JobState.COMPLETED, 2)
