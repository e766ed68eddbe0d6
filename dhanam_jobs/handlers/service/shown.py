"""Jobs as people are shown them: times as ISO 8601, secrets in payload, result, errors, log and metadata hidden.

Keys are camelCase; what a job doesn't have is left out. Asking the engine is other modules'.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from dhanam_jobs.engine import Explanation, Family, JobInfo, JobNotes, JobState, ParentOf
from dhanam_jobs.handlers.redaction import redact, redact_json, redact_text, secrets_in_json
from dhanam_jobs.handlers.service.base import iso

Value = TypeVar("Value")


class FailedJob(msgspec.Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """A failed job as the specification lists it."""

    id: str
    name: str
    data: Any
    failed_reason: str
    attempts_made: int
    timestamp: str | None = None
    processed_on: str | None = None
    finished_on: str | None = None


class JobRow(msgspec.Struct, rename="camel", kw_only=True):
    """One job of a list. `dueAt` is there while it is delayed, `worker` while it runs and after, `failedReason` where
    an attempt has failed, `cancelling` the reason of a cancellation that a running job has not followed yet."""

    id: str
    queue: str
    name: str
    state: JobState
    priority: int
    attempts_made: int
    created_at: str
    payload: Any
    due_at: str | UnsetType = UNSET
    started_at: str | UnsetType = UNSET
    finished_at: str | UnsetType = UNSET
    worker: str | UnsetType = UNSET
    unique_key: str | UnsetType = UNSET
    limit_key: str | UnsetType = UNSET
    error_type: str | UnsetType = UNSET
    failed_reason: str | UnsetType = UNSET
    cancelling: str | UnsetType = UNSET


class AttemptLine(msgspec.Struct, rename="camel", kw_only=True):
    """One failed attempt."""

    attempt: int
    at: str
    worker: str
    type: str
    message: str
    duration_ms: int


class LogLine(msgspec.Struct):
    """A line that the job logged."""

    at: str
    attempt: int
    text: str


class Why(msgspec.Struct):
    """A reason that the job has not run yet, or why there is none: a code for programs, a sentence for people."""

    code: str
    text: str


class ChildRow(msgspec.Struct, rename="camel", kw_only=True):
    """A child of the job; `state` is missing while it is on its way into its queue."""

    key: str
    queue: str
    id: str
    on_failure: str
    state: str | UnsetType = UNSET


class ParentRow(msgspec.Struct):
    """A job that waits for this one, which it knows by `key`."""

    queue: str
    id: str
    key: str


class JobDetail(JobRow, kw_only=True):
    """All that is known of one job. `log` are some of its `logged` lines, `children` the first hundred of
    `childrenTotal`; those and `parents` are known until they end. `why` tells what it waits for, `ahead` how many jobs
    go before it, `holder` which job has its unique key."""

    stalls: int
    snoozes: int
    owners: list[str]
    attempts: list[AttemptLine]
    why: list[Why]
    log: list[LogLine]
    logged: int
    children: list[ChildRow]
    children_total: int
    children_ended: int
    parents: list[ParentRow]
    result: Any | UnsetType = UNSET
    traceback: str | UnsetType = UNSET
    progress: Any | UnsetType = UNSET
    metadata: Any | UnsetType = UNSET
    ahead: int | UnsetType = UNSET
    holder: str | UnsetType = UNSET


CHILDREN_SHOWN = 100


def failed_job(info: JobInfo) -> FailedJob:
    """A failed job as the specification lists it."""
    return FailedJob(
        id=info.id,
        name=info.name,
        data=redact_json(bytes(info.payload)),
        failed_reason=_hidden(info.error.message, secrets_in_json(bytes(info.payload))) if info.error else "",
        attempts_made=info.attempt,
        timestamp=iso(info.created_ms),
        processed_on=iso(info.started_ms or None),
        finished_on=iso(info.finished_ms),
    )


def job_row(info: JobInfo) -> JobRow:
    """One job of a list."""
    return JobRow(**_row(info, secrets_in_json(bytes(info.payload))))


def job_detail(
    info: JobInfo,
    notes: JobNotes,
    waits: Explanation,
    family: Family,
    states: dict[str, str],
    parents: list[ParentOf],
) -> JobDetail:
    """One job with all that the engine knows; `states` are those of the children that have not ended, by key."""
    secrets = secrets_in_json(bytes(info.payload))
    return JobDetail(
        **_row(info, secrets),
        stalls=info.stalls,
        snoozes=info.snoozes,
        owners=info.owners,
        attempts=[
            AttemptLine(
                attempt=line.attempt,
                at=_iso(line.at_ms),
                worker=line.worker,
                type=line.type,
                message=_hidden(line.message, secrets),
                duration_ms=line.duration_ms,
            )
            for line in info.errors
        ],
        why=[Why(reason.code, reason.text) for reason in waits.reasons],
        log=[LogLine(_iso(line.at_ms), line.attempt, redact_text(line.text, secrets)) for line in notes.lines],
        logged=notes.logged,
        children=[
            ChildRow(
                key=kin.key,
                queue=kin.queue,
                id=kin.id,
                on_failure=kin.on_failure,
                state=_or_unset(kin.end.state if kin.end else states.get(kin.key)),
            )
            for kin in family.children[:CHILDREN_SHOWN]
        ],
        children_total=len(family.children),
        children_ended=len(family.ended),
        parents=[ParentRow(parent.queue, parent.id, parent.key) for parent in parents],
        result=UNSET if info.result is None else redact_json(bytes(info.result), secrets),
        traceback=_text(info.error.traceback if info.error else None, secrets),
        progress=UNSET if notes.progress is None else redact(notes.progress, secrets=secrets),
        metadata=UNSET if info.meta is None else redact(info.meta, secrets=secrets),
        ahead=_or_unset(waits.ahead),
        holder=_or_unset(waits.holder),
    )


def _row(info: JobInfo, secrets: set[str]) -> dict[str, Any]:
    return {
        "id": info.id,
        "queue": info.queue,
        "name": info.name,
        "state": info.state,
        "priority": info.priority,
        "attempts_made": info.attempt,
        "created_at": _iso(info.created_ms),
        "payload": redact_json(bytes(info.payload)),
        "due_at": _or_unset(iso(info.due_ms)),
        "started_at": _or_unset(iso(info.started_ms or None)),
        "finished_at": _or_unset(iso(info.finished_ms)),
        "worker": _or_unset(info.worker),
        "unique_key": _text(info.unique, secrets),
        "limit_key": _text(info.key, secrets),
        "error_type": _or_unset(info.error and info.error.type),
        "failed_reason": UNSET if info.error is None else _hidden(info.error.message, secrets),
        "cancelling": _text(info.cancelling, secrets),
    }


def _hidden(text: str, secrets: set[str]) -> str:
    """A text of a job without secrets, cut where it is long."""
    return str(redact(text, secrets=secrets))


def _text(text: str | None, secrets: set[str]) -> str | UnsetType:
    return redact_text(text, secrets) if text is not None else UNSET


def _or_unset(value: Value | None) -> Value | UnsetType:
    return UNSET if value is None else value


def _iso(moment_ms: int) -> str:
    return iso(moment_ms) or ""
