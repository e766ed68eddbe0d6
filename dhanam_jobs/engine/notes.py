"""What a running job tells of itself, on its way to Redis: how far it is, and lines of its log.

What comes in while a call is on its way travels with the next one, so that a chatty job costs a trip at a time. Notes
are a courtesy: where Redis is away they are logged here, and the job goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import ResponseError

from . import defaults, scripts
from .errors import ConfigurationError, EngineUnavailable
from .job import Claim

if TYPE_CHECKING:
    from .context import Workplace
    from .queue import Queue

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_LINES_PER_CALL = 200


class LogLine(msgspec.Struct, frozen=True):
    """A line that a job logged: when (this machine's clock), in which attempt, and the text."""

    at_ms: int
    attempt: int
    text: str


class JobNotes(msgspec.Struct, frozen=True):
    """What a job has told of itself: its progress (decoded, None where it told none;
    a parent that told none is as far as its children: `{"children": 10, "ended": 3}`) and its log, oldest line first;
    `logged` is how many lines there are."""

    progress: Any
    lines: list[LogLine]
    logged: int


class Notes:
    """The notes of one running job. `log` may be called from any thread, `progress` and `flush` from the loop."""

    __slots__ = ("_claim", "_lines", "_lock", "_place", "_progress", "_sending")

    def __init__(self, claim: Claim, place: Workplace) -> None:
        self._claim = claim
        self._place = place
        self._lines: deque[bytes] = deque(maxlen=defaults.LOG_LINES)
        self._lock = threading.Lock()
        self._progress: bytes | None = None
        self._sending: asyncio.Task[None] | None = None

    def log(self, line: str) -> None:
        """Takes a line and sees to it that it is stored."""
        text = str(line)[: defaults.LOG_LINE_LENGTH]
        encoded = _encode(LogLine(round(time.time() * 1000), self._claim.attempt, text))
        with self._lock:
            self._lines.append(encoded)
        loop = self._place.loop
        assert loop is not None, "the worker was not started"
        loop.call_soon_threadsafe(self._send)

    async def progress(self, value: Any) -> None:
        """Takes a value and returns when it, or a newer one, was stored."""
        try:
            encoded = _encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"progress of job {self._claim.id} can't be encoded: {error}") from None
        if len(encoded) > defaults.MAX_PROGRESS_BYTES:
            size, most = len(encoded), defaults.MAX_PROGRESS_BYTES
            raise ConfigurationError(f"progress of job {self._claim.id} has {size} bytes; wanted at most {most}")
        self._progress = encoded
        await self.flush()

    async def flush(self) -> None:
        """Returns when everything taken so far was stored, or could not be."""
        while True:
            self._send()
            if self._sending is None:
                return
            await asyncio.wait([self._sending])

    def _send(self) -> None:
        if self._sending is None and (self._progress is not None or self._lines):
            self._sending = asyncio.get_running_loop().create_task(self._send_all(), name="notes")

    async def _send_all(self) -> None:
        try:
            while self._progress is not None or self._lines:
                progress, self._progress = self._progress, None
                with self._lock:
                    lines = [self._lines.popleft() for _ in range(min(len(self._lines), _LINES_PER_CALL))]
                await self._store(progress, lines)
        finally:
            self._sending = None

    async def _store(self, progress: bytes | None, lines: list[bytes]) -> None:
        claim, place = self._claim, self._place
        queue = place.queue
        try:
            kept = await queue.engine.run(
                scripts.NOTE,
                queue.root,
                place.worker_name,
                claim.place,
                claim.entry,
                claim.id,
                progress or b"",
                defaults.LOG_LINES,
                *lines,
            )
        except (EngineUnavailable, ResponseError) as error:
            log.warning("job %s: %d log lines and its progress were not stored: %s", claim.id, len(lines), error)
            return
        if not kept:
            log.warning("job %s: the claim was lost, its notes are not kept", claim.id)


async def read_notes(queue: Queue, job_id: str, start: int = 0, count: int = defaults.LOG_LINES) -> JobNotes:
    """The progress of a job, and `count` lines of its log from `start` (from 0; negative: from the end)."""
    reply = await queue.engine.run(scripts.NOTES, queue.root, job_id, start, count)
    progress = msgspec.json.decode(reply[0]) if reply[0] else None
    return JobNotes(progress, [msgspec.json.decode(line, type=LogLine) for line in reply[2:]], reply[1])
