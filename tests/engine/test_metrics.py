"""Proves that what jobs came to is counted by name, once, in time, and readable as numbers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Counts,
    Discard,
    Engine,
    JobContext,
    Queue,
    Registry,
    RetryLater,
    Snooze,
    Worker,
    scripts,
)
from dhanam_jobs.engine.metrics import Per
from dhanam_jobs.engine.scripts import Script
from tests.engine.conftest import Keys

if TYPE_CHECKING:
    from tests.conftest import StartRedis


@pytest.fixture
def queue(engine: Engine, registry: Registry) -> Queue:
    """A queue whose jobs end as their payloads say."""
    registry.queue("q", concurrency=5)
    snoozed: list[str] = []

    @registry.job("work", queue="q")
    async def work(ctx: JobContext, payload: Any) -> None:
        if payload == "bad":
            raise Discard("no")
        if payload == "again" and ctx.attempt == 1:
            raise RetryLater(0)
        if payload == "later" and not snoozed:
            snoozed.append(ctx.job.id)
            raise Snooze(0)
        if payload == "long":
            await asyncio.Event().wait()

    @registry.job("rest", queue="q")
    async def rest(ctx: JobContext, payload: Any) -> None:
        pass

    return engine.queue("q")


async def test_ends_and_retries_are_counted_by_name(queue: Queue, engine: Engine) -> None:
    """A snooze is neither; an attempt that was retried has a duration too. The last second comes with the end."""
    async with Worker(queue):
        jobs = await queue.enqueue_many(
            [("work", payload) for payload in ("good", "good", "bad", "again", "later")] + [("rest", 1)]
        )
        for job in jobs:
            if job is not jobs[2]:
                await job.result(timeout=10)
        async with engine.events("q") as events:
            running = await queue.enqueue("work", "long")
            while (await anext(events)).kind != "active":
                pass
            await queue.cancel(running.id)
            while (await anext(events)).kind != "cancelled":
                pass
    pers: tuple[Per, ...] = ("minute", "hour")
    for per in pers:
        rows = await engine.metrics(per=per)
        whole: dict[str, Counts] = {"work": Counts(), "rest": Counts()}
        for row in rows:
            whole[row.name].add(row.counts)
            assert row.start_ms % (row.span * 1000) == 0
        work, rest = whole["work"], whole["rest"]
        assert (work.completed, work.failed, work.retried, work.cancelled, work.attempts) == (4, 1, 1, 1, 7)
        assert sum(work.wait.values()) == 7
        assert (rest.completed, rest.attempts) == (1, 1)


async def test_durations_and_waits_are_sums_and_bins_of_powers_of_two(
    queue: Queue, engine: Engine, registry: Registry
) -> None:
    """A job that slept 20 ms is in the bin below 32 or above; one that waited 2 s, where the clock says so."""

    @registry.job("sleep", queue="q")
    async def sleep(ctx: JobContext, payload: float) -> None:
        await asyncio.sleep(payload)

    async with Worker(queue):
        await (await queue.enqueue("sleep", 0.02)).result(timeout=10)
    (row, *more) = await engine.metrics("q", name="sleep")
    assert not more
    counts = row.counts
    ((bound, number),) = counts.duration.items()
    assert number == 1
    assert bound >= 32
    assert bound / 2 <= counts.duration_ms < bound
    assert counts.duration_quantile(0.5) == counts.duration_quantile(1) == bound / 1000
    assert await engine.metrics("q", name="work") == []


async def test_a_worker_adds_what_it_counted_once_a_second_at_most(
    queue: Queue, engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand jobs cost a call for each second that they take, and one at the end."""
    calls: list[float] = []
    run = engine.run

    async def noting(script: Script, root: str, *arguments: Any) -> Any:
        if script is scripts.METER:
            calls.append(time.monotonic())
        return await run(script, root, *arguments)

    monkeypatch.setattr(engine, "run", noting)
    began = time.monotonic()
    async with Worker(queue):
        jobs = await queue.enqueue_many([("rest", n) for n in range(1000)])
        await asyncio.gather(*(job.result(timeout=10) for job in jobs))
    assert 1 <= len(calls) <= time.monotonic() - began + 1
    whole = Counts()
    for row in await engine.metrics():
        whole.add(row.counts)
    assert (whole.completed, whole.attempts) == (1000, 1000)
    assert await keys.command("ZRANGE", f"{queue.root}:metrics", 0, -1) == [b"rest"]


async def test_what_an_outage_delays_is_counted_afterwards(start_redis: StartRedis) -> None:
    """Once, also where the reply was lost."""
    registry = Registry()

    @registry.job("rest", queue="q")
    async def rest(ctx: JobContext, payload: int) -> None:
        pass

    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    async with Engine.connect(server.url, registry=registry) as engine:
        queue = engine.queue("q")
        async with Worker(queue) as worker:
            await (await queue.enqueue("rest", 1)).result(timeout=10)
            server.kill()
            assert not await worker.lanes[0].meter.send()
            server.start()
            while not await worker.lanes[0].meter.send():
                pass
            async with Engine.connect(server.url, registry=registry) as afresh:
                (row,) = await afresh.metrics("q", last=2)
                assert row.counts.completed == 1


async def test_what_can_not_be_asked_for_is_refused(engine: Engine) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match="metrics per 'day': wanted 'minute' or 'hour'"):
        await engine.metrics("q", per="day")  # type: ignore[arg-type]
    for last in (0, 721, 1.5, True):
        with pytest.raises(ConfigurationError, match=f"the last {last} hours: wanted 1 to 720"):
            await engine.metrics("q", per="hour", last=last)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no queue"):
        await engine.metrics()
    with pytest.raises(ConfigurationError, match=r"quantile 1\.5: wanted 0 to 1"):
        Counts().duration_quantile(1.5)


def test_quantiles_are_upper_bounds_of_their_bins() -> None:
    """None where nothing was counted."""
    counts = Counts(duration={1: 50, 8: 49, 1024: 1}, wait={})
    assert [counts.duration_quantile(q) for q in (0, 0.5, 0.51, 0.99, 1)] == [0.001, 0.001, 0.008, 0.008, 1.024]
    assert counts.wait_quantile(0.5) is None


def test_counts_of_several_spans_add_up() -> None:
    """Bin by bin."""
    whole = Counts(completed=1, duration={1: 1})
    whole.add(Counts(completed=2, failed=3, duration_ms=4, duration={1: 1, 2: 5}, wait={8: 1}))
    assert whole == Counts(completed=3, failed=3, duration_ms=4, duration={1: 2, 2: 5}, wait={8: 1})
