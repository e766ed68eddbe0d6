"""Waiting for the ends of jobs: who waits here, and one reader of the event streams on behalf of all of them.

A waiter first says so in Redis (`wait.lua`), which keeps the result beyond retention and answers at once where the job
has ended. The reader then reads events from before that answer, so that no end is missed. What is asked in one turn of
the loop travels in one call, as does what one batch of events tells; so thousands of waiters cost a connection and a
few calls. Decoding what a job left behind is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from . import defaults, scripts
from .errors import EngineUnavailable, JobNotFound, ResultTimeout
from .job import Record
from .link import Backoff

if TYPE_CHECKING:
    from .engine import Engine
    from .queue import Queue

log = logging.getLogger(__name__)
_BLOCK_MS = 4_000
_PER_CALL = 500
_LOOK_EVERY = 30.0
_LOOK_AFTER_SILENCE = 10.0
_LINGER = 10.0
_ENDINGS = (b"completed", b"failed", b"cancelled", b"removed")

Waiter = asyncio.Future[Record]


class Desk:
    """One queue's waiters: by job id; those whose question is still to be asked; and the reader's place in the events,
    None while nobody reads them. `known` are the jobs that were there when they were asked for."""

    __slots__ = ("asking", "known", "name", "new", "offset", "root", "used", "waiters")

    def __init__(self, queue: Queue) -> None:
        self.name = queue.name
        self.root = queue.root
        self.waiters: dict[str, list[Waiter]] = {}
        self.known: set[str] = set()
        self.new: list[tuple[str, Waiter]] = []
        self.asking: asyncio.Task[None] | None = None
        self.offset: bytes | None = None
        self.used = time.monotonic()

    def resolve(self, job_id: str, record: Record) -> None:
        """Everybody who waits for the job gets its record."""
        for waiter in self.waiters.get(job_id, ()):
            if not waiter.done():
                waiter.set_result(record)

    def refuse(self, job_id: str) -> None:
        """Everybody who waits for the job is told that it isn't there."""
        if job_id in self.known:
            text = f"job {job_id} was removed from queue {self.name!r} while somebody waited for it"
        else:
            text = (
                f"job {job_id} is not on queue {self.name!r}: "
                "never enqueued, removed, or ended and evicted by retention before anybody waited"
            )
        for waiter in self.waiters.get(job_id, ()):
            if not waiter.done():
                waiter.set_exception(JobNotFound(text))


class Listener:
    """Waits on behalf of a whole process. Where the server is a cluster, each queue has one of its own, since a
    connection reads one slot's keys."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._desks: dict[str, Desk] = {}
        self._link = engine.link("results")
        self._reader: asyncio.Task[None] | None = None
        self._reading = False
        self._interrupted = False

    async def wait(self, queue: Queue, job_id: str, timeout: float | None) -> Record:
        """The record of the job once it has ended. `timeout` in seconds, None for ever. Raises JobNotFound,
        ResultTimeout, and EngineUnavailable where Redis doesn't answer the first question."""
        loop = asyncio.get_running_loop()
        desk = self._desks.get(queue.root)
        if desk is None:
            desk = self._desks[queue.root] = Desk(queue)
        waiter: Waiter = loop.create_future()
        desk.waiters.setdefault(job_id, []).append(waiter)
        desk.new.append((job_id, waiter))
        if desk.asking is None:
            desk.asking = loop.create_task(self._ask(desk), name=f"ask {queue.name}")
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except TimeoutError:
            raise ResultTimeout(f"job {job_id} on {queue.name!r} had not ended after {timeout} s") from None
        finally:
            self._leave(desk, job_id, waiter)

    def _leave(self, desk: Desk, job_id: str, waiter: Waiter) -> None:
        waiters = desk.waiters.get(job_id)
        if waiters is None:
            return
        with contextlib.suppress(ValueError):
            waiters.remove(waiter)
        if not waiters:
            del desk.waiters[job_id]
            desk.known.discard(job_id)
            desk.used = time.monotonic()

    # -- asking ---------------------------------------------------------------------------------------------------

    async def _ask(self, desk: Desk) -> None:
        # One call at a time: where the reader begins is what the first answer says, and a later one is never older.
        try:
            while desk.new:
                asked, desk.new = desk.new[:_PER_CALL], desk.new[_PER_CALL:]
                try:
                    await self._look(desk, {job_id: None for job_id, waiter in asked if not waiter.done()})
                except Exception as error:
                    for _, waiter in asked:
                        if not waiter.done():
                            waiter.set_exception(
                                EngineUnavailable(str(error)) if isinstance(error, EngineUnavailable) else error
                            )
        finally:
            desk.asking = None

    async def _look(self, desk: Desk, job_ids: Iterable[str]) -> None:
        ids = list(job_ids)
        for first in range(0, len(ids), _PER_CALL):
            part = ids[first : first + _PER_CALL]
            newest, *answers = await self._engine.run(scripts.WAIT, desk.root, defaults.RESULT_KEEP_MS, *part)
            for job_id, answer in zip(part, answers, strict=True):
                if isinstance(answer, bytes):
                    desk.resolve(job_id, msgspec.json.decode(answer, type=Record))
                elif answer == 0:
                    desk.refuse(job_id)
                elif job_id in desk.waiters:
                    desk.known.add(job_id)
            if 1 in answers and desk.offset is None:
                desk.offset = newest
                self._watch_one_more()

    # -- hearing --------------------------------------------------------------------------------------------------

    def _watch_one_more(self) -> None:
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._run(), name="results")
        elif self._reading and not self._interrupted:
            self._interrupted = True
            self._reader.cancel()

    async def _run(self) -> None:
        try:
            while any(desk.offset is not None for desk in self._desks.values()):
                await self._read()
                await self._link.close()
        finally:
            self._reader = None

    def _watched(self) -> dict[bytes, Desk]:
        """The desks whose events are read, by their streams. Those without waiters are kept for a while, as the next
        waiter would interrupt the reader; all are let go when nobody waits anywhere."""
        anybody = any(desk.waiters for desk in self._desks.values())
        before = time.monotonic() - _LINGER
        for root, desk in list(self._desks.items()):
            if not desk.waiters and (not anybody or desk.used < before) and desk.asking is None:
                del self._desks[root]
        return {f"{desk.root}:events".encode(): desk for desk in self._desks.values() if desk.offset is not None}

    async def _read(self) -> None:
        backoff = Backoff()
        looked = time.monotonic()
        again = _LOOK_EVERY
        while watched := self._watched():
            try:
                if time.monotonic() - looked > again:
                    # Renews what retention must keep, and heals whatever was missed: events lost in an outage, or
                    # trimmed away.
                    for desk in watched.values():
                        await self._look(desk, desk.waiters)
                    looked, again = time.monotonic(), _LOOK_EVERY
                reply = await self._next(watched)
                backoff.reset()
                if reply is None:
                    again = min(again, _LOOK_AFTER_SILENCE)
                for stream, entries in reply or ():
                    await self._heard(watched[stream], entries)
            except Exception as error:
                # Whatever it was, the waiters need a reader: what happened meanwhile is asked for, not heard.
                log.warning("results: %s: %s", type(error).__name__, error)
                again = 0.0
                await asyncio.sleep(backoff.next(random.random()))

    async def _next(self, watched: dict[bytes, Desk]) -> list[tuple[bytes, list[tuple[bytes, list[bytes]]]]] | None:
        places: list[bytes] = [*watched, *(desk.offset or b"$" for desk in watched.values())]
        self._reading = True
        try:
            reply: list[tuple[bytes, list[tuple[bytes, list[bytes]]]]] | None = await self._link.call(
                "XREAD",
                "BLOCK",
                _BLOCK_MS,
                "COUNT",
                500,
                "STREAMS",
                *places,
                timeout=_BLOCK_MS / 1000 + defaults.CALL_TIMEOUT,
            )
            return reply
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._interrupted or task is None:
                raise
            task.uncancel()
            return []
        finally:
            self._reading = self._interrupted = False

    async def _heard(self, desk: Desk, entries: list[tuple[bytes, list[bytes]]]) -> None:
        ended: dict[str, None] = {}
        for entry, fields in entries:
            for state, ids in zip(fields[::2], fields[1::2], strict=True):
                if state in _ENDINGS:
                    ended.update((job_id, None) for job_id in ids.decode().split(" ") if job_id in desk.waiters)
                elif state == b"cleared":
                    ended.update(dict.fromkeys(desk.waiters))
            desk.offset = entry
        if ended:
            await self._look(desk, ended)

    async def close(self) -> None:
        """Stops listening; whoever still waits gets a cancellation."""
        tasks = [self._reader, *(desk.asking for desk in self._desks.values())]
        self._interrupted = False
        ending = [task for task in tasks if task is not None]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for desk in self._desks.values():
            for waiters in list(desk.waiters.values()):
                for waiter in waiters:
                    waiter.cancel()
        self._desks.clear()
        await self._link.close()
