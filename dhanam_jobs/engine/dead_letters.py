"""Dead letters: failures that retention took from the failed records, kept apart for looking into and replaying.

They are records, not jobs: a dead letter's id is free to be enqueued again. How many are kept, and how long, is the
queue's retention's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import defaults, scripts
from .errors import JobNotFound, WrongState
from .found import job_info
from .job import JobInfo
from .listing import DEAD, JobFilter, Listing, Page, wanted_jobs
from .reviving import revive

if TYPE_CHECKING:
    from .queue import Queue


class DeadLetters:
    """The dead letters of one queue, newest first: `queue.operations.dead_letters`. `where` picks among them,
    None takes all. Every call raises EngineUnavailable where Redis doesn't answer."""

    def __init__(self, queue: Queue, listing: Listing) -> None:
        self._queue = queue
        self._listing = listing

    async def count(self) -> int:
        """How many there are."""
        return int(await self._command("ZCARD", f"{self._queue.root}:dead"))

    async def page(
        self,
        *,
        where: JobFilter | None = None,
        limit: int = defaults.PAGE,
        cursor: str | None = None,
        search: int = defaults.SEARCH,
    ) -> Page:
        """A page of them, newest first; arguments and errors as `Operations.page`."""
        return await self._listing.page(DEAD, where=where, limit=limit, cursor=cursor, search=search)

    async def get(self, job_id: str) -> JobInfo | None:
        """The dead letter of that id, or None."""
        record = await self.record(job_id)
        return None if record is None else job_info(self._queue.name, job_id, [b"ended", record, b""])

    async def record(self, job_id: str) -> bytes | None:
        """The record of that id as JSON, or None."""
        record = await self._command("HGET", f"{self._queue.root}:buried", job_id)
        return record if isinstance(record, bytes) else None

    async def _command(self, *words: str) -> Any:
        return await self._queue.engine.command(self._queue.root, *words)

    async def replay(self, job_id: str) -> None:
        """Runs a dead letter once more, under its own id, with all its attempts. Raises JobNotFound, and WrongState
        where a job of that id exists."""
        record = await self.record(job_id)
        verdict = "missing"
        if record is not None:
            (verdict,) = await revive(self._queue, DEAD, [record])
        if verdict in ("missing", "changed"):
            raise JobNotFound(
                f"no dead letter {job_id} on queue {self._queue.name!r}: never there, replayed, or pruned"
            )
        if verdict not in ("revived", "held"):
            raise WrongState(job_id, verdict, "replay", "no job of that id")

    async def replay_all(self, where: JobFilter | None = None) -> int:
        """Runs all (that match) once more, oldest first, and returns how many; one whose id a job has is left."""
        revived = 0
        async for records in self._listing.records(DEAD, wanted_jobs(where)):
            verdicts = await revive(self._queue, DEAD, records)
            revived += sum(verdict in ("revived", "held") for verdict in verdicts)
        return revived

    async def prune(self, where: JobFilter | None = None) -> int:
        """Deletes all (that match) and returns how many."""
        pruned = 0
        async for ids in self._listing.ids(DEAD, wanted_jobs(where)):
            pruned += await self._queue.engine.run(scripts.PRUNE, self._queue.root, *ids)
        return pruned
