"""What `find.lua` says of a job, as a JobInfo. Asking is for those who have a connection."""

from __future__ import annotations

from typing import Any

import msgspec

from .job import AttemptError, JobError, JobInfo, JobState, Record, history, mapping, number


def job_info(queue: str, job_id: str, reply: list[Any]) -> JobInfo | None:
    """The job as the script's reply describes it, or None where there is none."""
    if not reply:
        return None
    state = reply[0].decode()
    joined: list[str] = msgspec.json.decode(reply[2]) if reply[2] else []
    if state == "ended":
        record = msgspec.json.decode(reply[1], type=Record)
        return JobInfo(
            id=record.id,
            queue=queue,
            name=record.name,
            state=JobState(record.state),
            priority=record.priority,
            attempt=record.attempt,
            created_ms=record.created_ms,
            payload=record.payload,
            stalls=record.stalls,
            snoozes=record.snoozes,
            unique=record.unique,
            key=record.key,
            started_ms=record.started_ms,
            finished_ms=record.finished_ms,
            worker=record.worker,
            result=record.result if record.state == "completed" else None,
            error=record.error,
            errors=record.errors,
            owners=_owners(record.meta, joined),
            meta=record.meta,
        )
    detail, place, flat = reply[1], reply[3].decode(), reply[4]
    fields: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
    attempt = number(fields.get(b"attempt"), 0)
    meta = mapping(fields.get(b"meta"))
    errors = history(fields.get(b"errors"))
    created = number(fields.get(b"created"), -1)
    if created < 0:
        # Still at home: a generated id holds the time, and for any other one the index led to its entry.
        created = int(detail.split(b"-")[0] if state == "waiting" else job_id.split("-")[1])
    return JobInfo(
        id=job_id,
        queue=queue,
        name=fields.get(b"name", b"?").decode("utf-8", "replace"),
        state=JobState(state),
        priority=int(place[-1]),
        attempt=attempt + 1 if state == "active" else attempt,
        created_ms=created,
        payload=_payload(fields.get(b"payload", b"null")),
        stalls=number(fields.get(b"stalls"), 0),
        snoozes=number(fields.get(b"snoozes"), 0),
        unique=fields[b"unique"].decode("utf-8", "replace") if b"unique" in fields else None,
        key=fields[b"key"].decode("utf-8", "replace") if b"key" in fields else None,
        due_ms=int(float(detail)) if state == "delayed" else None,
        worker=detail.decode() if state == "active" else None,
        error=_last_error(errors, fields.get(b"traceback")),
        errors=errors,
        owners=_owners(meta, joined),
        meta=meta,
        cancelling=msgspec.json.decode(reply[5])["reason"] if len(reply) > 5 else None,
    )


def _payload(text: bytes) -> msgspec.Raw:
    # One that was written by hand and is no JSON becomes a text, so that what holds it can be encoded.
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.Raw(msgspec.json.encode(text.decode("utf-8", "replace")))
    return msgspec.Raw(text)


def _last_error(errors: list[AttemptError], traceback: bytes | None) -> JobError | None:
    if not errors:
        return None
    text = None if traceback is None else traceback.decode("utf-8", "replace")
    return JobError(errors[-1].type, errors[-1].message, text)


def _owners(meta: dict[str, Any] | None, joined: list[str]) -> list[str]:
    first = [str(owner) for owner in (meta or {}).get("owners", [])]
    return first + [owner for owner in joined if owner not in first]
