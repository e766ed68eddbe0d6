"""Methods for schedules as operators see them: look, save, remove, pause, resume, run now. Firing is the engine's."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from dhanam_jobs.engine import Job, LastRun, Schedule, ScheduleInfo, ScheduleNotFound, ScheduleOwned
from dhanam_jobs.engine.schedule import OPERATOR
from dhanam_jobs.handlers.redaction import redact, redact_json, redact_text, secrets_in
from dhanam_jobs.handlers.service.base import ServiceBase, iso
from dhanam_jobs.handlers.service.edited import restored

Misfire = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "queue_one"]


class RunRow(msgspec.Struct, rename="camel", kw_only=True):
    """How the run ended that ended last."""

    id: str
    state: str
    attempts_made: int
    finished_at: str
    duration_s: float
    started_at: str | UnsetType = UNSET
    result: Any | UnsetType = UNSET
    failed_reason: str | UnsetType = UNSET


class ScheduleRow(msgspec.Struct, rename="camel", kw_only=True):
    """A schedule, with what has become of it; what it doesn't have is left out. `owner` is `operator` for those that
    people made, else the application that declares it; `next` are the next fires, those that would be while it is
    paused; `runs` were started by ticks, `skipped` ticks met a run of before; `lastId` is of the run started last."""

    name: str
    queue: str
    job: str
    cron: str
    tz: str
    payload: Any
    misfire: str
    overlap: str
    grace_s: float
    id_template: str
    owner: str
    paused: bool
    next: list[str]
    runs: int
    skipped: int
    created_at: str
    updated_at: str
    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    paused_at: str | UnsetType = UNSET
    last_at: str | UnsetType = UNSET
    last_id: str | UnsetType = UNSET
    last_state: str | UnsetType = UNSET
    last_run: RunRow | UnsetType = UNSET


class Scheduling(ServiceBase):
    """Those methods. Those that take a name raise ScheduleNotFound where there is no such schedule; all raise
    EngineUnavailable."""

    async def list_schedules(self, queue: str | None = None, *, upcoming: int = 3) -> list[ScheduleRow]:
        """Return all schedules, or those of a queue, by name, each with its next `upcoming` fires.

        Raises UnknownQueue.
        """
        of = None if queue is None else self._queue(queue).name
        return [_row(info) for info in await self._engine.schedules.list(queue=of, upcoming=upcoming)]

    async def get_schedule(self, name: str, *, upcoming: int = 3) -> ScheduleRow:
        """Return one schedule, with its next `upcoming` fires."""
        return _row(await self._schedule(name, upcoming))

    async def save_schedule(self, schedule: Schedule) -> bool:
        """Make the schedule of that name, or change it to this. False where it was so. What was hidden when its payload
        was shown stays as it was.

        Raises UnknownQueue, UnknownJobName, InvalidPayload, ConfigurationError for what can't be, and ScheduleOwned
        where the service itself declares a schedule of that name.
        """
        if schedule.queue is not None:
            self._queue(schedule.queue)
        before = await self._engine.schedules.get(schedule.name, upcoming=0)
        known = {} if before is None else before.schedule.payload
        payload = restored(schedule.payload, msgspec.json.encode(known))
        return await self._engine.schedules.upsert(msgspec.structs.replace(schedule, payload=payload))

    async def remove_schedule(self, name: str) -> None:
        """Remove a schedule that people made; a run that goes on goes on.

        Raises ScheduleOwned where the service declares it: it would be back at the next start.
        """
        info = await self._schedule(name, 0)
        if info.owner != OPERATOR:
            raise ScheduleOwned(
                f"schedule {name!r} belongs to {info.owner!r}, which declares it at each start: pause it instead"
            )
        if not await self._engine.schedules.remove(name):
            raise _not_found(name)

    async def pause_schedule(self, name: str) -> bool:
        """Start no more runs, until `resume_schedule`; those that were started go on. False where it was paused."""
        return await self._engine.schedules.pause(name)

    async def resume_schedule(self, name: str) -> bool:
        """End a pause; what fell due meanwhile is not made up for. False where it was not paused."""
        return await self._engine.schedules.resume(name)

    async def run_schedule(self, name: str) -> Job:
        """Start a run at once, paused or not. Where runs may not overlap, it waits for the one that goes on.

        Raises Draining where this process is shutting down.
        """
        self._engine.check_accepting()
        return await self._engine.schedules.run_now(name)

    async def _schedule(self, name: str, upcoming: int) -> ScheduleInfo:
        info = await self._engine.schedules.get(name, upcoming=upcoming)
        if info is None:
            raise _not_found(name)
        return info


def _not_found(name: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"schedule {name!r}: there is none of that name")


def _row(info: ScheduleInfo) -> ScheduleRow:
    schedule = info.schedule
    secrets = secrets_in(schedule.payload)
    shown = ScheduleRow(
        name=schedule.name,
        queue=info.queue,
        job=schedule.job,
        cron=schedule.expression,
        tz=schedule.tz,
        payload=redact(schedule.payload),
        misfire=schedule.misfire,
        overlap=schedule.overlap,
        grace_s=schedule.grace,
        id_template=schedule.id_template,
        owner=info.owner,
        paused=info.paused_ms is not None,
        next=[iso(each) or "" for each in info.next_ms],
        runs=info.count,
        skipped=info.skipped,
        created_at=iso(info.created_ms) or "",
        updated_at=iso(info.updated_ms) or "",
    )
    if schedule.start is not None:
        shown.start = schedule.start.isoformat()
    if schedule.end is not None:
        shown.end = schedule.end.isoformat()
    for name, value in (
        ("limit", schedule.limit),
        ("priority", schedule.priority),
        ("paused_at", iso(info.paused_ms)),
        ("last_at", iso(info.last_ms)),
        ("last_id", info.last_id),
        ("last_state", info.last_state),
    ):
        if value is not None:
            setattr(shown, name, value)
    if info.last_run is not None:
        shown.last_run = _run(info.last_run, secrets)
    return shown


def _run(run: LastRun, secrets: set[str]) -> RunRow:
    shown = RunRow(
        id=run.id,
        state=run.state,
        attempts_made=run.attempt,
        finished_at=iso(run.finished_ms) or "",
        duration_s=run.duration,
    )
    if run.started_ms:
        shown.started_at = iso(run.started_ms) or ""
    if run.result is not None:
        shown.result = redact_json(bytes(run.result), secrets)
    if run.error is not None:
        shown.failed_reason = redact_text(run.error.message, secrets)
    return shown
