"""Cancelling jobs from any process, whatever they are doing, and talking to one worker of a queue.

A job that isn't running ends at once. One that runs is noted as to be cancelled, and its worker is told: the handler
gets `asyncio.CancelledError` (a process is killed, a thread may look at `ctx.cancelled`), and the job ends cancelled
also where its worker dies, or its handler asks for a retry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import checks, defaults, scripts
from .inbox import Message, send
from .job import JobState
from .registry import check_concurrency

if TYPE_CHECKING:
    from .queue import Queue

#: What `cancel_jobs` says of a job: its state where it has ended (now, or before), ACTIVE where it runs and its worker
#: was asked, None where there is none.
Verdict = JobState | None


async def cancel_jobs(queue: Queue, job_ids: Iterable[str], reason: str) -> list[Verdict]:
    """Cancels jobs, in bounded steps, and says of each what became of it. Raises EngineUnavailable."""
    row = queue.engine.registry.row_of(queue.name)
    keep = "" if row.retention.cancelled is None else row.retention.cancelled
    text = checks.kind("reason", reason, str)[: defaults.MAX_REASON_LENGTH]
    ids = list(job_ids)
    verdicts: list[Verdict] = []
    for first in range(0, len(ids), defaults.CANCEL_STEP):
        step = ids[first : first + defaults.CANCEL_STEP]
        for verdict in await queue.engine.run(scripts.CANCEL, queue.root, keep, text, *step):
            verdicts.append(_verdict(verdict.decode()))
    return verdicts


def _verdict(text: str) -> Verdict:
    if text == "missing":
        return None
    return JobState.ACTIVE if text == "asked" else JobState(text)


class RemoteWorker:
    """One living worker of a queue, in whatever process: `queue.worker(name)`. Each verb returns False where no living
    worker has that name, and takes effect as soon as the worker's loop turns. Raises EngineUnavailable."""

    def __init__(self, queue: Queue, name: str) -> None:
        self._queue = queue
        self.name = name

    async def pause(self) -> bool:
        """It takes no more jobs; what runs there goes on. The other workers don't notice."""
        return await send(self._queue, self.name, Message(pause=True))

    async def resume(self) -> bool:
        """Ends a pause."""
        return await send(self._queue, self.name, Message(pause=False))

    async def set_concurrency(self, concurrency: int) -> bool:
        """So many jobs (1 to 1000) at once from now on, until its process ends. Raises ConfigurationError."""
        return await send(self._queue, self.name, Message(concurrency=check_concurrency(concurrency)))

    async def drain(self) -> bool:
        """Its process claims and accepts no more, ends what runs, and leaves."""
        return await send(self._queue, self.name, Message(drain=True))
