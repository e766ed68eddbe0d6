"""The engine on a real Redis Cluster: queues in several slots, families between them, moved slots, dead masters."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.engine import (
    Child,
    Engine,
    JobContext,
    Registry,
    Retention,
    Schedule,
    Supervisor,
    SyncEngine,
    Worker,
    events,
)
from dhanam_jobs.engine.inspection import inspect_queue
from tests.cluster.ground import Cluster

if TYPE_CHECKING:
    from tests.conftest import WaitUntil

pytestmark = pytest.mark.long

QUEUES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
LEASE_MS = 3_000
SWEEP_MS = 500


@pytest.fixture
def ran() -> Counter[str]:
    """How often each job ran, by its payload."""
    return Counter()


@pytest.fixture
def registry(ran: Counter[str]) -> Registry:
    """Jobs on queues that are spread over the cluster: `count`, and `family`, whose children are on all the others."""
    registry = Registry()

    async def count(ctx: JobContext, payload: str) -> str:
        ran[payload] += 1
        return payload

    async def family(ctx: JobContext, payload: str) -> list[str]:
        others = [name for name in QUEUES if name != ctx.job.queue]
        await ctx.add_children(Child(name, "count", f"{payload} {name}", queue=name) for name in others)
        return sorted(str(end.result) for end in await ctx.wait_children())

    for name in QUEUES:
        registry.queue(name, retention=Retention(completed=None))
        registry.job("count", queue=name)(count)
        registry.job("family", queue=name)(family)
    return registry


async def test_queues_are_spread_over_the_masters_and_one_engine_works_them_all(
    cluster: Cluster, registry: Registry, ran: Counter[str]
) -> None:
    """Jobs, results, events, stats and inspection: whatever server holds them."""
    async with Engine.connect(cluster.url, registry=registry) as engine:
        assert len({cluster.holder(engine.queue(name).root).port for name in QUEUES}) > 1
        async with engine.events() as happened, Supervisor(engine):
            jobs = [
                job
                for name in QUEUES
                for job in await engine.queue(name).enqueue_many(("count", f"{name} {n}") for n in range(50))
            ]
            results = await asyncio.gather(*(job.result(timeout=20) for job in jobs))
            assert sorted(results) == sorted(ran)
            assert set(ran.values()) == {1}
            ended: Counter[str] = Counter()
            async for event in happened:
                ended[event.queue] += isinstance(event, events.Completed)
                if ended.total() == len(jobs):
                    break
        assert ended == dict.fromkeys(QUEUES, 50)
        assert [(stats.name, stats.completed) for stats in await engine.stats()] == [(name, 50) for name in QUEUES]
        assert {event.queue for event in await engine.recent_events(limit=1000)} == set(QUEUES)
        async with asyncio.timeout(20), engine.events(since="0", follow=False) as past:
            seen = Counter([event.queue async for event in past if isinstance(event, events.Completed)])
        assert seen == ended
        for name in QUEUES:
            assert await inspect_queue(engine.queue(name)) == []


async def test_parents_get_the_results_of_children_on_other_masters(
    cluster: Cluster, registry: Registry, ran: Counter[str]
) -> None:
    """The hand-over crosses slots in both directions."""
    async with Engine.connect(cluster.url, registry=registry) as engine, Supervisor(engine):
        parents = {name: await engine.queue(name).enqueue("family", name) for name in QUEUES}
        for name, parent in parents.items():
            others = sorted(f"{name} {other}" for other in QUEUES if other != name)
            assert await parent.result(timeout=20) == others
        assert set(ran.values()) == {1}


async def test_code_without_a_loop_finds_the_server_of_each_queue(
    cluster: Cluster, registry: Registry, ran: Counter[str]
) -> None:
    """It was told of one server alone."""

    def ask() -> list[str]:
        with SyncEngine.connect(cluster.url, registry=registry) as engine:
            jobs = [engine.queue(name).enqueue("count", f"sync {name}") for name in QUEUES]
            return [job.result(timeout=20) for job in jobs]

    async with Engine.connect(cluster.url, registry=registry) as engine, Supervisor(engine):
        assert await asyncio.to_thread(ask) == [f"sync {name}" for name in QUEUES]


async def test_schedules_fire_on_every_master(
    cluster: Cluster, registry: Registry, ran: Counter[str], wait_until: WaitUntil
) -> None:
    """The registry of schedules is on one server, their queues on others."""
    schedules = [Schedule(name=f"tick-{name}", every=1, job="count", payload=name, queue=name) for name in QUEUES]
    async with Engine.connect(cluster.url, registry=registry) as engine:
        async with Supervisor(engine, schedules=schedules, owner="test"):
            await wait_until(lambda: set(ran) == set(QUEUES), "each schedule has fired", timeout=30)
        assert [row.schedule.name for row in await engine.schedules.list()] == sorted(row.name for row in schedules)


async def test_a_queue_stands_still_while_its_slot_moves_and_goes_on_at_the_other_server(
    cluster: Cluster, registry: Registry, ran: Counter[str], wait_until: WaitUntil
) -> None:
    """Jobs wait and run while half of the queue's keys are here and half there: none is lost, none runs twice."""
    half_way, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        half_way.set()
        go_on.wait(30)

    async with Engine.connect(cluster.url, registry=registry) as engine:
        queue = engine.queue("alpha")
        source = cluster.holder(queue.root)
        target = next(node for node in cluster.masters if node is not source)
        jobs = await queue.enqueue_many(("count", f"before {n}") for n in range(3000))
        async with Worker(queue, concurrency=5, lease_ms=LEASE_MS, sweep_ms=SWEEP_MS):
            await wait_until(lambda: len(ran) > 100, "the worker works")
            moving = asyncio.create_task(asyncio.to_thread(cluster.move, queue.root, target, pause))
            await asyncio.to_thread(half_way.wait, 30)
            others = [await engine.queue("beta").enqueue("count", f"beta {n}") for n in range(10)]
            go_on.set()
            await moving
            jobs += await queue.enqueue_many(("count", f"after {n}") for n in range(100))
            assert len(await asyncio.gather(*(job.result(timeout=60) for job in jobs))) == len(jobs)
        assert cluster.holder(queue.root) is target
        assert all([await job.info() for job in others])
        assert {payload: times for payload, times in ran.items() if times != 1} == {}
        assert (await queue.counts()).completed == len(jobs)
        assert await inspect_queue(queue) == []


async def test_a_dead_masters_queues_go_on_at_its_replica(
    cluster: Cluster, registry: Registry, ran: Counter[str], wait_until: WaitUntil
) -> None:
    """What had reached the replica runs; whoever was connected finds the new master without help."""
    async with Engine.connect(cluster.url, registry=registry) as engine:
        victim = next(
            node
            for node in cluster.masters[1:]
            if any(cluster.holder(engine.queue(name).root) is node for name in QUEUES)
        )
        name = next(name for name in QUEUES if cluster.holder(engine.queue(name).root) is victim)
        queue = engine.queue(name)
        jobs = await queue.enqueue_many(("count", f"before {n}") for n in range(500))
        assert victim.command("WAIT", 1, 10_000) >= 1
        async with Worker(queue, concurrency=5, lease_ms=LEASE_MS, sweep_ms=SWEEP_MS):
            await wait_until(lambda: len(ran) > 20, "the worker works")
            await asyncio.to_thread(victim.kill)

            async def taken_over() -> bool:
                return await asyncio.to_thread(lambda: cluster.holder(queue.root).lives)

            await wait_until(taken_over, "a replica was promoted", timeout=30)
            for job in jobs:
                assert await job.result(timeout=60)

            async def stored() -> bool:
                try:
                    jobs.append(await queue.enqueue("count", "after"))
                except Exception:
                    return False
                return True

            await wait_until(stored, "the producer has found the new master", timeout=30)
            assert await jobs[-1].result(timeout=30) == "after"
        assert await inspect_queue(queue) == []
