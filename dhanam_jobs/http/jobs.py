"""The endpoints of `/jobs`: triggers that enqueue and wait, and the look at one job. They decide nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dhanam_jobs.engine import Job, JobFailed, JobInfo, JobNotFound, JobState, ResultTimeout
from dhanam_jobs.handlers.jobs_service import subject_of
from dhanam_jobs.handlers.redaction import redact, redact_json
from dhanam_jobs.http.auth import Caller
from dhanam_jobs.http.codec import NoFields, iso_time, json_response, read_json
from dhanam_jobs.http.context import Context, context_of
from dhanam_jobs.http.errors import ApiError


class _Categorized(msgspec.Struct):
    """What of the job's result the answer repeats."""

    categorized: int
    total: int


async def categorize_space(request: Request) -> Response:
    """`POST /jobs/categorize/{spaceId}`: categorise a space, or join the run that waits or runs already."""
    context, space_id = context_of(request), request.path_params["spaceId"]
    caller = await context.guards.trigger_in_space(request, space_id)
    await read_json(request, NoFields)
    job = await context.jobs.trigger_space_categorization(space_id, user_id=caller.id)
    return await _answer(request, caller, job, _categorized_one_space)


async def get_job(request: Request) -> Response:
    """`GET /jobs/{queue}/{id}`: one job, its payload and result redacted."""
    context = context_of(request)
    caller = await context.guards.caller(request)
    info = await context.jobs.get_job(request.path_params["queue"], request.path_params["id"])
    if not await _may_see(context, caller, info):
        raise ApiError(403, "This job is neither yours nor one that you could start")
    return json_response(_shown(request, caller, info))


def _categorized_one_space(result: Any) -> dict[str, Any]:
    done = msgspec.convert(result, _Categorized)
    message = f"Categorized {done.categorized} out of {done.total} transactions"
    return {"message": message, "categorized": done.categorized, "total": done.total, "spaces": 1}


async def _answer(request: Request, caller: Caller, job: Job, body: Callable[[Any], dict[str, Any]]) -> Response:
    """Wait for a job just triggered; 200 with `body(result)`, 202 when it goes on, 502 when it failed."""
    context = context_of(request)
    facts = {"id": job.id, "queue": job.queue, "url": _url(request, job.queue, job.id)}
    try:
        try:
            return json_response(body(await _end_of(context, job)))
        except ResultTimeout:
            info = await context.jobs.get_job(job.queue, job.id)
            waiting = {"id": job.id, "queue": job.queue, "state": info.state, "url": facts["url"]}
            return json_response(waiting, 202, {"Location": facts["url"]})
    except JobFailed as failed:
        if reason := _reason(caller, failed.error_type, failed.reason):
            facts["reason"] = reason
        raise ApiError(502, f"The job {job.id} ended {failed.state}", details=facts) from None
    except JobNotFound:
        raise ApiError(502, f"The job {job.id} was removed before it ended", details=facts) from None


async def _end_of(context: Context, job: Job) -> Any:
    """Return the job's result; `ResultTimeout` at once for a paused queue, or when the server is to end."""
    if await context.jobs.is_queue_paused(job.queue):
        raise ResultTimeout(f"{job.queue} is paused")
    result = asyncio.ensure_future(job.result(timeout=context.options.wait_s))
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


async def _may_see(context: Context, caller: Caller, info: JobInfo) -> bool:
    """Whether the caller is an admin, enqueued or joined the job, or could trigger one like it."""
    if caller.is_admin or caller.id in info.owners:
        return True
    subject = subject_of(info)
    if subject.user_id is not None and subject.user_id == caller.id:
        return not caller.read_only
    if subject.space_id is None:
        return False
    return await context.guards.may_trigger_in_space(caller, subject.space_id)


def _shown(request: Request, caller: Caller, info: JobInfo) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": info.id,
        "queue": info.queue,
        "name": info.name,
        "state": info.state,
        "attemptsMade": info.attempt,
        "payload": redact_json(info.payload),
        "createdAt": iso_time(info.created_ms),
        "url": _url(request, info.queue, info.id),
    }
    if info.finished_ms is not None:
        shown["finishedAt"] = iso_time(info.finished_ms)
    if info.state is JobState.COMPLETED and info.result is not None:
        shown["result"] = redact_json(info.result)
    if info.error is not None:
        shown["failedReason"] = _reason(caller, info.error.type, info.error.message) or info.error.type
    return shown


def _reason(caller: Caller, error_type: str, text: str) -> str | None:
    """Why a job failed, as far as the caller may know.

    What a handler says by `Discard` is written for people. Any other exception's text may quote SQL, an
    address or another system's answer, so it is for admins.
    """
    return str(redact(text)) if caller.is_admin or error_type == "Discard" else None


def _url(request: Request, queue: str, job_id: str) -> str:
    """The job's address, under the prefix that the request came by."""
    prefix = context_of(request).options.prefix
    root = prefix if prefix and request.scope["path"].startswith(f"{prefix}/") else ""
    return f"{root}/jobs/{quote(queue, safe='')}/{quote(job_id, safe='')}"
