"""Counts what one worker's jobs came to, and adds it to the metrics in Redis at most once a second.

Nothing is written for a job alone. A worker that dies takes what it counted in its last second with it; an outage only
delays it. What ends without a worker (cancelled while waiting, failed for stalling) is not counted here. Reading is the
part of `metrics.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from . import scripts
from .errors import EngineUnavailable
from .job import Outcome
from .metrics import Counts

if TYPE_CHECKING:
    from .queue import Queue

log = logging.getLogger(__name__)
_EVERY = 1.0
_BINS = 64
_COUNTED = 0x31
_encode = msgspec.json.Encoder().encode


class Tally:
    """What was counted of one job name since the last call. The bins are indexed by the number of bits of the ms."""

    __slots__ = ("cancelled", "completed", "duration_ms", "durations", "failed", "retried", "wait_ms", "waits")

    def __init__(self) -> None:
        self.completed = self.failed = self.retried = self.cancelled = 0
        self.duration_ms = self.wait_ms = 0
        self.durations = [0] * _BINS
        self.waits = [0] * _BINS

    def counts(self) -> Counts:
        """The same as `meter.lua` takes it."""
        return Counts(
            self.completed,
            self.failed,
            self.retried,
            self.cancelled,
            self.duration_ms,
            self.wait_ms,
            {1 << bits: number for bits, number in enumerate(self.durations) if number},
            {1 << bits: number for bits, number in enumerate(self.waits) if number},
        )


class Meter:
    """Counts for one worker; `worker_name` says under which name it works now."""

    def __init__(self, queue: Queue, worker_name: Callable[[], str]) -> None:
        self._queue = queue
        self._worker_name = worker_name
        self._tallies: dict[str, Tally] = {}
        self._unsent: list[bytes] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    def count(self, outcomes: Sequence[Outcome], verdicts: bytes) -> None:
        """Takes a batch that was settled; counts those outcomes that counted."""
        tallies = self._tallies
        for outcome, verdict in zip(outcomes, verdicts, strict=True):
            claim = outcome.claim
            ended = claim.ended_ms
            if verdict != _COUNTED or not ended:
                continue
            tally = tallies.get(claim.name)
            if tally is None:
                tally = tallies[claim.name] = Tally()
            kind = outcome.kind
            if kind == "completed":
                tally.completed += 1
            elif kind == "delayed":
                tally.retried += 1
            elif kind.startswith(("failed", "-failed")):
                tally.failed += 1
            elif kind.startswith("cancelled"):
                tally.cancelled += 1
            else:
                tally.completed += 1
            started = claim.started_ms
            if started:
                ms = ended - started
                if ms > 0:
                    tally.duration_ms += ms
                    tally.durations[ms.bit_length()] += 1
                else:
                    tally.durations[0] += 1
                ms = started - claim.queued_ms
                if ms > 0:
                    tally.wait_ms += ms
                    tally.waits[ms.bit_length()] += 1
                else:
                    tally.waits[0] += 1
        self._remind()

    def expired(self, names: Iterable[str]) -> None:
        """Counts jobs that were failed where they would have been claimed; neither duration nor wait is theirs."""
        for name in names:
            self._tallies.setdefault(name, Tally()).failed += 1
        self._remind()

    def _remind(self) -> None:
        if self._tallies and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_soon(), name="meter")

    async def _send_soon(self) -> None:
        try:
            await self.send()
        finally:
            self._sending = None
        if self._tallies or self._unsent:
            self._timer = self._timer or asyncio.get_running_loop().call_later(_EVERY, self._begin)

    async def send(self) -> bool:
        """Adds what was counted so far; False where Redis could not take it, which is tried again a second later."""
        while self._unsent or self._tallies:
            if not self._unsent:
                # What a lost reply leaves open is repeated under its own number before anything newer is sent.
                self._number += 1
                for name, tally in self._tallies.items():
                    self._unsent += (name.encode(), _encode(tally.counts()))
                self._tallies.clear()
            queue, worker = self._queue, self._worker_name()
            try:
                await queue.engine.run(scripts.METER, queue.root, worker, self._number, *self._unsent)
            except (EngineUnavailable, ResponseError) as error:
                log.warning("queue %s: metrics are late: %s", queue.name, error)
                return False
            self._unsent.clear()
        return True

    async def close(self) -> None:
        """Adds what is left, where Redis answers, and ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is not None:
            await asyncio.wait([self._sending])
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        await self.send()
