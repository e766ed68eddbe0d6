"""The sweeper: every two seconds, for each of its queues, reclaims what dead workers hold, promotes what is due and
takes parked jobs back, and applies retention by age. One process of the fleet does the work at a time; `sweep.lua`
says which."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from redis.exceptions import ResponseError

from . import checks, defaults, scripts
from .errors import EngineUnavailable
from .operations import tidy_once
from .policy import Retention
from .queue import Queue

log = logging.getLogger(__name__)
Swept = Callable[[int], None]


class Sweeper:
    """Sweeps its queues from `start` to `stop`. `run_once` is one round, for tests and for the start."""

    def __init__(
        self,
        queues: Iterable[Queue],
        *,
        interval_ms: int = defaults.SWEEP_MS,
        lease_ms: int = defaults.LEASE_MS,
    ) -> None:
        self._queues = list(queues)
        self._interval_ms = checks.whole("sweep_ms", interval_ms, 1)
        self._lease_ms = lease_ms
        self._loop: asyncio.Task[None] | None = None
        self._turns: dict[str, int] = {}
        self._listeners: dict[str, list[Swept]] = {}

    def listen(self, queue: str, swept: Swept) -> None:
        """From now on `swept` is called after each sweep of the queue, whichever process did its work, with the number
        of failures of which a hook is to be told."""
        self._listeners.setdefault(queue, []).append(swept)

    def forget(self, queue: str, swept: Swept) -> None:
        """Ends a `listen`."""
        if swept in self._listeners.get(queue, []):
            self._listeners[queue].remove(swept)

    def start(self) -> None:
        """Starts sweeping; a second call does nothing."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop().create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        """Ends it; may be called twice."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None

    async def _run(self) -> None:
        while True:
            # Spread, so that the processes of a fleet take turns.
            await asyncio.sleep(self._interval_ms / 1000 * random.uniform(0.9, 1.1))
            try:
                await self.run_once()
            except EngineUnavailable as error:
                log.warning("no sweep: %s", error)
            except ResponseError:
                log.exception("a sweep was refused")

    async def run_once(self, living: Callable[[Queue], list[str]] | None = None) -> int:
        """One round over all queues; returns the number of jobs reclaimed (those failed for stalling included).

        `living` is given where the server is our own, so that every worker that it doesn't name is known to be dead.
        """
        reclaimed = 0
        for queue in self._queues:
            reclaimed += await self._sweep(queue, living(queue) if living is not None else None)
        return reclaimed

    async def _sweep(self, queue: Queue, living: list[str] | None) -> int:
        engine = queue.engine
        row = engine.registry.row_of(queue.name)
        keep_failed = "" if row.retention.failed is None else row.retention.failed
        sure = 0 if living is None else 1
        reclaimed = 0
        again = sure
        while True:
            reply: list[int] = await engine.run(
                scripts.SWEEP,
                queue.root,
                self._interval_ms,
                self._lease_ms,
                defaults.RECLAIM_BATCH,
                row.max_stalls,
                keep_failed,
                again,
                sure,
                "" if row.retention.cancelled is None else row.retention.cancelled,
                *(living or ()),
            )
            if reply[0]:
                await self._unpark(queue)
            for swept in list(self._listeners.get(queue.name, [])):
                swept(reply[1])
            if len(reply) == 2:
                return reclaimed
            _, _, back, failed, _, dead, more, _, outgoing = reply
            reclaimed += back + failed
            if back or failed or dead:
                log.warning(
                    "queue %s: %d workers dead, %d jobs back at the front, %d failed for stalling too often",
                    queue.name,
                    dead,
                    back,
                    failed,
                )
            if not more:
                await self._tidy(queue, row.retention, mend=dead > 0, carry=outgoing > 0)
                return reclaimed
            again = 1

    async def _tidy(self, queue: Queue, retention: Retention, *, mend: bool, carry: bool) -> None:
        # An idle queue is to cost next to nothing. Records that go by age go with every sweep, and so does what one
        # queue has to tell another; what else there is to mend and tidy, such as dead letters of thirty days, waits.
        by_age = any((retention.completed_age, retention.failed_age, retention.cancelled_age))
        turn = self._turns.get(queue.name, 0)
        self._turns[queue.name] = turn + 1
        full_round = turn % defaults.TIDY_EVERY == 0
        if full_round or mend or carry:
            await queue.courier.run(mend=full_round or mend)
        if not (full_round or by_age):
            return
        for _ in range(defaults.TIDY_STEPS):
            if not (await tidy_once(queue))[0]:
                return

    async def _unpark(self, queue: Queue) -> None:
        names = [job.name for job in queue.engine.registry.jobs_of(queue.name)]
        if names:
            await queue.engine.run(scripts.UNPARK, queue.root, defaults.PROMOTE_BATCH, *names)
