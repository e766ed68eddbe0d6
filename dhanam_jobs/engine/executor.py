"""Runs one claimed job and says how it ended: decode, call, classify, encode. No Redis, no timers.

The worker gives the time limit and the cancellations; this file turns what came of them into an outcome.
"""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any

import msgspec

from . import defaults
from .context import Cause
from .errors import ConfigurationError, Discard, Limited, ProcessDied, RemoteError, RetryLater, Snooze
from .job import AttemptError, Claim, JobError, Outcome, Record
from .job import history as read_history
from .nesting import too_deep
from .policy import RetryPolicy
from .registry import JobType

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")
_STARTED = {"expires": ""}
"""What changes in a job that was started in time and comes back: it expires no more."""


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


class Interrupted(Exception):
    """The handler ended by a cancellation of the worker's; carries the cause."""

    def __init__(self, cause: Cause, reason: str = "") -> None:
        super().__init__(reason or cause.value)
        self.cause = cause
        self.reason = reason


def kind_of(claim: Claim, kind: str) -> str:
    """The outcome's kind as `settle.lua` takes it: with the unique key behind it where the job holds one. A `-` before
    it says that no record is kept."""
    return kind if claim.unique is None else f"{kind} {claim.unique}"


class Executor:
    """Makes outcomes of claims for one worker."""

    def __init__(self, worker_name: str, retry: RetryPolicy, clock: Clock) -> None:
        self.worker_name = worker_name
        self._retry = retry
        self._clock = clock

    def completed(self, claim: Claim, job_type: JobType, value: Any) -> Outcome:
        """The handler returned."""
        if value is None:
            result = _NULL
        else:
            try:
                encoded = _encode(value)
            except (TypeError, ValueError, RecursionError) as error:
                return self._failed(
                    claim, job_type, JobError("ResultNotEncodable", f"the result can't be encoded: {error}")
                )
            if len(encoded) > defaults.MAX_RESULT_BYTES:
                return self._failed(
                    claim,
                    job_type,
                    JobError(
                        "ResultTooLarge",
                        f"the result has {len(encoded)} bytes; wanted at most {defaults.MAX_RESULT_BYTES}",
                    ),
                )
            if too_deep(encoded):
                why = f"the result can't be kept: it is nested deeper than {defaults.MAX_DEPTH} levels"
                return self._failed(claim, job_type, JobError("ResultNotEncodable", why))
            result = msgspec.Raw(encoded)
        body = self._record(claim, "completed", result, None)
        if claim.plain and job_type.retention is None:
            return Outcome(claim, "completed", body)
        return self._ended(claim, job_type, "completed", body)

    def parked(self, claim: Claim) -> Outcome:
        """This process doesn't know the job's name."""
        return Outcome(claim, "parked", b'{"set":{}}')

    def released(self, claim: Claim) -> Outcome:
        """The worker stops before the job has ended; it goes back to the front and costs no attempt."""
        if claim.expires_ms and claim.started_ms:
            return Outcome(claim, "released", _encode({"set": _STARTED}))
        return Outcome(claim, "released", b'{"set":{}}')

    def waits(self, claim: Claim, seen: int) -> Outcome:
        """The handler waits for its children; `seen` is how many failures that let it go on it knew of."""
        return Outcome(claim, "waits", _encode({"seen": seen, "set": {"waits": str(claim.waits + 1)}}))

    def cancelled(self, claim: Claim, reason: str, history: list[AttemptError] | None = None) -> Outcome:
        """Somebody cancelled the job, which had begun if there is a history line of it."""
        body = self._record(claim, "cancelled", _NULL, JobError("Cancelled", reason), history)
        return Outcome(claim, kind_of(claim, "cancelled"), body)

    def expired(self, claim: Claim, job_type: JobType) -> Outcome:
        """The job had to be started by a moment that passed between its claim and now. It was not run."""
        late_s = (claim.started_ms - claim.expires_ms) / 1000
        claim.attempt -= 1
        claim.started_ms = 0
        return self._failed(claim, job_type, JobError("Expired", f"it had to be started {late_s:.3f} s earlier"), [])

    def unfit(self, claim: Claim, job_type: JobType, error: msgspec.DecodeError | RecursionError) -> Outcome:
        """The payload is none of the job's type: it came from another release, or by hand. A retry would not help."""
        try:
            msgspec.json.decode(claim.payload)
        except (msgspec.DecodeError, RecursionError):
            claim.payload = _encode(claim.payload.decode("utf-8", "replace"))  # a record is JSON throughout
        return self._failed(claim, job_type, JobError("InvalidPayload", told(error)))

    def raised(self, claim: Claim, job_type: JobType, error: BaseException, payload: Any = None) -> Outcome:
        """The handler raised; the policy and the kind of error say what comes next."""
        if isinstance(error, Interrupted):
            if error.cause is Cause.RELEASED:
                return self.released(claim)
            if error.cause is Cause.CANCELLED:
                line = self._history(claim, JobError("Cancelled", error.reason))
                return self.cancelled(claim, error.reason, line)
            error = TimeoutError(f"the attempt took longer than {claim.timeout(job_type.timeout):g} s")
        if isinstance(error, Snooze):
            if claim.snoozes >= defaults.MAX_SNOOZES:
                too_many = f"snoozed {claim.snoozes} times, at most that many are allowed"
                return self._failed(claim, job_type, JobError("TooManySnoozes", too_many))
            delay_ms = max(0, round(error.delay * 1000))
            return Outcome(claim, "delayed", _encode({"delay": delay_ms, "set": {"snoozes": str(claim.snoozes + 1)}}))
        if isinstance(error, Limited):
            if error.scope == "key" and claim.key is None:
                error = ConfigurationError("Limited: the job has no key that could be limited; wanted scope='queue'")
            else:
                limit_ms = max(1, round(error.seconds * 1000))
                started = _STARTED if claim.expires_ms else {}
                return Outcome(claim, "limited", _encode({"limit": limit_ms, "scope": error.scope, "set": started}))
        job_error = _described(error)
        policy = self._policy(claim, job_type)
        history = self._history(claim, job_error)
        if isinstance(error, Discard) or policy.gives_up(claim.attempt, error):
            return self._failed(claim, job_type, job_error, history)
        if isinstance(error, RetryLater):
            delay_ms = round(error.delay * 1000)
        else:
            delay_ms = policy.wait_ms(claim.attempt, error=error, payload=payload)
        changes = {"attempt": str(claim.attempt), "errors": _encode(history).decode()}
        if job_error.traceback is not None:
            changes["traceback"] = job_error.traceback[-defaults.RETRY_TRACEBACK_BYTES :]
        return Outcome(claim, "delayed", _encode({"delay": max(0, delay_ms), "set": changes}))

    def _policy(self, claim: Claim, job_type: JobType) -> RetryPolicy:
        policy = job_type.retry or self._retry
        own = (claim.options or {}).get("retry")
        if own is None:
            return policy
        try:
            return policy.overridden(own)
        except (ConfigurationError, TypeError):
            log.warning("job %s: its own retry policy %r can't be read, its row's is used", claim.id, own)
            return policy

    def _failed(
        self, claim: Claim, job_type: JobType, error: JobError, history: list[AttemptError] | None = None
    ) -> Outcome:
        if history is None:
            history = self._history(claim, error)
        return self._ended(claim, job_type, "failed", self._record(claim, "failed", _NULL, error, history))

    def _ended(self, claim: Claim, job_type: JobType, state: str, body: bytes) -> Outcome:
        kind = kind_of(claim, state)
        if job_type.retention is not None or claim.options is not None:
            own = (claim.options or {}).get("retention")
            keep = own.get(state) if isinstance(own, dict) else getattr(job_type.retention, state, None)
            if keep == 0:
                kind = "-" + kind
        return Outcome(claim, kind, body)

    def _history(self, claim: Claim, error: JobError) -> list[AttemptError]:
        claim.ended_ms = now = self._clock.now_ms()
        history = read_history(claim.errors)
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
        claim.ended_ms = now = self._clock.now_ms()
        record = Record(
            claim.id,
            claim.name,
            state,
            claim.priority,
            claim.attempt,
            claim.created_ms,
            claim.started_ms,
            now,
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
                record.errors = read_history(claim.errors)
            record.stalls = claim.stalls
            record.snoozes = claim.snoozes
            record.unique = claim.unique
            record.key = claim.key
            record.options = claim.options
            record.meta = claim.meta
        return _encode(record)


def told(error: BaseException) -> str:
    """An error's own text, up to 4,096 characters; where that can't be made, what it failed with."""
    try:
        text = str(error)
    except BaseException as defect:
        text = f"(its text can't be made: {type(defect).__name__})"
    return legible(text[: defaults.MAX_ERROR_LENGTH])


def legible(text: str) -> str:
    """A text that JSON can hold: a file's name, say, may come with bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _described(error: BaseException) -> JobError:
    if isinstance(error, RemoteError):
        return JobError(error.type, told(error), error.traceback)
    return JobError(type(error).__name__, told(error) or type(error).__name__, _traceback(error))


def _traceback(error: BaseException) -> str | None:
    if isinstance(error, Discard | RetryLater | ProcessDied) or error.__traceback__ is None:
        return None
    # The first frame is the worker's own.
    error_traceback = error.__traceback__.tb_next or error.__traceback__
    text = legible("".join(traceback.format_exception(type(error), error, error_traceback)))
    return text[-defaults.TRACEBACK_BYTES :]
