"""A handler that blocks the event loop: the heart's thread keeps its lease, until the loop has stood for too long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis as redis_sync
import redis.asyncio as redis_async

from dhanam_jobs.engine import JobContext
from dhanam_jobs.engine.heart import Heart

if TYPE_CHECKING:
    from tests.conftest import RedisServer, WaitUntil
    from tests.faults.conftest import Connect, Handlers, MakeWorker, Problems, StartWorkerProcess

LEASE_MS, SWEEP_MS = 900, 100
META = "jobs:{work}:meta"


async def wait_for_a_sweeper(client: redis_async.Redis, wait_until: WaitUntil) -> None:
    async def reclaims() -> bool:
        grace, swept = await client.hmget(META, ["grace_until_ms", "swept_ms"])
        return bool(grace and swept and int(swept) > int(grace))

    await wait_until(reclaims, "another process would reclaim from the dead")


async def happened(client: redis_async.Redis) -> set[bytes]:
    entries: Any = await client.xrange("jobs:{work}:events")
    return {field for _, fields in entries for field in fields}


async def test_a_handler_that_blocks_the_loop_longer_than_the_lease_keeps_its_jobs(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    start_worker_process: StartWorkerProcess,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """For two leases and more another process sweeps, and finds the worker alive."""
    side = redis_sync.Redis.from_url(server.url, protocol=2)

    @handlers.registry.job("block", queue="work")
    async def block(ctx: JobContext, payload: None) -> str:
        handlers.runs[0] += 1
        end = int(side.hget(META, "swept_ms") or 0) + 2 * LEASE_MS
        while int(side.hget(META, "swept_ms") or 0) < end:
            time.sleep(0.01)  # noqa: ASYNC251 - it blocks the loop, on purpose
        return "done"

    queue = await connect(server.url)
    start_worker_process(server.url, sweep_only=True, lease_ms=LEASE_MS, sweep_ms=SWEEP_MS)
    await wait_for_a_sweeper(client, wait_until)
    async with make_worker(queue, lease_ms=LEASE_MS, sweep_ms=60_000):
        gates = await queue.enqueue_many(("gate", number) for number in range(1, 3))
        await handlers.all_begun(2)
        job = await queue.enqueue("block", None)
        assert await job.result(timeout=20) == "done"
        handlers.open_gate(1, 2)
        assert [await gate.result(timeout=20) for gate in gates] == [1, 2]
    side.close()
    assert handlers.runs == {0: 1, 1: 1, 2: 1}
    assert not await happened(client) & {b"dead", b"stalled"}
    assert await problems(queue) == []


async def test_a_loop_that_stands_too_long_stops_the_beat_and_loses_its_jobs(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    start_worker_process: StartWorkerProcess,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """Past `loop_stall` the worker is taken for dead: its job goes back, and what the old attempt returns is void."""
    side = redis_sync.Redis.from_url(server.url, protocol=2)
    told = []

    @handlers.registry.job("block", queue="work")
    async def block(ctx: JobContext, payload: None) -> str:
        handlers.runs[0] += 1
        told.append(ctx)
        if len(told) > 1:
            return "second"
        while side.zcard("jobs:{work}:workers"):
            time.sleep(0.01)  # noqa: ASYNC251 - it blocks the loop, on purpose
        return "first"

    queue = await connect(server.url)
    start_worker_process(server.url, sweep_only=True, lease_ms=LEASE_MS, sweep_ms=SWEEP_MS)
    await wait_for_a_sweeper(client, wait_until)
    heart = Heart(server.url, name="test", lease_ms=LEASE_MS, loop_stall=0.2)
    heart.start()
    async with make_worker(queue, heart=heart, sweep_ms=60_000):
        job = await queue.enqueue("block", None)
        assert await job.result(timeout=20) == "second"
        info = await job.info()
    heart.stop()
    side.close()
    assert info is not None
    assert (info.stalls, info.attempt) == (1, 1)
    assert len(told) == 2
    assert {b"dead", b"stalled"} <= await happened(client)
    assert (await queue.counts()).completed == 1
    assert await problems(queue) == []
