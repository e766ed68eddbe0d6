"""Jobs on their way into a queue: resolved, checked, encoded, and packed into the arguments of `enqueue.lua`.

The one place where a job becomes bytes, for the asynchronous queue, the blocking client and the outbox alike; sending
is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Unpack

import msgspec
from redis.exceptions import ResponseError

from . import defaults
from .errors import (
    ConfigurationError,
    Draining,
    EngineUnavailable,
    InvalidPayload,
    QueueFull,
    UnknownJobName,
)
from .link import Argument, Unreachable
from .nesting import too_deep
from .options import Defaults, EnqueueOptions, write_options
from .registry import JobType, Registry

_encode = msgspec.json.Encoder().encode


class JobRequest:
    """One job of a bulk enqueue, with options of its own: `JobRequest("greet", {"name": "Ana"}, priority=1)`, or
    `JobRequest(Greet("Ana"), delay=5)`. Options as `EnqueueOptions`; they are checked when it is enqueued.

    Attributes: `job`, `payload`, `options` (a dict), which middleware may change.
    """

    __slots__ = ("job", "options", "payload")

    def __init__(self, job: str | Any, payload: Any = None, **options: Unpack[EnqueueOptions]) -> None:
        self.job = job
        self.payload = payload
        self.options = options


class Request:
    """One job as `enqueue.lua` takes it: `level`, `extra` (JSON or empty), `name` and `payload` (JSON)."""

    __slots__ = ("extra", "level", "name", "payload")

    def __init__(self, level: int, extra: bytes, name: str, payload: bytes) -> None:
        self.level = level
        self.extra = extra
        self.name = name
        self.payload = payload


class Encoder:
    """Makes requests for one queue: knows its registry's rows and what they ask for."""

    __slots__ = ("_defaults", "_queue", "_registry", "_stamps", "_version")

    def __init__(self, registry: Registry, queue: str, *, stamped: bool = True) -> None:
        self._registry = registry
        self._stamps = registry.stamps if stamped else []
        self._queue = queue
        self._version = -1
        self._defaults: dict[str, Defaults] = {}

    def encode(self, job: str | Any, payload: Any, options: EnqueueOptions) -> Request:
        """Raises InvalidPayload, UnknownJobName and ConfigurationError."""
        job_type, name, payload = self._resolve(job, payload)
        body = _body(name, payload)
        # A typed payload was checked when it was made, but for what msgspec leaves to decoding (ranges, patterns).
        decoded = None if job_type is None else job_type.check(body)
        rows = self._rows(name, job_type)
        if self._stamps:
            options = _stamped(options, self._stamps)
        if not options and rows.plain:
            return Request(rows.level, b"", name, body)
        level, extra = write_options(options, rows, decoded)
        return Request(level, extra, name, body)

    def encode_many(self, jobs: Iterable[Any], options: EnqueueOptions) -> list[Request]:
        """Requests of typed payloads, pairs of name and payload, and JobRequests, whose options go before `options`."""
        return [self.encode(job, payload, own) for job, payload, own in parts_of(jobs, options)]

    def _rows(self, name: str, job_type: JobType | None) -> Defaults:
        registry = self._registry
        if registry.version != self._version:
            self._defaults.clear()
            self._version = registry.version
        rows = self._defaults.get(name)
        if rows is None:
            queue = registry.queue_config(self._queue) if registry.has_queue(self._queue) else None
            rows = Defaults(job_type, queue)
            if job_type is not None:  # names that nobody registered are without number
                self._defaults[name] = rows
        return rows

    def _resolve(self, job: str | Any, payload: Any) -> tuple[JobType | None, str, Any]:
        registry = self._registry
        if not isinstance(job, str):
            job_type: JobType | None = registry.taking(type(job), self._queue)
            assert job_type is not None
            return job_type, job_type.name, job
        job_type = registry.find(self._queue, job)
        if job_type is None:
            if any(registry.jobs_of(self._queue)):
                registry.named(self._queue, job)  # raises, and lists the names that there are
            return None, _checked_name(job), payload
        if job_type.accept is not None and not (
            isinstance(job_type.payload_type, type) and isinstance(payload, job_type.payload_type)
        ):
            payload = job_type.accept(payload)
        return job_type, job, payload


def parts_of(jobs: Iterable[Any], options: EnqueueOptions) -> Iterator[tuple[Any, Any, EnqueueOptions]]:
    """Job, payload and options of typed payloads, pairs of name and payload, and JobRequests; their own options go
    before `options`. Raises ConfigurationError for another tuple."""
    for job in jobs:
        if isinstance(job, JobRequest):
            own: EnqueueOptions = {**options, **job.options} if options else job.options
            yield job.job, job.payload, own
        elif not isinstance(job, tuple):
            yield job, None, options
        elif len(job) == 2:
            yield job[0], job[1], options
        else:
            raise ConfigurationError(f"a tuple of {len(job)}: wanted a job's name and payload, or a JobRequest")


def _stamped(options: EnqueueOptions, stamps: Iterable[Callable[[], dict[str, Any] | None]]) -> EnqueueOptions:
    own = options.get("meta") or {}
    meta: dict[str, Any] = {}
    for stamp in stamps:
        meta |= stamp() or {}
    return {**options, "meta": {**meta, **own}} if meta and isinstance(own, dict) else options


class Batch:
    """Requests that are stored together or not at all; `size` is in bytes. `before` is the batch of the same call
    that goes before it; where that one found no room, this one isn't tried, so that order is kept. `future` is the
    asynchronous queue's: (id, created) of each request."""

    __slots__ = ("before", "future", "requests", "size", "turned_away")

    def __init__(self, requests: Sequence[Request], size: int, before: Batch | None = None) -> None:
        self.requests = requests
        self.before = before
        self.size = size
        self.turned_away: QueueFull | None = None
        self.future: asyncio.Future[list[tuple[str, bool]]] | None = None


def batches_of(requests: Sequence[Request]) -> Iterator[Batch]:
    """Batches of at most 500 requests and 8 MB, in order."""
    before: Batch | None = None
    first = size = 0
    for position, request in enumerate(requests):
        weight = len(request.payload) + len(request.extra)
        if position - first >= defaults.ENQUEUE_CHUNK or (position > first and fills(size + weight)):
            before = Batch(requests[first:position], size, before)
            yield before
            first, size = position, 0
        size += weight
    if first < len(requests):
        yield Batch(requests[first:], size, before)


def fills(size: int) -> bool:
    """True where one call carries no more than that many bytes."""
    return size > defaults.ENQUEUE_CHUNK_BYTES


def pack(time: bytes | int, batches: Iterable[Batch]) -> list[Argument]:
    """The arguments of `enqueue.lua` behind its key."""
    arguments: list[Argument] = [time]
    for batch in batches:
        for request in batch.requests:
            arguments += (request.level, request.extra, request.name, request.payload)
    return arguments


def unpack(queue: str, reply: list[Any]) -> list[tuple[str, bool]]:
    """(id, created) of each job that was sent; raises QueueFull where there was no room for them."""
    if reply[0] == b"full":
        raise QueueFull(queue, *reply[1:])
    ids, existing = reply
    if not existing:
        return [(job_id.decode(), True) for job_id in ids]
    known = set(existing)
    return [(job_id.decode(), position not in known) for position, job_id in enumerate(ids, 1)]


def explained(error: BaseException) -> Exception:
    """The engine's own error for what a call of `enqueue.lua` raised; a new one each time, since one that many callers
    raise collects all their frames."""
    if isinstance(error, EngineUnavailable):
        return EngineUnavailable(*error.args)
    if isinstance(error, QueueFull):
        return QueueFull(error.queue, error.length, error.limit, error.wanted)
    if isinstance(error, Unreachable):
        return EngineUnavailable(f"Redis did not answer; the job may or may not have been stored ({error})")
    if isinstance(error, ResponseError):
        return EngineUnavailable(f"Redis refused the job, nothing was stored: {error}")
    if not isinstance(error, Exception):
        return Draining("the engine was closed before the job was stored")
    return error


def partly(batches: Sequence[Batch], outcomes: Sequence[Any]) -> BaseException | None:
    """The error of a bulk enqueue, or None: the first there was, and which positions it speaks of where others were
    stored."""
    position, lost, total = 0, [], 0
    for batch, outcome in zip(batches, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            lost.append((position, position + len(batch.requests) - 1, outcome))
            total += len(batch.requests)
        position += len(batch.requests)
    if not lost:
        return None
    error: BaseException = lost[0][2]
    if len(lost) == len(batches) or not isinstance(error, EngineUnavailable | QueueFull):
        return error
    text = (
        f"{error}; so for {total} of {position} jobs, at positions {lost[0][0]} to {lost[-1][1]}; "
        "the others were stored"
    )
    if isinstance(error, QueueFull):
        return QueueFull(error.queue, error.length, error.limit, error.wanted, text)
    return EngineUnavailable(text)


def _body(name: str, payload: Any) -> bytes:
    try:
        body = _encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"payload of job {name!r} can't be encoded as JSON: {error}") from None
    if len(body) > defaults.MAX_PAYLOAD_BYTES:
        raise InvalidPayload(
            f"payload of job {name!r} has {len(body)} bytes; wanted at most {defaults.MAX_PAYLOAD_BYTES}"
        )
    if too_deep(body):
        raise InvalidPayload(f"payload of job {name!r} is nested too deep; wanted at most {defaults.MAX_DEPTH} levels")
    return body


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= 128 or any(c.isspace() or not c.isprintable() for c in name):
        raise UnknownJobName(f"job name {name[:80]!r}: wanted 1 to 128 printable characters without white space")
    return name
