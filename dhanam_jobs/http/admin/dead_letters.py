"""The endpoints of `/admin/dlq`: failures that left the failed records. What they do is JobsService's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.engine import JobFilter
from dhanam_jobs.handlers.jobs_service import DeadLetterStats, Replayed
from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.dead_letters import DeadLetterPage
from dhanam_jobs.handlers.service.deeds import Act
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.admin.bodies import (
    ClearedCount,
    Confirm,
    Cursor,
    Limit,
    Name,
    QueueName,
    Text,
    check_confirmed,
    given,
)
from dhanam_jobs.http.admin.jobs import Acted
from dhanam_jobs.http.admin.row import row
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Call

TAG: Final = "Administration: dead letters"


class DeadLettersQuery(msgspec.Struct):
    """Which are wanted; of all queues without `queue`."""

    queue: QueueName | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    limit: Limit = 50
    cursor: Cursor | UnsetType = UNSET


class DeadLetterQuery(msgspec.Struct):
    """Of which queue, if several have one of that id."""

    queue: QueueName | UnsetType = UNSET


class RetryDeadLetters(msgspec.Struct, forbid_unknown_fields=True):
    """Those of which queue."""

    queue: QueueName


class Prune(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Those that failed so long ago."""

    older_than_days: Annotated[float, Meta(description="Failed more than so many days ago.", ge=0, le=100_000)] = 30.0


class PrunedCount(msgspec.Struct, rename="camel"):
    """How many were deleted."""

    pruned_count: int


async def list_dead_letters(call: Call[DeadLettersQuery, NoFields]) -> DeadLetterPage:
    """A page of them, redacted, newest first."""
    query = call.query
    where = JobFilter(name=given(query.name), text=given(query.text))
    return await call.context.jobs.list_dead_letters(
        given(query.queue), where=where, limit=query.limit, cursor=given(query.cursor)
    )


async def dead_letter_stats(call: Call[NoFields, NoFields]) -> DeadLetterStats:
    """How many there are."""
    return await call.context.jobs.get_dead_letter_queue_stats()


@audited(deeds.RETRY_DEAD_LETTER, "{id}")
async def retry_dead_letter(call: Call[DeadLetterQuery, NoFields], act: Act) -> Acted:
    """One of them runs once more, under its own id, with all its attempts."""
    queue = await call.context.jobs.replay_dead_letter(call.path["id"], given(call.query.queue))
    act.note(queue=queue)
    return Acted(call.path["id"], queue, "retried")


@audited(deeds.RETRY_DEAD_LETTERS, None)
async def retry_dead_letters(call: Call[NoFields, RetryDeadLetters], act: Act) -> Replayed:
    """All of a queue run once more; `failed` is how many are left, as a job has their id."""
    jobs, queue = call.context.jobs, call.body.queue
    await jobs.get_queue_stats(queue)
    await act.begin(queue=queue)
    replayed = await jobs.retry_dead_letter_queue_by_original_queue(queue)
    act.note(retried=replayed.retried, failed=replayed.failed)
    return replayed


@audited(deeds.PRUNE_DEAD_LETTERS, None)
async def prune_dead_letters(call: Call[NoFields, Prune], act: Act) -> PrunedCount:
    """The old ones go."""
    days = call.body.older_than_days
    await act.begin(olderThanDays=days)
    count = await call.context.jobs.prune_dead_letter_queue(days)
    act.note(count=count)
    return PrunedCount(count)


@audited(deeds.CLEAR_DEAD_LETTERS, None)
async def clear_dead_letters(call: Call[NoFields, Confirm], act: Act) -> ClearedCount:
    """All of them go."""
    check_confirmed(call.body.confirm)
    await act.begin()
    count = await call.context.jobs.clear_dead_letter_queue()
    act.note(count=count)
    return ClearedCount(count)


_row = partial(row, TAG)
ROWS: Final = (
    _row("GET", "/dlq", list_dead_letters, "List dead letters, newest first, and search them", DeadLetterPage, 404),
    _row("GET", "/dlq/stats", dead_letter_stats, "Count the dead letters", DeadLetterStats),
    _row("POST", "/dlq/{id}/retry", retry_dead_letter, "Run a dead letter once more", Acted, 404, 409),
    _row("POST", "/dlq/retry", retry_dead_letters, "Run all dead letters of a queue once more", Replayed, 404),
    _row("POST", "/dlq/prune", prune_dead_letters, "Delete the old dead letters", PrunedCount),
    _row("POST", "/dlq/clear", clear_dead_letters, "Delete all dead letters", ClearedCount),
)
