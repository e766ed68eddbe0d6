"""The engine for code without an event loop (Django, Flask, scripts): enqueue, look up and wait for results, blocking.

Encoding and checking are the same code as the asynchronous queue's; running jobs is for workers, which have a loop.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec
from redis.exceptions import ResponseError

from . import checks, defaults, keys, scripts
from .children import Child, ChildEnd, Family, family_of, has_children, parent_request
from .errors import ConfigurationError, EngineUnavailable, JobNotFound, QueueFull, ResultTimeout, ServerUnsuitable
from .found import job_info
from .job import JobInfo, Record
from .link import Argument, Backoff, Unreachable
from .options import EnqueueOptions
from .registry import Registry
from .request import Batch, Encoder, JobRequest, Request, batches_of, explained, pack, partly, unpack
from .results import value_of
from .scripts import Script
from .servers import BlockingServers

if TYPE_CHECKING:
    from .manual_clock import ManualClock

_BLOCK_MS = 2_000  # shorter than the socket's own time limit
_LOOK_EVERY = 30.0
_ENDINGS = (b"completed", b"failed", b"cancelled", b"removed")


class SyncJob:
    """A job that was enqueued, for blocking code. Attributes: `id`, `name`, and `created`, False where it existed
    already."""

    __slots__ = ("_queue", "created", "id", "name")

    def __init__(self, queue: SyncQueue, job_id: str, name: str, created: bool = True) -> None:
        self._queue = queue
        self.id = job_id
        self.name = name
        self.created = created

    def __repr__(self) -> str:
        return f"<SyncJob {self.id} {self.name!r} on {self.queue!r}>"

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._queue.name

    def info(self) -> JobInfo | None:
        """The job as it is now, or None where it was removed or evicted. Raises EngineUnavailable."""
        return self._queue.get(self.id)

    def result(self, timeout: float | None = None) -> Any:
        """Waits until the job has ended and returns its result, decoded from JSON.

        `timeout` in seconds, None for ever. Raises ResultTimeout, JobFailed where it ended failed or cancelled,
        JobNotFound where it was removed, or ended and was evicted by retention before anybody waited, and
        EngineUnavailable where Redis doesn't answer. Holds one connection while it waits.
        """
        return value_of(self._queue.wait(self.id, timeout))


class SyncQueue:
    """One queue, for blocking code. Made by `SyncEngine.queue(name)`; threads may share it. `name` is its name."""

    def __init__(self, engine: SyncEngine, name: str) -> None:
        self.name = keys.check_queue_name(name)
        self.root = keys.root(engine.prefix, name)
        self._engine = engine
        self._encoder = Encoder(engine.registry, name)
        self._announced = False

    def enqueue(
        self, job: str | Any, payload: Any = None, *, room_timeout: float = 0, **options: Unpack[EnqueueOptions]
    ) -> SyncJob:
        """Stores one job and returns it; arguments and errors as `Queue.enqueue`."""
        return self.store([self._encoder.encode(job, payload, options)], room_timeout=room_timeout)[0]

    def enqueue_many(
        self,
        jobs: Iterable[Any | tuple[str, Any] | JobRequest],
        *,
        room_timeout: float = 0,
        **options: Unpack[EnqueueOptions],
    ) -> list[SyncJob]:
        """Stores jobs in order and returns them in order; arguments, chunks and errors as `Queue.enqueue_many`."""
        return self.store(self._encoder.encode_many(jobs, options), room_timeout=room_timeout)

    def enqueue_parent(
        self, job: str | Any, payload: Any = None, *, children: Sequence[Child], **options: Unpack[EnqueueOptions]
    ) -> SyncJob:
        """Stores a job that is blocked until its children have ended, and its children; as `Queue.enqueue_parent`.
        Workers of this queue carry the children to theirs: where none lives, they wait for one."""
        return self.store([parent_request(self._engine.registry, self.name, job, payload, children, options)])[0]

    def family(self, job_id: str) -> Family:
        """The children of a job, and how those ended that have; as `Queue.family`."""
        ends = {key: msgspec.json.decode(text, type=ChildEnd) for key, text in self._read(job_id, "ends")}
        return family_of(ends, self._read(job_id, "children"))

    def _read(self, job_id: str, what: str) -> list[tuple[bytes, bytes]]:
        found: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            _, _, _, cursor, *flat = self._engine.run(scripts.FAMILY, self.root, job_id, what, cursor)
            found.update(zip(flat[::2], flat[1::2], strict=True))
            if cursor == b"0":
                return list(found.items())

    def store(self, requests: Sequence[Request], *, room_timeout: float = 0) -> list[SyncJob]:
        """Stores requests that were encoded before, as an outbox keeps them; order, chunks and errors as
        `enqueue_many`."""
        batches = list(batches_of(requests))
        deadline = time.monotonic() + checks.wait("room_timeout", room_timeout)
        outcomes: list[Any] = []
        for batch in batches:
            if batch.before is not None and batch.before.turned_away is not None:
                batch.turned_away = batch.before.turned_away
                outcomes.append(explained(batch.turned_away))
                continue
            try:
                outcomes.append(self._store(batch, deadline))
            except Exception as error:
                outcomes.append(explained(error))
        failure = partly(batches, outcomes)
        if failure is not None:
            raise failure
        if any(has_children(request) for request in requests):
            self._have_delivered()
        stored = (pair for outcome in outcomes for pair in outcome)
        return [
            SyncJob(self, job_id, request.name, created)
            for request, (job_id, created) in zip(requests, stored, strict=True)
        ]

    def _store(self, batch: Batch, deadline: float) -> list[tuple[str, bool]]:
        if not self._announced:
            self._announce()
        backoff = Backoff(first=0.02, most=0.5)
        while True:
            try:
                return unpack(
                    self.name,
                    self._engine.servers.run(scripts.ENQUEUE, self.root, *pack(self._engine.time_override, [batch])),
                )
            except QueueFull as error:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or len(batch.requests) > error.limit:
                    batch.turned_away = error
                    raise
            time.sleep(min(remaining, backoff.next(random.random())))

    def _have_delivered(self) -> None:
        # A courier needs a loop. Who beat last is told; where that fails, the next sweep finds what there is to carry.
        with contextlib.suppress(EngineUnavailable, ResponseError):
            _, _, *worker = self._engine.run(scripts.WORKERS, self.root, -1, 1, 0)
            if worker:
                self._engine.run(scripts.MESSAGE, self.root, worker[0], b'{"deliver":true}')

    def _announce(self) -> None:
        engine = self._engine
        registry = keys.registry(engine.prefix)
        engine.servers.command(registry, "HSET", registry, f"queue:{self.name}", "1")
        limit = engine.registry.row_of(self.name).max_length
        if limit is not None:
            engine.servers.run(scripts.LIMIT_LENGTH, self.root, engine.time_override, limit)
        self._announced = True

    def job(self, job_id: str, name: str = "") -> SyncJob:
        """A handle of a job that somebody enqueued before; as `Queue.job`."""
        return SyncJob(self, job_id, name, created=False)

    def get(self, job_id: str) -> JobInfo | None:
        """The job of that id in whatever state, or None. Raises EngineUnavailable."""
        return job_info(self.name, job_id, self._engine.run(scripts.FIND, self.root, job_id))

    def free_key(self, key: str) -> str | None:
        """Frees a unique key by hand; result and errors as `Queue.free_key`."""
        reply: bytes = self._engine.run(scripts.FREE_KEY, self.root, keys.check_unique_key(key))
        return reply.decode() or None

    def wait(self, job_id: str, timeout: float | None = None) -> Record:
        """The record of the job once it has ended, within `timeout` seconds (None: for ever); raises JobNotFound,
        ResultTimeout and EngineUnavailable."""
        checks.timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        offset: bytes | None = None
        while True:
            newest, answer = self._engine.run(scripts.WAIT, self.root, defaults.RESULT_KEEP_MS, job_id)
            if isinstance(answer, bytes):
                return msgspec.json.decode(answer, type=Record)
            if answer == 0:
                raise JobNotFound(f"job {job_id} on {self.name!r} was removed, or ended and is no longer kept")
            offset = self._listen(job_id, offset or newest, deadline)
            if deadline is not None and time.monotonic() >= deadline:
                raise ResultTimeout(f"job {job_id} on {self.name!r} had not ended after {timeout} s")

    def _listen(self, job_id: str, offset: bytes, deadline: float | None) -> bytes:
        """Reads events until one tells of the job's end, the time is over, or it is time to look again: what a crash
        or a trimmed stream took is found in that way. Returns where to go on."""
        until = time.monotonic() + _LOOK_EVERY
        if deadline is not None:
            until = min(until, deadline)
        wanted = job_id.encode()
        while (remaining := until - time.monotonic()) > 0:
            block = max(1, min(_BLOCK_MS, int(remaining * 1000)))
            reply = self._engine.read(f"{self.root}:events", offset, block)
            if not reply:
                continue
            for offset, fields in reply[0][1]:
                for state, ids in fields.items():
                    if state in _ENDINGS and wanted in ids.split(b" "):
                        return offset
        return offset


class SyncEngine:
    """`with SyncEngine.connect(url, registry=registry) as engine: engine.enqueue(Greet("Ana")).result(timeout=5)`.

    Arguments (`url`, `prefix`, `registry`, `clock`) and errors as `Engine.connect`. One per process: threads may share
    it, and a forked process connects anew.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "jobs",
        registry: Registry | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock
        self.prefix = keys.check_prefix(prefix)
        self.registry = registry if registry is not None else Registry()
        name = f"{prefix.replace(' ', '_')}:{socket.gethostname()}:{os.getpid()}:sync"
        try:
            self.servers = BlockingServers(url, name=name)
        except ValueError as error:
            raise ConfigurationError(f"the Redis URL can't be read: {error}") from None
        self._queues: dict[str, SyncQueue] = {}

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        prefix: str = "jobs",
        registry: Registry | None = None,
        clock: ManualClock | None = None,
    ) -> Self:
        """An engine to enter with `with`; arguments as `Engine` has them. Entering raises EngineUnavailable where Redis
        doesn't answer, and ServerUnsuitable where the keys have another release's layout."""
        return cls(url, prefix=prefix, registry=registry, clock=clock)

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connects and checks the layout of the keys. Needed only without `with`, and only for the check."""
        try:
            registry = keys.registry(self.prefix)
            layout: Any = self.servers.command(registry, "HGET", registry, "layout")
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer: {error}") from error
        if layout is not None and int(layout) != defaults.LAYOUT_VERSION:
            raise ServerUnsuitable(
                f"the keys of prefix {self.prefix!r} have layout {int(layout)}; "
                f"this release reads layout {defaults.LAYOUT_VERSION}"
            )

    def close(self) -> None:
        """Closes all connections. May be called twice."""
        self.servers.close()

    def queue(self, name: str) -> SyncQueue:
        """The queue of that name; UnknownQueue where the registry has queues, but not this one."""
        queue = self._queues.get(name)
        if queue is None:
            if self.registry.queues and not self.registry.has_queue(name):
                self.registry.queue_config(name)  # raises, and lists the queues that there are
            queue = self._queues.setdefault(name, SyncQueue(self, name))
        return queue

    def enqueue(self, payload: Any, *, room_timeout: float = 0, **options: Unpack[EnqueueOptions]) -> SyncJob:
        """Stores a typed payload on the queue of the one job that takes it; options and errors as `Engine.enqueue`."""
        queue = self.queue(self.registry.taking(type(payload)).queue)
        return queue.enqueue(payload, room_timeout=room_timeout, **options)

    @property
    def time_override(self) -> bytes | int:
        """What time the scripts are given, in ms: the manual clock's, or b"" for Redis's own."""
        return b"" if self.clock is None else self.clock.now_ms()

    def run(self, script: Script, root: str, *arguments: Argument) -> Any:
        """Runs a script on a queue's root. Raises EngineUnavailable where Redis doesn't answer."""
        try:
            return self.servers.run(script, root, self.time_override, *arguments)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer {script.name}: {error}") from error

    def read(self, stream: str, offset: bytes, block_ms: int) -> Any:
        """One blocking XREAD, or None where nothing came. Raises EngineUnavailable where Redis doesn't answer."""
        words = ("XREAD", "BLOCK", block_ms, "COUNT", 500, "STREAMS", stream, offset)
        try:
            return self.servers.command(stream, *words)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer while a result was waited for: {error}") from error
