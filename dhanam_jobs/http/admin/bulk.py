"""The endpoints that act on all jobs of a queue that match. What they do is JobsService's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.engine import JobFilter
from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.deeds import Act
from dhanam_jobs.handlers.service.job_verbs import Cleaned, Ended
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.admin.bodies import (
    Name,
    OlderThan,
    Priority,
    PromotedCount,
    RemovedCount,
    RetriedCount,
    Text,
    given,
)
from dhanam_jobs.http.admin.row import row
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Call

TAG: Final = "Administration: jobs"


class Matching(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which jobs are meant; all where nothing is said."""

    name: Name | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    older_than_s: OlderThan | UnsetType = UNSET

    def where(self) -> JobFilter:
        """The same for the engine."""
        return JobFilter(
            name=given(self.name),
            text=given(self.text),
            priority=given(self.priority),
            older_than=given(self.older_than_s),
        )


class RetryMatching(Matching, rename="camel", forbid_unknown_fields=True):
    """Which ended jobs are meant."""

    state: Ended = "failed"


class CleanMatching(Matching, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Which jobs, and how many of them, the oldest first."""

    state: Cleaned
    limit: Annotated[int, Meta(description="At most so many.", ge=1, le=10_000_000)] | UnsetType = UNSET


class Empty(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the delayed ones are meant too."""

    delayed: bool = False


@audited(deeds.RETRY_MATCHING, "{queue}")
async def retry_matching(call: Call[NoFields, RetryMatching], act: Act) -> RetriedCount:
    """They run once more, each under its own id."""
    await act.begin(which=call.body)
    count = await call.context.jobs.retry_matching(call.path["queue"], call.body.state, call.body.where())
    act.note(count=count)
    return RetriedCount(count)


@audited(deeds.PROMOTE_MATCHING, "{queue}")
async def promote_matching(call: Call[NoFields, Matching], act: Act) -> PromotedCount:
    """They are due now."""
    await act.begin(which=call.body)
    count = await call.context.jobs.promote_matching(call.path["queue"], call.body.where())
    act.note(count=count)
    return PromotedCount(count)


@audited(deeds.EMPTY_QUEUE, "{queue}")
async def empty_queue(call: Call[NoFields, Empty], act: Act) -> RemovedCount:
    """What waits is gone."""
    await act.begin(delayed=call.body.delayed)
    count = await call.context.jobs.empty_queue(call.path["queue"], delayed=call.body.delayed)
    act.note(count=count)
    return RemovedCount(count)


@audited(deeds.CLEAN_QUEUE, "{queue}")
async def clean_queue(call: Call[NoFields, CleanMatching], act: Act) -> RemovedCount:
    """The oldest of a state are gone."""
    body = call.body
    await act.begin(which=body)
    count = await call.context.jobs.clean_queue(
        call.path["queue"], body.state, limit=given(body.limit), where=body.where()
    )
    act.note(count=count)
    return RemovedCount(count)


_row = partial(row, TAG)
ROWS: Final = (
    _row(
        "POST",
        "/queues/{queue}/retry",
        retry_matching,
        "Run all failed, completed or cancelled jobs that match once more",
        RetriedCount,
        404,
    ),
    _row(
        "POST",
        "/queues/{queue}/promote",
        promote_matching,
        "Make all delayed jobs that match runnable now",
        PromotedCount,
        404,
    ),
    _row("POST", "/queues/{queue}/empty", empty_queue, "Remove what waits, and what is delayed", RemovedCount, 404),
    _row(
        "POST",
        "/queues/{queue}/clean",
        clean_queue,
        "Remove jobs of a state, oldest first, by age, number and what they hold",
        RemovedCount,
        404,
    ),
)
