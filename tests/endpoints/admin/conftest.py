"""A service whose jobs do as they are told, and an administrator who asks about them.

All jobs are of the queue `esg-updates`; workers run only where a test starts them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest

from dhanam_jobs.engine import Discard, Job, JobContext, JobState, Registry, RetryPolicy, Supervisor, Worker
from dhanam_jobs.handlers.queues import declare_queues
from dhanam_jobs.handlers.store.audit import AuditEntry

if TYPE_CHECKING:
    from tests.conftest import WaitUntil
    from tests.endpoints.conftest import Service, StartService

QUEUE = "esg-updates"
CANARY = "canary-4711"


class Order(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a job is to do: `fail`, `crash`, `hold` until the gate opens, or else to end well. `api_key` is a secret."""

    do: str = "end"
    n: int = 0
    api_key: str | None = None


class Stage:
    """The service, its only handler, and shorthands."""

    def __init__(self, wait_until: WaitUntil) -> None:
        self.registry = Registry()
        declare_queues(self.registry)
        self.registry.job("obey", queue=QUEUE, retry=RetryPolicy(attempts=1))(self._obey)
        self.gate = asyncio.Event()
        self.wait_until = wait_until
        self.service: Service

    async def _obey(self, ctx: JobContext, payload: Order) -> dict[str, Any]:
        ctx.log(f"told to {payload.do}, api_key={payload.api_key}")
        await ctx.progress({"n": payload.n})
        if payload.do == "fail":
            raise Discard(f"as told, with token={CANARY} and {payload.api_key}")
        if payload.do == "crash":
            raise ValueError(f"Bearer {CANARY}, {payload.api_key}")
        if payload.do == "hold":
            await self.gate.wait()
        return {"n": payload.n}

    async def add(self, do: str = "end", count: int = 1, **options: Any) -> list[Job]:
        """Enqueue orders, numbered from 0."""
        queue = self.service.engine.queue(QUEUE)
        return [await queue.enqueue("obey", {"do": do, "n": n}, **options) for n in range(count)]

    async def one(self, do: str = "end", **options: Any) -> Job:
        """Enqueue one order."""
        (job,) = await self.add(do, **options)
        return job

    @contextlib.asynccontextmanager
    async def worker(self, concurrency: int = 5) -> AsyncIterator[Worker]:
        """A worker of the queue, for the length of the block."""
        async with Worker(self.service.engine.queue(QUEUE), concurrency=concurrency) as worker:
            yield worker

    @contextlib.asynccontextmanager
    async def supervisor(self) -> AsyncIterator[Supervisor]:
        """Workers of two queues in one process."""
        supervisor = Supervisor(self.service.engine, [QUEUE, "system-maintenance"])
        await supervisor.start()
        try:
            yield supervisor
        finally:
            await supervisor.stop(0)

    async def ended(self, *jobs: Job) -> None:
        """Return when these jobs have ended, however."""
        await asyncio.gather(*(job.result(timeout=20) for job in jobs), return_exceptions=True)

    async def failed(self, count: int) -> list[Job]:
        """Jobs that have failed, in that order."""
        jobs = await self.add("fail", count)
        async with self.worker(1):
            await self.ended(*jobs)
        return jobs

    async def running(self, job: Job) -> None:
        """Return when the job runs."""
        await self.wait_until(lambda: self._is(job, JobState.ACTIVE), f"{job} runs")

    async def _is(self, job: Job, state: JobState) -> bool:
        info = await job.info()
        return info is not None and info.state is state

    async def ask(self, method: str, path: str, user: str = "root", **more: Any) -> httpx2.Response:
        """Send a request under /admin, by default the administrator's."""
        return await self.service.ask(method, f"/admin{path}", user, **more)

    async def done(self, method: str, path: str, **more: Any) -> Any:
        """Send one that is to succeed, and give the answer's JSON."""
        answer = await self.ask(method, path, **more)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    async def refused(self, status: int, method: str, path: str, **more: Any) -> str:
        """Send one that is to be refused, and give the message."""
        answer = await self.ask(method, path, **more)
        assert answer.status_code == status, answer.text
        return str(answer.json()["error"]["message"])

    async def entries(self, resource: str, thing: str) -> list[AuditEntry]:
        """What the audit log has of a thing, without what is the same in all entries, which is checked."""
        found = await self.service.store.audit_log.of_resource(resource, thing)
        assert {entry.user_id for entry in found} <= {"root"}
        assert all(entry.details["requestId"] for entry in found)
        assert CANARY not in repr(found)
        return found

    async def told(self, resource: str, thing: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Action, severity and details of the entries of a thing."""
        return [
            (entry.action, entry.severity, {k: v for k, v in entry.details.items() if k != "requestId"})
            for entry in await self.entries(resource, thing)
        ]


@pytest.fixture
async def stage(start_service: StartService, wait_until: WaitUntil) -> Stage:
    """The service on its stage."""
    stage = Stage(wait_until)
    stage.service = await start_service(stage.registry)
    return stage
