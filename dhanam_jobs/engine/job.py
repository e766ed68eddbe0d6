"""The data of a job: its states, what a worker holds while it runs one, and the record that remains. Data only."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import msgspec


class JobState(enum.StrEnum):
    """A job is in exactly one of these."""

    WAITING = "waiting"
    """Runnable. Enters by enqueue, promote, release and reclaim; leaves when a worker claims it."""
    DELAYED = "delayed"
    """Not due yet. Enters by enqueue with a delay, retry and snooze; leaves by promotion when due."""
    ACTIVE = "active"
    """Claimed by a live worker. Leaves when the worker settles it, or by reclaim when the worker dies."""
    BLOCKED = "blocked"
    """Waits for the job that holds its unique key, or for its children; leaves when they have ended."""
    PARKED = "parked"
    """No live worker knows its name; leaves when one does."""
    COMPLETED = "completed"
    """Ended well; the record stays as long as retention says."""
    FAILED = "failed"
    """Ended badly and for good; the record stays as long as retention says."""
    CANCELLED = "cancelled"
    """Ended by an operator or caller; the record stays as long as retention says."""


class AttemptError(msgspec.Struct, omit_defaults=True):
    """One failed attempt: the line of a job's history, which has at most 25. `attempt` counts from 1; `at_ms` is when
    it ended; `type` is the error's class name or a reason code, `message` its text up to 1,000 characters."""

    attempt: int
    at_ms: int
    worker: str
    type: str
    message: str
    duration_ms: int = 0


class JobError(msgspec.Struct, omit_defaults=True):
    """Why a job failed: class name or reason code, text, and the end of the last traceback (8 KB; None where there is
    none to show)."""

    type: str
    message: str
    traceback: str | None = None


class Record(msgspec.Struct, omit_defaults=True):
    """What remains of a job that has ended, as JSON in the hash `…:ended`.

    `state` is completed, failed or cancelled; `attempt` the number of executions; `payload` and `result` are JSON;
    `error` is why it did not complete, `errors` its failed attempts, oldest first. `stalls` and `snoozes` count those;
    `unique` and `key` are its unique and its limit key; `options` are those of its own that differ from its row's.
    """

    id: str
    name: str
    state: str
    priority: int
    attempt: int
    created_ms: int
    started_ms: int
    finished_ms: int
    payload: msgspec.Raw
    worker: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: JobError | None = None
    errors: list[AttemptError] = []
    stalls: int = 0
    snoozes: int = 0
    unique: str | None = None
    key: str | None = None
    options: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


class JobInfo(msgspec.Struct):
    """A job as `Queue.get` finds it, in whatever state.

    `payload` and `result` are JSON (`msgspec.json.decode` reads them); `priority` is 0 to 9; `unique` and `key` are its
    unique and its limit key; `stalls` and `snoozes` count those; `errors` are its failed attempts, oldest first.
    `attempt` is the number of executions begun; `due_ms` is set while delayed, `worker` while active, `result`,
    `error` and `finished_ms` once ended; before, `error` is what the last attempt failed with. `cancelling` is the
    reason of a cancellation that the handler has not followed yet. `owners` are the callers that enqueued or joined it.
    """

    id: str
    queue: str
    name: str
    state: JobState
    priority: int
    attempt: int
    created_ms: int
    payload: msgspec.Raw
    stalls: int = 0
    snoozes: int = 0
    unique: str | None = None
    key: str | None = None
    due_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    worker: str | None = None
    result: msgspec.Raw | None = None
    error: JobError | None = None
    errors: list[AttemptError] = []
    owners: list[str] = []
    meta: dict[str, Any] | None = None
    cancelling: str | None = None


class Claim:
    """The right to run one attempt of one job: the stream entry that a worker holds, and what it says.

    `place` is `waiting:<level>`, `front:<level>` or, with a limit `key`, `admitted:<level>`; `entry` is the
    stream entry id; together they are the fence.
    `attempt` counts executions, this one included. `queued_ms` is when the job came to where it was claimed, `ended_ms`
    when the attempt had an end that counts. `line` names the jobs that wait for this one, `<queue> <id>`, the nearest
    last. `plain` says that the entry holds a name and a payload, no more.
    """

    # What a plain job doesn't have stands in the class, so that its claim is made of a few fields only.
    attempt = 1
    stalls = 0
    snoozes = 0
    waits = 0
    unique: str | None = None
    key: str | None = None
    options: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    errors: bytes | None = None
    line: Sequence[str] = ()
    started_ms = 0
    ended_ms = 0
    expires_ms = 0

    def __init__(self, place: str, level: int, entry: bytes, fields: list[bytes]) -> None:
        text = entry.decode()
        self.place = place
        self.entry = entry
        self.priority = level
        self.queued_ms = self.created_ms = int(text.partition("-")[0])
        self.plain = len(fields) == 4 and fields[0] == b"name" and fields[2] == b"payload"
        if self.plain:
            self.id = f"{level}-{text}"
            self.name = fields[1].decode("utf-8", "replace")
            self.payload = fields[3]
        else:
            self._read(text, dict(zip(fields[::2], fields[1::2], strict=True)))

    def _read(self, text: str, fields: dict[bytes, bytes]) -> None:
        # An entry may have been written by hand: what it lacks must not stop the worker.
        job_id = fields.get(b"id")
        self.id = f"{self.priority}-{text}" if job_id is None else job_id.decode("utf-8", "replace")
        self.name = fields.get(b"name", b"?").decode("utf-8", "replace")
        self.payload = fields.get(b"payload", b"null")
        self.attempt = number(fields.get(b"attempt"), 0) + 1
        self.stalls = number(fields.get(b"stalls"), 0)
        self.snoozes = number(fields.get(b"snoozes"), 0)
        self.waits = number(fields.get(b"waits"), 0)
        self.created_ms = number(fields.get(b"created"), self.created_ms)
        self.expires_ms = number(fields.get(b"expires"), 0)
        self.errors = fields.get(b"errors")
        if b"line" in fields:
            self.line = fields[b"line"].decode("utf-8", "replace").split("\n")
        if b"unique" in fields:
            self.unique = fields[b"unique"].decode("utf-8", "replace")
        if b"key" in fields:
            self.key = fields[b"key"].decode("utf-8", "replace")
        self.options = mapping(fields.get(b"options"))
        self.meta = mapping(fields.get(b"meta"))

    @classmethod
    def of_record(cls, record: Record) -> Claim:
        """What is known of a job that has ended, for those who are told of it: nobody holds it any more."""
        claim = cls("ended", record.priority, b"0-0", [b"name", record.name.encode(), b"payload", record.payload])
        claim.id, claim.created_ms, claim.attempt = record.id, record.created_ms, record.attempt
        claim.stalls, claim.snoozes = record.stalls, record.snoozes
        claim.unique, claim.key, claim.meta, claim.options = record.unique, record.key, record.meta, record.options
        claim.started_ms, claim.ended_ms = record.started_ms, record.finished_ms
        return claim

    @property
    def expired(self) -> bool:
        """True where the job had to be started by a moment that has passed, and never was."""
        started_before = self.attempt > 1 or self.stalls or self.snoozes or self.waits
        return 0 < self.expires_ms <= self.started_ms and not started_before

    def timeout(self, default: float) -> float:
        """Seconds that this attempt may take: the job's own time limit, or the one given."""
        own = (self.options or {}).get("timeout")
        return float(own) if isinstance(own, int | float) and own > 0 else default


# An entry may have been written by hand. What can't be read is taken as absent, by who runs it and who lists it alike.

_decode_mapping = msgspec.json.Decoder(dict[str, Any]).decode
_decode_history = msgspec.json.Decoder(list[AttemptError]).decode


def number(text: bytes | None, default: int) -> int:
    """The whole number of up to 15 digits that a field holds."""
    return int(text) if text is not None and len(text) <= 15 and text.isdigit() else default


def mapping(text: bytes | None) -> dict[str, Any] | None:
    """The JSON object that a field holds."""
    if text is None:
        return None
    try:
        return _decode_mapping(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def history(text: bytes | None) -> list[AttemptError]:
    """The lines of failed attempts that a field holds."""
    if text is None:
        return []
    try:
        return _decode_history(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


class Outcome:
    """How one claim ends: the five arguments that `settle.lua` takes for it (see its header)."""

    __slots__ = ("body", "claim", "kind")

    def __init__(self, claim: Claim, kind: str, body: bytes) -> None:
        self.claim = claim
        self.kind = kind
        self.body = body
