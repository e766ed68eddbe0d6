"""A worker's inbox: what others tell this one worker, read the moment it comes.

A list per worker in Redis, read by a blocking pop on a connection of its own: it costs nothing per job, and four
commands a minute while nobody writes. A message may be lost with a connection; what must not be lost (a cancellation)
is also kept where the job is, and asked for after a silence.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from . import defaults, scripts
from .errors import ConfigurationError
from .link import Backoff

if TYPE_CHECKING:
    from .queue import Queue

log = logging.getLogger(__name__)


class Message(msgspec.Struct, omit_defaults=True):
    """What a worker may be told: to cancel a claim (`cancel` is the job's id), to pause or go on, to run `concurrency`
    jobs at once, to drain, that there are families to be told (`deliver`), or to let go what it holds and has not begun
    (`release`)."""

    cancel: str | None = None
    place: str = ""
    entry: str = ""
    reason: str = ""
    pause: bool | None = None
    concurrency: int | None = None
    drain: bool = False
    deliver: bool = False
    release: bool = False


class Mark(msgspec.Struct):
    """What is kept of the cancellation of a running job."""

    reason: str = ""
    at_ms: int = 0


class Inbox:
    """Reads one worker's inbox from `start` to `stop`. `heard` gets each message; `missed` gets the marks of all
    cancellations that are under way, whenever a message may have been lost."""

    def __init__(
        self, queue: Queue, heard: Callable[[Message], None], missed: Callable[[dict[str, Mark]], None]
    ) -> None:
        self._queue = queue
        self._heard = heard
        self._missed = missed
        self._link = queue.engine.link(f"{queue.name}:inbox")
        self._reading: asyncio.Task[None] | None = None

    def start(self, worker: str) -> None:
        """Reads for a worker of this name; ends what was read for an earlier name."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.get_running_loop().create_task(
            self._read(worker, self._reading), name=f"inbox {self._queue.name}"
        )

    async def stop(self) -> None:
        """Ends it; may be called twice."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            self._reading = None
        await self._link.close()

    async def _read(self, worker: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])  # two readers would share a connection
        backoff = Backoff()
        key = f"{self._queue.root}:inbox:{worker}"
        wait = defaults.INBOX_WAIT
        while True:
            try:
                found = await self._link.call("BLPOP", key, str(wait), timeout=wait + defaults.CALL_TIMEOUT)
                if found is None:
                    await self._look()
                    continue
                backoff.reset()
                self._deliver(found[1])
            except Exception as error:
                log.warning("queue %s: the inbox can't be read: %s", self._queue.name, error)
                await asyncio.sleep(backoff.next(random.random()))
                try:
                    await self._look()
                except Exception as again:
                    log.warning("queue %s: the inbox can't be read: %s", self._queue.name, again)

    def _deliver(self, text: bytes) -> None:
        try:
            self._heard(msgspec.json.decode(text, type=Message))
        except (msgspec.DecodeError, ConfigurationError) as error:
            log.warning("queue %s: a message that can't be followed: %s", self._queue.name, error)

    async def _look(self) -> None:
        flat: list[bytes] = await self._link.call("HGETALL", f"{self._queue.root}:cancelling")
        if flat:
            pairs = zip(flat[::2], flat[1::2], strict=True)
            self._missed({job.decode(): msgspec.json.decode(text, type=Mark, strict=False) for job, text in pairs})


async def send(queue: Queue, worker: str, message: Message) -> bool:
    """Tells a worker; False where no living worker of the queue has that name. Raises EngineUnavailable."""
    return bool(await queue.engine.run(scripts.MESSAGE, queue.root, worker, msgspec.json.encode(message)))
