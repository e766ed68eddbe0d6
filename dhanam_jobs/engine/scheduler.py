"""The scheduler: ticks the schedules of its queues when they are due, from `start` to `stop`. Any number may run.

It asks what is due, computes what follows, and has `tick.lua` advance and enqueue in one step, which only the first of
those that ask brings about. In between it sleeps until the next fire; a change of any schedule wakes it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from redis.exceptions import ResponseError

from . import defaults, keys, scripts
from .errors import ConfigurationError, EngineError, EngineUnavailable
from .link import Backoff, Unreachable, sleep_or
from .misfire import Firing, Misfire, firing
from .queue import Queue
from .schedule import Schedule, parsed, run_id

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger(__name__)
# A fire takes some tenths of a millisecond to compute.
_COMPUTED_AT_ONCE = 8


class Due(NamedTuple):
    """A schedule that was due when it was looked at: what `tick.lua` compares, and what fires."""

    name: str
    revision: str
    next_ms: int
    id_template: str
    firing: Firing


class Look(NamedTuple):
    """What is due on one queue. `now_ms` is Redis's time, `next_ms` the soonest fire that is not due yet; `unread` are
    the due schedules that can't be computed here; `full` says that there may be more."""

    now_ms: int
    next_ms: int | None
    due: list[Due]
    unread: int
    full: bool


class Scheduler:
    """Fires the schedules of `queues`: `async with Scheduler(engine, [engine.queue("hello")]): …`.

    A Supervisor brings one. `declared`, with their `owner`, are declared anew where Redis has lost its data.
    """

    def __init__(
        self,
        engine: Engine,
        queues: Iterable[Queue],
        *,
        declared: Sequence[Schedule] | None = None,
        owner: str = "",
    ) -> None:
        self._engine = engine
        self._queues = list(queues)
        self._declared = declared
        self._owner = owner
        self._link = engine.link("schedules")
        self._changed = asyncio.Event()
        self._heard: bytes = b"$"
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Starts ticking; a second call does nothing."""
        if not self._running:
            loop = asyncio.get_running_loop()
            self._engine.wakers.add(self._changed.set)
            self._running = [
                loop.create_task(self._run(), name="scheduler"),
                loop.create_task(self._listen(), name="schedule changes"),
            ]

    async def stop(self) -> None:
        """Ends it; may be called twice. A tick that was sent takes effect or not, as a whole."""
        running, self._running = self._running, []
        self._engine.wakers.discard(self._changed.set)
        for one in running:
            one.cancel()
        if running:
            await asyncio.wait(running)
        await self._link.close()

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            self._changed.clear()
            try:
                await self._redeclare()
                wait = await self.run_once()
                backoff.reset()
            except EngineUnavailable as error:
                log.warning("no ticks: %s", error)
                wait = backoff.next(random.random())
            except (EngineError, ResponseError):
                log.exception("ticks were refused")
                wait = defaults.SCHEDULE_LOOK
            except Exception:
                # Nothing may stop the ticks: a scheduler that silently fires nothing is the worst kind.
                log.exception("ticks failed here")
                wait = defaults.SCHEDULE_LOOK
            await sleep_or(self._changed, wait)

    async def run_once(self) -> float:
        """Ticks all that is due, and returns the seconds until it should be called again. Raises EngineUnavailable."""
        wait_ms = defaults.SCHEDULE_LOOK * 1000
        for queue in self._queues:
            passed_over = 0
            while True:
                look = await self.look(queue, passed_over)
                if look.due:
                    await self.tick(queue, look.due)
                passed_over += look.unread
                if not look.full:
                    break
            if look.next_ms is not None:
                wait_ms = min(wait_ms, max(1, look.next_ms - look.now_ms))
        return wait_ms / 1000

    async def look(self, queue: Queue, passed_over: int = 0) -> Look:
        """What is due on a queue, leaving out the first `passed_over` that are."""
        reply: list[Any] = await self._engine.run(
            scripts.SCHEDULE_DUE, queue.root, passed_over, defaults.SCHEDULE_BATCH
        )
        now_ms = reply[0]
        rows = dict(zip((name.decode() for name in reply[2::2]), reply[3::2], strict=True))
        due = []
        at_home = await self._at_home(queue, list(rows))
        for position, name in enumerate(at_home, 1):
            if position % _COMPUTED_AT_ONCE == 0:
                # The jobs that run in this loop have their turn.
                await asyncio.sleep(0)
            one = _due(name, rows[name], now_ms)
            if one is not None:
                due.append(one)
        next_ms = int(float(reply[1])) if reply[1] else None
        return Look(now_ms, next_ms, due, len(at_home) - len(due), bool(rows))

    async def tick(self, queue: Queue, due: Sequence[Due]) -> list[list[str]]:
        """Has them advanced and their runs started; returns what became of each, as `tick.lua` says it."""
        arguments: list[str | int] = []
        for one in due:
            following = "" if one.firing.following_ms is None else one.firing.following_ms
            instants = one.firing.instants_ms
            arguments += (one.name, one.revision, one.next_ms, following, len(instants))
            for instant in instants:
                arguments += (instant, run_id(one.id_template, one.name, instant))
        reply: list[list[bytes]] = await self._engine.run(scripts.TICK, queue.root, *arguments)
        verdicts = [[word.decode() for word in words] for words in reply]
        for one, words in zip(due, verdicts, strict=True):
            if words[0] == "ticked":
                self._report(queue, one, words[1:])
        return verdicts

    def _report(self, queue: Queue, one: Due, runs: list[str]) -> None:
        if not runs:
            log.warning("queue %s: schedule %s: what was missed since %d is skipped", queue.name, one.name, one.next_ms)
        elif "skipped" in runs:
            log.info("queue %s: schedule %s: %d ticks met a run of before", queue.name, one.name, runs.count("skipped"))
        else:
            log.debug("queue %s: schedule %s: %s", queue.name, one.name, ", ".join(runs))

    async def _at_home(self, queue: Queue, names: list[str]) -> list[str]:
        """Those of the schedules that belong to this queue, by the registry. A schedule that moved and was left behind
        (its mover died) is removed here; one that the registry lacks is written into it."""
        if not names:
            return []
        registry, servers = keys.registry(self._engine.prefix), self._engine.servers
        fields = [f"schedule:{name}" for name in names]
        try:
            homes = await servers.command(registry, "HMGET", registry, *fields)
            at_home = []
            for name, found in zip(names, homes, strict=True):
                home = found.decode() if isinstance(found, bytes) else None
                row = keys.schedule(self._engine.prefix, home or queue.name, name)
                if home is None:
                    await servers.command(registry, "HSETNX", registry, f"schedule:{name}", queue.name)
                    at_home.append(name)
                elif home == queue.name:
                    at_home.append(name)
                elif await servers.command(row, "EXISTS", row):
                    log.warning("queue %s: schedule %s is on queue %s now", queue.name, name, home)
                    await self._engine.run(scripts.SCHEDULE_REMOVE, queue.root, name, "")
                else:
                    # It never arrived where it was to go.
                    await servers.command(registry, "HSET", registry, f"schedule:{name}", queue.name)
                    at_home.append(name)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer: {error}") from error
        return at_home

    async def _redeclare(self) -> None:
        if self._declared is not None and not await self._engine.schedules.declared(self._owner):
            log.warning("Redis has lost the schedules of %s: they are declared anew", self._owner)
            await self._engine.schedules.declare(self._declared, owner=self._owner)

    async def _listen(self) -> None:
        """Wakes the scheduler when any process changes a schedule."""
        backoff = Backoff()
        stream = keys.schedule_changes(self._engine.prefix)
        while True:
            try:
                if self._heard == b"$":
                    newest = await self._link.call("XREVRANGE", stream, "+", "-", "COUNT", "1")
                    self._heard = newest[0][0] if newest else b"0"
                    # What changed between the first look and this moment was not heard.
                    self._changed.set()
                heard = await self._link.call(
                    "XREAD",
                    "BLOCK",
                    round(defaults.SCHEDULE_LOOK * 1000),
                    "STREAMS",
                    stream,
                    self._heard,
                    timeout=defaults.SCHEDULE_LOOK + defaults.CALL_TIMEOUT,
                )
                backoff.reset()
                if heard is not None:
                    self._heard = heard[0][1][-1][0]
                    self._changed.set()
            except (*Unreachable, ResponseError):
                await asyncio.sleep(backoff.next(random.random()))


def _due(name: str, values: list[bytes | None], now_ms: int) -> Due | None:
    texts = [None if value is None else value.decode() for value in values]
    revision, next_ms, cron, tz, misfire, grace_ms, end_ms, resumed_ms, id_template = texts
    if not (revision and next_ms and cron and tz and misfire and grace_ms and id_template):
        log.error("schedule %s can't be read, and fires nothing: it was damaged by hand", name)
        return None
    try:
        policy: Misfire = misfire  # type: ignore[assignment]
        fires = firing(
            parsed(cron, tz),
            int(next_ms),
            now_ms,
            misfire=policy,
            grace_ms=int(grace_ms),
            end_ms=int(end_ms) if end_ms else None,
            resumed_ms=int(resumed_ms) if resumed_ms else None,
        )
    except ConfigurationError as error:
        # Another process may have the time zone that this one lacks.
        log.error("schedule %s can't be computed here, and fires nothing: %s", name, error)
        return None
    return Due(name, revision, int(next_ms), id_template, fires)
