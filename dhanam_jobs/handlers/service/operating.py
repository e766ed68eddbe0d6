"""Methods that look at the queues and act on them as a whole: stats, pause, clear, failed jobs, drain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from dhanam_jobs.engine import EventReader, Job, JobInfo, JobNotFound, QueueStats
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.service.base import ServiceBase, iso
from dhanam_jobs.handlers.service.shown import FailedJob, failed_job

if TYPE_CHECKING:
    from dhanam_jobs.engine.event_reader import Since

MOST_FAILED_JOBS = 100


class Summary(msgspec.Struct, rename="camel", frozen=True):
    """Sums over all queues. `successRate` is in percent with two decimals, as a text; "100" where there are no jobs."""

    total_jobs: int
    active_jobs: int
    failed_jobs: int
    success_rate: str


class JobStatistics(msgspec.Struct, frozen=True):
    """The stats of all queues, their sums, and when they were taken."""

    queues: list[QueueStats]
    summary: Summary
    timestamp: str


class Operating(ServiceBase):
    """Those methods. What takes a queue's name raises UnknownQueue; all raise EngineUnavailable."""

    def is_accepting_jobs(self) -> bool:
        """Whether new jobs are taken; False from the beginning of a drain."""
        return self._engine.accepting

    async def drain_queues(self, timeout_ms: int = 30_000) -> None:
        """Take no new jobs in this process, claim none, and give those that run here `timeout_ms` to end; what still
        runs then goes back to the front of its queue. No queue is paused: other processes go on."""
        if self._supervisor is None:
            self._engine.stop_accepting()
        else:
            await self._supervisor.drain(timeout_ms / 1000)

    async def get_active_job_count(self) -> int:
        """How many jobs run, in the whole fleet."""
        return sum(row.active for row in await self._engine.stats())

    async def get_queue_stats(self, queue: str) -> QueueStats:
        """Return one queue's counts."""
        return await self._queue(queue).stats()

    async def get_all_queue_stats(self) -> list[QueueStats]:
        """Return the counts of all queues, in the order of the queue table."""
        stats = {row.name: row for row in await self._engine.stats()}
        return [stats[name] for name in QUEUE_NAMES]

    async def get_job_statistics(self) -> JobStatistics:
        """Return the counts of all queues with their sums; lifetime counts of what has ended, as the stats'."""
        queues = await self.get_all_queue_stats()
        failed = sum(row.failed for row in queues)
        total = failed + sum(row.waiting + row.active + row.completed + row.delayed for row in queues)
        rate = f"{(total - failed) / total * 100:.2f}" if total else "100"
        summary = Summary(total, sum(row.active for row in queues), failed, rate)
        return JobStatistics(queues, summary, iso(time.time_ns() // 1_000_000) or "")

    async def pause_queue(self, queue: str) -> bool:
        """Stop starting jobs of a queue, in the whole fleet; running ones end. Lasts until `resume_queue`. False where
        it was paused."""
        return await self._queue(queue).pause()

    async def resume_queue(self, queue: str) -> bool:
        """Start jobs of a paused queue again. False where it wasn't paused."""
        return await self._queue(queue).resume()

    async def is_queue_paused(self, queue: str) -> bool:
        """Whether a queue starts no jobs because it was paused."""
        return await self._queue(queue).is_paused()

    def events(self, *queues: str, since: Since = None, follow: bool = True) -> EventReader:
        """What happens on those queues (default: all), as `Engine.events`."""
        return self._engine.events(
            *(self._queue(name).name for name in queues or QUEUE_NAMES), since=since, follow=follow
        )

    async def clear_queue(self, queue: str, *, force: bool = False) -> int:
        """Remove all jobs, records and dead letters of a queue, and return how many. Schedules, the paused flag and
        lifetime counts stay.

        Raises QueueActive while jobs run, unless `force`: then what they do no longer counts.
        """
        return await self._queue(queue).operations.clear(force=force)

    async def get_failed_jobs(self, queue: str, limit: int = 25) -> list[FailedJob]:
        """Return the jobs that failed last, newest first; `limit` is taken as a whole number from 1 to 100."""
        page = await self._queue(queue).operations.page("failed", limit=max(1, min(int(limit), MOST_FAILED_JOBS)))
        return [failed_job(info) for info in page.jobs]

    async def clear_failed_jobs(self, queue: str) -> int:
        """Remove the records of a queue's failed jobs, and return how many."""
        return await self._queue(queue).operations.clean("failed")

    async def retry_failed_jobs(self, queue: str) -> int:
        """Run a queue's failed jobs once more, each with all its attempts, and return how many."""
        return await self._queue(queue).operations.retry_all("failed")

    async def retry_all_failed_jobs(self) -> dict[str, int]:
        """Run the failed jobs of all queues once more; gives how many of each queue that had any."""
        retried = {name: await self.retry_failed_jobs(name) for name in QUEUE_NAMES}
        return {name: count for name, count in retried.items() if count}

    def job(self, queue: str, job_id: str) -> Job:
        """Give the handle of a job, whether it exists or not. Raises UnknownQueue."""
        return self._queue(queue).job(job_id)

    async def get_job(self, queue: str, job_id: str) -> JobInfo:
        """Return one job, in whatever state.

        Raises JobNotFound for one that was never enqueued, was removed, or evicted by retention.
        """
        info = await self._queue(queue).get(job_id)
        if info is None:
            raise JobNotFound(f"{queue} has no job {job_id!r}: never enqueued, removed, or no longer kept")
        return info
