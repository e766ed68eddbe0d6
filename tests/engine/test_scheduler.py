"""Proves what a scheduler fires, through the whole path: time zones, misfires, overlap, changes, lost data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Engine,
    JobContext,
    Registry,
    RetryPolicy,
    Schedule,
    Scheduler,
    Supervisor,
    defaults,
    next_fires,
)
from tests.conftest import WaitUntil
from tests.engine.conftest import Keys

START = datetime(2026, 3, 7, 0, 0, tzinfo=UTC)


@pytest.fixture
def ran() -> list[dict[str, Any]]:
    """What the jobs that ran were told of their schedule."""
    return []


@pytest.fixture
def registry(ran: list[dict[str, Any]]) -> Registry:
    """One queue with a job that notes its runs, and one that fails twice before it is well."""
    registry = Registry()

    @registry.job("note", queue="q")
    async def note(ctx: JobContext, payload: Any) -> None:
        ran.append(dict(ctx.job.meta or {}))

    @registry.job("stumble", queue="q", retry=RetryPolicy(attempts=3, base=0))
    async def stumble(ctx: JobContext, payload: Any) -> None:
        ran.append(dict(ctx.job.meta or {}))
        if ctx.attempt < 3:
            raise RuntimeError("not yet")

    return registry


@pytest.fixture(autouse=True)
async def _tidy(engine: Engine) -> AsyncIterator[None]:
    """Schedules and their jobs end with the test."""
    yield
    await engine.redis.delete(*[key async for key in engine.redis.scan_iter("jobs:{q}:*")] or ["none"])


def at(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def rows(**changes: Any) -> Schedule:
    """A schedule of `note`, or what `changes` make of it."""
    return Schedule(**{"name": "s", "job": "note", "cron": "0 * * * *", **changes})


async def fired(engine: Engine, level: int = 5) -> list[int]:
    """The instants (ms) of the runs that wait, in their order."""
    entries: Any = await engine.redis.xrange(f"jobs:{{q}}:waiting:{level}")
    return [msgspec.json.decode(fields[b"meta"])["scheduled_ms"] for _, fields in entries]


async def walk(engine: Engine, until: datetime, step: timedelta) -> None:
    """Lets one scheduler look again and again up to a moment."""
    scheduler = Scheduler(engine, [engine.queue("q")])
    now = int(engine.time_override)
    while now < at(until):
        now = min(at(until), now + step // timedelta(milliseconds=1))
        engine.time_override = now
        await scheduler.run_once()


@pytest.mark.parametrize(
    ("tz", "start"),
    [
        ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
        ("Europe/Madrid", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("Europe/Madrid", datetime(2026, 10, 24, 12, tzinfo=UTC)),
        ("America/Mexico_City", datetime(2022, 10, 30, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2026, 4, 23, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 6, tzinfo=UTC)),
        ("Africa/Casablanca", datetime(2026, 2, 14, 12, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("cron", ["30 1 * * *", "30 2 * * *", "0 0 * * *", "*/15 * * * *", "0 */2 * * *"])
async def test_a_day_with_a_change_of_clocks_fires_each_tick_once(
    engine: Engine, tz: str, start: datetime, cron: str
) -> None:
    """What Redis holds after the day is what the pure cron says, under ids that differ in a repeated hour too."""
    engine.time_override = at(start)
    await engine.schedules.upsert(rows(cron=cron, tz=tz, misfire="all"))
    end = start + timedelta(hours=36)
    await walk(engine, end, timedelta(minutes=11))
    expected = [fire for fire in next_fires(cron, tz, start, 200) if fire <= end]
    assert await fired(engine) == [at(fire) for fire in expected]
    ids = await engine.redis.hkeys("jobs:{q}:index")
    assert sorted(ids) == [f"s-{fire:%Y%m%dT%H%M%SZ}".encode() for fire in expected]


@pytest.mark.parametrize(("misfire", "hours"), [("skip", [6, 7]), ("once", [5, 6, 7]), ("all", [1, 2, 3, 4, 5, 6, 7])])
async def test_down_time_is_made_up_for_by_the_policy(engine: Engine, misfire: str, hours: list[int]) -> None:
    """Nobody looked for five and a half hours; then the chain goes on."""
    engine.time_override = at(START)
    await engine.schedules.upsert(rows(misfire=misfire))
    engine.time_override = at(START + timedelta(hours=5, minutes=30))
    await walk(engine, START + timedelta(hours=7, minutes=1), timedelta(minutes=1))
    assert await fired(engine) == [at(START + timedelta(hours=hour)) for hour in hours]


async def test_start_end_and_limit_bound_the_chain(engine: Engine) -> None:
    """Start and end are included."""
    engine.time_override = at(START)
    await engine.schedules.upsert(rows(start=START + timedelta(hours=2), end=START + timedelta(hours=4), misfire="all"))
    await engine.schedules.upsert(rows(name="limited", limit=2, priority=1))
    await walk(engine, START + timedelta(hours=9), timedelta(minutes=1))
    assert await fired(engine) == [at(START + timedelta(hours=hour)) for hour in (2, 3, 4)]
    assert await fired(engine, 1) == [at(START + timedelta(hours=hour)) for hour in (1, 2)]
    assert [info.next_ms for info in await engine.schedules.list()] == [[], []]


async def test_the_stored_fire_decides_where_time_zones_differ(engine: Engine) -> None:
    """A replica with other time zone data fires at the instant that was stored."""
    engine.time_override = at(START)
    await engine.schedules.upsert(rows())
    stored = at(START + timedelta(minutes=13))
    await engine.redis.hset("jobs:{q}:schedule:s", "next_ms", stored)
    await engine.redis.zadd("jobs:{q}:schedules", {"s": stored})
    await walk(engine, START + timedelta(minutes=61), timedelta(minutes=1))
    assert await fired(engine) == [stored, at(START + timedelta(hours=1))]


async def test_one_that_cant_be_computed_stops_no_other(engine: Engine, damage: Keys) -> None:
    """However many there are, and though they are due first."""
    engine.time_override = at(START)
    for number in range(60):
        await engine.schedules.upsert(rows(name=f"a{number}"))
        await engine.redis.hset(f"jobs:{{q}}:schedule:a{number}", "tz", "Mars/Olympus")
    await engine.schedules.upsert(rows(name="z", cron="1 * * * *"))
    engine.time_override = at(START + timedelta(hours=1, minutes=1))
    await Scheduler(engine, [engine.queue("q")]).run_once()
    assert await fired(engine) == [at(START + timedelta(hours=1, minutes=1))]


async def test_it_says_when_to_look_again(engine: Engine) -> None:
    """At the next fire, and after some seconds at the latest."""
    engine.time_override = at(START)
    scheduler = Scheduler(engine, [engine.queue("q")])
    assert await scheduler.run_once() == 5.0
    await engine.schedules.upsert(rows())
    assert await scheduler.run_once() == 5.0
    engine.time_override = at(START + timedelta(hours=1)) - 1500
    assert await scheduler.run_once() == 1.5


async def test_ten_thousand_schedules_that_are_not_due_cost_one_call_for_each_queue(engine: Engine) -> None:
    """A look asks for what is due and for nothing else, however many there are."""
    engine.time_override = at(START)
    later = {f"s{number}": at(START) + 3_600_000 + number for number in range(10_000)}
    await engine.redis.zadd("jobs:{q}:schedules", later)
    scheduler = Scheduler(engine, [engine.queue("q")])
    await scheduler.run_once()
    await engine.redis.config_resetstat()
    assert await scheduler.run_once() == 5.0
    calls = {name: row["calls"] for name, row in (await engine.redis.info("commandstats")).items()}
    assert calls.pop("cmdstat_config|resetstat", 1) == 1
    assert calls == {"cmdstat_evalsha": 1, "cmdstat_zrangebyscore": 2}


async def test_a_failed_and_retried_run_neither_stops_nor_doubles_the_chain(
    engine: Engine, ran: list[dict[str, Any]], wait_until: WaitUntil
) -> None:
    """Three attempts of each run, one run for each second."""
    async with Supervisor(engine, schedules=[rows(job="stumble", cron=None, every=1, overlap="skip")], owner="app"):
        await wait_until(lambda: len(ran) >= 9, "three runs of three attempts")
        info = await engine.schedules.get("s")
    assert info is not None
    assert info.last_run is not None
    assert (info.last_run.state, info.last_run.attempt) == ("completed", 3)
    instants = [meta["scheduled_ms"] for meta in ran[:9]]
    first = instants[0]
    assert instants == [first + second * 1000 for second in range(3) for _ in range(3)]


async def test_a_changed_pattern_wakes_a_scheduler_that_sleeps(
    engine: Engine, ran: list[dict[str, Any]], wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made and changed by another process, fired by one that would have slept for an hour."""
    monkeypatch.setattr(defaults, "SCHEDULE_LOOK", 3600.0)

    async def listens() -> bool:
        clients: Any = await engine.redis.client_list()
        return any(client["cmd"] == "xread" for client in clients)

    async with Supervisor(engine), Engine.connect(engine.url) as other:
        await other.schedules.upsert(rows(queue="q", cron="0 0 1 1 *"))
        await wait_until(listens, "the scheduler listens for changes")
        await other.schedules.upsert(rows(queue="q", cron="* * * * * *"))
        await wait_until(lambda: len(ran) > 1, "two runs of the new pattern")
        await other.schedules.remove("s")


async def test_schedules_declared_in_code_come_back_where_redis_lost_its_data(
    engine: Engine, ran: list[dict[str, Any]], wait_until: WaitUntil
) -> None:
    """FLUSHALL takes them, the running supervisor declares them anew."""
    async with Supervisor(engine, schedules=[rows(cron="* * * * * *")], owner="app"):
        await wait_until(lambda: ran, "a first run")
        await engine.redis.flushall()
        ran.clear()
        await wait_until(lambda: ran, "a run after the loss", timeout=20)
        assert [info.owner for info in await engine.schedules.list()] == ["app"]


async def test_two_schedulers_in_the_same_ms_fire_a_tick_once(engine: Engine, redis_url: str) -> None:
    """Twenty looks at once, one run."""
    async with Engine.connect(redis_url) as other:
        engine.time_override = other.time_override = at(START)
        await engine.schedules.upsert(rows())
        for hour in range(1, 11):
            engine.time_override = other.time_override = at(START + timedelta(hours=hour))
            schedulers = [Scheduler(one, [one.queue("q")]) for one in (engine, other) for _ in range(10)]
            await asyncio.gather(*(scheduler.run_once() for scheduler in schedulers))
    assert await fired(engine) == [at(START + timedelta(hours=hour)) for hour in range(1, 11)]
