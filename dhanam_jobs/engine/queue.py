"""A queue as producers and operators see it: enqueue, look up, stats, pause and resume.

Working its jobs is the worker's part. Enqueues of one loop turn travel together: while one call is on its way, what
comes in is collected for the next, which keeps their order and costs a fraction of a trip each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import redis.exceptions
from redis.exceptions import ResponseError

from . import defaults, keys, scripts
from .errors import ConfigurationError, Draining, EngineUnavailable, InvalidPayload, UnknownJobName
from .job import JobInfo, JobState, Record
from .link import Link, Unreachable
from .registry import JobType
from .results import Job

if TYPE_CHECKING:
    from .engine import Engine

IfExists = Literal["return", "rerun_finished"]
_encode = msgspec.json.Encoder().encode


class QueueStats(msgspec.Struct):
    """What the specification's stats show. `completed` and `failed` are lifetime counts of endings; `waiting` counts
    everything runnable, of all levels."""

    name: str
    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int


class QueueCounts(msgspec.Struct):
    """All counts of one moment. `retained_*` are the records kept; `paused_ms` is when the queue was paused, or None;
    `levels` maps each level in use to its waiting jobs."""

    name: str
    waiting: int
    active: int
    delayed: int
    blocked: int
    parked: int
    completed: int
    failed: int
    cancelled: int
    retained_completed: int
    retained_failed: int
    retained_cancelled: int
    added: int
    paused_ms: int | None
    workers: int
    levels: dict[int, int]


class _Request:
    """One job on its way into a queue: the four arguments that `enqueue.lua` takes, and who waits for its id."""

    __slots__ = ("extra", "future", "level", "name", "payload")

    def __init__(self, level: int, extra: bytes, name: str, payload: bytes) -> None:
        self.level = level
        self.extra = extra
        self.name = name
        self.payload = payload
        self.future: asyncio.Future[tuple[str, bool]] | None = None


class Queue:
    """One queue. Made by `Engine.queue(name)`, which hands out the same object for the same name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = keys.check_queue_name(name)
        self.engine = engine
        self.root = keys.root(engine.prefix, name)
        self._link = Link(engine.url, name=f"{engine.client_name}:enqueue")
        self._collected: list[_Request] = []
        self._sender: asyncio.Task[None] | None = None
        self._announced = False

    async def enqueue(
        self,
        job: str | Any,
        payload: Any = None,
        *,
        id: str | None = None,
        priority: int | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        unique: str | None = None,
        if_exists: IfExists = "return",
        meta: dict[str, Any] | None = None,
        owner: str | None = None,
    ) -> Job:
        """Stores one job and returns it.

        `job` is a job's name, with its `payload`, or a typed payload alone (its type names the job). The payload is
        anything that msgspec encodes to JSON; it is checked against the job's type where this process knows the job.

        `id`: the caller's own; a job of that id is returned as it is (`job.created` False), whatever its state, unless
        `if_exists="rerun_finished"`, which replaces one that has ended. `priority`: 0 (most urgent) to 9. `delay` in
        seconds, or `run_at` (aware), before it may run. `unique`: while a job holds this key, waiting or running, one
        with an equal payload is that job, and one with another payload waits until it has ended. `owner` is noted on
        the job, and on the job that is joined. `meta` is kept with the job as JSON.

        Raises InvalidPayload, UnknownJobName, ConfigurationError (an illegal option), Draining, and EngineUnavailable
        when Redis does not answer: then the job may or may not have been stored.
        """
        request = self._request(
            job,
            payload,
            id=id,
            priority=priority,
            delay=delay,
            run_at=run_at,
            unique=unique,
            if_exists=if_exists,
            meta=meta,
            owner=owner,
        )
        self.engine.check_accepting()
        return await self._send(request)

    async def enqueue_many(self, jobs: Iterable[Any | tuple[str, Any]], *, priority: int | None = None) -> list[Job]:
        """Stores jobs in order and returns them in order: typed payloads, or pairs of name and payload.

        Chunks of 500 are stored whole or not at all. Raises as `enqueue`; nothing is stored when a payload is refused,
        and where Redis fails in between, EngineUnavailable says which of the jobs it speaks of.
        """
        requests = []
        for job in jobs:
            name, payload = job if isinstance(job, tuple) else (job, None)
            requests.append(self._request(name, payload, priority=priority))
        self.engine.check_accepting()
        futures = self._collect(requests)
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        jobs_stored, errors = [], []
        for position, (request, outcome) in enumerate(zip(requests, outcomes, strict=True)):
            if isinstance(outcome, BaseException):
                errors.append((position, outcome))
            else:
                job_id, created = outcome
                jobs_stored.append(Job(self, job_id, request.name, created))
        if not errors:
            return jobs_stored
        error = errors[0][1]
        if isinstance(error, EngineUnavailable) and jobs_stored:
            raise EngineUnavailable(
                f"{error}; so for {len(errors)} of {len(requests)} jobs, at positions {errors[0][0]} to "
                f"{errors[-1][0]}; the others were stored"
            )
        raise error

    async def enqueue_while_draining(self, job: str | Any, payload: Any = None, **options: Any) -> Job:
        """`enqueue` for running jobs: what they enqueue is accepted to the end."""
        return await self._send(self._request(job, payload, **options))

    def _request(
        self,
        job: str | Any,
        payload: Any = None,
        *,
        id: str | None = None,
        priority: int | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        unique: str | None = None,
        if_exists: IfExists = "return",
        meta: dict[str, Any] | None = None,
        owner: str | None = None,
    ) -> _Request:
        job_type, name, payload = self._resolve(job, payload)
        body = _encoded(name, payload)
        if job_type is not None:
            # A typed payload was checked when it was made, but for what msgspec leaves to decoding (ranges, patterns).
            decoded = job_type.check(body)
            if unique is None and job_type.unique is not None:
                unique = job_type.unique(decoded)
            if priority is None:
                priority = job_type.priority
        level = defaults.PRIORITY if priority is None else keys.check_priority(priority)
        extra: dict[str, Any] = {}
        if id is not None:
            extra["id"] = keys.check_custom_id(id)
            if if_exists not in ("return", "rerun_finished"):
                raise ConfigurationError(f"if_exists {if_exists!r}: wanted 'return' or 'rerun_finished'")
            extra["mode"] = if_exists
        if delay is not None and run_at is not None:
            raise ConfigurationError("both delay and run_at were given; one says when the job may run")
        if delay is not None:
            if not (isinstance(delay, int | float) and 0 <= delay <= 10 * 365 * 86_400):
                raise ConfigurationError(f"delay {delay!r}: wanted seconds from 0 to ten years")
            extra["delay"] = round(delay * 1000)
        if run_at is not None:
            extra["due"] = _instant_ms(run_at)
        if unique is not None:
            extra["unique"] = keys.check_unique_key(unique)
        if owner is not None:
            extra["owner"] = owner
            meta = {**(meta or {}), "owners": [*(meta or {}).get("owners", []), owner]}
        if meta is not None:
            extra["fields"] = ["meta", _encode(meta).decode()]
        return _Request(level, _encode(extra) if extra else b"", name, body)

    def _resolve(self, job: str | Any, payload: Any) -> tuple[JobType | None, str, Any]:
        registry = self.engine.registry
        if not isinstance(job, str):
            job_type: JobType | None = registry.taking(type(job), self.name)
            assert job_type is not None
            return job_type, job_type.name, job
        job_type = registry.find(self.name, job)
        if job_type is None:
            if any(registry.jobs_of(self.name)):
                registry.named(self.name, job)  # raises, and lists the names that there are
            return None, _checked_name(job), payload
        if job_type.accept is not None and not (
            isinstance(job_type.payload_type, type) and isinstance(payload, job_type.payload_type)
        ):
            payload = job_type.accept(payload)
        return job_type, job, payload

    async def _send(self, request: _Request) -> Job:
        (future,) = self._collect([request])
        job_id, created = await future
        return Job(self, job_id, request.name, created)

    def _collect(self, requests: Sequence[_Request]) -> list[asyncio.Future[tuple[str, bool]]]:
        loop = asyncio.get_running_loop()
        futures = []
        for request in requests:
            request.future = loop.create_future()
            futures.append(request.future)
        self._collected.extend(requests)
        if self._sender is None:
            self._sender = loop.create_task(self._send_collected(), name=f"enqueue {self.name}")
        return futures

    async def _send_collected(self) -> None:
        try:
            if not self._announced:
                await self.engine.announce_queue(self.name)
                self._announced = True
            while self._collected:
                chunk = self._collected[: defaults.ENQUEUE_CHUNK]
                del self._collected[: defaults.ENQUEUE_CHUNK]
                await self._send_chunk(chunk)
        except BaseException as error:
            collected, self._collected = self._collected, []
            _fail(collected, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._sender = None

    async def _send_chunk(self, chunk: list[_Request]) -> None:
        arguments: list[bytes | str | int] = [self.root, self.engine.time_override]
        for request in chunk:
            arguments += (request.level, request.extra, request.name, request.payload)
        try:
            ids, existing = await self._link.run(scripts.ENQUEUE, *arguments)
        except BaseException as error:
            if isinstance(error, redis.exceptions.TimeoutError):
                # Who was collected meanwhile has waited as long, and would wait once more for each chunk before.
                chunk, self._collected = chunk + self._collected, []
            _fail(chunk, error)
            if not isinstance(error, Exception):
                raise
            return
        known = set(existing)
        for position, (request, job_id) in enumerate(zip(chunk, ids, strict=True), 1):
            future = request.future
            if future is not None and not future.done():
                future.set_result((job_id.decode(), position not in known))

    async def get(self, job_id: str) -> JobInfo | None:
        """The job of that id in whatever state, or None."""
        reply = await self.engine.run(scripts.FIND, self.root, job_id)
        if not reply:
            return None
        return _job_info(self.name, job_id, reply)

    async def stats(self) -> QueueStats:
        """The specification's five counts."""
        counts = await self.counts()
        return QueueStats(
            name=self.name,
            waiting=counts.waiting,
            active=counts.active,
            completed=counts.completed,
            failed=counts.failed,
            delayed=counts.delayed,
        )

    async def counts(self) -> QueueCounts:
        """All counts, of one moment."""
        reply: list[Any] = await self.engine.run(scripts.STATS, self.root)
        levels: dict[int, int] = {}
        for place, waiting in zip(reply[14::3], reply[15::3], strict=True):
            level = int(place[-1:])
            levels[level] = levels.get(level, 0) + waiting
        names = QueueCounts.__struct_fields__[1:13]
        counts = dict(zip(names, reply, strict=False))
        return QueueCounts(name=self.name, **counts, paused_ms=reply[12] or None, workers=reply[13], levels=levels)

    async def pause(self) -> bool:
        """From now on nothing of this queue starts, on any worker, until `resume`; running jobs end. False where it
        was paused already."""
        return bool(await self.engine.run(scripts.PAUSE, self.root))

    async def resume(self) -> bool:
        """Ends a pause. False where there was none."""
        return bool(await self.engine.run(scripts.RESUME, self.root))

    async def is_paused(self) -> bool:
        """True while the queue is paused."""
        return (await self.counts()).paused_ms is not None

    async def close(self) -> None:
        """Sends what was collected, then closes the connection."""
        if self._sender is not None:
            await asyncio.wait([self._sender])
        await self._link.close()


def _fail(requests: Iterable[_Request], error: BaseException) -> None:
    for request in requests:
        future = request.future
        if future is not None and not future.done():
            # Each caller gets an exception of its own: one that many raise collects all their frames.
            future.set_exception(_for_callers(error))


def _for_callers(error: BaseException) -> Exception:
    if isinstance(error, EngineUnavailable):
        return EngineUnavailable(*error.args)
    if isinstance(error, Unreachable):
        return EngineUnavailable(f"Redis did not answer; the job may or may not have been stored ({error})")
    if isinstance(error, ResponseError):
        return EngineUnavailable(f"Redis refused the job, nothing was stored: {error}")
    if not isinstance(error, Exception):
        return Draining("the engine was closed before the job was stored")
    return error


def _encoded(name: str, payload: Any) -> bytes:
    try:
        body = _encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"payload of job {name!r} can't be encoded as JSON: {error}") from None
    if len(body) > defaults.MAX_PAYLOAD_BYTES:
        raise InvalidPayload(
            f"payload of job {name!r} has {len(body)} bytes; wanted at most {defaults.MAX_PAYLOAD_BYTES}"
        )
    return body


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= 128 or any(c.isspace() or not c.isprintable() for c in name):
        raise UnknownJobName(f"job name {name[:80]!r}: wanted 1 to 128 printable characters without white space")
    return name


def _instant_ms(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ConfigurationError(f"run_at {moment!r}: wanted a datetime with a time zone")
    return round(moment.astimezone(UTC).timestamp() * 1000)


def _job_info(queue: str, job_id: str, reply: list[Any]) -> JobInfo:
    state = reply[0].decode()
    joined: list[str] = msgspec.json.decode(reply[2]) if reply[2] else []
    if state == "ended":
        record = msgspec.json.decode(reply[1], type=Record)
        return JobInfo(
            id=record.id,
            queue=queue,
            name=record.name,
            state=JobState(record.state),
            priority=record.priority,
            attempt=record.attempt,
            created_ms=record.created_ms,
            payload=record.payload,
            stalls=record.stalls,
            snoozes=record.snoozes,
            unique=record.unique,
            started_ms=record.started_ms,
            finished_ms=record.finished_ms,
            worker=record.worker,
            result=record.result if record.state == "completed" else None,
            error=record.error,
            errors=record.errors,
            owners=_owners(record.meta, joined),
            meta=record.meta,
        )
    detail, place, flat = reply[1], reply[3].decode(), reply[4]
    fields: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
    attempt = int(fields.get(b"attempt", 0))
    meta = msgspec.json.decode(fields[b"meta"]) if b"meta" in fields else None
    created = fields.get(b"created")
    if created is None:
        # Still at home: a generated id holds the time, and for any other one the index led to its entry.
        created = detail.split(b"-")[0] if state == "waiting" else job_id.split("-")[1].encode()
    return JobInfo(
        id=job_id,
        queue=queue,
        name=fields[b"name"].decode(),
        state=JobState(state),
        priority=int(place[-1]),
        attempt=attempt + 1 if state == "active" else attempt,
        created_ms=int(created),
        payload=msgspec.Raw(fields[b"payload"]),
        stalls=int(fields.get(b"stalls", 0)),
        snoozes=int(fields.get(b"snoozes", 0)),
        unique=fields[b"unique"].decode() if b"unique" in fields else None,
        due_ms=int(float(detail)) if state == "delayed" else None,
        worker=detail.decode() if state == "active" else None,
        errors=msgspec.json.decode(fields[b"errors"]) if b"errors" in fields else [],
        owners=_owners(meta, joined),
        meta=meta,
    )


def _owners(meta: dict[str, Any] | None, joined: list[str]) -> list[str]:
    first = [str(owner) for owner in (meta or {}).get("owners", [])]
    return first + [owner for owner in joined if owner not in first]
