"""Proves that a fleet fires each tick once: over a simulated week of kills and freezes, and with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import Engine, Schedule, Scheduler, next_fires
from dhanam_jobs.engine.scheduler import Due
from tests.conftest import StartRedis, WaitUntil

# The week in which New York's clocks go forward; Madrid's three weeks later don't.
START = datetime(2026, 3, 5, 0, 0, tzinfo=UTC)
END = START + timedelta(days=7)
SCHEDULES = [
    Schedule(name="minutes", job="note", queue="q", cron="*/5 * * * *", misfire="all"),
    Schedule(name="slots", job="note", queue="q", every=420, misfire="all"),
    Schedule(name="hours", job="note", queue="q", cron="0 * * * *", tz="Europe/Madrid", misfire="all"),
    Schedule(name="nights", job="note", queue="q", cron="30 2 * * *", tz="America/New_York", misfire="all"),
    Schedule(name="seconds", job="note", queue="q", cron="7 3 * * * 41", misfire="all"),
]


class Member:
    """One supervisor of the fleet, as Redis sees it: it looks, thinks, and ticks; in between it may freeze or die."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.queue = engine.queue("q")
        self.scheduler = Scheduler(engine, [self.queue])
        self.held: list[Due] = []

    async def freeze_before_ticking(self) -> None:
        """It has read what is due and computed what follows; the tick is on its lips."""
        self.held = (await self.scheduler.look(self.queue)).due

    async def thaw(self) -> list[list[str]]:
        """It says now what it was going to say then."""
        held, self.held = self.held, []
        return await self.scheduler.tick(self.queue, held) if held else []


@pytest.fixture
async def fleet(engine: Engine, redis_url: str) -> AsyncIterator[list[Member]]:
    """Five members, each with connections of its own."""
    async with contextlib.AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(Engine.connect(redis_url)) for _ in range(5)]
        yield [Member(one) for one in engines]
    await engine.redis.delete(*[key async for key in engine.redis.scan_iter("jobs:{q}:*")])


async def take_fired(engine: Engine) -> list[tuple[str, int]]:
    """Schedule and instant of every job that waits, in the order of enqueueing; and forgets those jobs, as a queue does
    that keeps no records, so that no id protects a tick from being fired again."""
    entries: Any = await engine.redis.xrange("jobs:{q}:waiting:5")
    await engine.redis.xtrim("jobs:{q}:waiting:5", maxlen=0, approximate=False)
    await engine.redis.delete("jobs:{q}:index", "jobs:{q}:runs")
    metas = [msgspec.json.decode(fields[b"meta"]) for _, fields in entries]
    return [(meta["schedule"], meta["scheduled_ms"]) for meta in metas]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_week_of_kills_and_freezes_fires_each_tick_once(engine: Engine, fleet: list[Member], seed: int) -> None:
    """Five supervisors freeze with a tick on their lips for minutes or hours, die, start anew, and tick at once."""
    chance = random.Random(seed)
    now = round(START.timestamp() * 1000)
    end = round(END.timestamp() * 1000)
    everybody = [engine, *(member.engine for member in fleet)]

    def set_clock() -> None:
        for one in everybody:
            one.time_override = now

    set_clock()
    for schedule in SCHEDULES:
        await engine.schedules.upsert(schedule)
    verdicts: Counter[str] = Counter()
    runs: list[tuple[str, int]] = []
    while now < end:
        now = min(end, now + chance.choice([1, 800, 20_000, 61_000, 300_000, 2_400_000]))
        set_clock()
        busy = []
        for number, member in enumerate(fleet):
            draw = chance.random()
            if member.held and draw < 0.3:
                busy.append(member.thaw())
            elif member.held and draw < 0.4:
                fleet[number] = Member(member.engine)  # killed: what it was going to say is never said
            elif not member.held and draw < 0.35:
                await member.freeze_before_ticking()
            elif not member.held and draw < 0.75:
                busy.append(member.scheduler.run_once())  # type: ignore[arg-type]
        for said in await asyncio.gather(*busy):
            if isinstance(said, list):
                verdicts.update(verdict[0] for verdict in said)
        runs += await take_fired(engine)
        if chance.random() < 0.02:
            await engine.schedules.upsert(chance.choice(SCHEDULES))
    for member in fleet:
        verdicts.update(verdict[0] for verdict in await member.thaw())
    await Member(engine).scheduler.run_once()

    expected = [
        (schedule.name, round(fire.timestamp() * 1000))
        for schedule in SCHEDULES
        for fire in next_fires(schedule.expression, schedule.tz, START, 2100)
        if fire <= END
    ]
    runs += await take_fired(engine)
    assert Counter(runs) == Counter(expected)
    for schedule in SCHEDULES:
        own = [instant for name, instant in runs if name == schedule.name]
        assert own == sorted(own)
    assert int(await engine.redis.hget("jobs:{q}:meta", "added") or 0) == len(expected)
    # Frozen ones did come back with old knowledge, and others in time: the week tested both.
    assert verdicts["stale"] > 10
    assert verdicts["ticked"] > 10


_MEMBER = """
import asyncio, sys
from dhanam_jobs.engine import Engine, Registry, Schedule, Supervisor
registry = Registry()
@registry.job("note", queue="q")
async def note(ctx, payload):
    await ctx.resources.rpush("ran", ctx.job.meta["scheduled_ms"])
async def main():
    async with Engine.connect(sys.argv[1], registry=registry) as engine:
        schedule = Schedule(name="s", job="note", cron="* * * * * *", misfire="all")
        async with Supervisor(engine, resources=engine.redis, schedules=[schedule], owner="app", lease_ms=1500,
                              sweep_ms=300):
            print("up", flush=True)
            await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.long
async def test_real_supervisors_killed_and_frozen_fire_every_second_once(
    start_redis: StartRedis, wait_until: WaitUntil, tmp_path: Path
) -> None:
    """Three processes with kill -9 and SIGSTOP for twenty seconds; every second's run is there, and only once."""
    server = start_redis()
    chance = random.Random(5)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "members.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _MEMBER, server.url], stdout=log, stderr=log, env=environment
            )

    members = [start() for _ in range(3)]
    try:
        async with Engine.connect(server.url) as engine:
            ran: Any = engine.redis

            async def count() -> int:
                return int(await engine.redis.hget("jobs:{q}:meta", "added") or 0)

            await wait_until(count, "the first tick", timeout=30)
            for step in range(4, 21, 2):
                number = chance.randrange(3)
                if step % 4:
                    members[number].kill()
                    members[number].wait(10)
                    members[number] = start()
                else:
                    os.kill(members[number].pid, signal.SIGSTOP)
                await wait_until(functools.partial(_reached, count, step), f"{step} ticks", timeout=30)
                os.kill(members[number].pid, signal.SIGCONT)

            async def all_ran() -> bool:
                return len(set(await ran.lrange("ran", 0, -1))) >= 20

            await wait_until(all_ran, "twenty seconds' runs", timeout=30)
            # A run whose worker was killed in it may run again (at least once), but no instant is missing.
            instants = sorted({int(one) for one in await ran.lrange("ran", 0, -1)})
            assert {later - sooner for sooner, later in itertools.pairwise(instants)} == {1000}
            added = await count()
            info = await engine.schedules.get("s")
            assert info is not None
            assert added == info.count
    finally:
        for member in members:
            member.kill()
            member.wait(10)


async def _reached(count: Any, step: int) -> bool:
    return bool(await count() >= step)
