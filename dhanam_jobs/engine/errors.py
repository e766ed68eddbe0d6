"""Every error that the engine raises, each with who raises it and what to do about it.

The tree has one root, `EngineError`. The four signals at the end are raised by handlers, not by the engine.
"""

from __future__ import annotations

from typing import Literal

from redis.exceptions import ResponseError


class EngineError(Exception):
    """Root of all errors that the engine raises."""


class ConfigurationError(EngineError):
    """A queue, job, policy or option was given a value that can't work; raised where it is given."""


class ServerUnsuitable(EngineError):
    """The Redis server can't carry the engine (version, eviction policy, key layout); raised at connect."""


class EngineUnavailable(EngineError):
    """Redis did not answer in time. For an enqueue: the job may or may not have been stored."""


class QueueDamaged(EngineError, ResponseError):
    """A key of the queue is of a wrong type: something else wrote it. Nothing was changed; `inspect_queue` names it,
    and once it is mended or deleted all goes on by itself."""


class UnknownQueue(EngineError):
    """A queue was named that the registry doesn't have."""


class UnknownJobName(EngineError):
    """A job was named that the registry doesn't have, or a payload type that no job, or more than one, takes."""


class InvalidPayload(EngineError):
    """A payload that doesn't fit the job's type, or is larger than the limit; raised by enqueue."""


class QueueFull(EngineError):
    """The queue has a length limit and no room for what was to be enqueued, of which nothing was stored: try later, or
    let enqueue wait (`room_timeout`).

    Attributes: `queue`, `length` and `limit` (jobs), `wanted` (jobs that were to be added).
    """

    def __init__(self, queue: str, length: int, limit: int, wanted: int, text: str | None = None) -> None:
        super().__init__(text or f"queue {queue!r} holds {length} of at most {limit} jobs: no room for {wanted} more")
        self.queue = queue
        self.length = length
        self.limit = limit
        self.wanted = wanted


class Draining(EngineError):
    """The engine accepts no new jobs because it is shutting down; try another process or later."""


class JobNotFound(EngineError):
    """No job of that id: never enqueued, removed, or evicted by retention."""


class WrongState(EngineError):
    """An operator's verb was used on a job that is in a state where it means nothing, such as a retry of one that runs.

    Attributes: `job_id`, `state`.
    """

    def __init__(self, job_id: str, state: str, verb: str, wanted: str) -> None:
        super().__init__(f"job {job_id} is {state}: to {verb} it, wanted {wanted}")
        self.job_id = job_id
        self.state = state


class QueueActive(EngineError):
    """A queue can't be cleared without force while `active` jobs of it run, or obliterated while `workers` serve it.

    Attributes: `queue`, `active` (jobs), `workers`; the one that was no hindrance is 0.
    """

    def __init__(self, queue: str, verb: str, *, active: int = 0, workers: int = 0) -> None:
        what = f"{active} active jobs" if active else f"{workers} live workers"
        super().__init__(f"queue {queue!r} has {what}: wanted none to {verb} it, or force")
        self.queue = queue
        self.active = active
        self.workers = workers


class ResultTimeout(EngineError, TimeoutError):
    """`Job.result` gave up waiting; the job itself goes on."""


class JobFailed(EngineError):
    """`Job.result` found that the job ended failed or cancelled.

    Attributes: `job_id`, `state` ("failed" or "cancelled"), `error_type` (class name or reason code), `reason` (text).
    """

    def __init__(self, job_id: str, state: str, error_type: str, reason: str) -> None:
        super().__init__(f"job {job_id} ended {state}: {error_type}: {reason}")
        self.job_id = job_id
        self.state = state
        self.error_type = error_type
        self.reason = reason


class ScheduleNotFound(EngineError):
    """No schedule of that name."""


class ScheduleOwned(EngineError):
    """The schedule belongs to an application, and another one, or a person, wanted to change it."""


class ClaimLost(EngineError):
    """The worker's claim on a job was taken away (it was declared dead); its outcome no longer counts."""


class CircularWait(EngineError):
    """A job was to wait for one that waits for it, by way of others or not; the text names the circle. Nothing of what
    was asked was done. Where it is found only when the child is stored, that child ends so, and its parent is told."""


class ProcessDied(EngineError):
    """What an attempt failed with whose process ended before its handler did: a crash, `os._exit`, a kill."""


class RemoteError(EngineError):
    """What a handler raised in a process of its own, as a custom back-off sees it.

    Attributes: `type` (the class's name), `traceback` (its text, or None).
    """

    def __init__(self, type: str, message: str, traceback: str | None) -> None:
        super().__init__(message)
        self.type = type
        self.traceback = traceback


_LONGEST_S = 10 * 365 * 86_400


def _check_wait(what: str, seconds: float) -> float:
    # NaN fails every comparison.
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_S:
        raise ConfigurationError(f"{what} {seconds!r}: wanted seconds from 0 to ten years")
    return seconds


class Discard(Exception):
    """Raised by a handler, as `Discard("why")`: fail this job at once, without a retry. The text becomes the job's
    reason."""


class Limited(Exception):
    """Raised by a handler: whoever it talks to wants a rest. For `seconds` nothing of the job's key (`scope="key"`), or
    of its queue (`scope="queue"`), starts; the job goes back to the front, which costs no attempt; other keys go on.
    `seconds`: 0 to ten years. Raises ConfigurationError for others and for another scope."""

    def __init__(self, seconds: float, scope: Literal["key", "queue"] = "key") -> None:
        _check_wait("Limited: rest", seconds)
        if scope not in ("key", "queue"):
            raise ConfigurationError(f"Limited: scope {scope!r}: wanted 'key' or 'queue'")
        super().__init__(f"limited for {seconds} s")
        self.seconds = seconds
        self.scope = scope


class RetryLater(Exception):
    """Raised by a handler: this attempt failed; retry after `delay` seconds instead of the policy's back-off, if the
    policy has an attempt left. `reason` is the attempt's line in the history, by default what it waits for. `delay`: 0
    to ten years, else raises ConfigurationError."""

    def __init__(self, delay: float, reason: str = "") -> None:
        _check_wait("RetryLater: delay", delay)
        super().__init__(reason or f"retry in {delay} s")
        self.delay = delay


class Snooze(Exception):
    """Raised by a handler: run this job again after `delay` seconds; costs no attempt. After 1,000 times the job fails
    (`TooManySnoozes`). `delay`: 0 to ten years, else raises ConfigurationError."""

    def __init__(self, delay: float) -> None:
        _check_wait("Snooze: delay", delay)
        super().__init__(f"snoozed for {delay} s")
        self.delay = delay


class WaitForChildren(Exception):
    """Raised by a handler (`ctx.wait_children` does it): run this job again when its children have ended, or when one
    has failed whose policy is "continue" and of which the handler did not know; costs no attempt and no slot."""

    def __init__(self) -> None:
        super().__init__("waits for its children")
