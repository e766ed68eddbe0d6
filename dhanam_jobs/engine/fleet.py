"""Who works here: the living workers of queues, what they run and since when, and the processes that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import scripts

if TYPE_CHECKING:
    from .engine import Engine
    from .queue import Queue

_WORKERS_PER_STEP = 50
_CLAIMS = 1000


class RunningJob(msgspec.Struct, frozen=True):
    """A claimed job. `since_ms` is when its worker was given it, in Redis's time."""

    id: str
    name: str
    since_ms: int


class WorkerInfo(msgspec.Struct, frozen=True):
    """One worker of one queue. `beat_ms` is its last sign of life; `loop_lag_ms` how late its event loop was turning
    then (None before the first beat); `running` what it has claimed now, at most a thousand jobs; `held` how many of
    them waited for a slot at its last beat, at most `prefetch`. `concurrency` and `paused` are those of its last beat.
    Times are Redis's."""

    name: str
    queue: str
    host: str
    pid: int
    concurrency: int
    started_ms: int
    beat_ms: int
    loop_lag_ms: float | None
    running: list[RunningJob]
    prefetch: int = 0
    held: int = 0
    paused: bool = False


class ProcessInfo(msgspec.Struct, frozen=True):
    """A process and its workers: host, pid, its queues, the oldest beat of its workers, the worst loop lag (ms; None
    before the first beat)."""

    host: str
    pid: int
    queues: list[str]
    beat_ms: int
    loop_lag_ms: float | None
    workers: list[WorkerInfo]


async def workers_of(queue: Queue) -> list[WorkerInfo]:
    """The living workers of a queue, the one that beat longest ago first."""
    found: dict[str, WorkerInfo] = {}
    first = 0
    while True:
        reply = await queue.engine.run(scripts.WORKERS, queue.root, first, _WORKERS_PER_STEP, _CLAIMS)
        now_ms, total, rows = reply[0], reply[1], reply[2:]
        for name, beat, row, claims in zip(rows[::4], rows[1::4], rows[2::4], rows[3::4], strict=True):
            # A beat between two steps moves a worker to the end, where the later step sees it again.
            found[name.decode()] = _worker(queue.name, name.decode(), beat, row, claims, now_ms)
        first += _WORKERS_PER_STEP
        if first >= total:
            return list(found.values())


async def processes(engine: Engine, queues: list[str] | None = None) -> list[ProcessInfo]:
    """The processes that work these queues (default: all of the registry), by host and pid. Raises
    EngineUnavailable."""
    names = [row.name for row in engine.registry.queues] if queues is None else queues
    grouped: dict[tuple[str, int], list[WorkerInfo]] = {}
    for name in names:
        for worker in await workers_of(engine.queue(name)):
            grouped.setdefault((worker.host, worker.pid), []).append(worker)
    found = []
    for (host, pid), workers in sorted(grouped.items()):
        lags = [worker.loop_lag_ms for worker in workers if worker.loop_lag_ms is not None]
        found.append(
            ProcessInfo(
                host=host,
                pid=pid,
                queues=sorted({worker.queue for worker in workers}),
                beat_ms=min(worker.beat_ms for worker in workers),
                loop_lag_ms=max(lags, default=None),
                workers=workers,
            )
        )
    return found


def _worker(queue: str, name: str, beat: bytes, row: list[bytes], claims: list[Any], now_ms: int) -> WorkerInfo:
    fields = dict(zip(row[::2], row[1::2], strict=True))
    about = _object(fields.get(b"about"))
    doing = _object(fields.get(b"doing"))
    return WorkerInfo(
        name=name,
        queue=queue,
        host=str(about.get("host", "?")),
        pid=int(about.get("pid", 0)),
        concurrency=int(doing.get("concurrency", about.get("concurrency", 0))),
        started_ms=int(fields.get(b"started_ms", 0)),
        beat_ms=int(float(beat)),
        loop_lag_ms=doing.get("loop_lag_ms"),
        prefetch=int(about.get("prefetch", 0)),
        held=len(doing.get("held", ())),
        running=[
            RunningJob(job_id.decode("utf-8", "replace"), job_name.decode("utf-8", "replace"), now_ms - idle_ms)
            for job_id, job_name, idle_ms in zip(claims[::3], claims[1::3], claims[2::3], strict=True)
        ],
        paused=bool(doing.get("paused", False)),
    )


def _object(text: bytes | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}  # a row written by hand
