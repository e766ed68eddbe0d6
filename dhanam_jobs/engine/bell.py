"""How an idle worker learns that there is work: the bell in Redis, and the clock for the next delayed job."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import defaults, scripts
from .link import Backoff

if TYPE_CHECKING:
    from .queue import Queue

log = logging.getLogger(__name__)


class Bell:
    """Calls `heard` when there may be work; `wants` says whether the worker could take any.

    `free` is the worker's to set and clear: it waits at the bell only while that is set.
    """

    def __init__(self, queue: Queue, wants: Callable[[], bool], heard: Callable[[], None]) -> None:
        self.free = asyncio.Event()
        self._queue = queue
        self._wants = wants
        self._heard = heard
        self._link = queue.engine.link(f"{queue.name}:bell")
        self._answering: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Answers the bell from now on."""
        self._answering = asyncio.get_running_loop().create_task(self._answer(), name=f"bell {self._queue.name}")

    async def stop(self) -> None:
        """Answers it no more; may be called twice."""
        if self._due is not None:
            self._due.cancel()
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.wait([self._answering])
            self._answering = None
        await self._link.close()

    def watch(self, seconds: float) -> None:
        """Calls `heard` in so many seconds, when the next delayed job is due; replaces an earlier watch."""
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(min(max(0.0, seconds), 3600.0), self._is_due)

    def _is_due(self) -> None:
        self._due = None
        self._heard()

    async def _answer(self) -> None:
        backoff = Backoff()
        key = f"{self._queue.root}:bell"
        while True:
            # Only a worker with a free slot answers: a token that it can't use would be missed by one that can.
            await self.free.wait()
            try:
                rung = await self._link.call(
                    "BZPOPMIN",
                    key,
                    str(defaults.BELL_WAIT),
                    timeout=defaults.BELL_WAIT + defaults.CALL_TIMEOUT,
                )
                if rung is not None and not self._wants():
                    await self._link.run(scripts.RING, self._queue.root, self._queue.engine.time_override)
                    continue
                backoff.reset()
            except Exception as error:
                log.warning("queue %s: the bell can't be heard: %s", self._queue.name, error)
                await asyncio.sleep(backoff.next(random.random()))
            # Rung or not: after a while of silence one look heals whatever ring was lost.
            self._heard()
