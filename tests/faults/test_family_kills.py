"""Processes that are killed while families cross between queues: every parent gets every result, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, Retention
from dhanam_jobs.engine.registry import Registry

if TYPE_CHECKING:
    from tests.conftest import RedisServer, WaitUntil
    from tests.faults.conftest import Problems, StartWorkerProcess

FAMILIES = 100


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long)])
async def test_no_family_is_stuck_and_no_result_is_lost_although_processes_are_killed(
    server: RedisServer,
    client: redis_async.Redis,
    start_worker_process: StartWorkerProcess,
    wait_until: WaitUntil,
    problems: Problems,
    kills: int,
) -> None:
    """SIGKILL in the midst of two thousand children: the sums are right, and a child ran again only with a stall."""
    registry = Registry()
    registry.queue("work", retention=Retention(completed=None, failed=None))
    registry.queue("far")
    async with Engine.connect(server.url, registry=registry) as engine:
        work, far = engine.queue("work"), engine.queue("far")
        jobs = await work.enqueue_many(("family", number) for number in range(FAMILIES))
        for kill in range(kills):
            share = FAMILIES * 20 * (kill + 1) // (kills + 2)
            process = start_worker_process(server.url, concurrency=20, max_stalls=20)

            async def reached(share: int = share) -> bool:
                return int(await client.hlen("parts")) >= share

            await wait_until(reached, f"{share} children ran", timeout=60)
            process.kill()
        start_worker_process(server.url, concurrency=20, max_stalls=20)
        sums = [await job.result(timeout=60) for job in jobs]
        assert sums == [sum(range(number * 20, number * 20 + 20)) for number in range(FAMILIES)]
        runs: Any = await client.hgetall("parts")
        assert len(runs) == FAMILIES * 20
        counts = await far.counts()
        assert (counts.completed, counts.added) == (FAMILIES * 20, FAMILIES * 20)
        assert sum(map(int, runs.values())) <= FAMILIES * 20 + kills * 20

        async def told() -> bool:
            return not await client.exists("jobs:{far}:handover", "jobs:{far}:parents", "jobs:{work}:planned")

        await wait_until(told, "nothing is left to tell", timeout=30)
        assert await problems(work) == []
        assert await problems(far) == []
