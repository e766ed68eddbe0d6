"""Methods that change single jobs, or all that match: retry, promote, cancel, remove, edit, clone, empty, clean."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET

from dhanam_jobs.engine import Job, JobFilter, JobNotFound, JobState, Queue, WrongState
from dhanam_jobs.handlers.service.base import ServiceBase
from dhanam_jobs.handlers.service.edited import restored

Tree = Literal["leave", "take", "take_idle"]
"""What becomes of the children: they are left alone, taken along, or taken along unless one of them runs."""
Ended = Literal["failed", "completed", "cancelled"]
Cleaned = Literal["waiting", "delayed", "blocked", "parked", "failed", "completed", "cancelled"]


class JobVerbs(ServiceBase):
    """Those methods. All raise UnknownQueue and EngineUnavailable; those on one job raise JobNotFound, and WrongState
    where the verb means nothing to a job in its state. Those on many pass such jobs over, and return how many they did
    change.

    A `payload` that takes the place of a job's own may hold what people were shown of it: what was hidden there stays
    as it was. It is checked as enqueue checks it, and refused with InvalidPayload.
    """

    async def retry_job(self, queue: str, job_id: str, *, payload: Any = UNSET) -> None:
        """Run an ended job, or a dead letter, once more, under its own id, with all its attempts."""
        operations = self._queue(queue).operations
        if payload is not UNSET:
            info = await self._queue(queue).get(job_id) or await operations.dead_letters.get(job_id)
            payload = payload if info is None else restored(payload, bytes(info.payload))
        await operations.retry(job_id, payload=payload)

    async def promote_job(self, queue: str, job_id: str) -> None:
        """Make a delayed job runnable now, before all others of its level."""
        await self._queue(queue).operations.promote(job_id)

    async def cancel_job(self, queue: str, job_id: str, *, reason: str, tree: Tree = "leave") -> JobState:
        """Cancel a job: CANCELLED where it has ended so, ACTIVE where it runs and was told, which takes a second."""
        found = self._queue(queue)
        info = await found.get(job_id)
        ended: JobState | None = info.state if info is not None and info.finished_ms is not None else None
        verdict = ended or await found.cancel(job_id, reason=reason, tree=tree)
        if verdict is None:
            raise JobNotFound(f"{queue} has no job {job_id!r}: never enqueued, removed, or no longer kept")
        if ended or verdict not in (JobState.CANCELLED, JobState.ACTIVE):
            raise WrongState(job_id, verdict, "cancel", "one that has not ended")
        return verdict

    async def remove_job(self, queue: str, job_id: str, *, force: bool = False, tree: Tree = "leave") -> None:
        """Remove a job, or the record of one that has ended; one that runs only with `force`: its outcome no longer
        counts."""
        await self._queue(queue).operations.remove(job_id, force=force, tree=tree)

    async def edit_job_payload(self, queue: str, job_id: str, payload: Any) -> None:
        """Give a job that doesn't run another payload; a waiting one goes to the end of its level."""
        found = self._queue(queue)
        await found.operations.edit(job_id, await self._restored(found, job_id, payload))

    async def reprioritise_job(self, queue: str, job_id: str, priority: int) -> bool:
        """Give a job that doesn't run another level, 0 (first) to 9. False where it has that one."""
        return await self._queue(queue).operations.reprioritise(job_id, priority)

    async def clone_job(self, queue: str, job_id: str, *, payload: Any = UNSET, priority: int | None = None) -> Job:
        """Enqueue a new job like this one, in whatever state it is, without its id and unique key.

        Raises Draining where this process is shutting down, and QueueFull.
        """
        found = self._queue(queue)
        if payload is not UNSET:
            payload = await self._restored(found, job_id, payload)
        return await found.operations.clone(job_id, payload=payload, priority=priority)

    async def retry_matching(self, queue: str, state: Ended = "failed", where: JobFilter | None = None) -> int:
        """Run all ended jobs of a state (that match) once more, each with all its attempts."""
        return await self._queue(queue).operations.retry_all(state, where)

    async def promote_matching(self, queue: str, where: JobFilter | None = None) -> int:
        """Make all delayed jobs (that match) runnable now."""
        return await self._queue(queue).operations.promote_all(where)

    async def empty_queue(self, queue: str, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, and with `delayed` the delayed ones."""
        return await self._queue(queue).operations.empty(delayed=delayed)

    async def clean_queue(
        self,
        queue: str,
        state: Cleaned,
        *,
        older_than_s: float = 0,
        limit: int | None = None,
        where: JobFilter | None = None,
    ) -> int:
        """Remove jobs of a state, oldest first: those that were created, or ended, at least so long ago, at most
        `limit`, and that match."""
        return await self._queue(queue).operations.clean(state, older_than=older_than_s, limit=limit, where=where)

    async def _restored(self, queue: Queue, job_id: str, payload: Any) -> Any:
        info = await queue.get(job_id)
        return payload if info is None else restored(payload, bytes(info.payload))
