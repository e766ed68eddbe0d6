"""Methods that look: the queues at a glance, jobs by state, one job with all that is known of it, what jobs came to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from dhanam_jobs.engine import JobFilter, JobInfo, JobMetrics, JobNotFound, Page, Queue, UnknownQueue
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.service.base import ServiceBase
from dhanam_jobs.handlers.service.paging import page_over
from dhanam_jobs.handlers.service.shown import (
    CHILDREN_SHOWN,
    FailedJob,
    JobDetail,
    JobRow,
    failed_job,
    job_detail,
    job_row,
)

State = Literal["active", "waiting", "delayed", "blocked", "parked", "failed", "cancelled", "completed"]
STATES: Final[tuple[State, ...]] = (
    "active",
    "waiting",
    "delayed",
    "blocked",
    "parked",
    "failed",
    "cancelled",
    "completed",
)
"""In the order in which the jobs of all states are listed."""


class QueueSummary(msgspec.Struct, rename="camel", kw_only=True):
    """A queue at a glance, of this moment. `status` is error where failed records are kept, else active where there is
    something to do, else idle; `failedJobs` are those that `retry-failed` would retry, and `recentJobs` all that is to
    be done or was completed and is still kept."""

    name: str
    status: Literal["error", "active", "idle"]
    recent_jobs: int
    failed_jobs: int
    paused: bool
    waiting: int
    active: int
    delayed: int
    blocked: int
    parked: int
    dead_letters: int
    workers: int


class QueueFailures(msgspec.Struct, rename="camel", kw_only=True):
    """A queue's failures: how many are kept, how many have become dead letters, and the newest that is kept."""

    name: str
    failed: int
    dead_letters: int
    newest: FailedJob | UnsetType = UNSET


class JobPage(msgspec.Struct):
    """Some jobs. `cursor` leads to the next page, and is missing on the last; `searched` of `total` jobs were looked at
    so far, those of earlier pages included."""

    jobs: list[JobRow]
    searched: int
    total: int
    cursor: str | UnsetType = UNSET


class Looking(ServiceBase):
    """Those methods. What takes a queue's name raises UnknownQueue; all raise EngineUnavailable."""

    async def get_queue_summaries(self) -> list[QueueSummary]:
        """Return all queues at a glance, in the order of the queue table."""
        return [await self._summary(self._queue(name)) for name in QUEUE_NAMES]

    async def _summary(self, queue: Queue) -> QueueSummary:
        counts = await queue.counts()
        live = counts.waiting + counts.active + counts.delayed + counts.blocked + counts.parked
        return QueueSummary(
            name=queue.name,
            status="error" if counts.retained_failed else "active" if live else "idle",
            recent_jobs=live + counts.retained_completed,
            failed_jobs=counts.retained_failed,
            paused=counts.paused_ms is not None,
            waiting=counts.waiting,
            active=counts.active,
            delayed=counts.delayed,
            blocked=counts.blocked,
            parked=counts.parked,
            dead_letters=counts.dead,
            workers=counts.workers,
        )

    async def get_failed_overview(self) -> list[QueueFailures]:
        """Return the failures of all queues, in the order of the queue table."""
        found = []
        for name in QUEUE_NAMES:
            counts = await self._queue(name).counts()
            row = QueueFailures(name=name, failed=counts.retained_failed, dead_letters=counts.dead)
            if counts.retained_failed:
                page = await self._queue(name).operations.page("failed", limit=1)
                if page.jobs:
                    row.newest = failed_job(page.jobs[0])
            found.append(row)
        return found

    async def list_jobs(
        self,
        queue: str,
        state: State | None = None,
        *,
        where: JobFilter | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """Return a page of the jobs of a state, or of all states, one after the other, active ones first. Jobs that
        come, go and change state meanwhile make no other job of a state appear twice or not at all.

        Raises ConfigurationError for a cursor that no such page gave.
        """
        found = self._queue(queue)
        if state is None:
            return await self._all_states(found, where, limit, cursor)
        page = await found.operations.page(state, where=where, limit=limit, cursor=cursor)
        return _page(page.jobs, page.searched, page.total, page.cursor)

    async def _all_states(self, queue: Queue, where: JobFilter | None, limit: int, cursor: str | None) -> JobPage:
        def page_of(state: str, most: int, within: str | None) -> Awaitable[Page]:
            return queue.operations.page(state, where=where, limit=most, cursor=within)

        jobs, searched, following = await page_over(STATES, page_of, limit, cursor)
        counts = await queue.counts()
        total = counts.waiting + counts.active + counts.delayed + counts.blocked + counts.parked
        total += counts.retained_completed + counts.retained_failed + counts.retained_cancelled
        return _page(jobs, searched, total, following)

    async def describe_job(self, queue: str, job_id: str, *, log_from: int = -100, log_lines: int = 100) -> JobDetail:
        """Return all that is known of a job, with `log_lines` lines of its log from `log_from` (negative: from the
        end).

        Raises JobNotFound.
        """
        found = self._queue(queue)
        info = await found.get(job_id)
        if info is None:
            raise JobNotFound(f"{queue} has no job {job_id!r}: never enqueued, removed, or no longer kept")
        notes, waits, family, parents = await asyncio.gather(
            found.notes(job_id, log_from, log_lines),
            found.operations.explain(job_id),
            found.family(job_id),
            found.parents(job_id),
        )
        going_on = [kin for kin in family.children[:CHILDREN_SHOWN] if kin.end is None]
        states = await asyncio.gather(*(self._state_of(kin.queue, kin.id) for kin in going_on))
        known = {kin.key: state for kin, state in zip(going_on, states, strict=True) if state is not None}
        return job_detail(info, notes, waits, family, known, parents)

    async def _state_of(self, queue: str, job_id: str) -> str | None:
        try:
            info = await self._engine.queue(queue).get(job_id)
        except UnknownQueue:
            return None
        return None if info is None else info.state.value

    async def get_job_metrics(
        self,
        queue: str | None = None,
        *,
        name: str | None = None,
        per: Literal["minute", "hour"] = "minute",
        last: int = 60,
    ) -> list[JobMetrics]:
        """Return what the jobs of a queue, or of all, came to by name in each of the last minutes (up to 1440) or hours
        (up to 720); the oldest first, without those in which nothing ended.

        Raises ConfigurationError for another `last`.
        """
        queues = QUEUE_NAMES if queue is None else (self._queue(queue).name,)
        return await self._engine.metrics(*queues, name=name, per=per, last=last)


def _page(jobs: list[JobInfo], searched: int, total: int, cursor: str | None) -> JobPage:
    return JobPage([job_row(info) for info in jobs], searched, total, UNSET if cursor is None else cursor)
