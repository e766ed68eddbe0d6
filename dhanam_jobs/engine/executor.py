"""Runs one claimed job and says how it ended: decode, call, classify, encode. No Redis, no timers.

The worker gives the time limit and the cancellations; this file turns what came of them into an outcome.
"""

from __future__ import annotations

import asyncio
import enum
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from . import defaults
from .context import JobContext
from .errors import Discard, RetryLater, Snooze
from .job import AttemptError, Claim, JobError, Outcome, Record
from .policy import RetryPolicy
from .registry import JobType

_encode = msgspec.json.Encoder().encode
_decode_errors = msgspec.json.Decoder(list[AttemptError]).decode
_NULL = msgspec.Raw(b"null")


class Clock:
    """Redis's time, kept between calls by the monotonic clock of this process."""

    __slots__ = ("_offset_ms",)

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - time.monotonic() * 1000

    def set(self, redis_ms: int) -> None:
        """A reply said what time it is."""
        self._offset_ms = redis_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        """Redis's time, to the accuracy of one trip."""
        return int(time.monotonic() * 1000 + self._offset_ms)


class Cause(enum.Enum):
    """Why the worker cancelled a running handler."""

    TIMEOUT = "timeout"
    RELEASED = "released"
    LOST = "lost"


class Interrupted(Exception):
    """The handler ended by a cancellation of the worker's; carries the cause."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


def kind_of(claim: Claim, kind: str) -> str:
    """The outcome's kind as `settle.lua` takes it: with the unique key behind it where the job holds one."""
    return kind if claim.unique is None else f"{kind} {claim.unique}"


class Executor:
    """Makes outcomes of claims for one worker."""

    def __init__(self, worker_name: str, retry: RetryPolicy, clock: Clock, concurrency: int) -> None:
        self.worker_name = worker_name
        self._retry = retry
        self._clock = clock
        self._concurrency = concurrency
        self._threads: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Lets go of the threads; one that still runs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def call_in_thread(self, job_type: JobType, context: JobContext, payload: Any, stop: Any) -> Any:
        """Runs a plain `def` in a thread and waits for its end.

        A thread can't be stopped: past its time limit the slot stays taken, so that no retry starts beside it.
        `stop()` says whether the worker gives up waiting.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="job")
        future = asyncio.get_running_loop().run_in_executor(self._threads, job_type.handler, context, payload)
        interrupted: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                interrupted = error
                if stop():
                    break
        if interrupted is not None:
            if future.done() and not future.cancelled():
                future.exception()  # retrieved: the interruption is what counts
            raise interrupted
        return future.result()

    def completed(self, claim: Claim, job_type: JobType, value: Any) -> Outcome:
        """The handler returned."""
        if value is None:
            result = _NULL
        else:
            try:
                encoded = _encode(value)
            except (TypeError, ValueError, RecursionError) as error:
                return self._failed(claim, JobError("ResultNotEncodable", f"the result can't be encoded: {error}"))
            if len(encoded) > defaults.MAX_RESULT_BYTES:
                return self._failed(
                    claim,
                    JobError(
                        "ResultTooLarge",
                        f"the result has {len(encoded)} bytes; wanted at most {defaults.MAX_RESULT_BYTES}",
                    ),
                )
            result = msgspec.Raw(encoded)
        return Outcome(claim, kind_of(claim, "completed"), self._record(claim, "completed", result, None))

    def parked(self, claim: Claim) -> Outcome:
        """This process doesn't know the job's name."""
        return Outcome(claim, "parked", b'{"set":{}}')

    def released(self, claim: Claim) -> Outcome:
        """The worker stops before the job has ended; it goes back to the front and costs no attempt."""
        return Outcome(claim, "released", b'{"set":{}}')

    def unfit(self, claim: Claim, error: msgspec.DecodeError) -> Outcome:
        """The payload is none of the job's type: it came from another release, or by hand. A retry would not help."""
        try:
            msgspec.json.decode(claim.payload)
        except msgspec.DecodeError:
            claim.payload = _encode(claim.payload.decode("utf-8", "replace"))  # a record is JSON throughout
        return self._failed(claim, JobError("InvalidPayload", str(error)))

    def raised(self, claim: Claim, job_type: JobType, error: BaseException) -> Outcome:
        """The handler raised; the policy and the kind of error say what comes next."""
        if isinstance(error, Interrupted):
            if error.cause is Cause.RELEASED:
                return self.released(claim)
            error = TimeoutError(f"the attempt took longer than {job_type.timeout} s")
        if isinstance(error, Snooze):
            if claim.snoozes >= defaults.MAX_SNOOZES:
                return self._failed(
                    claim, JobError("TooManySnoozes", f"snoozed {claim.snoozes} times, at most that many are allowed")
                )
            delay_ms = max(0, round(error.delay * 1000))
            return Outcome(claim, "delayed", _encode({"delay": delay_ms, "set": {"snoozes": str(claim.snoozes + 1)}}))
        job_error = JobError(type(error).__name__, _legible(str(error)) or type(error).__name__, _traceback(error))
        policy = job_type.retry or self._retry
        history = self._history(claim, job_error)
        if isinstance(error, Discard) or claim.attempt >= policy.attempts:
            return self._failed(claim, job_error, history)
        delay_ms = round(error.delay * 1000) if isinstance(error, RetryLater) else policy.wait_ms(claim.attempt)
        changes = {"attempt": str(claim.attempt), "errors": _encode(history).decode()}
        return Outcome(claim, "delayed", _encode({"delay": max(0, delay_ms), "set": changes}))

    def _failed(self, claim: Claim, error: JobError, history: list[AttemptError] | None = None) -> Outcome:
        if history is None:
            history = self._history(claim, error)
        body = self._record(claim, "failed", _NULL, error, history)
        return Outcome(claim, kind_of(claim, "failed"), body)

    def _history(self, claim: Claim, error: JobError) -> list[AttemptError]:
        now = self._clock.now_ms()
        history = _errors(claim)
        history.append(
            AttemptError(
                attempt=claim.attempt,
                at_ms=now,
                worker=self.worker_name,
                type=error.type,
                message=error.message[:1000],
                duration_ms=max(0, now - claim.started_ms),
            )
        )
        return history[-defaults.ATTEMPT_HISTORY :]

    def _record(
        self,
        claim: Claim,
        state: str,
        result: msgspec.Raw,
        error: JobError | None,
        errors: list[AttemptError] | None = None,
    ) -> bytes:
        record = Record(
            claim.id,
            claim.name,
            state,
            claim.priority,
            claim.attempt,
            claim.created_ms,
            claim.started_ms,
            self._clock.now_ms(),
            msgspec.Raw(claim.payload),
            self.worker_name,
            result,
        )
        if error is not None:
            record.error = error
        if errors is not None:
            record.errors = errors
        if not claim.plain:
            if errors is None:
                record.errors = _errors(claim)
            record.stalls = claim.stalls
            record.snoozes = claim.snoozes
            record.unique = claim.unique
            record.options = claim.options
            record.meta = claim.meta
        return _encode(record)


def _errors(claim: Claim) -> list[AttemptError]:
    if claim.errors is None:
        return []
    try:
        return _decode_errors(claim.errors)
    except msgspec.DecodeError:
        return []  # an entry written by hand


def _legible(text: str) -> str:
    # A file's name may come with bytes that are no UTF-8; JSON can't hold them.
    return text.encode("utf-8", "backslashreplace").decode()


def _traceback(error: BaseException) -> str | None:
    if isinstance(error, Discard | RetryLater) or error.__traceback__ is None:
        return None
    # The first frame is the worker's own.
    error_traceback = error.__traceback__.tb_next or error.__traceback__
    text = _legible("".join(traceback.format_exception(type(error), error, error_traceback)))
    return text[-defaults.TRACEBACK_BYTES :]
