"""Liveness, readiness and the administrators' stats."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from dhanam_jobs.engine import Schedule, Supervisor, Worker
from dhanam_jobs.http.health import process_checks, worker_checks

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil
    from tests.endpoints.conftest import Service, StartService


async def test_a_working_service_is_alive_and_ready(service: Service) -> None:
    """Both answer without a token."""
    alive = await service.ask("GET", "/healthz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    ready = await service.ask("GET", "/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "parts": {"redis": "ok", "store": "ok", "accepting": "ok"}}


async def test_while_draining_it_is_alive_and_not_ready(service: Service) -> None:
    """No new traffic is wanted, and nobody should kill the process for it."""
    service.engine.stop_accepting()
    assert (await service.ask("GET", "/healthz")).status_code == 200
    ready = await service.ask("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["error"]["details"]["parts"]["accepting"] == "draining"


async def test_a_part_that_fails_is_named(start_redis: StartRedis, start_service: StartService) -> None:
    """Redis gone: 503 names it, says that the store is well, and nothing of the address."""
    server = start_redis()
    service = await start_service(redis_url=server.url)
    server.kill()
    ready = await service.ask("GET", "/readyz")
    assert ready.status_code == 503
    error = ready.json()["error"]
    assert error["message"] == "Not ready: redis (failing)"
    assert error["details"]["parts"] == {"redis": "failing", "store": "ok", "accepting": "ok"}
    assert str(server.socket) not in ready.text
    assert (await service.ask("GET", "/healthz")).status_code == 200


async def test_a_part_that_never_answers_is_named_in_time(start_redis: StartRedis, start_service: StartService) -> None:
    """A frozen Redis doesn't freeze the check."""
    server = start_redis()
    service = await start_service(redis_url=server.url, check_s=0.1)
    server.freeze()
    ready = await service.ask("GET", "/readyz")
    server.thaw()
    assert ready.status_code == 503
    assert ready.json()["error"]["details"]["parts"]["redis"] == "no answer"


async def test_each_worker_is_a_part(service: Service, wait_until: WaitUntil) -> None:
    """A worker that asks for jobs is well; one that has stopped asking, with room to spare, is named."""
    async with Worker(service.engine.queue("esg-updates")) as worker:
        service.checks |= worker_checks([worker])
        await wait_until(lambda: worker.fetched, "the worker has asked for jobs")
        assert (await service.ask("GET", "/readyz")).json()["parts"]["worker:esg-updates"] == "ok"
        worker.lanes[0].fetched -= 60
        ready = await service.ask("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["error"]["message"] == "Not ready: worker:esg-updates (failing)"


async def test_the_parts_are_asked_at_the_same_time(service: Service) -> None:
    """Two parts that answer only once both were asked are both found well."""
    both = asyncio.Barrier(2)
    service.checks["first"] = service.checks["second"] = both.wait
    assert (await service.ask("GET", "/readyz")).status_code == 200


async def test_stats_are_the_bare_list_of_the_specification(service: Service) -> None:
    """Six queues in the order of the table, six keys each, in the specification's order."""
    await service.jobs.trigger_space_categorization("space-1", user_id="olivia")
    answer = await service.ask("GET", "/admin/queues/stats", "root")
    assert answer.headers["Content-Type"] == "application/json"
    rows = answer.json()
    assert [row["name"] for row in rows] == [
        "sync-transactions",
        "categorize-transactions",
        "esg-updates",
        "valuation-snapshots",
        "email-notifications",
        "system-maintenance",
    ]
    assert list(rows[0]) == ["name", "waiting", "active", "completed", "failed", "delayed"]
    assert rows[1] == {
        "name": "categorize-transactions",
        "waiting": 1,
        "active": 0,
        "completed": 0,
        "failed": 0,
        "delayed": 0,
    }


async def test_a_process_is_asked_for_its_loop_and_the_schedules_that_it_fires(service: Service) -> None:
    """A late loop and an overdue schedule are named; a schedule that is paused, or another process's, is not ours."""
    supervisor = Supervisor(service.engine, ["esg-updates"])  # never started: nothing fires
    checks = process_checks(service.engine, supervisor)
    del checks["worker:esg-updates"]
    service.checks |= checks
    assert (await service.ask("GET", "/readyz")).json()["parts"] == {
        "redis": "ok",
        "store": "ok",
        "loop": "ok",
        "schedules": "ok",
        "accepting": "ok",
    }
    supervisor._heart.loop_lag_ms = 1500.0
    assert (await service.ask("GET", "/readyz")).json()["error"]["message"] == "Not ready: loop (failing)"
    supervisor._heart.loop_lag_ms = 0.0
    mine, other = ("mine", "esg-update-all", "esg-updates"), ("other", "apply-retention", "system-maintenance")
    for name, job, queue in (mine, other):
        await service.engine.schedules.upsert(Schedule(name=name, job=job, every=3600, queue=queue))
    due = int(time.time() * 1000) - 61_000

    async def make_overdue(name: str, queue: str) -> None:
        await service.engine.redis.hset(f"jobs:{{{queue}}}:schedule:{name}", "next_ms", str(due))

    await make_overdue("other", "system-maintenance")
    assert (await service.ask("GET", "/readyz")).status_code == 200
    await make_overdue("mine", "esg-updates")
    assert (await service.ask("GET", "/readyz")).json()["error"]["message"] == "Not ready: schedules (failing)"
    await service.engine.schedules.pause("mine")
    assert (await service.ask("GET", "/readyz")).status_code == 200


async def test_a_process_without_workers_has_no_schedules_to_fire(service: Service) -> None:
    assert list(process_checks(service.engine, Supervisor(service.engine, []))) == ["loop"]


async def test_a_worker_that_was_told_to_pause_is_in_order(service: Service, wait_until: WaitUntil) -> None:
    async with Worker(service.engine.queue("esg-updates")) as worker:
        service.checks |= worker_checks([worker])
        await wait_until(lambda: worker.fetched, "the worker has asked for jobs")
        worker.pause()
        worker.lanes[0].fetched -= 60
        assert (await service.ask("GET", "/readyz")).status_code == 200
