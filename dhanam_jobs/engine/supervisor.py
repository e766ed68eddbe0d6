"""The supervisor: one process's workers, with one heart and one sweeper among them, started and drained in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from . import checks, defaults
from .engine import Engine
from .heart import heart_of
from .queue import Queue
from .resources import ResourceScope
from .schedule import Schedule
from .scheduler import Scheduler
from .sweeper import Sweeper
from .worker import Worker

log = logging.getLogger(__name__)


class Supervisor:
    """Runs workers for `queues` (default: all that the registry has).

    `resources` is opened once, handed to every handler and closed (see `ResourceScope`); `concurrency` maps queue names
    to numbers that replace the rows' own; `drain_timeout` in seconds. `alone` says that no other process can have
    workers on this server (it is our own, and we hold its lock): then what is left of earlier workers is reclaimed at
    the start instead of after their lease. A worker of another process is dead when it has not beaten for `lease_ms`,
    which is found by a sweep every `sweep_ms`.

    `schedules` are those of the application `owner`: they are declared at the start, and others of this owner are
    removed; None leaves them as they are. Schedules of the queues are fired from `start` to the drain, whoever made
    them.

    Attributes: `engine`, `workers`. Raises UnknownQueue and ConfigurationError.
    """

    def __init__(
        self,
        engine: Engine,
        queues: Iterable[str] | None = None,
        *,
        resources: Any = None,
        concurrency: Mapping[str, int] | None = None,
        drain_timeout: float = defaults.DRAIN_TIMEOUT,
        lease_ms: int = defaults.LEASE_MS,
        sweep_ms: int = defaults.SWEEP_MS,
        alone: bool = False,
        schedules: Iterable[Schedule] | None = None,
        owner: str = "",
    ) -> None:
        self.engine = engine
        self._drain_timeout = checks.wait("drain_timeout", drain_timeout)
        self._alone = alone
        names = [row.name for row in engine.registry.queues] if queues is None else list(queues)
        self._queues: list[Queue] = [engine.queue(name) for name in names]
        self._heart = heart_of(engine, lease_ms)
        self._schedules = None if schedules is None else list(schedules)
        self._owner = owner
        self._scheduler = Scheduler(engine, self._queues, declared=self._schedules, owner=owner)
        resources = ResourceScope(resources)
        self._sweeper = Sweeper(self._queues, interval_ms=sweep_ms, lease_ms=lease_ms)
        self.workers = [
            Worker(
                queue,
                concurrency=(concurrency or {}).get(queue.name),
                resources=resources,
                heart=self._heart,
                sweeper=self._sweeper,
                lease_ms=lease_ms,
                on_drain=self._told_to_drain,
            )
            for queue in self._queues
        ]
        self._draining: asyncio.Task[None] | None = None
        self._hurried = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def accepting_jobs(self) -> bool:
        """False once the drain has begun."""
        return self.engine.accepting

    @property
    def loop_lag_ms(self) -> float:
        """How late the event loop last turned, in ms."""
        return self._heart.loop_lag_ms

    async def start(self) -> None:
        """Declares the schedules and starts the workers, the sweeper and the scheduler. Raises EngineUnavailable where
        Redis doesn't answer, and what declaring and opening the resources raise: then nothing was started."""
        if self._alone:
            reclaimed = await self._sweeper.run_once(living=lambda queue: [])
            if reclaimed:
                log.info("%d jobs of the process before this one are back at the front", reclaimed)
        if self._schedules is not None:
            await self.engine.schedules.declare(self._schedules, owner=self._owner)
        self._heart.start()
        try:
            for worker in self.workers:
                await worker.start()
        except BaseException:
            await self.stop(timeout=0)
            raise
        self._sweeper.start()
        self._scheduler.start()

    async def drain(self, timeout: float | None = None) -> None:
        """Accepts and claims nothing more, gives running jobs `timeout` seconds (default: the supervisor's), releases
        the rest to the front of their queues, and ends the workers. Never pauses a queue. A second call waits for the
        first."""
        await asyncio.shield(self._start_draining(timeout))

    def _start_draining(self, timeout: float | None) -> asyncio.Task[None]:
        if self._draining is None:
            self.engine.stop_accepting()
            seconds = self._drain_timeout if timeout is None else timeout
            self._draining = asyncio.get_running_loop().create_task(self._drain(seconds), name="drain")
        return self._draining

    def _told_to_drain(self) -> None:
        log.info("told to drain")
        self._start_draining(None)

    async def _drain(self, timeout: float) -> None:
        for worker in self.workers:
            worker.stop_claiming()
        await self._scheduler.stop()
        await asyncio.gather(*(worker.stop(0 if self._hurried else timeout) for worker in self.workers))
        await self._sweeper.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._heart.stop)

    def hurry(self) -> None:
        """Ends a drain at once: running jobs are released now."""
        self._hurried = True
        for worker in self.workers:
            worker.hurry()

    async def stop(self, timeout: float | None = None) -> None:
        """Drains, within `timeout` seconds (default: the supervisor's); may be called twice."""
        await self.drain(timeout)
