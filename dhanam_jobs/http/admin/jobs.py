"""The endpoints that look at the jobs of a queue and act on a single one. What they do is JobsService's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.engine import Job, JobFilter, JobState, WrongState
from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.deeds import Act
from dhanam_jobs.handlers.service.job_verbs import Tree
from dhanam_jobs.handlers.service.looking import JobPage, State
from dhanam_jobs.handlers.service.shown import JobDetail
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.admin.bodies import AnyPayload, Cursor, Force, Limit, Name, Priority, Text, given
from dhanam_jobs.http.admin.row import enqueuing_row, row
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Answer, Call
from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.jobs import JobAccepted, job_url

TAG: Final = "Administration: jobs"
JOB: Final = "{queue}/{id}"

Family = Annotated[
    Tree,
    Meta(
        description="What becomes of its children: left alone, taken along, or taken along unless one of them runs.",
    ),
]


class JobsQuery(msgspec.Struct):
    """Which jobs are wanted; of all states without `state`."""

    state: State | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    limit: Limit = 50
    cursor: Cursor | UnsetType = UNSET


class JobQuery(msgspec.Struct, rename="camel"):
    """Which lines of its log are wanted."""

    log_from: Annotated[
        int, Meta(description="The first line, from 0; negative: from the end.", ge=-100_000, le=100_000)
    ] = -100
    log_lines: Annotated[int, Meta(description="So many lines.", ge=1, le=1000)] = 100


class Retry(msgspec.Struct, forbid_unknown_fields=True):
    """As it is, or edited."""

    payload: AnyPayload = UNSET


class Cancel(msgspec.Struct, forbid_unknown_fields=True):
    """Why, for the job's record."""

    reason: Annotated[str, Meta(description="What its record says.", min_length=1, max_length=1000)] = (
        "cancelled by an administrator"
    )
    tree: Family = "leave"


class RemoveQuery(msgspec.Struct):
    """What is no obstacle, and what goes along."""

    force: Force = False
    tree: Family = "leave"


class Edit(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be another one."""

    payload: AnyPayload = UNSET
    priority: Priority | UnsetType = UNSET


class Clone(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be other than with the job that there is."""

    payload: AnyPayload = UNSET
    priority: Priority | UnsetType = UNSET


class Acted(msgspec.Struct):
    """What was done to which job; `cancelling`: it runs and was told to end, which takes about a second."""

    id: str
    queue: str
    done: Literal["retried", "promoted", "cancelled", "cancelling", "removed"]


class Edited(msgspec.Struct):
    """What of which job is another now."""

    id: str
    queue: str
    changed: list[Literal["payload", "priority"]]


async def list_jobs(call: Call[JobsQuery, NoFields]) -> JobPage:
    """A page of jobs, redacted."""
    query = call.query
    where = JobFilter(name=given(query.name), text=given(query.text), priority=given(query.priority))
    return await call.context.jobs.list_jobs(
        call.path["queue"], given(query.state), where=where, limit=query.limit, cursor=given(query.cursor)
    )


async def describe_job(call: Call[JobQuery, NoFields]) -> JobDetail:
    """One job with all that is known of it, redacted."""
    query = call.query
    return await call.context.jobs.describe_job(
        call.path["queue"], call.path["id"], log_from=query.log_from, log_lines=query.log_lines
    )


@audited(deeds.RETRY_JOB, JOB)
async def retry_job(call: Call[NoFields, Retry], act: Act) -> Acted:
    """It runs once more, under its own id, with all its attempts."""
    payload = call.body.payload
    await call.context.jobs.retry_job(call.path["queue"], call.path["id"], payload=payload)
    act.note(edited=payload is not UNSET)
    return _acted(call, "retried")


@audited(deeds.PROMOTE_JOB, JOB)
async def promote_job(call: Call[NoFields, NoFields], act: Act) -> Acted:
    """It is due now."""
    await call.context.jobs.promote_job(call.path["queue"], call.path["id"])
    act.note()
    return _acted(call, "promoted")


@audited(deeds.CANCEL_JOB, JOB)
async def cancel_job(call: Call[NoFields, Cancel], act: Act) -> Acted:
    """It ends, or is told to."""
    body = call.body
    state = await call.context.jobs.cancel_job(call.path["queue"], call.path["id"], reason=body.reason, tree=body.tree)
    act.note(reason=body.reason, tree=body.tree, ran=state is JobState.ACTIVE)
    return _acted(call, "cancelling" if state is JobState.ACTIVE else "cancelled")


@audited(deeds.REMOVE_JOB, JOB)
async def remove_job(call: Call[RemoveQuery, NoFields], act: Act) -> Acted:
    """It is gone, or its record is."""
    query = call.query
    await call.context.jobs.remove_job(call.path["queue"], call.path["id"], force=query.force, tree=query.tree)
    act.note(force=query.force, tree=query.tree)
    return _acted(call, "removed")


@audited(deeds.EDIT_JOB, JOB)
async def edit_job(call: Call[NoFields, Edit], act: Act) -> Edited:
    """It has another payload, another level, or both."""
    jobs, queue, job_id = call.context.jobs, call.path["queue"], call.path["id"]
    payload, priority = call.body.payload, call.body.priority
    if payload is UNSET and priority is UNSET:
        raise ApiError(422, "The body does not fit: found nothing to change, wanted payload or priority")
    changed: list[Literal["payload", "priority"]] = []
    if payload is not UNSET:
        await jobs.edit_job_payload(queue, job_id, payload)
        changed.append("payload")
        act.note(changed=changed)
    try:
        if priority is not UNSET and await jobs.reprioritise_job(queue, job_id, priority):
            changed.append("priority")
    except WrongState as refused:
        if changed:
            raise ApiError(409, f"{refused}; its payload was changed", details={"changed": changed}) from refused
        raise
    if changed:
        act.note(changed=changed, **({} if priority is UNSET else {"priority": priority}))
    return Edited(job_id, queue, changed)


@audited(deeds.CLONE_JOB, JOB)
async def clone_job(call: Call[NoFields, Clone], act: Act) -> Answer:
    """A new job like it waits."""
    body = call.body

    async def enqueue() -> Job:
        job = await call.context.jobs.clone_job(
            call.path["queue"], call.path["id"], payload=body.payload, priority=given(body.priority)
        )
        act.note(clone=job.id, edited=body.payload is not UNSET)
        return job

    return await accepted(call, await call.once(enqueue))


async def accepted(call: Call[Any, Any], job: Job) -> Answer:
    """Answer 202 with the job and where to look for its end."""
    info = await call.context.jobs.get_job(job.queue, job.id)
    url = job_url(call.request, job.queue, job.id)
    return Answer(JobAccepted(job.id, job.queue, info.state, url), 202, {"Location": url})


def _acted(call: Call[Any, Any], done: Literal["retried", "promoted", "cancelled", "cancelling", "removed"]) -> Acted:
    return Acted(call.path["id"], call.path["queue"], done)


_row = partial(row, TAG)
_JOB_PATH: Final = "/queues/{queue}/jobs/{id}"
ROWS: Final = (
    _row(
        "GET",
        "/queues/{queue}/jobs",
        list_jobs,
        "List a queue's jobs by state, page by page, and search them",
        JobPage,
        404,
    ),
    _row(
        "GET",
        _JOB_PATH,
        describe_job,
        "Show one job: log, progress, attempts, family, and why it waits",
        JobDetail,
        404,
    ),
    _row(
        "POST",
        f"{_JOB_PATH}/retry",
        retry_job,
        "Run an ended job or a dead letter once more, edited or as it is",
        Acted,
        404,
        409,
    ),
    _row("POST", f"{_JOB_PATH}/promote", promote_job, "Make a delayed job runnable now", Acted, 404, 409),
    _row("POST", f"{_JOB_PATH}/cancel", cancel_job, "End a job, also one that runs", Acted, 404, 409),
    _row("DELETE", _JOB_PATH, remove_job, "Remove a job, or the record of one that has ended", Acted, 404, 409),
    _row("PATCH", _JOB_PATH, edit_job, "Give a job that doesn't run another payload or level", Edited, 404, 409),
    enqueuing_row(TAG, f"{_JOB_PATH}/clone", clone_job, "Enqueue a new job like this one", 404),
)
