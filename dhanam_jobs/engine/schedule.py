"""A schedule: what is started, when and how often, as its owner declares it; and as Redis keeps it. Data and checks.

When exactly it fires is computed by `cron` and `misfire`; it is kept and changed by `schedules`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import msgspec

from . import defaults, keys
from .cron import Cron, CronError
from .errors import ConfigurationError
from .job import JobError, Record
from .misfire import Misfire

Overlap = Literal["allow", "skip", "queue_one"]
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OPERATOR = "operator"
"""The owner of schedules that were made at run time."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Starts job `job` with `payload` at the times of `cron`, or every `every` seconds.

    `name`: 1 to 128 of A-Z a-z 0-9 . _ : -, unique over the key prefix. `queue`: where the job is run; by default the
    one queue of the registry that has a job of that name. `cron`: five fields, or six with the second last, or an alias
    (see `dhanam_jobs.engine.cron`), in the time zone `tz`. `every`: whole seconds from 1, aligned to the multiples of
    the interval since 1970 UTC; give one of the two.

    `misfire`: what becomes of ticks that are more than `grace` seconds late because nobody ran: "skip", "once" (one run
    for all of them), "all" (at most the newest 100). `overlap`: what becomes of a tick while an earlier run goes on:
    "allow" starts it beside, "skip" drops it, "queue_one" lets one wait.

    `start` and `end`: aware instants, both included; `limit`: runs in all, by ticks. `id_template` makes the run's id
    of `{name}`, `{time}` (UTC, `20260103T040000Z`) and `{ms}`; it must hold one of the last two. `priority` is 0 (most
    urgent) to 9, by default the job's own.

    Raises ConfigurationError (CronError for the times) when it is made.
    """

    name: str
    job: str
    queue: str | None = None
    cron: str | None = None
    every: float | None = None
    tz: str = "UTC"
    payload: Any = msgspec.field(default_factory=dict)
    misfire: Misfire = "once"
    overlap: Overlap = "allow"
    grace: float = defaults.MISFIRE_GRACE_MS / 1000
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None
    id_template: str = "{name}-{time}"
    priority: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise ConfigurationError(f"schedule name {self.name!r}: wanted 1 to 128 of A-Z a-z 0-9 . _ : -")
        if self.queue is not None:
            keys.check_queue_name(self.queue)
        self._check(isinstance(self.job, str), "job", self.job, "a job's name")
        self._check(isinstance(self.tz, str), "tz", self.tz, "an IANA name")
        try:
            self.parsed()
        except CronError as error:
            raise CronError(f"schedule {self.name!r}: {error}") from None
        self._check(self.misfire in ("skip", "once", "all"), "misfire", self.misfire, "'skip', 'once' or 'all'")
        self._check(
            self.overlap in ("allow", "skip", "queue_one"), "overlap", self.overlap, "'allow', 'skip' or 'queue_one'"
        )
        self._check(
            isinstance(self.grace, int | float) and 0 <= self.grace <= 86_400, "grace", self.grace, "0 to 86400 seconds"
        )
        self._check(
            self.limit is None or (type(self.limit) is int and self.limit >= 1), "limit", self.limit, "1 or more runs"
        )
        for word, moment in (("start", self.start), ("end", self.end)):
            aware = moment is None or (moment.utcoffset() is not None and moment >= _EPOCH)
            self._check(aware, word, moment, "a datetime with a time zone, not before 1970")
        if self.start is not None and self.end is not None:
            self._check(self.start <= self.end, "end", self.end, f"{self.start} (the start) or later")
        if self.priority is not None:
            keys.check_priority(self.priority)
        self._check_template()

    def _check(self, holds: bool, word: str, found: object, wanted: str) -> None:
        if not holds:
            raise ConfigurationError(f"schedule {self.name!r}: {word}: found {found!r}, wanted {wanted}")

    def _check_template(self) -> None:
        known = set(_PLACEHOLDER.findall(self.id_template))
        rest = _PLACEHOLDER.sub("", self.id_template)
        legal = known <= {"name", "time", "ms"} and known & {"time", "ms"} and not re.search(r"[{}]", rest)
        wanted = "a text of {name}, {time} and {ms}, with {time} or {ms} so that each run has an id of its own"
        self._check(bool(legal), "id_template", self.id_template, wanted)
        keys.check_custom_id(run_id(self.id_template, self.name, 0))

    def parsed(self) -> Cron:
        """The times. Raises CronError."""
        return parsed(self.expression, self.tz)

    @property
    def expression(self) -> str:
        """The times as one cron expression: `every` as `@every`."""
        if (self.cron is None) == (self.every is None):
            found = "neither" if self.cron is None else "both"
            raise CronError(f"cron and every: found {found}, wanted one of them")
        if self.every is None:
            return " ".join(str(self.cron).split())
        if not isinstance(self.every, int | float) or self.every != self.every // 1:
            raise CronError(f"every: found {self.every!r}, wanted whole seconds")
        return f"@every {int(self.every)}s"


@lru_cache(maxsize=1024)
def parsed(expression: str, tz: str) -> Cron:
    """A parsed expression, kept for the next time. Raises CronError."""
    return Cron.parse(expression, tz)


def run_id(template: str, name: str, instant_ms: int) -> str:
    """The id of the run that is due at an instant.

    >>> run_id("{name}-{time}", "nightly", 1_767_412_800_000)
    'nightly-20260103T040000Z'
    """
    time = f"{_EPOCH + timedelta(milliseconds=instant_ms):%Y%m%dT%H%M%SZ}"
    values = {"name": name, "time": time, "ms": str(instant_ms)}
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


class LastRun(msgspec.Struct):
    """How the run that ended last ended. `duration` is in seconds; `result` is the JSON text of a completed one."""

    id: str
    state: str
    attempt: int
    started_ms: int
    finished_ms: int
    duration: float
    result: msgspec.Raw | None = None
    error: JobError | None = None


class ScheduleInfo(msgspec.Struct):
    """A schedule as it is kept, with what has become of it.

    `next_ms` are its next fires, soonest first, none where it has ended; while it is paused, those that would be.
    `count` are the runs that ticks started, `skipped` the ticks that met a run of before. `last_ms`, `last_id` and
    `last_state` are of the run started last, `last_state` None where that job is gone; `last_run` is the one that ended
    last, whatever became of its job's record.
    """

    schedule: Schedule
    queue: str
    owner: str
    next_ms: list[int]
    paused_ms: int | None
    count: int
    skipped: int
    created_ms: int
    updated_ms: int
    last_ms: int | None = None
    last_id: str | None = None
    last_state: str | None = None
    last_run: LastRun | None = None


def definition(
    schedule: Schedule, *, payload: bytes, priority: int, unique: str, expires_ms: str = "", fields: list[str]
) -> dict[str, str]:
    """What the schedule's hash says of its definition, '' for what isn't set. `unique`, `expires_ms` (after it may run)
    and `fields` are what the rows of the job and its queue ask for each of the runs."""
    return {
        "cron": schedule.expression,
        "tz": schedule.tz,
        "job": schedule.job,
        "payload": payload.decode(),
        "priority": str(priority),
        "own_priority": "" if schedule.priority is None else str(schedule.priority),
        "unique": unique,
        "expires_ms": expires_ms,
        "fields": msgspec.json.encode(fields).decode() if fields else "",
        "misfire": schedule.misfire,
        "overlap": schedule.overlap,
        "grace_ms": str(round(schedule.grace * 1000)),
        "start_ms": "" if schedule.start is None else str(to_ms(schedule.start)),
        "end_ms": "" if schedule.end is None else str(to_ms(schedule.end)),
        "limit": "" if schedule.limit is None else str(schedule.limit),
        "id_template": schedule.id_template,
    }


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware instant."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def read(name: str, queue: str, row: dict[str, str], state: str, now_ms: int, upcoming: int) -> ScheduleInfo:
    """A schedule from its hash; `upcoming` says how many next fires to compute."""

    def number(field: str) -> int | None:
        return int(row[field]) if row.get(field) else None

    def moment(field: str) -> datetime | None:
        found = number(field)
        return None if found is None else _EPOCH + timedelta(milliseconds=found)

    schedule = Schedule(
        name=name,
        job=row["job"],
        queue=queue,
        cron=row["cron"],
        tz=row["tz"],
        payload=msgspec.json.decode(row["payload"]),
        misfire=row["misfire"],  # type: ignore[arg-type]
        overlap=row["overlap"],  # type: ignore[arg-type]
        grace=int(row["grace_ms"]) / 1000,
        start=moment("start_ms"),
        end=moment("end_ms"),
        limit=number("limit"),
        id_template=row["id_template"],
        priority=number("own_priority"),
    )
    return ScheduleInfo(
        schedule=schedule,
        queue=queue,
        owner=row["owner"],
        next_ms=_upcoming(schedule, number("next_ms"), number("paused_ms"), number("resumed_ms"), now_ms, upcoming),
        paused_ms=number("paused_ms"),
        count=number("count") or 0,
        skipped=number("skipped") or 0,
        created_ms=int(row["created_ms"]),
        updated_ms=int(row["updated_ms"]),
        last_ms=number("last_ms"),
        last_id=row.get("last_id"),
        last_state=state or None,
        last_run=_last_run(row["run"]) if "run" in row else None,
    )


def _upcoming(
    schedule: Schedule, next_ms: int | None, paused_ms: int | None, resumed_ms: int | None, now_ms: int, count: int
) -> list[int]:
    cron, instant = schedule.parsed(), next_ms
    until = None if schedule.end is None else to_ms(schedule.end)
    quiet_ms = now_ms if paused_ms is not None else resumed_ms
    if instant is not None and quiet_ms is not None and instant <= quiet_ms:
        instant = cron.next_after_ms(quiet_ms)
    fires: list[int] = []
    while instant is not None and len(fires) < count and (until is None or instant <= until):
        fires.append(instant)
        instant = cron.next_after_ms(instant)
    return fires


def _last_run(text: str) -> LastRun:
    record = msgspec.json.decode(text, type=Record)
    return LastRun(
        id=record.id,
        state=record.state,
        attempt=record.attempt,
        started_ms=record.started_ms,
        finished_ms=record.finished_ms,
        duration=max(0, record.finished_ms - record.started_ms) / 1000 if record.started_ms else 0.0,
        result=record.result if record.state == "completed" else None,
        error=record.error,
    )
