"""The registry: which queues there are, which jobs run on them, and what runs a job. Filled at import time, checked
when it is filled, read-only afterwards."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from . import checks, defaults
from .errors import ConfigurationError, InvalidPayload, UnknownJobName, UnknownQueue
from .job import Record
from .keys import check_priority, check_queue_name
from .limits import Limit
from .middleware import Middleware
from .policy import Retention, RetryPolicy
from .whereabouts import whereabouts

if TYPE_CHECKING:
    from .context import JobContext
    from .options import Unique

Handler = Callable[["JobContext", Any], Awaitable[Any]] | Callable[["JobContext", Any], Any]
HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
UniqueKey = Callable[[Any], "str | Unique | None"]
JobId = Callable[[Any], str | None]
LimitKey = str | Callable[[Any], str | None]
Accept = Callable[[Any], Any]
FailureHook = Callable[["JobContext", Record], Any]
_JOB_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,128}\Z")


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the queue table: `concurrency` jobs at once per worker, and what its jobs get where neither they nor
    their names ask for something else.

    `timeout` in seconds for one attempt; `delay` and `expires` in seconds as in `EnqueueOptions`. `max_length` jobs may
    be waiting, delayed, blocked or parked before enqueue refuses more; `limit` holds for all jobs of the queue together
    and `key_limit` for those of each key. None leaves a limit as it is in Redis. `concurrency` is 1 to 1000, `priority`
    0 (most urgent) to 9; a job that loses its worker more than `max_stalls` times is failed. A worker claims `prefetch`
    jobs, 0 to 1000, more than it has slots free. Raises ConfigurationError.
    """

    name: str
    concurrency: int = defaults.CONCURRENCY
    retry: RetryPolicy = RetryPolicy()
    retention: Retention = Retention()
    max_stalls: int = defaults.MAX_STALLS
    priority: int = defaults.PRIORITY
    timeout: float = defaults.JOB_TIMEOUT
    delay: float | None = None
    expires: float | None = None
    max_length: int | None = None
    limit: Limit | None = None
    key_limit: Limit | None = None
    prefetch: int = 0

    def __post_init__(self) -> None:
        check_queue_name(self.name)
        check_concurrency(self.concurrency)
        check_prefetch(self.prefetch)
        checks.kind("retry", self.retry, RetryPolicy)
        checks.kind("retention", self.retention, Retention)
        checks.whole("max_stalls", self.max_stalls, 0)
        check_priority(self.priority)
        check_timeout(self.timeout)
        if self.delay is not None:
            check_delay(self.delay)
        if self.expires is not None:
            check_expires(self.expires)
        if self.max_length is not None:
            check_max_length(self.max_length)
        for what, limit in (("limit", self.limit), ("key_limit", self.key_limit)):
            if limit is not None:
                checks.kind(what, limit, Limit)


def check_delay(seconds: float) -> float:
    """Returns a delay in seconds, or raises ConfigurationError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 10 * 365 * 86_400:
        raise ConfigurationError(f"delay {checks.shown(seconds)}: wanted seconds from 0 to ten years")
    return seconds


def check_expires(seconds: float) -> float:
    """Returns the seconds within which a job must have started, or raises ConfigurationError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 10 * 365 * 86_400:
        raise ConfigurationError(
            f"expires {checks.shown(seconds)}: wanted seconds above 0 and up to ten years, or a datetime"
        )
    return seconds


def check_timeout(seconds: float) -> float:
    """Returns the seconds that one attempt may take, or raises ConfigurationError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 365 * 86_400:
        raise ConfigurationError(f"timeout {checks.shown(seconds)}: wanted seconds above 0 and up to a year")
    return seconds


def check_max_length(length: int) -> int:
    """Returns a queue's length limit, or raises ConfigurationError."""
    return checks.whole("max_length", length, 1, "for no limit")


def key_of(source: LimitKey | None) -> Callable[[Any], str | None] | None:
    """The function that says a payload's limit key, where the registry names a field of it."""
    if not isinstance(source, str):
        return source

    def read(payload: Any) -> str | None:
        value = payload.get(source) if isinstance(payload, dict) else getattr(payload, source, None)
        return None if value is None else str(value)

    return read


def check_concurrency(concurrency: int) -> int:
    """Returns the number, or raises ConfigurationError."""
    if type(concurrency) is not int or not 1 <= concurrency <= 1000:
        raise ConfigurationError(f"concurrency {checks.shown(concurrency)}: wanted a whole number from 1 to 1000")
    return concurrency


def check_prefetch(prefetch: int) -> int:
    """Returns the number, or raises ConfigurationError."""
    if type(prefetch) is not int or not 0 <= prefetch <= 1000:
        raise ConfigurationError(f"prefetch {prefetch!r}: wanted a whole number from 0 to 1000")
    return prefetch


class JobType:
    """What the registry knows of a job: `name`, `queue`, `handler`, `payload_type` and what it asks for.

    `timeout` is in seconds. `retry`, `retention`, `priority`, `delay` and `expires` None mean the queue's. `unique`,
    `id` and `key`, given a payload, return its unique key, its id and its limit key.
    """

    __slots__ = (
        "_own_timeout",
        "accept",
        "decode",
        "delay",
        "expires",
        "handler",
        "id",
        "is_async",
        "key",
        "name",
        "on_failure",
        "payload_type",
        "priority",
        "process",
        "queue",
        "retention",
        "retry",
        "timeout",
        "unique",
    )

    def __init__(
        self,
        name: str,
        queue: str,
        handler: Handler,
        payload_type: Any,
        *,
        retry: RetryPolicy | None = None,
        retention: Retention | None = None,
        timeout: float | None = None,
        priority: int | None = None,
        delay: float | None = None,
        expires: float | None = None,
        unique: UniqueKey | None = None,
        id: JobId | None = None,
        key: LimitKey | None = None,
        accept: Accept | None = None,
        process: bool = False,
        on_failure: FailureHook | None = None,
    ) -> None:
        self.name = name
        self.queue = queue
        self.handler = handler
        self.payload_type = payload_type
        self.decode = msgspec.json.Decoder(payload_type).decode
        self.is_async = inspect.iscoroutinefunction(handler)
        self.retry = retry
        self.retention = retention
        self.timeout = defaults.JOB_TIMEOUT if timeout is None else timeout
        self.priority = priority
        self.delay = delay
        self.expires = expires
        self.unique = unique
        self.id = id
        self.key = key_of(key)
        self.accept = accept
        self.process = process
        self.on_failure = on_failure
        self._own_timeout = timeout

    def follow(self, queue: QueueConfig) -> None:
        """Takes from its queue's row what the worker looks up for every job."""
        if self._own_timeout is None:
            self.timeout = queue.timeout

    def check(self, payload: bytes) -> Any:
        """Decodes an encoded payload into its type; raises InvalidPayload."""
        try:
            return self.decode(payload)
        except msgspec.DecodeError as error:
            raise InvalidPayload(f"payload of job {self.name!r}: {error}") from None


class Registry:
    """Queues and jobs by name. `registry.queue(...)` adds a row, `@registry.job(...)` a handler."""

    def __init__(self) -> None:
        self._queues: dict[str, QueueConfig] = {}
        self._jobs: dict[tuple[str, str], JobType] = {}
        self._by_type: dict[Any, list[JobType]] = {}
        self.middleware: list[Middleware] = []
        self.stamps: list[Callable[[], dict[str, Any] | None]] = []
        self.version = 0  # rises with every change, for those who keep what they looked up

    def queue(
        self,
        name: str,
        *,
        concurrency: int = defaults.CONCURRENCY,
        retry: RetryPolicy | None = None,
        retention: Retention | None = None,
        max_stalls: int = defaults.MAX_STALLS,
        priority: int = defaults.PRIORITY,
        timeout: float = defaults.JOB_TIMEOUT,
        delay: float | None = None,
        expires: float | None = None,
        max_length: int | None = None,
        limit: Limit | None = None,
        key_limit: Limit | None = None,
        prefetch: int = 0,
    ) -> QueueConfig:
        """Adds a queue, or replaces the row that naming it in a job has made. Arguments and errors as in
        `QueueConfig`."""
        row = QueueConfig(
            name=name,
            concurrency=concurrency,
            retry=RetryPolicy() if retry is None else retry,
            retention=Retention() if retention is None else retention,
            max_stalls=max_stalls,
            priority=priority,
            timeout=timeout,
            delay=delay,
            expires=expires,
            max_length=max_length,
            limit=limit,
            key_limit=key_limit,
            prefetch=prefetch,
        )
        self._queues[name] = row
        self.version += 1
        for job_type in self.jobs_of(name):
            job_type.follow(row)
        return row

    def job(
        self,
        name: str,
        *,
        queue: str,
        retry: RetryPolicy | None = None,
        retention: Retention | None = None,
        timeout: float | None = None,
        priority: int | None = None,
        delay: float | None = None,
        expires: float | None = None,
        unique: UniqueKey | None = None,
        id: JobId | None = None,
        key: LimitKey | None = None,
        accept: Accept | None = None,
        process: bool = False,
        on_failure: FailureHook | None = None,
    ) -> Callable[[HandlerT], HandlerT]:
        """Makes a function the handler of a job.

        The function takes the context and the payload; the annotation of its second parameter is the payload's type
        (a msgspec Struct, or anything that msgspec decodes; without one, any JSON value). `async def` runs in the
        loop, `def` in a thread; with `process`, the handler, a function of a module, runs in a process of its own,
        which is killed when it must end, and is given a `ProcessContext`.

        `name`: 1 to 128 of A-Z a-z 0-9 . _ : / -. `timeout`: seconds for one attempt. `delay`, `expires`, `priority`,
        `retry` and `retention` as in `EnqueueOptions`; None means the queue's. `unique`, given a payload, returns the
        key under which one job at a time waits or runs (a text, a `Unique`, or None for no key); `id` the job's id.
        `key`: the field of the payload, or a function of the payload, that says for whom limits are kept and turns are
        taken. `accept` turns what callers give (if it isn't of the payload's type) into what is checked against it.
        `on_failure(ctx, record)`, `async` or not, is told, at least once, when a job has failed for good, however that
        came.

        Raises ConfigurationError for a name that is taken or illegal, and for a function that can't be a handler.
        """
        if not isinstance(name, str) or not _JOB_NAME.match(name):
            raise ConfigurationError(f"job name {checks.shown(name)}: wanted 1 to 128 of A-Z a-z 0-9 . _ : / -")
        check_queue_name(queue)
        if priority is not None:
            check_priority(priority)
        if timeout is not None:
            check_timeout(timeout)
        if delay is not None:
            check_delay(delay)
        if expires is not None:
            check_expires(expires)
        if retry is not None:
            checks.kind("retry", retry, RetryPolicy)
        if retention is not None:
            checks.kind("retention", retention, Retention)
        checks.kind("process", process, bool)
        if isinstance(key, str):
            checks.text("key", key, 128)
        elif key is not None:
            checks.function("key", key)
        functions: dict[str, Any] = {"unique": unique, "id": id, "accept": accept, "on_failure": on_failure}
        for what, given in functions.items():
            if given is not None:
                checks.function(what, given)

        def add(handler: HandlerT) -> HandlerT:
            if (queue, name) in self._jobs:
                raise ConfigurationError(f"job {name!r} has a handler on queue {queue!r} already")
            payload_type = payload_type_of(handler)
            row = JobType(
                name,
                queue,
                handler,
                payload_type,
                retry=retry,
                retention=retention,
                timeout=timeout,
                priority=priority,
                delay=delay,
                expires=expires,
                unique=unique,
                id=id,
                key=key,
                accept=accept,
                process=process,
                on_failure=on_failure,
            )
            if process:
                whereabouts(handler)  # raises where another process could not find it
            if queue not in self._queues:
                self.queue(queue)
            row.follow(self._queues[queue])
            self._jobs[queue, name] = row
            self.version += 1
            if isinstance(payload_type, type):
                self._by_type.setdefault(payload_type, []).append(row)
            return handler

        return add

    def use(self, *middleware: Middleware) -> None:
        """Puts middleware around what is enqueued and run by this registry; the first is the outermost. Workers that
        have started don't take notice. Raises ConfigurationError for what is no `Middleware`."""
        for layer in middleware:
            if not isinstance(layer, Middleware):
                raise ConfigurationError(f"middleware {layer!r}: wanted an instance of Middleware")
        self.middleware.extend(middleware)
        self.stamps += [layer.meta for layer in middleware if type(layer).meta is not Middleware.meta]
        self.version += 1

    @property
    def queues(self) -> list[QueueConfig]:
        """The rows, in the order in which they were added."""
        return list(self._queues.values())

    def queue_config(self, name: str) -> QueueConfig:
        """The queue's row; raises UnknownQueue where it has none."""
        row = self._queues.get(name)
        if row is None:
            raise UnknownQueue(f"queue {name!r} is unknown; there are: {', '.join(self._queues) or 'none'}")
        return row

    def row_of(self, name: str) -> QueueConfig:
        """The queue's row, or one of defaults for a queue of other processes."""
        return self._queues.get(name) or QueueConfig(name=name)

    def has_queue(self, name: str) -> bool:
        """True where the queue has a row."""
        return name in self._queues

    def find(self, queue: str, name: str) -> JobType | None:
        """The job of that name on that queue, if this process knows it."""
        return self._jobs.get((queue, name))

    def named(self, queue: str, name: str) -> JobType:
        """The job of that name on that queue; raises UnknownJobName, which lists those that there are."""
        row = self._jobs.get((queue, name))
        if row is None:
            names = ", ".join(job.name for job in self.jobs_of(queue)) or "none"
            raise UnknownJobName(f"job {name!r} is unknown on queue {queue!r}; there are: {names}")
        return row

    def taking(self, payload_type: type, queue: str | None = None) -> JobType:
        """The one job (on that queue) whose payload is of that type; raises UnknownJobName where there is none, or more
        than one."""
        rows = [row for row in self._by_type.get(payload_type, []) if queue in (None, row.queue)]
        if len(rows) != 1:
            names = ", ".join(f"{row.queue}/{row.name}" for row in rows)
            what = f"is shared by {names}: name the job" if rows else "belongs to no job"
            raise UnknownJobName(f"payload type {payload_type.__name__} {what}")
        return rows[0]

    def jobs_of(self, queue: str) -> Iterator[JobType]:
        """The jobs of a queue."""
        return (row for (of, _), row in self._jobs.items() if of == queue)


def payload_type_of(handler: Handler) -> Any:
    """The annotation of a handler's second parameter, Any without one; raises ConfigurationError."""
    parameters = list(inspect.signature(handler).parameters)
    if len(parameters) != 2:
        raise ConfigurationError(
            f"handler {getattr(handler, '__name__', handler)!r} takes {len(parameters)} parameters: "
            "wanted two, the context and the payload"
        )
    annotation = inspect.signature(handler).parameters[parameters[1]].annotation
    if isinstance(annotation, str):
        annotation = _resolve(handler, parameters[1], annotation)
    return Any if annotation is inspect.Parameter.empty else annotation


def _resolve(handler: Handler, parameter: str, annotation: str) -> Any:
    # With postponed annotations the type is a text. It is looked up where the handler was written, then in the frames
    # that are defining it: a type that is local to a function is in no module's globals.
    scopes: list[tuple[dict[str, Any], dict[str, Any]]] = [(getattr(handler, "__globals__", {}), {})]
    frame = inspect.currentframe()
    while frame is not None:
        scopes.append((frame.f_globals, frame.f_locals))
        frame = frame.f_back
    for names, local_names in scopes:
        try:
            return eval(annotation, names, local_names)  # noqa: S307 - our caller's own annotation
        except NameError:
            continue
    raise ConfigurationError(
        f"handler {getattr(handler, '__name__', handler)!r}: the type {annotation!r} of its parameter {parameter!r} "
        "can't be found"
    )
