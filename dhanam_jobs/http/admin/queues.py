"""The endpoints of `/admin/queues` that look at queues and act on a whole one. What they do is JobsService's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta

from dhanam_jobs.engine import QueueStats
from dhanam_jobs.handlers.jobs_service import FailedJob, JobStatistics
from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.deeds import Act
from dhanam_jobs.handlers.service.looking import QueueFailures, QueueSummary
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.admin.bodies import (
    ClearedCount,
    Confirm,
    Confirmation,
    Force,
    RetriedCount,
    check_confirmed,
    failed_limit,
)
from dhanam_jobs.http.admin.row import row
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Call

TAG: Final = "Administration: queues"


class Queues(msgspec.Struct):
    """All queues at a glance."""

    queues: list[QueueSummary]


class QueuePaused(msgspec.Struct):
    """Whether a queue is paused now, and whether that is new."""

    queue: str
    paused: bool
    changed: bool


class FailedJobs(msgspec.Struct):
    """The jobs that failed last, newest first."""

    jobs: list[FailedJob]


class Failures(msgspec.Struct):
    """The failures of all queues."""

    total: int
    queues: list[QueueFailures]


class AllRetried(msgspec.Struct, rename="camel"):
    """How many run once more, in all and by queue."""

    retried_count: int
    by_queue: dict[str, int]


class FailedQuery(msgspec.Struct):
    """How many failed jobs are wanted."""

    limit: Annotated[
        str,
        Meta(
            description="A number, brought into 1 to 100; anything else is taken for 25.",
            extra_json_schema={"example": "25"},
        ),
    ] = "25"


class Clear(msgspec.Struct, forbid_unknown_fields=True):
    """That it is meant, and whether running jobs are no obstacle."""

    confirm: Confirmation = UNSET
    force: Force = False


async def queue_stats(call: Call[NoFields, NoFields]) -> list[QueueStats]:
    """The bare list of all queues' counts."""
    return await call.context.jobs.get_all_queue_stats()


async def queue_statistics(call: Call[NoFields, NoFields]) -> JobStatistics:
    """The same with their sums."""
    return await call.context.jobs.get_job_statistics()


@audited(deeds.VIEW_QUEUES, None)
async def queue_summaries(call: Call[NoFields, NoFields], act: Act) -> Queues:
    """What the page of the queues shows."""
    found = Queues(await call.context.jobs.get_queue_summaries())
    act.note(queues=len(found.queues))
    return found


async def failed_overview(call: Call[NoFields, NoFields]) -> Failures:
    """How many failed where, and the newest of each."""
    queues = await call.context.jobs.get_failed_overview()
    return Failures(sum(row.failed for row in queues), queues)


@audited(deeds.PAUSE_QUEUE, "{queue}")
async def pause_queue(call: Call[NoFields, NoFields], act: Act) -> QueuePaused:
    """Nothing of the queue starts from now on."""
    changed = await call.context.jobs.pause_queue(call.path["queue"])
    act.note(changed=changed)
    return QueuePaused(call.path["queue"], paused=True, changed=changed)


@audited(deeds.RESUME_QUEUE, "{queue}")
async def resume_queue(call: Call[NoFields, NoFields], act: Act) -> QueuePaused:
    """The queue's jobs start again."""
    changed = await call.context.jobs.resume_queue(call.path["queue"])
    act.note(changed=changed)
    return QueuePaused(call.path["queue"], paused=False, changed=changed)


@audited(deeds.VIEW_FAILED, "{queue}")
async def failed_jobs(call: Call[FailedQuery, NoFields], act: Act) -> FailedJobs:
    """The failed jobs that are kept, redacted."""
    limit = failed_limit(call.query.limit)
    jobs = await call.context.jobs.get_failed_jobs(call.path["queue"], limit)
    act.note(limit=limit, count=len(jobs))
    return FailedJobs(jobs)


@audited(deeds.RETRY_FAILED, "{queue}")
async def retry_failed(call: Call[NoFields, NoFields], act: Act) -> RetriedCount:
    """All failed jobs of the queue run once more."""
    await act.begin()
    count = await call.context.jobs.retry_failed_jobs(call.path["queue"])
    act.note(count=count)
    return RetriedCount(count)


@audited(deeds.RETRY_FAILED, None)
async def retry_all_failed(call: Call[NoFields, NoFields], act: Act) -> AllRetried:
    """All failed jobs of all queues run once more."""
    await act.begin()
    retried = await call.context.jobs.retry_all_failed_jobs()
    act.note(count=sum(retried.values()), byQueue=retried)
    return AllRetried(sum(retried.values()), retried)


@audited(deeds.CLEAR_FAILED, "{queue}")
async def clear_failed(call: Call[NoFields, Confirm], act: Act) -> ClearedCount:
    """The records of the queue's failed jobs go."""
    check_confirmed(call.body.confirm)
    await act.begin()
    count = await call.context.jobs.clear_failed_jobs(call.path["queue"])
    act.note(count=count)
    return ClearedCount(count)


@audited(deeds.CLEAR_QUEUE, "{queue}")
async def clear_queue(call: Call[NoFields, Clear], act: Act) -> ClearedCount:
    """All jobs, records and dead letters of the queue go."""
    check_confirmed(call.body.confirm)
    await act.begin(force=call.body.force)
    count = await call.context.jobs.clear_queue(call.path["queue"], force=call.body.force)
    act.note(count=count)
    return ClearedCount(count)


_row = partial(row, TAG)

ROWS: Final = (
    _row("GET", "/queues/stats", queue_stats, "Count the jobs of every queue", list[QueueStats]),
    _row("GET", "/queues/statistics", queue_statistics, "Count the jobs of every queue, with sums", JobStatistics),
    _row("GET", "/queues", queue_summaries, "Show every queue at a glance", Queues),
    _row("GET", "/queues/failed", failed_overview, "Count the failures of every queue, with the newest", Failures),
    _row("POST", "/queues/retry-failed", retry_all_failed, "Run all failed jobs of all queues once more", AllRetried),
    _row(
        "POST",
        "/queues/{queue}/pause",
        pause_queue,
        "Start no more jobs of a queue, in the whole fleet",
        QueuePaused,
        404,
    ),
    _row("POST", "/queues/{queue}/resume", resume_queue, "Start a paused queue's jobs again", QueuePaused, 404),
    _row("GET", "/queues/{queue}/failed", failed_jobs, "List a queue's failed jobs, newest first", FailedJobs, 404),
    _row(
        "POST", "/queues/{queue}/retry-failed", retry_failed, "Run a queue's failed jobs once more", RetriedCount, 404
    ),
    _row("POST", "/queues/{queue}/clear-failed", clear_failed, "Remove the records of failed jobs", ClearedCount, 404),
    _row(
        "POST",
        "/queues/{queue}/clear",
        clear_queue,
        "Remove all jobs, records and dead letters of a queue; 409 while jobs run, unless forced",
        ClearedCount,
        404,
        409,
    ),
)
