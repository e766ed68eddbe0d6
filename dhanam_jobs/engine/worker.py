"""A worker: takes jobs of one queue, so many at once, from `start` to `stop`.

Claiming, running and settling them is the affair of its lanes (`lane.py`): one, or two that take turns with Redis. What
they share is the worker's: the resources and what calls the handlers, the hooks, and a heart and a sweeper, which a
Supervisor shares among its workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

from . import checks, defaults, scripts
from .context import Workplace
from .failures import FailureHooks
from .heart import Heart, heart_of
from .inbox import Message
from .invocation import Invoker
from .lane import Lane, announce
from .queue import Queue
from .registry import QueueConfig, check_concurrency, check_prefetch
from .resources import ResourceScope
from .sweeper import Sweeper

_TWO_LANES_FROM = 32
"""Slots from which on a worker has two lanes: below, smaller trips cost more than the overlap gains."""


class Worker:
    """Works one queue: `async with Worker(engine.queue("hello"), concurrency=5): …`.

    `concurrency` (1 to 1000; default: the queue's row) jobs run at once. `resources` is opened before the first job,
    handed to every handler as `ctx.resources`, and closed after the last (`ResourceScope` says what may be given).
    Leaving the block stops claiming, gives running jobs `drain_timeout` seconds, and releases the rest.

    `prefetch` (0 to 1000; default: the queue's row, 0) jobs more than there are free slots are claimed, and held until
    one is free; they go back to the front when the worker or the queue is paused, or the worker stops.

    `on_drain` is called when an operator tells this worker to drain; without it, the worker stops claiming. `heart` and
    `sweeper` are a Supervisor's to share; alone, a worker brings its own: it is dead when it has not beaten for
    `lease_ms`, and sweeps every `sweep_ms`. Raises ConfigurationError; entering raises EngineUnavailable where Redis
    doesn't answer, and what opening the resources raises.

    Attributes: `name` (a new one where it was declared dead and came back), `queue`, `config` (the queue's row),
    `concurrency`, `prefetch`, `paused`.

    From 32 slots on they are shared out among two lanes, each with a row, claims and trips of its own: while Redis
    answers the one, the other runs jobs. To operators a lane is a worker; `name` is the first one's.
    """

    lane_type: ClassVar[type[Lane]] = Lane

    def __init__(
        self,
        queue: Queue,
        *,
        concurrency: int | None = None,
        resources: Any = None,
        drain_timeout: float = defaults.DRAIN_TIMEOUT,
        heart: Heart | None = None,
        sweeper: Sweeper | None = None,
        lease_ms: int = defaults.LEASE_MS,
        sweep_ms: int = defaults.SWEEP_MS,
        on_drain: Callable[[], None] | None = None,
        prefetch: int | None = None,
    ) -> None:
        self.queue = checks.kind("queue", queue, Queue)
        self.config: QueueConfig = queue.engine.registry.row_of(queue.name)
        self.concurrency = check_concurrency(self.config.concurrency if concurrency is None else concurrency)
        self.prefetch = check_prefetch(self.config.prefetch if prefetch is None else prefetch)
        self.paused = False
        self._engine = queue.engine
        self._drain_timeout = checks.wait("drain_timeout", drain_timeout)
        self._own_heart = heart is None
        self._heart = heart or heart_of(self._engine, lease_ms)
        self._own_sweeper = sweeper is None
        self._sweeper = sweeper or Sweeper([queue], interval_ms=sweep_ms, lease_ms=lease_ms)
        self._on_drain = on_drain
        self._resources = resources if isinstance(resources, ResourceScope) else ResourceScope(resources)
        registry = self._engine.registry
        jobs = {job.name: job for job in registry.jobs_of(queue.name)}
        self._invoker = Invoker(registry.middleware)
        self._calls = {name: (job, self._invoker.call_of(job)) for name, job in jobs.items()}
        self._place = Workplace(queue, None)
        self._hooks = FailureHooks(self._place, jobs, registry.middleware)
        lanes = 1 if self.concurrency < _TWO_LANES_FROM else 2
        self.lanes = [self._lane(number, lanes) for number in range(lanes)]
        self._started = False

    def _lane(self, number: int, lanes: int) -> Lane:
        return self.lane_type(
            self.queue,
            _share(self.concurrency, number, lanes),
            _share(self.prefetch, number, lanes),
            calls=self._calls,
            heart=self._heart,
            hooks=self._hooks,
            place=self._place if number == 0 else Workplace(self.queue, None),
            told=partial(self._told, number),
        )

    # -- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Registers and starts claiming. A second call does nothing. Raises EngineUnavailable where Redis doesn't
        answer, and what opening the resources raises: then nothing was started."""
        if self._started:
            return
        await self._begin()
        self._started = True
        if self._hooks:
            self._sweeper.listen(self.queue.name, self._hooks.swept)
        if self._own_heart:
            self._heart.start()
        if self._own_sweeper:
            self._sweeper.start()
        for lane in self.lanes:
            lane.start()

    async def _begin(self) -> None:
        """Opens the resources and registers; what was parked for want of this worker comes back."""
        loop = asyncio.get_running_loop()
        await announce(self.queue)
        resources = await self._resources.open()
        registered: list[Lane] = []
        try:
            for lane in self.lanes:
                lane.place.loop, lane.place.resources = loop, resources
                await lane.register()
                registered.append(lane)
            await self._hooks.note()
            if self._calls:
                await self._engine.run(scripts.UNPARK, self.queue.root, defaults.PROMOTE_BATCH, *self._calls)
        except BaseException:
            for lane in registered:
                await lane.end()
                await lane.leave()
            await self._resources.close()
            raise

    def stop_claiming(self) -> None:
        """Takes no more jobs; what runs goes on."""
        for lane in self.lanes:
            lane.stop_claiming()

    def pause(self) -> None:
        """This worker alone takes no more jobs until `resume`; what runs goes on."""
        self.paused = True
        for lane in self.lanes:
            lane.pause()

    def resume(self) -> None:
        """Ends a `pause`."""
        self.paused = False
        for lane in self.lanes:
            lane.resume()

    def set_concurrency(self, concurrency: int) -> None:
        """From now on so many jobs (1 to 1000) run at once; what runs beyond that ends by itself. Raises
        ConfigurationError."""
        self.concurrency = check_concurrency(concurrency)
        for number, lane in enumerate(self.lanes):
            lane.set_concurrency(_share(concurrency, number, len(self.lanes)))

    async def stop(self, timeout: float | None = None) -> None:
        """Stops claiming, waits `timeout` seconds (default: the worker's drain_timeout) for running jobs, releases the
        rest to the front of the queue, and leaves. May be called twice."""
        if not self._started:
            return
        seconds = self._drain_timeout if timeout is None else timeout
        await asyncio.gather(*(lane.drain(seconds) for lane in self.lanes))
        self._started = False
        await self._leave()

    async def _leave(self) -> None:
        for lane in self.lanes:
            await lane.end()
        self._sweeper.forget(self.queue.name, self._hooks.swept)
        await self._hooks.close(defaults.CALL_TIMEOUT)
        if self._own_sweeper:
            await self._sweeper.stop()
        for lane in self.lanes:
            await lane.leave()
        if self._own_heart:
            await asyncio.get_running_loop().run_in_executor(None, self._heart.stop)
        await self._invoker.close()
        await self._resources.close()

    def hurry(self) -> None:
        """Ends a `stop` that is waiting for running jobs: they are released now."""
        for lane in self.lanes:
            lane.hurry()

    # -- what it is and is told -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The first lane's name."""
        return self.lanes[0].name

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return sum(lane.running for lane in self.lanes)

    @property
    def fetched(self) -> float:
        """The event loop's time of the last answer to a trip; 0 before the first."""
        return max(lane.fetched for lane in self.lanes)

    def _told(self, number: int, message: Message) -> None:
        """What a lane's inbox says. To operators the second lane is a worker beside the first, which stands for all."""
        lane = self.lanes[number]
        whole: Worker | Lane = self if number == 0 else lane
        if message.cancel is not None:
            lane.cancel(message)
        if message.pause is not None:
            (whole.pause if message.pause else whole.resume)()
        if message.concurrency is not None:
            whole.set_concurrency(check_concurrency(message.concurrency))
        if message.release:
            lane.release_held()
        if message.deliver:
            self.queue.courier.wake()
        if message.drain:
            (self._on_drain or whole.stop_claiming)()


def _share(number_of: int, lane: int, lanes: int) -> int:
    """What a lane gets of so many slots: equal shares, the first ones one more where that doesn't go."""
    return number_of // lanes + (lane < number_of % lanes)
