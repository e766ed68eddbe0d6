"""The endpoints of `/admin/schedules`. What they do is JobsService's."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.engine import Job, Schedule
from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.deeds import Act
from dhanam_jobs.handlers.service.scheduling import Misfire, Overlap, ScheduleRow
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.admin.bodies import Priority, QueueName, given
from dhanam_jobs.http.admin.jobs import accepted
from dhanam_jobs.http.admin.row import enqueuing_row, row
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Answer, Call

TAG: Final = "Administration: schedules"

Upcoming = Annotated[int, Meta(description="So many of the next fires.", ge=0, le=100)]
Moment = Annotated[dt.datetime, Meta(description="ISO 8601 with a time zone.", tz=True)]


class Schedules(msgspec.Struct):
    """Schedules by name."""

    schedules: list[ScheduleRow]


class SchedulesQuery(msgspec.Struct):
    """Of which queue, and how far ahead."""

    queue: QueueName | UnsetType = UNSET
    upcoming: Upcoming = 3


class ScheduleQuery(msgspec.Struct):
    """How far ahead."""

    upcoming: Upcoming = 3


class SaveSchedule(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a schedule starts, and when: either `cron` or `everyS`."""

    job: Annotated[str, Meta(description="The job's name.", min_length=1, max_length=128)]
    queue: Annotated[QueueName, Meta(description="By default the one that has a job of that name.")] | UnsetType = UNSET
    cron: (
        Annotated[
            str,
            Meta(
                description="Five fields, six with seconds, or an alias such as @daily.", min_length=1, max_length=256
            ),
        ]
        | UnsetType
    ) = UNSET
    every_s: Annotated[int, Meta(description="Every so many seconds.", ge=1, le=31_536_000)] | UnsetType = UNSET
    tz: Annotated[str, Meta(description="The time zone of cron.", max_length=64)] = "UTC"
    payload: Annotated[Any, Meta(description="What its jobs get; `{}` by default.")] = UNSET
    misfire: Annotated[Misfire, Meta(description="What becomes of ticks that nobody was there for.")] = "once"
    overlap: Annotated[Overlap, Meta(description="What becomes of a tick while a run goes on.")] = "allow"
    grace_s: Annotated[float, Meta(description="A tick that is later has been missed.", ge=0, le=86_400)] = 60.0
    start: Moment | UnsetType = UNSET
    end: Moment | UnsetType = UNSET
    limit: Annotated[int, Meta(description="Runs in all.", ge=1, le=1_000_000_000)] | UnsetType = UNSET
    id_template: Annotated[
        str, Meta(description="Of its jobs' ids: {name}, {time} (UTC) and {ms}.", max_length=256)
    ] = "{name}-{time}"
    priority: Priority | UnsetType = UNSET

    def named(self, name: str) -> Schedule:
        """The same for the engine. Raises ConfigurationError."""
        every = given(self.every_s)
        return Schedule(
            name=name,
            job=self.job,
            queue=given(self.queue),
            cron=given(self.cron),
            every=None if every is None else float(every),
            tz=self.tz,
            payload={} if self.payload is UNSET else self.payload,
            misfire=self.misfire,
            overlap=self.overlap,
            grace=self.grace_s,
            start=given(self.start),
            end=given(self.end),
            limit=given(self.limit),
            id_template=self.id_template,
            priority=given(self.priority),
        )


class SchedulePaused(msgspec.Struct):
    """Whether a schedule is paused now, and whether that is new."""

    name: str
    paused: bool
    changed: bool


class ScheduleRemoved(msgspec.Struct):
    """Which schedule is gone."""

    name: str
    removed: bool


async def list_schedules(call: Call[SchedulesQuery, NoFields]) -> Schedules:
    """All of them, the service's own and those that people made."""
    return Schedules(await call.context.jobs.list_schedules(given(call.query.queue), upcoming=call.query.upcoming))


async def get_schedule(call: Call[ScheduleQuery, NoFields]) -> ScheduleRow:
    """One of them."""
    return await call.context.jobs.get_schedule(call.path["name"], upcoming=call.query.upcoming)


@audited(deeds.SAVE_SCHEDULE, "{name}")
async def save_schedule(call: Call[NoFields, SaveSchedule], act: Act) -> ScheduleRow:
    """It fires at these times from now on."""
    jobs, name = call.context.jobs, call.path["name"]
    changed = await jobs.save_schedule(call.body.named(name))
    saved = await jobs.get_schedule(name)
    act.note(changed=changed, queue=saved.queue, job=saved.job, cron=saved.cron, tz=saved.tz)
    return saved


@audited(deeds.REMOVE_SCHEDULE, "{name}")
async def remove_schedule(call: Call[NoFields, NoFields], act: Act) -> ScheduleRemoved:
    """It fires no more."""
    await call.context.jobs.remove_schedule(call.path["name"])
    act.note()
    return ScheduleRemoved(call.path["name"], removed=True)


@audited(deeds.PAUSE_SCHEDULE, "{name}")
async def pause_schedule(call: Call[NoFields, NoFields], act: Act) -> SchedulePaused:
    """It starts no more runs."""
    changed = await call.context.jobs.pause_schedule(call.path["name"])
    act.note(changed=changed)
    return SchedulePaused(call.path["name"], paused=True, changed=changed)


@audited(deeds.RESUME_SCHEDULE, "{name}")
async def resume_schedule(call: Call[NoFields, NoFields], act: Act) -> SchedulePaused:
    """It starts runs again."""
    changed = await call.context.jobs.resume_schedule(call.path["name"])
    act.note(changed=changed)
    return SchedulePaused(call.path["name"], paused=False, changed=changed)


@audited(deeds.RUN_SCHEDULE, "{name}")
async def run_schedule(call: Call[NoFields, NoFields], act: Act) -> Answer:
    """A run starts now."""

    async def enqueue() -> Job:
        job = await call.context.jobs.run_schedule(call.path["name"])
        act.note(queue=job.queue, job=job.id, joined=not job.created)
        return job

    return await accepted(call, await call.once(enqueue))


_row = partial(row, TAG)
ROWS: Final = (
    _row(
        "GET", "/schedules", list_schedules, "List the schedules, with their next fires and last runs", Schedules, 404
    ),
    _row("GET", "/schedules/{name}", get_schedule, "Show one schedule", ScheduleRow, 404),
    _row(
        "PUT",
        "/schedules/{name}",
        save_schedule,
        "Make a schedule, or change it; 409 for one that the service itself declares",
        ScheduleRow,
        404,
        409,
    ),
    _row(
        "DELETE",
        "/schedules/{name}",
        remove_schedule,
        "Remove a schedule; 409 for one that the service itself declares",
        ScheduleRemoved,
        404,
        409,
    ),
    _row("POST", "/schedules/{name}/pause", pause_schedule, "Start no more runs of a schedule", SchedulePaused, 404),
    _row(
        "POST", "/schedules/{name}/resume", resume_schedule, "Start a paused schedule's runs again", SchedulePaused, 404
    ),
    enqueuing_row(TAG, "/schedules/{name}/run", run_schedule, "Start a run of a schedule now, paused or not", 404),
)
