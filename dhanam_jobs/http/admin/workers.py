"""The endpoints of `/admin/workers` and `/admin/supervisors`. What they do is JobsService's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.deeds import Act
from dhanam_jobs.handlers.service.fleet import SupervisorRow, WorkerRow
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.admin.bodies import QueueName, given
from dhanam_jobs.http.admin.row import row
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Call

TAG: Final = "Administration: workers"


class Workers(msgspec.Struct):
    """The living workers, by queue."""

    workers: list[WorkerRow]


class Supervisors(msgspec.Struct):
    """The processes that have workers."""

    supervisors: list[SupervisorRow]


class WorkersQuery(msgspec.Struct):
    """Of which queue."""

    queue: QueueName | UnsetType = UNSET


class Concurrency(msgspec.Struct, forbid_unknown_fields=True):
    """How many jobs at once."""

    concurrency: Annotated[int, Meta(description="Jobs that it runs at once.", ge=1, le=1000)]


class WorkerTold(msgspec.Struct):
    """What which worker was told; it follows as soon as its loop turns, and the list shows it from its next beat on."""

    name: str
    queue: str
    told: Literal["pause", "resume", "concurrency"]


class SupervisorTold(msgspec.Struct):
    """Which process was told to drain."""

    name: str
    told: Literal["drain"]


async def list_workers(call: Call[WorkersQuery, NoFields]) -> Workers:
    """Who works, on what, since when."""
    return Workers(await call.context.jobs.list_workers(given(call.query.queue)))


async def list_supervisors(call: Call[NoFields, NoFields]) -> Supervisors:
    """The same by process."""
    return Supervisors(await call.context.jobs.list_supervisors())


@audited(deeds.PAUSE_WORKER, "{worker}")
async def pause_worker(call: Call[NoFields, NoFields], act: Act) -> WorkerTold:
    """It takes no more jobs."""
    queue = await call.context.jobs.pause_worker(call.path["worker"])
    act.note(queue=queue)
    return WorkerTold(call.path["worker"], queue, "pause")


@audited(deeds.RESUME_WORKER, "{worker}")
async def resume_worker(call: Call[NoFields, NoFields], act: Act) -> WorkerTold:
    """It takes jobs again."""
    queue = await call.context.jobs.resume_worker(call.path["worker"])
    act.note(queue=queue)
    return WorkerTold(call.path["worker"], queue, "resume")


@audited(deeds.SET_CONCURRENCY, "{worker}")
async def set_worker_concurrency(call: Call[NoFields, Concurrency], act: Act) -> WorkerTold:
    """It runs so many jobs at once."""
    concurrency = call.body.concurrency
    queue = await call.context.jobs.set_worker_concurrency(call.path["worker"], concurrency)
    act.note(queue=queue, concurrency=concurrency)
    return WorkerTold(call.path["worker"], queue, "concurrency")


@audited(deeds.DRAIN_SUPERVISOR, "{supervisor}")
async def drain_supervisor(call: Call[NoFields, NoFields], act: Act) -> SupervisorTold:
    """It ends its work."""
    await call.context.jobs.drain_supervisor(call.path["supervisor"])
    act.note()
    return SupervisorTold(call.path["supervisor"], "drain")


_row = partial(row, TAG)
ROWS: Final = (
    _row("GET", "/workers", list_workers, "List the living workers, and what they run", Workers, 404),
    _row("POST", "/workers/{worker}/pause", pause_worker, "Let one worker take no more jobs", WorkerTold, 404),
    _row("POST", "/workers/{worker}/resume", resume_worker, "Let a paused worker take jobs again", WorkerTold, 404),
    _row(
        "PUT",
        "/workers/{worker}/concurrency",
        set_worker_concurrency,
        "Let one worker run so many jobs at once, until its process ends",
        WorkerTold,
        404,
    ),
    _row("GET", "/supervisors", list_supervisors, "List the processes that have workers", Supervisors),
    _row(
        "POST",
        "/supervisors/{supervisor}/drain",
        drain_supervisor,
        "Let a process take no more jobs, end what runs, and leave",
        SupervisorTold,
        404,
    ),
)
