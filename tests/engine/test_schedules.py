"""Proves what owners of schedules rely on: upserts that race, owners, pauses, runs by hand, last runs, removal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    CronError,
    Engine,
    InvalidPayload,
    JobContext,
    JobFailed,
    Registry,
    Retention,
    RetryPolicy,
    Schedule,
    ScheduleInfo,
    ScheduleNotFound,
    ScheduleOwned,
    Scheduler,
    UnknownJobName,
    Worker,
)
from tests.engine.conftest import Keys

START = datetime(2026, 3, 27, 12, 0, 30, tzinfo=UTC)


class Greet(msgspec.Struct):
    """A payload with a type."""

    name: str = "Ana"
    fail: bool = False


@pytest.fixture
def registry() -> Registry:
    """A queue that keeps no records, with one job; and a second queue."""
    registry = Registry()
    registry.queue("q", retention=Retention(completed=0, failed=0), retry=RetryPolicy(attempts=1))
    registry.queue("other")

    @registry.job("greet", queue="q")
    async def greet(ctx: JobContext, payload: Greet) -> dict[str, Any]:
        if payload.fail:
            raise RuntimeError("no greeting today")
        return {"hello": payload.name, "meta": ctx.job.meta}

    return registry


@pytest.fixture(autouse=True)
async def _tidy(engine: Engine) -> AsyncIterator[None]:
    """Schedules and their jobs end with the test."""
    yield
    engine.time_override = b""
    for info in await engine.schedules.list():
        await engine.schedules.remove(info.schedule.name)
    for queue in ("q", "other"):
        await engine.redis.delete(*[key async for key in engine.redis.scan_iter(f"jobs:{{{queue}}}:*")] or ["none"])


def at(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def greet(**changes: Any) -> Schedule:
    """An hourly schedule of `greet`, or what `changes` make of it."""
    return Schedule(**{"name": "hello", "job": "greet", "cron": "0 * * * *", **changes})


async def found(engine: Engine, name: str = "hello") -> ScheduleInfo:
    """The schedule, which is there."""
    info = await engine.schedules.get(name)
    assert info is not None
    return info


async def test_a_schedule_is_found_as_it_was_made(engine: Engine) -> None:
    """Every option survives the way to Redis and back; its next fires are the cron's."""
    engine.time_override = at(START)
    end = START + timedelta(days=30)
    made = greet(
        payload={"name": "Luz"},
        tz="America/New_York",
        misfire="all",
        overlap="queue_one",
        grace=5.5,
        start=START,
        end=end,
        limit=9,
        id_template="x-{ms}",
        priority=2,
    )
    assert await engine.schedules.upsert(made)
    info = await found(engine)
    assert info.schedule == msgspec.structs.replace(made, queue="q")
    assert (info.queue, info.owner, info.count, info.last_run) == ("q", "operator", 0, None)
    hour = at(START.replace(minute=0, second=0))
    assert info.next_ms == [hour + n * 3_600_000 for n in (1, 2, 3)]
    assert await engine.schedules.get("nobody") is None


async def test_any_payload_survives(engine: Engine) -> None:
    """On a queue whose jobs this process doesn't know."""
    payloads: list[Any] = [[], {}, 0, False, None, "", 12345678901234567, 1.0625]
    for number, payload in enumerate(payloads):
        await engine.schedules.upsert(greet(name=f"s{number}", job="any", queue="other", payload=payload))
        info = await found(engine, f"s{number}")
        assert info.schedule.payload == payload
        assert type(info.schedule.payload) is type(payload)


async def test_fifty_upserts_at_once_leave_one_schedule(engine: Engine) -> None:
    """Whatever times they ask for: one name, one row, one next fire."""
    engine.time_override = at(START)
    await asyncio.gather(*(engine.schedules.upsert(greet(cron=f"{minute} * * * *")) for minute in range(50)))
    (info,) = await engine.schedules.list()
    (due,) = await engine.redis.zrange("jobs:{q}:schedules", 0, -1, withscores=True)
    assert due == (b"hello", info.next_ms[0])
    assert info.schedule.parsed().next_after_ms(at(START)) == info.next_ms[0]


async def test_upserts_that_race_for_two_queues_leave_one_that_fires(engine: Engine) -> None:
    """The registry knows one home, and whatever an overtaken mover left behind fires nothing."""
    scheduler = Scheduler(engine, [engine.queue("q"), engine.queue("other")])
    for hour in range(10):
        engine.time_override = at(START) + hour * 3_600_000
        here = [greet(payload={"name": f"{number}"}) for number in range(5)]
        there = [greet(queue="other", job="any", payload=number) for number in range(5)]
        rows = [row for pair in zip(here, there, strict=True) for row in pair]
        await asyncio.gather(*(engine.schedules.upsert(row) for row in (rows if hour % 2 else reversed(rows))))
        engine.time_override = at(START) + (hour + 1) * 3_600_000 - 30_000
        await scheduler.run_once()
        runs = [await engine.redis.xlen(f"jobs:{{{queue}}}:waiting:5") for queue in ("q", "other")]
        assert sum(runs) == hour + 1
        assert [info.queue for info in await engine.schedules.list()] == [(await found(engine)).queue]


async def test_a_row_that_a_mover_left_behind_fires_nothing(engine: Engine) -> None:
    """The registry says where the schedule lives; the scheduler takes the other one away."""
    engine.time_override = at(START)
    await engine.schedules.upsert(greet())
    await engine.schedules.upsert(greet(queue="other", job="any"))
    assert [info.queue for info in await engine.schedules.list()] == ["other"]
    await engine.redis.hset("jobs:registry", "schedule:hello", "q")
    await engine.schedules.upsert(greet(cron="0 * * * *"))
    await engine.redis.hset("jobs:registry", "schedule:hello", "other")
    await engine.schedules.upsert(greet(queue="other", job="any"))
    await engine.redis.hset("jobs:registry", "schedule:hello", "other")
    await engine.redis.zadd("jobs:{q}:schedules", {"hello": 1})
    await engine.redis.hset("jobs:{q}:schedule:hello", mapping={"revision": 1, "next_ms": 1, "cron": "* * * * *"})
    engine.time_override = at(START + timedelta(hours=1))
    await Scheduler(engine, [engine.queue("q"), engine.queue("other")]).run_once()
    assert await engine.redis.exists("jobs:{q}:schedule:hello", "jobs:{q}:waiting:5") == 0
    assert await engine.redis.xlen("jobs:{other}:waiting:5") == 1


async def test_a_schedule_that_never_arrived_is_taken_back(engine: Engine) -> None:
    """Its mover died between the registry and the row: it goes on where it was."""
    engine.time_override = at(START)
    await engine.schedules.upsert(greet())
    await engine.redis.hset("jobs:registry", "schedule:hello", "other")
    engine.time_override = at(START + timedelta(hours=1))
    await Scheduler(engine, [engine.queue("q")]).run_once()
    assert await engine.redis.xlen("jobs:{q}:waiting:5") == 1
    assert (await found(engine)).queue == "q"


async def test_the_same_upsert_again_says_that_nothing_changed(engine: Engine) -> None:
    """And disturbs no scheduler."""
    assert await engine.schedules.upsert(greet())
    told = await engine.redis.xlen("jobs:schedule-changes")
    assert not await engine.schedules.upsert(greet())
    assert await engine.redis.xlen("jobs:schedule-changes") == told


async def test_a_wrong_clock_here_moves_no_fire(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next fire counts from Redis's time, with a process an hour ahead or behind."""
    now = datetime.now(UTC)
    for shift in (-3600, 3600):
        monkeypatch.setattr("time.time", lambda shift=shift: now.timestamp() + shift)
        await engine.schedules.upsert(greet(cron=None, every=7 if shift < 0 else 11))
        seconds = await engine.redis.time()
        (first, *_) = (await found(engine)).next_ms
        assert 0 < first - int(seconds[0]) * 1000 <= 12_000


async def test_an_application_declares_its_schedules_and_no_others_remain(engine: Engine) -> None:
    """Other owners' and operators' stay."""
    await engine.schedules.upsert(greet(name="by-hand"))
    await engine.schedules.declare([greet(name="theirs")], owner="shop")
    await engine.schedules.declare([greet(name="a"), greet(name="b")], owner="dhanam")
    assert await engine.schedules.declare([greet(name="b"), greet(name="c")], owner="dhanam") == ["a"]
    owners = {info.schedule.name: info.owner for info in await engine.schedules.list()}
    assert owners == {"by-hand": "operator", "theirs": "shop", "b": "dhanam", "c": "dhanam"}
    assert sorted(await engine.schedules.declare([], owner="dhanam")) == ["b", "c"]


async def test_an_applications_schedule_is_changed_by_nobody_else(engine: Engine) -> None:
    """Not by moving it to another queue either; it may be paused, run and removed by anybody."""
    await engine.schedules.declare([greet()], owner="dhanam")
    for attempt in (greet(cron="5 * * * *"), greet(queue="other", job="any")):
        with pytest.raises(ScheduleOwned, match="belongs to 'dhanam'"):
            await engine.schedules.upsert(attempt)
    with pytest.raises(ScheduleOwned, match="not to 'shop'"):
        await engine.schedules.declare([greet()], owner="shop")
    assert await engine.schedules.pause("hello")
    await engine.schedules.declare([greet(cron="5 * * * *")], owner="dhanam")
    assert (await found(engine)).paused_ms is not None
    assert await engine.schedules.remove("hello")


@pytest.mark.parametrize(
    ("rows", "owner", "named"),
    [
        ([greet(), greet()], "dhanam", "declared twice"),
        ([], "operator", "owner 'operator'"),
        ([], "", "owner ''"),
        ([greet(job="nobody")], "dhanam", "found job 'nobody' on no queue"),
    ],
)
async def test_a_declaration_that_cant_work_changes_nothing(
    engine: Engine, rows: list[Schedule], owner: str, named: str
) -> None:
    """It is refused at the start, with the reason."""
    with pytest.raises(ConfigurationError, match=named):
        await engine.schedules.declare(rows, owner=owner)
    assert await engine.schedules.list() == []


async def test_job_and_payload_are_checked_when_given(engine: Engine) -> None:
    """Not when they fire."""
    with pytest.raises(InvalidPayload):
        await engine.schedules.upsert(greet(payload={"name": 5}))
    with pytest.raises(UnknownJobName):
        await engine.schedules.upsert(greet(job="unknown", queue="q"))
    with pytest.raises(CronError):
        await engine.schedules.upsert(greet(cron="@reboot"))


async def test_runs_have_what_the_rows_of_job_and_queue_ask_for(engine: Engine, registry: Registry) -> None:
    """Level, unique key and expiry of the job's name."""

    @registry.job("urgent", queue="q", priority=1, unique=lambda payload: "one", expires=60)
    async def urgent(ctx: JobContext, payload: Any) -> None:
        """Nothing to do."""

    engine.time_override = at(START)
    await engine.schedules.upsert(greet(job="urgent"))
    job = await engine.schedules.run_now("hello")
    again = await engine.schedules.run_now("hello")
    assert (again.id, again.created) == (job.id, False)
    info = await job.info()
    assert info is not None
    assert (info.priority, info.unique) == (1, "one")
    entries: Any = await engine.redis.xrange("jobs:{q}:waiting:1")
    assert entries[0][1][b"expires"] == str(at(START) + 60_000).encode()


async def test_verbs_on_a_stranger_say_so(engine: Engine) -> None:
    """Remove says that there was none."""
    for verb in (engine.schedules.pause, engine.schedules.resume, engine.schedules.run_now):
        with pytest.raises(ScheduleNotFound, match="'nobody'"):
            await verb("nobody")
    assert not await engine.schedules.remove("nobody")


async def test_a_paused_schedule_shows_what_would_fire(engine: Engine) -> None:
    """What falls due meanwhile is gone, and the fires shown are in the future."""
    engine.time_override = at(START)
    await engine.schedules.upsert(greet(misfire="all"))
    assert await engine.schedules.pause("hello")
    assert not await engine.schedules.pause("hello")
    engine.time_override = at(START + timedelta(hours=5))
    scheduler = Scheduler(engine, [engine.queue("q")])
    await scheduler.run_once()
    hour = at(START.replace(minute=0, second=0))
    assert (await found(engine)).next_ms[0] == hour + 6 * 3_600_000
    assert await engine.schedules.resume("hello")
    assert not await engine.schedules.resume("hello")
    await scheduler.run_once()
    info = await found(engine)
    assert (info.count, info.next_ms[0], info.paused_ms) == (0, hour + 6 * 3_600_000, None)
    engine.time_override = at(START + timedelta(hours=6))
    await scheduler.run_once()
    assert (await found(engine)).count == 1


async def test_the_last_run_outlives_retention(engine: Engine) -> None:
    """A queue that keeps no records: state, result, duration and error stay with the schedule."""
    await engine.schedules.upsert(greet())
    async with Worker(engine.queue("q")):
        first = await engine.schedules.run_now("hello")
        assert (await first.result(10))["hello"] == "Ana"
        run = (await found(engine)).last_run
        assert run is not None
        assert (run.id, run.state, run.attempt) == (first.id, "completed", 1)
        assert run.duration >= 0
        assert run.result is not None
        assert msgspec.json.decode(run.result)["meta"]["schedule"] == "hello"
        await engine.schedules.upsert(greet(payload={"fail": True}))
        second = await engine.schedules.run_now("hello")
        with pytest.raises(JobFailed, match="no greeting today"):
            await second.result(10)
    info = await found(engine)
    assert info.last_run is not None
    assert info.last_run.error is not None
    assert (info.last_run.id, info.last_run.state, info.last_run.error.message) == (
        second.id,
        "failed",
        "no greeting today",
    )
    assert info.last_run.result is None


async def test_a_schedule_removed_while_its_job_runs_lets_the_job_end(engine: Engine, registry: Registry) -> None:
    """The job's result is its own."""
    running, go_on = asyncio.Event(), asyncio.Event()

    @registry.job("slow", queue="other")
    async def slow(ctx: JobContext, payload: Any) -> str:
        running.set()
        await go_on.wait()
        return "done"

    await engine.schedules.upsert(greet(job="slow"))
    async with Worker(engine.queue("other")):
        job = await engine.schedules.run_now("hello")
        await running.wait()
        assert (await found(engine)).last_state == "active"
        assert await engine.schedules.remove("hello")
        go_on.set()
        assert await job.result(10) == "done"
    assert await engine.schedules.list() == []


async def test_a_removed_schedule_leaves_no_key(engine: Engine, keys: Keys) -> None:
    """Nothing in the queue's slot, nothing in the registry but its queue."""
    await engine.schedules.upsert(greet())
    await engine.schedules.remove("hello")
    assert not await keys.names("*schedule:*") | await keys.names("*:schedules")
    assert await engine.redis.hkeys("jobs:registry") == [b"layout", b"queue:q"]


async def test_one_that_cant_be_read_here_hides_no_other(engine: Engine, damage: Keys) -> None:
    """A time zone that this machine lacks, or damage, leaves the rest of the list."""
    for name in ("a", "b", "c"):
        await engine.schedules.upsert(greet(name=name))
    await engine.redis.hset("jobs:{q}:schedule:a", "tz", "Mars/Olympus")
    await engine.redis.hdel("jobs:{q}:schedule:b", "job")
    assert [info.schedule.name for info in await engine.schedules.list()] == ["c"]
