"""The endpoints that orchestrators ask: alive? ready? how much? They need no token, so they tell no detail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog
from starlette.responses import Response

from dhanam_jobs.engine import Engine, Queue, Supervisor
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.context import Check
from dhanam_jobs.http.endpoint import Call
from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.fleet_metrics import overdue_s
from dhanam_jobs.http.metrics import MEDIA_TYPE

log = structlog.get_logger("dhanam_jobs.http")

OK: Final = "ok"
DRAINING: Final = "draining"
FETCH_STALE_S: Final = 15.0
"""A worker with room that has not asked for jobs for this long is out of order."""


class Health(msgspec.Struct):
    """Alive: `ok`, or `draining`."""

    status: str


class Readiness(msgspec.Struct):
    """Ready: `ok`, and the word of each part."""

    status: str
    parts: dict[str, str]


LATE_LOOP_S: Final = 1.0
"""An event loop that turned later than this answers nobody in time."""
OVERDUE_S: Final = 60.0
"""A schedule of a queue that this process works, and that is later than this, is not being fired."""


class Fetching(Protocol):
    """What readiness reads of a worker; `fetched` is the event loop's time of its last claiming call."""

    @property
    def queue(self) -> Queue: ...
    @property
    def fetched(self) -> float: ...
    @property
    def running(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def paused(self) -> bool: ...


def process_checks(engine: Engine, supervisor: Supervisor) -> dict[str, Check]:
    """Return what readiness asks of a process: its workers, its event loop, and the schedules of the queues that it
    works, which are its to fire; a process without workers fires none."""
    checks = worker_checks(supervisor.workers)
    checks["loop"] = partial(_check_loop, lambda: supervisor.loop_lag_ms)
    if supervisor.workers:
        checks["schedules"] = partial(_check_schedules, engine, {worker.queue.name for worker in supervisor.workers})
    return checks


async def _check_loop(loop_lag_ms: Callable[[], float]) -> None:
    if loop_lag_ms() > LATE_LOOP_S * 1000:
        raise RuntimeError(f"the event loop last turned {loop_lag_ms():.0f} ms late")


async def _check_schedules(engine: Engine, queues: set[str]) -> None:
    infos = [info for info in await engine.schedules.list(upcoming=1) if info.queue in queues]
    late_s = overdue_s(infos, time.time_ns() // 1_000_000)
    if late_s > OVERDUE_S:
        raise RuntimeError(f"a schedule should have fired {late_s:.0f} s ago")


def worker_checks(workers: Iterable[Fetching]) -> dict[str, Check]:
    """Return one check per worker, by `worker:<queue>`: it asks for jobs, has its hands full, or was told to pause."""
    return {f"worker:{worker.queue.name}": partial(_check_worker, worker) for worker in workers}


async def _check_worker(worker: Fetching) -> None:
    silent_s = asyncio.get_running_loop().time() - worker.fetched
    if silent_s > FETCH_STALE_S and worker.running < worker.concurrency and not worker.paused:
        raise RuntimeError(
            f"last fetch {silent_s:.0f} s ago with {worker.running} of {worker.concurrency} slots in use"
        )


async def healthz(call: Call[NoFields, NoFields]) -> Health:
    """200 as long as the event loop turns, also while draining."""
    return Health(OK if call.context.jobs.is_accepting_jobs() else DRAINING)


async def readyz(call: Call[NoFields, NoFields]) -> Readiness:
    """200 when every part works; 503 names the parts that don't, or says that we drain."""
    context = call.context
    names = list(context.checks)
    words = await asyncio.gather(*(_ask(name, context.checks[name], context.options.check_s) for name in names))
    parts = dict(zip(names, words, strict=True))
    parts["accepting"] = OK if context.jobs.is_accepting_jobs() else DRAINING
    failing = [name for name, word in parts.items() if word != OK]
    if failing:
        said = ", ".join(f"{name} ({parts[name]})" for name in failing)
        raise ApiError(503, f"Not ready: {said}", details={"parts": parts}, retry_after_s=5.0)
    return Readiness(OK, parts)


async def metrics(call: Call[NoFields, NoFields]) -> Response:
    """Everything that is counted and measured, as Prometheus reads it."""
    return Response(await call.context.metrics.render(), media_type=MEDIA_TYPE)


async def _ask(name: str, check: Check, seconds: float) -> str:
    """Return "ok", or one word for what is wrong: the rest goes to the log."""
    try:
        async with asyncio.timeout(seconds):
            await check()
    except TimeoutError:
        log.warning("part_does_not_answer", part=name, waited_s=seconds)
        return "no answer"
    except Exception as error:
        log.warning("part_fails", part=name, error=type(error).__name__, reason=str(error)[:500])
        return "failing"
    return OK
