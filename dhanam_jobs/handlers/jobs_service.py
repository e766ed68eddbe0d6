"""What the service offers around its queues, in the specification's words: triggers, stats, pause and resume.

The callers (HTTP, command line) check who may ask. Running the jobs is the handlers', and the engine's.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dhanam_jobs.engine import Engine, Job, JobInfo, JobNotFound, Queue, QueueStats, UnknownQueue
from dhanam_jobs.handlers.categorize_transactions import CategorizeTransactions
from dhanam_jobs.handlers.queues import QUEUE_NAMES

MANUAL_CATEGORIZATION_PRIORITY: Final = 2
"""Level of a categorisation that a person asked for: ahead of the hourly ones, behind a user's own sync."""


class JobsService:
    """The service's methods, on one engine.

    Args:
        engine: connected, with the registry of `build_registry`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def is_accepting_jobs(self) -> bool:
        """Whether new jobs are taken; False from the beginning of a drain."""
        return self._engine.accepting

    async def trigger_space_categorization(self, space_id: str, *, user_id: str) -> Job:
        """Enqueue the categorisation of a space, or join the one that waits or runs; `user_id` may see it.

        Raises:
            Draining: this process is shutting down.
            EngineUnavailable: Redis doesn't answer.
        """
        return await self._engine.queue("categorize-transactions").enqueue(
            CategorizeTransactions(space_id), priority=MANUAL_CATEGORIZATION_PRIORITY, owner=user_id
        )

    async def get_queue_stats(self, queue: str) -> QueueStats:
        """Return one queue's counts.

        Raises:
            UnknownQueue: none of the six queues has that name.
        """
        return await self._queue(queue).stats()

    async def get_all_queue_stats(self) -> list[QueueStats]:
        """Return the counts of all queues, in the order of the queue table."""
        stats = {row.name: row for row in await self._engine.stats()}
        return [stats[name] for name in QUEUE_NAMES]

    async def pause_queue(self, queue: str) -> None:
        """Stop starting jobs of a queue, in the whole fleet; running ones end. Lasts until `resume_queue`.

        Raises:
            UnknownQueue: none of the six queues has that name.
        """
        await self._queue(queue).pause()

    async def resume_queue(self, queue: str) -> None:
        """Start jobs of a paused queue again; nothing happens to one that isn't paused.

        Raises:
            UnknownQueue: none of the six queues has that name.
        """
        await self._queue(queue).resume()

    async def is_queue_paused(self, queue: str) -> bool:
        """Whether a queue starts no jobs because it was paused.

        Raises:
            UnknownQueue: none of the six queues has that name.
        """
        return await self._queue(queue).is_paused()

    async def get_job(self, queue: str, job_id: str) -> JobInfo:
        """Return one job, in whatever state.

        Raises:
            UnknownQueue: none of the six queues has that name.
            JobNotFound: never enqueued, removed, or evicted by retention.
        """
        info = await self._queue(queue).get(job_id)
        if info is None:
            raise JobNotFound(f"{queue} has no job {job_id!r}: never enqueued, removed, or no longer kept")
        return info

    def _queue(self, name: str) -> Queue:
        if name not in QUEUE_NAMES:
            raise UnknownQueue(f"queue {name!r}: wanted one of {', '.join(QUEUE_NAMES)}")
        return self._engine.queue(name)


class Subject(msgspec.Struct, frozen=True):
    """Whom or what a job is about, as far as its payload says: it decides who may trigger such a job."""

    space_id: str | None = None
    user_id: str | None = None


class _Named(msgspec.Struct, rename="camel"):
    space_id: str | None = None
    user_id: str | None = None


def subject_of(info: JobInfo) -> Subject:
    """Return the space and the user that a job's payload names."""
    try:
        named = msgspec.json.decode(info.payload, type=_Named)
    except msgspec.ValidationError:
        return Subject()
    return Subject(named.space_id, named.user_id)
