"""The engine: one Redis, one key prefix, one registry; hands out queues and runs scripts for them.

What starts workers is the Supervisor, or a Worker alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import redis.asyncio

from . import checks, defaults, keys
from .errors import ConfigurationError, Draining, EngineUnavailable, QueueDamaged, ServerUnsuitable
from .event_reader import EventReader, Since, recent_events
from .events import Event
from .link import Argument, Link, Unreachable
from .listener import Listener
from .merged_events import MergedEvents
from .metrics import JobMetrics, Per, read_metrics
from .options import EnqueueOptions
from .queue import Queue, QueueStats
from .registry import Registry
from .request import JobRequest
from .results import Job
from .schedules import Schedules
from .scripts import Script
from .servers import Servers

if TYPE_CHECKING:
    from .manual_clock import ManualClock

_UNSENDABLE = (redis.exceptions.DataError, UnicodeEncodeError)
_LEAST = {"redis": (7, 0), "valkey": (7, 2)}


class ServerReport:
    """What `Engine.check_server` found: `flavour` ("redis" or "valkey"), `version`, `warnings`, each a sentence about
    what could be lost, and `cluster`, True where it is one of a Redis Cluster."""

    def __init__(self, flavour: str, version: str, warnings: list[str], cluster: bool = False) -> None:
        self.flavour = flavour
        self.version = version
        self.warnings = warnings
        self.cluster = cluster


class Engine:
    """Made by `Engine.connect(url, prefix="jobs", registry=...)`, an async context manager.

    `url` is `redis://[user:password@]host:port/db`, `rediss://…` or `unix:///path/to/socket`. Any server of a Redis
    Cluster stands for the whole of it; the others are found at their own addresses, with the same user and password.
    `prefix` is what all keys begin with. `clock` is for tests alone: a ManualClock of `dhanam_jobs.engine.testing`, in
    the place of Redis's.

    Attributes: `url`, `prefix` (what all its keys begin with), `registry`, `schedules` (see `Schedules`),
    `report` (what entering found, or None).
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "jobs",
        registry: Registry | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.url = checks.kind("the Redis URL", url, str)
        self.prefix = keys.check_prefix(prefix)
        self.registry = registry if registry is not None else Registry()
        self.client_name = f"{prefix.replace(' ', '_')}:{socket.gethostname()}:{os.getpid()}"
        try:
            self.servers = Servers(url, name=self.client_name)
        except ValueError as error:
            raise ConfigurationError(f"the Redis URL can't be read: {error}") from None
        self.clock = clock
        self.time_override: bytes | int = b""
        self.wakers: set[Callable[[], None]] = set()  # called when a manual clock moves
        self.report: ServerReport | None = None
        self.schedules = Schedules(self)
        self._queues: dict[str, Queue] = {}
        self._listeners: dict[str, Listener] = {}
        self._readers: set[EventReader] = set()
        self._accepting = True
        if clock is not None:
            clock.follow(self)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        prefix: str = "jobs",
        registry: Registry | None = None,
        clock: ManualClock | None = None,
    ) -> Self:
        """An engine to enter with `async with`; arguments as the class describes them. Entering checks the server and
        raises ServerUnsuitable or EngineUnavailable. Raises ConfigurationError for a URL or prefix that can't be."""
        return cls(url, prefix=prefix, registry=registry, clock=clock)

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connects and checks the server. Raises ServerUnsuitable, and EngineUnavailable where it doesn't answer."""
        self.report = await self.check_server()

    async def close(self) -> None:
        """Closes all connections. May be called twice."""
        for reader in list(self._readers):
            await reader.aclose()
        for listener in self._listeners.values():
            await listener.close()
        for queue in self._queues.values():
            await queue.close()
        self._listeners.clear()
        await self.servers.aclose()

    def queue(self, name: str) -> Queue:
        """The queue of that name (`[a-z0-9._-]`); one that the registry doesn't have is legal for producers of other
        processes' jobs, unless the registry has queues at all: then it is UnknownQueue. The same object each time."""
        queue = self._queues.get(name if isinstance(name, str) else keys.check_queue_name(name))
        if queue is None:
            if self.registry.queues and not self.registry.has_queue(name):
                self.registry.queue_config(name)  # raises, and lists the queues that there are
            queue = self._queues[name] = Queue(self, name)
        return queue

    async def enqueue(self, payload: Any, *, room_timeout: float = 0, **options: Unpack[EnqueueOptions]) -> Job:
        """Stores a typed payload on the queue of the one job that takes it; options and errors as `Queue.enqueue`.
        Raises UnknownJobName where no job, or more than one, takes that type."""
        job_type = self.registry.taking(type(payload))
        return await self.queue(job_type.queue).enqueue(payload, room_timeout=room_timeout, **options)

    async def enqueue_many(
        self, payloads: Iterable[Any], *, room_timeout: float = 0, **options: Unpack[EnqueueOptions]
    ) -> list[Job]:
        """Stores typed payloads, and JobRequests of such, on whatever queues, and returns the jobs in order. Each
        queue's jobs are a bulk of their own, with options and errors as `Queue.enqueue_many`."""
        by_queue: dict[str, list[tuple[int, Any]]] = {}
        for position, payload in enumerate(payloads):
            typed = payload.job if isinstance(payload, JobRequest) else payload
            by_queue.setdefault(self.registry.taking(type(typed)).queue, []).append((position, payload))
        jobs: dict[int, Job] = {}
        for name, rows in by_queue.items():
            bulk = [payload for _, payload in rows]
            stored = await self.queue(name).enqueue_many(bulk, room_timeout=room_timeout, **options)
            jobs.update(zip((position for position, _ in rows), stored, strict=True))
        return [jobs[position] for position in sorted(jobs)]

    async def stats(self) -> list[QueueStats]:
        """The stats of the registry's queues, in its order. Raises EngineUnavailable."""
        return [await self.queue(row.name).stats() for row in self.registry.queues]

    def events(self, *queues: str, since: Since = None, follow: bool = True) -> EventReader:
        """What happens on those queues (default: the registry's), as an async iterator of typed events that ends with
        the reader or with the engine; without `follow` it ends where nothing more has happened yet.

        `since`: None for what happens from now on; an event's `offset`, or a mapping of queues to such (a reader's
        `offsets`), to go on behind it; "0" for the oldest that is kept; or an aware datetime. Raises
        ConfigurationError.
        """
        chosen = self._queues_of(queues)
        kind = MergedEvents if self.servers.routes.clustered and len(chosen) > 1 else EventReader
        reader = kind(self, chosen, since, self._readers.discard, follow=follow)
        self._readers.add(reader)
        return reader

    async def recent_events(self, *queues: str, limit: int = defaults.PAGE) -> list[Event]:
        """The newest `limit` events of those queues (default: the registry's), the oldest first. Raises
        EngineUnavailable."""
        return await recent_events(self, self._queues_of(queues), limit)

    async def metrics(
        self, *queues: str, name: str | None = None, per: Per = "minute", last: int = 60
    ) -> list[JobMetrics]:
        """What the jobs of those queues (default: the registry's) came to, by job name, in each of the last minutes
        (up to 1440) or hours (up to 720), this one included; the oldest first, without those in which nothing ended.

        Workers add what they counted once a second: the newest row is so much behind. Raises ConfigurationError and
        EngineUnavailable.
        """
        return await read_metrics(self._queues_of(queues), name, per, last)

    def _queues_of(self, names: Iterable[str]) -> list[Queue]:
        chosen = tuple(names) or tuple(row.name for row in self.registry.queues)
        if not chosen:
            raise ConfigurationError("no queue: wanted names, or a registry that has queues")
        return [self.queue(name) for name in dict.fromkeys(chosen)]

    def listener(self, queue: Queue) -> Listener:
        """Who listens for the ends of the queue's jobs: one for all queues, except on a cluster."""
        name = queue.name if self.report is not None and self.report.cluster else ""
        listener = self._listeners.get(name)
        if listener is None:
            listener = self._listeners[name] = Listener(self)
        return listener

    @property
    def accepting(self) -> bool:
        """False once a drain has begun in this process."""
        return self._accepting

    def stop_accepting(self) -> None:
        """From now on enqueue raises Draining; what running jobs enqueue through their context is still accepted."""
        self._accepting = False

    def check_accepting(self) -> None:
        """Raises Draining where no new jobs are accepted."""
        if not self._accepting:
            raise Draining("this process is draining and accepts no new jobs")

    def time_moved(self, now_ms: int) -> None:
        """The manual clock says that it is another time, in ms."""
        self.time_override = now_ms
        for wake in list(self.wakers):
            wake()

    @property
    def redis(self) -> redis.asyncio.Redis:
        """The client of the server that the URL names, for what concerns no key."""
        return self.servers.home

    def link(self, purpose: str) -> Link:
        """A connection for one caller."""
        return Link(self.url, name=f"{self.client_name}:{purpose}", routes=self.servers.routes)

    async def run(self, script: Script, root: str, *arguments: Argument) -> Any:
        """Runs a script on a queue's root. Raises EngineUnavailable where Redis doesn't answer."""
        try:
            return await self.servers.run(script, root, self.time_override, *arguments)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer {script.name}: {error}") from error
        except _UNSENDABLE:
            raise _refused(arguments) from None
        except redis.exceptions.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise QueueDamaged(
                    f"{script.name}: a key of {root} is of a wrong type, inspect says which; nothing was changed"
                ) from error
            raise

    async def command(self, key: str, *words: Argument) -> Any:
        """Runs one command about a key. Raises EngineUnavailable where Redis doesn't answer."""
        try:
            return await self.servers.command(key, *words)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer {words[0]!s}: {error}") from error
        except _UNSENDABLE:
            raise _refused(words) from None

    async def ping(self) -> None:
        """Returns when Redis answers; raises EngineUnavailable where it doesn't."""
        try:
            async with asyncio.timeout(defaults.CALL_TIMEOUT):
                await self.redis.ping()
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer: {error}") from error

    async def claim_for(self, store_id: str) -> str | None:
        """Notes that the jobs of this prefix work on the store of that id; returns the id of another store that was
        noted before, or None."""
        key = keys.registry(self.prefix)
        await self.servers.command(key, "HSETNX", key, "store", store_id)
        noted = await self.servers.command(key, "HGET", key, "store")
        found = noted.decode() if isinstance(noted, bytes) else store_id
        return None if found == store_id else found

    async def announce_queue(self, name: str) -> None:
        """Writes a queue into the registry in Redis, where operators' tools find it. Raises redis-py's errors."""
        key = keys.registry(self.prefix)
        async with asyncio.timeout(defaults.CALL_TIMEOUT):
            await self.servers.command(key, "HSET", key, f"queue:{name}", 1)

    async def check_server(self) -> ServerReport:
        """Checks version, eviction policy, persistence and key layout. Raises ServerUnsuitable for what can't work,
        EngineUnavailable where Redis doesn't answer, and reports what could be lost."""
        key = keys.registry(self.prefix)
        try:
            async with asyncio.timeout(defaults.CALL_TIMEOUT):
                info = await self.redis.info("everything")
                policy = await self._config("maxmemory-policy")
                if info.get("cluster_enabled"):
                    await self._learn_cluster()
                layout = await self.servers.command(key, "HGET", key, "layout")
        except Unreachable as error:
            raise EngineUnavailable(f"Redis at {_without_password(self.url)} did not answer: {error}") from error
        flavour = str(info.get("server_name", "redis"))
        version = str(info.get(f"{flavour}_version", info["redis_version"]))
        least = _LEAST.get(flavour, (7, 0))
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < least:
            raise ServerUnsuitable(f"{flavour} {version}: wanted at least {least[0]}.{least[1]}")
        if info.get("cluster_enabled") and not info.get("redis_mode") == "cluster":
            raise ServerUnsuitable("cluster mode is on but the server is in no cluster")
        if policy is not None and policy != "noeviction" and int(info.get("maxmemory", 0)):
            raise ServerUnsuitable(
                f"maxmemory-policy is {policy!r}: wanted 'noeviction', since any other deletes jobs when memory is full"
            )
        if layout is None:
            await self.servers.command(key, "HSETNX", key, "layout", defaults.LAYOUT_VERSION)
        elif int(layout) != defaults.LAYOUT_VERSION:
            raise ServerUnsuitable(
                f"the keys of prefix {self.prefix!r} have layout {int(layout)}; "
                f"this release reads layout {defaults.LAYOUT_VERSION}"
            )
        warnings = []
        if not int(info.get("aof_enabled", 0)):
            warnings.append(
                "the server keeps no append-only file: what was stored since its last snapshot is lost when it crashes"
            )
        return ServerReport(flavour, version, warnings, bool(info.get("cluster_enabled")))

    async def _learn_cluster(self) -> None:
        """Learns who holds what, replicas included: one of them may be all that is left when its master dies."""
        self.servers.routes.clustered = True
        link = self.link("cluster")
        try:
            self.servers.routes.learn(await link.call("CLUSTER", "SLOTS"))
        except redis.exceptions.NoPermissionError:
            pass  # who holds a slot is found by asking; a replica, once another server tells of it
        finally:
            await link.close()

    async def _config(self, name: str) -> str | None:
        try:
            found = await self.redis.config_get(name)
        except redis.exceptions.ResponseError:
            return None  # managed servers and restricted users may not ask
        value = found.get(name)
        return value.decode() if isinstance(value, bytes) else value


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//", url)


def _refused(arguments: Sequence[Any]) -> ConfigurationError:
    """Names the argument that no command can carry: an id that is no text, or half a character in one."""
    for one in arguments:
        if isinstance(one, bool) or not isinstance(one, bytes | str | int | float):
            return ConfigurationError(f"{checks.shown(one)}: wanted a text")
        if isinstance(one, str) and not checks.utf8(one):
            return ConfigurationError(f"{checks.shown(one)}: wanted a text that UTF-8 can hold")
    return ConfigurationError("an argument can't be sent to Redis")
