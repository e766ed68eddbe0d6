"""A job as clients meet it: the look at one, and the answer of a trigger that waits for its end. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request

from dhanam_jobs.engine import Job, JobFailed, JobInfo, JobNotFound, JobState, ResultTimeout
from dhanam_jobs.handlers.jobs_service import subject_of
from dhanam_jobs.handlers.redaction import redact, redact_json, secrets_in_json
from dhanam_jobs.http.auth import Caller
from dhanam_jobs.http.codec import NoFields, iso_time
from dhanam_jobs.http.context import Context, context_of
from dhanam_jobs.http.endpoint import Answer, Call
from dhanam_jobs.http.errors import ApiError

Result = TypeVar("Result")


class JobAccepted(msgspec.Struct):
    """A job that goes on; `url` is where to look for its end."""

    id: str
    queue: str
    state: JobState
    url: str


class JobView(msgspec.Struct, rename="camel", kw_only=True):
    """A job as its people may see it. Times are ISO 8601 in UTC; payload and result are redacted.

    `finishedAt` is there when the job has ended, `result` when it ended well, `failedReason` when an attempt failed.
    """

    id: str
    queue: str
    name: str
    state: JobState
    attempts_made: int
    payload: Any
    created_at: str
    url: str
    finished_at: str | UnsetType = UNSET
    result: Any | UnsetType = UNSET
    failed_reason: str | UnsetType = UNSET


async def get_job(call: Call[NoFields, NoFields]) -> JobView:
    """One job, its payload and result redacted."""
    info = await call.context.jobs.get_job(call.path["queue"], call.path["id"])
    await check_may_see(call, info)
    return view_of(call, info)


async def answer_of(call: Call[Any, Any], job: Job, kind: type[Result], body: Callable[[Result], object]) -> Answer:
    """Wait for a job just triggered: 200 with `body(result)`, the result read as `kind`, 202 with JobAccepted when it
    goes on.

    Raises:
        ApiError: 502 when it failed or was removed; the details hold its id, queue and url.
    """
    context, url = call.context, job_url(call.request, job.queue, job.id)
    facts = {"id": job.id, "queue": job.queue, "url": url}
    try:
        try:
            return Answer(body(await _end_of(context, job, kind)))
        except ResultTimeout:
            info = await context.jobs.get_job(job.queue, job.id)
            return Answer(JobAccepted(job.id, job.queue, info.state, url), 202, {"Location": url})
    except JobFailed as failed:
        if reason := _reason(call.caller, failed.error_type, failed.reason):
            facts["reason"] = reason
        raise ApiError(502, f"The job {job.id} ended {failed.state}", details=facts) from None
    except JobNotFound:
        raise ApiError(502, f"The job {job.id} was removed before it ended", details=facts) from None


async def _end_of(context: Context, job: Job, kind: Any) -> Any:
    """Return the job's result; `ResultTimeout` at once for a paused queue, or when the server is to end."""
    if await context.jobs.is_queue_paused(job.queue):
        raise ResultTimeout(f"{job.queue} is paused")
    result = asyncio.ensure_future(job.result_as(kind, timeout=context.options.wait_s))
    closing = asyncio.ensure_future(context.closing.wait())
    try:
        await asyncio.wait({result, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not result.done() or result.cancelled():
            raise ResultTimeout("the server is about to end")
        return result.result()
    finally:
        closing.cancel()
        await _cancel(result)


async def _cancel(task: asyncio.Future[Any]) -> None:
    """Return when the task has ended, well or badly; what it raised no longer matters."""
    while not task.done():
        # Again and again, because Python 3.11's wait_for, which Redis's client sends through, loses a cancellation
        # that arrives as it ends.
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)
    if not task.cancelled():
        task.exception()


async def check_may_see(call: Call[Any, Any], info: JobInfo) -> None:
    """Return where the caller is an admin, enqueued or joined the job, or could trigger one like it; else raise
    ApiError 403."""
    if not await _may_see(call.context, call.caller, info):
        raise ApiError(403, "This job is neither yours nor one that you could start")


async def _may_see(context: Context, caller: Caller, info: JobInfo) -> bool:
    if caller.is_admin or caller.id in info.owners:
        return True
    subject = subject_of(info)
    if subject.user_id is not None and subject.user_id == caller.id:
        return not caller.read_only
    if subject.space_id is None:
        return False
    return await context.guards.may_trigger_in_space(caller, subject.space_id)


def view_of(call: Call[Any, Any], info: JobInfo) -> JobView:
    """Return what the caller may see of a job that they may see."""
    shown = JobView(
        id=info.id,
        queue=info.queue,
        name=info.name,
        state=info.state,
        attempts_made=info.attempt,
        payload=redact_json(info.payload),
        created_at=iso_time(info.created_ms),
        url=job_url(call.request, info.queue, info.id),
    )
    if info.finished_ms is not None:
        shown.finished_at = iso_time(info.finished_ms)
    secrets = secrets_in_json(info.payload)
    if info.state is JobState.COMPLETED and info.result is not None:
        shown.result = redact_json(info.result, secrets)
    if info.error is not None:
        shown.failed_reason = _reason(call.caller, info.error.type, info.error.message, secrets) or info.error.type
    return shown


def _reason(caller: Caller, error_type: str, text: str, secrets: Collection[str] = ()) -> str | None:
    """Why a job failed, as far as the caller may know; `secrets` are those of its payload.

    What a handler says by `Discard` is written for people. Any other exception's text may quote SQL, an
    address or another system's answer, so it is for admins.
    """
    return str(redact(text, secrets=secrets)) if caller.is_admin or error_type == "Discard" else None


def job_url(request: Request, queue: str, job_id: str) -> str:
    """The job's address, under the prefix that the request came by."""
    prefix = context_of(request).options.prefix
    root = prefix if prefix and request.scope["path"].startswith(f"{prefix}/") else ""
    return f"{root}/jobs/{quote(queue, safe='')}/{quote(job_id, safe='')}"
