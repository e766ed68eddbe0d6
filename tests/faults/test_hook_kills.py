"""Processes that are killed before a hook on failure was told: another process's hook is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, JobContext, Queue, Record, Registry, Worker, inspect_queue

if TYPE_CHECKING:
    from tests.conftest import RedisServer
    from tests.faults.conftest import StartWorkerProcess

LEASE_MS, SWEEP_MS = 1_500, 150  # as in conftest.py


@pytest.fixture
def told() -> asyncio.Queue[tuple[str, str]]:
    """What the hook in the test's own process was told: id and error of each failure."""
    return asyncio.Queue()


@pytest.fixture
async def queue(server: RedisServer, told: asyncio.Queue[tuple[str, str]]) -> AsyncIterator[Queue]:
    """The queue `work`, where `hold` and `doomed` have a hook in this process too."""
    registry = Registry()
    registry.queue("work", max_stalls=0)

    async def hook(ctx: JobContext, record: Record) -> None:
        assert record.error is not None
        assert ctx.job.id == record.id
        await told.put((record.id, record.error.type))

    @registry.job("hold", queue="work", on_failure=hook)
    @registry.job("doomed", queue="work", on_failure=hook)
    async def never(ctx: JobContext, payload: Any) -> None:
        raise AssertionError("it was to run in the other process")

    async with Engine.connect(server.url, registry=registry) as engine:
        yield engine.queue("work")


async def test_the_hook_of_a_job_that_was_killed_too_often_is_told(
    queue: Queue,
    told: asyncio.Queue[tuple[str, str]],
    client: redis_async.Redis,
    start_worker_process: StartWorkerProcess,
) -> None:
    """By a process that did not run it, although the process that knew it best is gone."""
    process = start_worker_process(queue.engine.url, max_stalls=0)
    job = await queue.enqueue("hold")
    assert await client.blpop(["held"], timeout=30) is not None
    async with Worker(queue, lease_ms=LEASE_MS, sweep_ms=SWEEP_MS), asyncio.timeout(30):
        process.kill()
        assert await told.get() == (job.id, "Stalled")
    assert told.empty()
    assert await inspect_queue(queue) == []
    assert not await client.exists("jobs:{work}:untold")


async def test_a_hook_whose_process_was_killed_is_told_again(
    queue: Queue,
    told: asyncio.Queue[tuple[str, str]],
    client: redis_async.Redis,
    start_worker_process: StartWorkerProcess,
) -> None:
    """The failure counts since it was settled, and stays untold until a hook has returned."""
    process = start_worker_process(queue.engine.url)
    job = await queue.enqueue("doomed")
    assert await client.blpop(["told"], timeout=30) is not None
    process.kill()
    line = "jobs:{work}:untold:doomed"
    kept: Any = await client.zrange(line, 0, -1)
    (member,) = kept
    assert member.split()[1].decode() == job.id
    await client.zadd(line, {member: 0}, xx=True)  # a minute later
    async with Worker(queue, lease_ms=LEASE_MS, sweep_ms=SWEEP_MS), asyncio.timeout(30):
        assert await told.get() == (job.id, "ValueError")
    assert told.empty()
    assert not await client.exists(line, "jobs:{work}:untold")
