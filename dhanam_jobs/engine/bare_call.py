"""Calls one handler for a unit test: no server, no worker, and a context that writes down what it is told.

The payload, and what the handler enqueues, are checked and encoded as everywhere else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from . import defaults
from .children import Child, ChildEnd, parent_request, plan
from .context import JobContext, Workplace
from .engine import Engine
from .errors import ConfigurationError, EngineUnavailable, InvalidPayload, WaitForChildren
from .job import Claim
from .process_child import ProcessContext
from .registry import JobType, Registry
from .request import Encoder
from .results import Job

_encode = msgspec.json.Encoder().encode


class Enqueued(msgspec.Struct):
    """A job that a handler enqueued: its queue and name, its payload as JSON has it, the options that were
    given, and the children that it waits for first."""

    queue: str
    name: str
    payload: Any
    options: dict[str, Any] = {}
    children: list[Child] = []


class Called(msgspec.Struct):
    """What came of a call: `result` as the handler returned it, `error` what it raised (with `raising=False`), and, in
    order, the `progress` values, the lines of its `log`, the jobs that it `enqueued` and the `children` that it
    added."""

    result: Any = None
    error: Exception | None = None
    progress: list[Any] = []
    log: list[str] = []
    enqueued: list[Enqueued] = []
    children: list[Child] = []


async def call(
    registry: Registry,
    job: Any,
    payload: Any = None,
    *,
    queue: str | None = None,
    attempt: int = 1,
    resources: Any = None,
    meta: dict[str, Any] | None = None,
    key: str | None = None,
    priority: int = defaults.PRIORITY,
    child_ends: Mapping[str, Any] | None = None,
    raising: bool = True,
) -> Called:
    """Calls the handler of a job once, with a payload that went through JSON, and returns what came of it.

    `job` is a typed payload, or a job's name with its `payload` (`queue` where several queues have the name). `attempt`
    (from 1), `meta`, `key` and `priority` are what the context says of the job; `resources` is handed out as it is.
    `child_ends` maps keys of children to their results, or to ChildEnds, which `ctx.wait_children` returns; without
    them it raises WaitForChildren where the handler has added children. `async def` is called in this task, `def` in a
    thread, also what would have a process of its own. There is no middleware, no time limit, no retry.

    Raises what the handler raises, Discard, RetryLater and the other signals too; with `raising` False that is the
    answer's `error`. Raises UnknownJobName, InvalidPayload and ConfigurationError before it calls; what the handler's
    own enqueue would refuse is refused there.
    """
    row = _row(registry, job, payload, queue)
    request = Encoder(registry, row.queue).encode(job, payload, {})
    fields: dict[str, str | bytes] = {"name": row.name, "payload": request.payload, "attempt": str(attempt - 1)}
    if meta is not None:
        fields["meta"] = _encode(meta)
    if key is not None:
        fields["key"] = key
    flat = [text.encode() if isinstance(text, str) else text for pair in fields.items() for text in pair]
    claim = Claim(f"waiting:{priority}", priority, f"{round(time.time() * 1000)}-0".encode(), flat)
    # An engine that is never opened: it knows the registry, and no server.
    place = Workplace(Engine("unix:///no-server-in-a-unit-test", registry=registry).queue(row.queue), resources)
    place.loop = asyncio.get_running_loop()
    called = Called()
    context = _Context(claim, place, called, child_ends)
    try:
        called.result = await _run(row, context, row.check(request.payload))
    except Exception as error:
        if raising:
            raise
        called.error = error
    return called


def _row(registry: Registry, job: Any, payload: Any, queue: str | None) -> JobType:
    if not isinstance(job, str):
        if payload is not None:
            raise InvalidPayload("a typed payload and another payload: wanted one of them, or a job's name")
        return registry.taking(type(job), queue)
    queues = [row.name for row in registry.queues if registry.find(row.name, job) is not None]
    if queue is None and len(queues) > 1:
        raise ConfigurationError(f"job {job!r} is on queues {', '.join(queues)}: wanted `queue` to name one")
    if queue is None and not queues:
        queues = [row.name for row in registry.queues][:1]
    return registry.named(queue or (queues[0] if queues else "none"), job)


async def _run(row: JobType, context: _Context, payload: Any) -> Any:
    if row.is_async:
        return await row.handler(context, payload)
    given: Any = context
    if row.process:
        given = ProcessContext(context.job, context.attempt, _Line(context))  # type: ignore[arg-type]
    return await asyncio.to_thread(row.handler, given, payload)


class _Context(JobContext):
    """A context that writes down."""

    def __init__(self, claim: Claim, place: Workplace, called: Called, child_ends: Mapping[str, Any] | None) -> None:
        super().__init__(claim, place)
        self._called = called
        self._child_ends = child_ends

    def log(self, line: str) -> None:
        self._called.log.append(str(line)[: defaults.LOG_LINE_LENGTH])

    async def progress(self, value: Any) -> None:
        try:
            encoded = _encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"progress can't be encoded: {error}") from None
        if len(encoded) > defaults.MAX_PROGRESS_BYTES:
            raise ConfigurationError(f"progress has {len(encoded)} bytes; wanted at most {defaults.MAX_PROGRESS_BYTES}")
        self._called.progress.append(msgspec.json.decode(encoded))

    async def enqueue(self, job: Any, payload: Any = None, *, queue: str | None = None, **options: Any) -> Job:
        engine = self._place.queue.engine
        name = queue or (self.job.queue if isinstance(job, str) else engine.registry.taking(type(job)).queue)
        request = Encoder(engine.registry, engine.queue(name).name).encode(job, payload, options)  # type: ignore[arg-type]
        enqueued = Enqueued(name, request.name, msgspec.json.decode(request.payload), options)
        self._called.enqueued.append(enqueued)
        return _NoJob(engine.queue(name), options.get("id") or f"call-{len(self._called.enqueued)}", request.name)

    async def enqueue_parent(
        self, job: Any, payload: Any = None, *, children: Sequence[Child], queue: str | None = None, **options: Any
    ) -> Job:
        engine = self._place.queue.engine
        name = queue or (self.job.queue if isinstance(job, str) else engine.registry.taking(type(job)).queue)
        parent_request(engine.registry, name, job, payload, children, options)  # type: ignore[arg-type]
        enqueued = await self.enqueue(job, payload, queue=queue, **options)
        self._called.enqueued[-1].children = list(children)
        return enqueued

    async def add_children(self, children: Iterable[Child]) -> int:
        engine, known = self._place.queue.engine, {child.key for child in self._called.children}
        given = list(children)
        plan(engine.registry, self.job.queue, self.job.id, given)  # raises what it would raise
        new = [child for child in given if child.key not in known]
        self._called.children += new
        return len(new)

    async def wait_children(self) -> list[ChildEnd]:
        if self._child_ends is None:
            if self._called.children:
                raise WaitForChildren
            return []
        ends = []
        for key, end in self._child_ends.items():
            if not isinstance(end, ChildEnd):
                end = ChildEnd(key, self.job.queue, f"{self.job.id}.{key}", "completed", msgspec.Raw(_encode(end)))
            ends.append(end)
        return ends


class _NoJob(Job):
    """A job that was written down, not stored."""

    async def info(self) -> None:
        return None

    async def result(self, timeout: float | None = None) -> Any:
        raise EngineUnavailable(f"job {self.id} was enqueued by a handler that was called without a server")


class _Line:
    """What a handler for a process writes to."""

    def __init__(self, context: _Context) -> None:
        self._context = context

    def send(self, kind: bytes, body: bytes) -> None:
        self._context.log(msgspec.json.decode(body))

    def ask(self, kind: bytes, body: bytes, wanted: Any = Any) -> Any:
        if kind == b"w":
            return self._context.wait_children_sync()
        if kind == b"c":
            return self._context.add_children_sync(msgspec.json.decode(body, type=list[Child]))
        asked = msgspec.json.decode(body)
        if kind == b"n":
            return self._context.progress_sync(asked)
        if kind == b"f":
            children = msgspec.convert(asked["children"], list[Child])
            where = {"queue": asked["queue"], "children": children}
            return self._context.enqueue_parent_sync(asked["job"], asked["payload"], **where, **asked["options"])
        options = asked["options"]
        return self._context.enqueue_sync(asked["job"], asked["payload"], queue=asked["queue"], **options)
