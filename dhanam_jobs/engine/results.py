"""Waiting for results: the handle that enqueue returns, and one listener per queue that reads its event stream.

A waiter first says so in Redis (`wait.lua`), which keeps the result beyond retention and answers at once where the job
has ended. The listener then reads events from before that answer, so that no ending is missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING, Any

import msgspec

from . import defaults, scripts
from .errors import JobFailed, JobNotFound, ResultTimeout
from .job import JobInfo, JobState, Record
from .link import Backoff, Link

if TYPE_CHECKING:
    from .queue import Queue

log = logging.getLogger(__name__)
_BLOCK_MS = 4_000
_LOOK_EVERY = 30.0
_ENDINGS = (b"completed", b"failed", b"cancelled", b"removed")


class Job:
    """A job that was enqueued: where it is and how to wait for it.

    `created` is False where enqueue returned a job that existed already.
    """

    __slots__ = ("_queue", "created", "id", "name")

    def __init__(self, queue: Queue, job_id: str, name: str, created: bool = True) -> None:
        self._queue = queue
        self.id = job_id
        self.name = name
        self.created = created

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} on {self.queue!r}>"

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._queue.name

    async def info(self) -> JobInfo | None:
        """The job as it is now, or None where it was removed or evicted."""
        return await self._queue.get(self.id)

    async def result(self, timeout: float | None = None) -> Any:
        """Waits until the job has ended and returns its result, decoded from JSON.

        `timeout` in seconds, None for ever. Raises ResultTimeout, JobFailed where it ended failed or cancelled, and
        JobNotFound where it was removed, or ended and was evicted by retention before anybody waited. Raises
        EngineUnavailable where Redis doesn't answer at the start; an outage while it waits only takes its time.
        """
        return value_of(await self._queue.engine.listener(self._queue).wait(self.id, timeout))


def value_of(record: Record) -> Any:
    """The result in an ended job's record, decoded; raises JobFailed where it holds none."""
    if record.state == JobState.COMPLETED:
        return msgspec.json.decode(record.result)
    error = record.error
    raise JobFailed(
        record.id,
        record.state,
        error.type if error else "Unknown",
        error.message if error else "no reason was kept",
    )


class Listener:
    """Reads one queue's event stream while somebody waits for a job of it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: dict[str, list[asyncio.Future[Record]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._link = Link(queue.engine.url, name=f"{queue.engine.client_name}:results")
        self._offset: bytes | None = None

    async def wait(self, job_id: str, timeout: float | None) -> Record:
        """The record of the job once it has ended; raises JobNotFound and ResultTimeout."""
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(job_id, [])
        waiters.append(future)
        try:
            async with asyncio.timeout(timeout):
                await self._look(job_id)
                return await future
        except TimeoutError:
            raise ResultTimeout(f"job {job_id} on {self._queue.name!r} had not ended after {timeout} s") from None
        finally:
            with contextlib.suppress(ValueError):
                waiters.remove(future)
            if not waiters:
                self._waiting.pop(job_id, None)

    async def _look(self, job_id: str) -> None:
        reply = await self._queue.engine.run(scripts.WAIT, self._queue.root, job_id, defaults.RESULT_KEEP_MS)
        if reply[0] == b"ended":
            self._resolve(job_id, msgspec.json.decode(reply[1], type=Record))
        elif reply[0] == b"missing":
            self._refuse(job_id)
        elif self._reader is None:
            self._offset = reply[1]
            self._reader = asyncio.get_running_loop().create_task(self._read(), name=f"results {self._queue.name}")

    def _resolve(self, job_id: str, record: Record) -> None:
        for future in self._waiting.get(job_id, ()):
            if not future.done():
                future.set_result(record)

    def _refuse(self, job_id: str) -> None:
        for future in self._waiting.get(job_id, ()):
            if not future.done():
                future.set_exception(
                    JobNotFound(
                        f"job {job_id} is not on queue {self._queue.name!r}: "
                        "never enqueued, removed, or evicted by retention"
                    )
                )

    async def _read(self) -> None:
        backoff = Backoff()
        looked = time.monotonic()
        missed = False
        while self._waiting:
            try:
                if missed or time.monotonic() - looked > _LOOK_EVERY:
                    await self._look_again()
                    missed, looked = False, time.monotonic()
                reply = await self._link.call(
                    "XREAD",
                    "BLOCK",
                    _BLOCK_MS,
                    "COUNT",
                    500,
                    "STREAMS",
                    f"{self._queue.root}:events",
                    self._offset or b"$",
                    timeout=_BLOCK_MS / 1000 + defaults.CALL_TIMEOUT,
                )
                backoff.reset()
                if reply is None:
                    missed = True
                    continue
                for entry, fields in reply[0][1]:
                    self._offset = entry
                    await self._heard(fields)
            except Exception as error:
                # Whatever it was, the waiters need a reader: what happened meanwhile is asked for, not heard.
                log.warning("results of queue %s: %s: %s", self._queue.name, type(error).__name__, error)
                missed = True
                await asyncio.sleep(backoff.next(random.random()))
        self._reader = None
        await self._link.close()

    async def _heard(self, fields: list[bytes]) -> None:
        for state, ids in zip(fields[::2], fields[1::2], strict=True):
            if state in _ENDINGS:
                for job_id in ids.decode().split(" "):
                    if job_id in self._waiting:
                        await self._look(job_id)
            elif state == b"cleared":
                await self._look_again()

    async def _look_again(self) -> None:
        # Renews what retention must keep, and heals whatever was missed: events lost in an outage, or trimmed away.
        failure: Exception | None = None
        for job_id in list(self._waiting):
            try:
                await self._look(job_id)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure

    async def close(self) -> None:
        """Stops listening; whoever still waits gets a cancellation."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._reader = None
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()
        await self._link.close()
