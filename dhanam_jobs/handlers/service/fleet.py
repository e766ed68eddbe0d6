"""Methods for who works: the living workers and their processes, and what one of them may be told."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from dhanam_jobs.engine import EngineError, ProcessInfo, RemoteWorker, WorkerInfo, processes
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.service.base import ServiceBase, iso


class NotAlive(EngineError):
    """No living worker, or supervisor, has that name."""


class RunningRow(msgspec.Struct):
    """A job that a worker holds, and since when."""

    id: str
    name: str
    since: str


class WorkerRow(msgspec.Struct, rename="camel", kw_only=True):
    """One worker of one queue. `supervisor` is its process, `concurrency` and `paused` are as its last beat said,
    `loopLagMs` how late its event loop was then, missing before the first."""

    name: str
    queue: str
    supervisor: str
    concurrency: int
    paused: bool
    started_at: str
    last_beat_at: str
    running: list[RunningRow]
    loop_lag_ms: float | UnsetType = UNSET


class SupervisorRow(msgspec.Struct, rename="camel", kw_only=True):
    """A process with workers: `name` is `host:pid`, `lastBeatAt` the oldest beat of its workers, `loopLagMs` the worst
    lag."""

    name: str
    host: str
    pid: int
    queues: list[str]
    last_beat_at: str
    workers: list[WorkerRow]
    loop_lag_ms: float | UnsetType = UNSET


class Fleet(ServiceBase):
    """Those methods; all raise EngineUnavailable. Those on one worker return its queue, take effect as soon as its loop
    turns, and raise NotAlive where no living worker has that name."""

    async def list_workers(self, queue: str | None = None) -> list[WorkerRow]:
        """Return the living workers of a queue or of all queues. Raises UnknownQueue."""
        names = QUEUE_NAMES if queue is None else (self._queue(queue).name,)
        found = [worker for name in names for worker in await self._queue(name).operations.workers()]
        return [_worker(worker) for worker in found]

    async def list_supervisors(self) -> list[SupervisorRow]:
        """Return the processes that have workers, by host and pid."""
        return [_supervisor(each) for each in await processes(self._engine)]

    async def pause_worker(self, name: str) -> str:
        """It takes no more jobs; what runs there goes on, and so do the other workers."""
        worker, queue = await self._worker(name)
        return _alive(await worker.pause(), name, queue)

    async def resume_worker(self, name: str) -> str:
        """Its pause ends."""
        worker, queue = await self._worker(name)
        return _alive(await worker.resume(), name, queue)

    async def set_worker_concurrency(self, name: str, concurrency: int) -> str:
        """So many jobs (1 to 1000) at once from now on, until its process ends. Raises ConfigurationError."""
        worker, queue = await self._worker(name)
        return _alive(await worker.set_concurrency(concurrency), name, queue)

    async def drain_supervisor(self, name: str) -> None:
        """The process (`host:pid`) accepts and claims no more, ends what runs, and its workers leave. No queue is
        paused. Raises NotAlive."""
        found = {f"{each.host}:{each.pid}": each for each in await processes(self._engine)}
        if name in found:
            for worker in found[name].workers:
                if await self._engine.queue(worker.queue).worker(worker.name).drain():
                    return
        raise NotAlive(f"supervisor {name!r} is not alive: wanted one of {', '.join(found) or 'none, as none is'}")

    async def _worker(self, name: str) -> tuple[RemoteWorker, str]:
        for queue in QUEUE_NAMES:
            if any(worker.name == name for worker in await self._queue(queue).operations.workers()):
                return self._queue(queue).worker(name), queue
        raise _not_alive(name)


def _alive(told: bool, name: str, queue: str) -> str:
    if not told:
        raise _not_alive(name)
    return queue


def _not_alive(name: str) -> NotAlive:
    return NotAlive(f"worker {name!r} is not alive: never there, left, or back under another name")


def _worker(worker: WorkerInfo) -> WorkerRow:
    return WorkerRow(
        name=worker.name,
        queue=worker.queue,
        supervisor=f"{worker.host}:{worker.pid}",
        concurrency=worker.concurrency,
        paused=worker.paused,
        started_at=iso(worker.started_ms) or "",
        last_beat_at=iso(worker.beat_ms) or "",
        running=[RunningRow(job.id, job.name, iso(job.since_ms) or "") for job in worker.running],
        loop_lag_ms=UNSET if worker.loop_lag_ms is None else worker.loop_lag_ms,
    )


def _supervisor(process: ProcessInfo) -> SupervisorRow:
    return SupervisorRow(
        name=f"{process.host}:{process.pid}",
        host=process.host,
        pid=process.pid,
        queues=process.queues,
        last_beat_at=iso(process.beat_ms) or "",
        workers=[_worker(worker) for worker in process.workers],
        loop_lag_ms=UNSET if process.loop_lag_ms is None else process.loop_lag_ms,
    )
