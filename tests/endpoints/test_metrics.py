"""What `/metrics` tells, over HTTP, of queues that real workers work."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dhanam_jobs.engine import JobContext, Registry, RetryPolicy, Schedule, Worker
from dhanam_jobs.http import metrics

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil
    from tests.endpoints.conftest import Service, StartService

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def ask(service: Service) -> Samples:
    """All samples, read anew."""
    service.metrics._rendered_s = -math.inf
    answer = await service.ask("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, /, **labels: str) -> float:
    """One sample, 0 where there is none."""
    return samples.get((f"dhanam_jobs_{name}", frozenset(labels.items())), 0.0)


@pytest.fixture
def registry() -> Registry:
    """A queue whose jobs end well, or fail for good at the second attempt."""
    registry = Registry()
    registry.queue("work", concurrency=3, retry=RetryPolicy(attempts=2, backoff=lambda *_: 0.0))
    registry.queue("idle")

    @registry.job("fine", queue="work")
    async def fine(ctx: JobContext, payload: object) -> None:
        pass

    @registry.job("bad", queue="work")
    async def bad(ctx: JobContext, payload: object) -> None:
        raise ValueError("always")

    return registry


async def test_states_and_the_oldest_waiting_job_are_told(start_service: StartService, registry: Registry) -> None:
    service = await start_service(registry)
    queue = service.engine.queue("work")
    await queue.enqueue("fine", priority=7)
    await asyncio.sleep(0.01)
    await queue.enqueue_many([("fine", None)] * 3)
    await queue.enqueue("fine", delay=60)
    await service.engine.queue("idle").pause()
    samples = await ask(service)
    assert [value(samples, "jobs", queue="work", state=state) for state in ("waiting", "delayed", "active")] == [
        4,
        1,
        0,
    ]
    assert value(samples, "added_total", queue="work") == 5
    assert value(samples, "oldest_waiting_seconds", queue="work") >= 0.01
    assert value(samples, "oldest_waiting_seconds", queue="idle") == 0
    assert (value(samples, "paused", queue="idle"), value(samples, "paused", queue="work")) == (1, 0)
    assert value(samples, "workers", queue="work") == 0
    assert value(samples, "redis_up") == 1
    assert 0 < value(samples, "redis_latency_seconds") < 3


async def test_attempts_are_counted_by_name_and_outcome_with_their_durations_and_waits(
    start_service: StartService, registry: Registry, wait_until: WaitUntil
) -> None:
    """What ended before the process looked first is Redis's lifetime counts' to tell; the rest is counted here."""
    service = await start_service(registry)
    queue = service.engine.queue("work")
    await ask(service)
    async with Worker(queue, concurrency=3):
        jobs = await queue.enqueue_many([("fine", None)] * 5 + [("bad", None)] * 2)
        await asyncio.gather(*(job.result(timeout=20) for job in jobs), return_exceptions=True)
        running = await ask(service)
        assert (value(running, "workers", queue="work"), value(running, "slots", queue="work")) == (1, 3)
        assert value(running, "processes") == 1
    samples = await ask(service)
    for name, outcome, number in (("fine", "completed", 5), ("bad", "retried", 2), ("bad", "failed", 2)):
        assert value(samples, "attempts_total", queue="work", name=name, outcome=outcome) == number
    for what in ("run", "wait"):
        assert value(samples, f"{what}_seconds_count", queue="work", name="bad") == 4
        assert value(samples, f"{what}_seconds_bucket", queue="work", name="bad", le="+Inf") == 4
        bounds = sorted(
            (float(dict(labels)["le"]), number)
            for (sample, labels), number in samples.items()
            if sample == f"dhanam_jobs_{what}_seconds_bucket" and ("name", "bad") in labels
        )
        assert [number for _, number in bounds] == sorted(number for _, number in bounds), "buckets are cumulative"
        assert value(samples, f"{what}_seconds_sum", queue="work", name="bad") < 20
    assert [value(samples, "ended_total", queue="work", state=state) for state in ("completed", "failed")] == [5, 2]


async def test_counters_never_fall(start_service: StartService, registry: Registry, wait_until: WaitUntil) -> None:
    """Neither when the minutes that Redis keeps have gone, nor when the queue is cleared."""
    service = await start_service(registry)
    queue = service.engine.queue("work")
    await ask(service)
    async with Worker(queue):
        await (await queue.enqueue("fine")).result(timeout=20)
    before = await ask(service)
    assert value(before, "attempts_total", queue="work", name="fine", outcome="completed") == 1
    await queue.operations.clear()
    for key in await service.engine.redis.keys("*metrics*"):
        await service.engine.redis.delete(key)
    after = await ask(service)
    fallen = [key for key, number in before.items() if key[0].endswith(("_total", "_count")) and after[key] < number]
    assert fallen == []
    async with Worker(queue):
        await (await queue.enqueue("fine")).result(timeout=20)
    again = await ask(service)
    assert value(again, "attempts_total", queue="work", name="fine", outcome="completed") == 2
    assert value(again, "ended_total", queue="work", state="completed") == 2


async def test_two_processes_tell_the_same_of_the_fleet(start_service: StartService, registry: Registry) -> None:
    """Whichever ran the jobs, and also one that runs none."""
    one, other = await start_service(registry), await start_service(registry)
    await asyncio.gather(ask(one), ask(other))
    queue = one.engine.queue("work")
    async with Worker(queue):
        jobs = await queue.enqueue_many([("fine", None)] * 4)
        await asyncio.gather(*(job.result(timeout=20) for job in jobs))
    for service in (one, other):
        samples = await ask(service)
        assert value(samples, "attempts_total", queue="work", name="fine", outcome="completed") == 4


async def test_requests_are_counted_by_route_template(service: Service) -> None:
    """No id of a job or space is a label, a path that nothing answers is one row, and so is a method that is none."""
    for number in range(3):
        await service.ask("GET", f"/jobs/esg-updates/5-{number}-0", "olivia")
        await service.ask("GET", f"/v1/jobs/esg-updates/5-{number}-0", "olivia")
        await service.ask("GET", f"/nothing/{number}")
        await service.ask(("PROPFIND", "MKCOL", "LOCK")[number], "/healthz")
    samples = await ask(service)
    assert value(samples, "http_request_seconds_count", method="GET", route="/jobs/{queue}/{id}", status="404") == 6
    assert value(samples, "http_request_seconds_count", method="GET", route="unmatched", status="404") == 3
    assert value(samples, "http_request_seconds_count", method="other", route="/healthz", status="405") == 3


async def test_many_scrapers_do_not_multiply_the_work(service: Service) -> None:
    """Fifty at once, and those within a second, are one reading of Redis."""
    await ask(service)

    async def commands() -> int:
        return int((await service.engine.redis.info("commandstats"))["cmdstat_evalsha"]["calls"])

    before = await commands()
    await ask(service)
    once = await commands() - before
    before = await commands()
    service.metrics._rendered_s = -math.inf
    await asyncio.gather(*(service.ask("GET", "/metrics") for _ in range(50)))
    assert await commands() - before <= 2 * once


async def test_without_redis_the_process_tells_of_itself(
    start_redis: StartRedis, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`redis_up` is 0, nothing stale is told of the fleet, and a Redis that never answers is not waited for."""
    server = start_redis()
    service = await start_service(redis_url=server.url)
    assert ("dhanam_jobs_workers", frozenset({("queue", "esg-updates")})) in await ask(service)
    monkeypatch.setattr(metrics, "PATIENCE_S", 0.2)
    server.freeze()
    samples = await ask(service)
    server.thaw()
    assert value(samples, "redis_up") == 0
    assert value(samples, "http_request_seconds_count", method="GET", route="/metrics", status="200") == 1
    names = {name for name, _ in samples}
    assert not names & {"dhanam_jobs_jobs", "dhanam_jobs_workers", "dhanam_jobs_redis_latency_seconds"}
    assert value(await ask(service), "redis_up") == 1
    server.kill()
    assert value(await ask(service), "redis_up") == 0


async def test_an_overdue_schedule_is_told(start_service: StartService, registry: Registry) -> None:
    """One that is paused is not overdue."""
    service = await start_service(registry)
    for name in ("late", "paused"):
        await service.engine.schedules.upsert(Schedule(name=name, job="fine", cron="* * * * * *", queue="work"))
    await service.engine.schedules.pause("paused")
    for _ in range(200):
        if value(await ask(service), "schedule_overdue_seconds"):
            break  # nobody fires it
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the schedule was never overdue")
    await service.engine.schedules.remove("late")
    assert value(await ask(service), "schedule_overdue_seconds") == 0
