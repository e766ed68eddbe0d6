"""What `top` shows at one moment, asked of the engine: counts, rates, workers, slow and failing jobs. Shows nothing."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from dhanam_jobs.engine import Engine, ProcessInfo, QueueCounts

_RECENT = 50
_ROWS = 8


class SlowJob(msgspec.Struct, frozen=True):
    """A job that runs, or a recent run: `seconds` it has taken."""

    queue: str
    name: str
    id: str
    seconds: float
    running: bool


class FailingJob(msgspec.Struct, frozen=True):
    """Failures of one job name among the newest records: how many, the last reason's type, and when that was."""

    queue: str
    name: str
    count: int
    reason: str
    last_ms: int


class Frame(msgspec.Struct, frozen=True):
    """One moment. `rates`: endings per second since the frame before, by queue; empty in the first one. `slowest`: of
    what runs and of the newest records of each queue."""

    at_ms: int
    server: str
    used_memory: int
    commands_per_second: int
    queues: list[QueueCounts]
    rates: dict[str, float]
    processes: list[ProcessInfo]
    slowest: list[SlowJob]
    failing: list[FailingJob]


async def take_frame(engine: Engine, before: Frame | None = None) -> Frame:
    """Asks a few dozen commands, whatever the queues hold. Raises EngineUnavailable."""
    from dhanam_jobs.engine.fleet import processes

    info = await engine.redis.info("everything")
    queues = [await engine.queue(row.name).counts() for row in engine.registry.queues]
    at_ms = round(time.time() * 1000)
    alive = await processes(engine)
    report = engine.report
    return Frame(
        at_ms=at_ms,
        server=f"{report.flavour} {report.version}" if report is not None else "",
        used_memory=int(info.get("used_memory", 0)),
        commands_per_second=int(info.get("instantaneous_ops_per_sec", 0)),
        queues=queues,
        rates={} if before is None else _rates(before, queues, at_ms),
        processes=alive,
        slowest=await _slowest(engine, alive, at_ms),
        failing=await _failing(engine),
    )


def _rates(before: Frame, queues: list[QueueCounts], at_ms: int) -> dict[str, float]:
    seconds = max(0.001, (at_ms - before.at_ms) / 1000)
    ended = {row.name: row.completed + row.failed + row.cancelled for row in before.queues}
    return {
        row.name: max(0.0, (row.completed + row.failed + row.cancelled - ended.get(row.name, 0)) / seconds)
        for row in queues
    }


async def _slowest(engine: Engine, alive: list[ProcessInfo], at_ms: int) -> list[SlowJob]:
    found = [
        SlowJob(worker.queue, job.name, job.id, max(0.0, (at_ms - job.since_ms) / 1000), True)
        for process in alive
        for worker in process.workers
        for job in worker.running
    ]
    for row in engine.registry.queues:
        page = await engine.queue(row.name).operations.page("completed", limit=_RECENT)
        for info in page.jobs:
            if info.started_ms and info.finished_ms:
                seconds = max(0.0, (info.finished_ms - info.started_ms) / 1000)
                found.append(SlowJob(row.name, info.name, info.id, seconds, False))
    return sorted(found, key=lambda job: (not job.running, -job.seconds))[:_ROWS]


async def _failing(engine: Engine) -> list[FailingJob]:
    found = []
    for row in engine.registry.queues:
        page = await engine.queue(row.name).operations.page("failed", limit=_RECENT)
        counts = Counter(info.name for info in page.jobs)
        for name, count in counts.items():
            last = next(info for info in page.jobs if info.name == name)  # newest first
            reason = last.error.type if last.error is not None else ""
            found.append(FailingJob(row.name, name, count, reason, last.finished_ms or 0))
    return sorted(found, key=lambda job: -job.count)[:_ROWS]
