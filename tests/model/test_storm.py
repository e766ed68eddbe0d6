"""Proves that whole workers keep what a queue promises while processes, connections and the server are struck.

`STORM_SECONDS` says how long the storm lasts, `STORM_SEED` what it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dhanam_jobs.engine import Engine, EngineUnavailable, Queue, Record
from dhanam_jobs.engine.inspection import inspect_queue
from tests.model.storm_process import registry_of

if TYPE_CHECKING:
    from tests.conftest import RedisServer, StartRedis, WaitUntil

LEASE_MS = 1_500
SWEEP_MS = 200
PROCESSES = 3
STORM_PROCESS = Path(__file__).with_name("storm_process.py")
SECONDS = float(os.environ.get("STORM_SECONDS", 40))
WHATS = ("end", "end", "end", "end", "discard", "retry", "exhaust", "snooze", "hold")
#: How each kind of job ends, and how often it runs where nothing befalls it.
ENDS = {
    "end": ("completed", 1),
    "discard": ("failed", 1),
    "retry": ("completed", 3),
    "exhaust": ("failed", 3),
    "snooze": ("completed", 1),
    "hold": ("completed", 1),
}


class Fleet:
    """Worker processes; one that was struck down is replaced."""

    def __init__(self, url: str, log: Path) -> None:
        options = {"url": url, "lease_ms": LEASE_MS, "sweep_ms": SWEEP_MS, "log": f"{log}"}
        self._command = [sys.executable, f"{STORM_PROCESS}", json.dumps(options)]
        self._processes = [self._start() for _ in range(PROCESSES)]

    def _start(self) -> subprocess.Popen[bytes]:
        # A worker says much while Redis is away; what it did is in the log and in Redis.
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def replace_dead(self) -> None:
        self._processes = [one if one.poll() is None else self._start() for one in self._processes]

    def kill(self, which: int) -> None:
        self._processes[which].kill()
        self._processes[which].wait(10)
        self.replace_dead()

    def drain(self, which: int) -> None:
        """It leaves in order, in its own time."""
        self._processes[which].send_signal(signal.SIGTERM)

    def signal(self, which: int, number: signal.Signals) -> None:
        self._processes[which].send_signal(number)

    def close(self) -> None:
        for one in self._processes:
            if one.poll() is None:
                one.send_signal(signal.SIGCONT)
                one.kill()
                one.wait(10)


class Storm:
    """Strikes one after another; `strikes` counts them by kind."""

    def __init__(self, server: RedisServer, engine: Engine, fleet: Fleet, rng: random.Random) -> None:
        self._server, self._engine, self._fleet, self._rng = server, engine, fleet, rng
        self.strikes: Counter[str] = Counter()

    async def strike(self) -> None:
        kind = self._rng.choice(["kill", "kill", "stop", "restart", "flush", "cut", "drain", "pause"])
        self.strikes[kind] += 1
        which = self._rng.randrange(PROCESSES)
        with contextlib.suppress(EngineUnavailable, OSError):
            await getattr(self, f"_{kind}")(which)
        self._fleet.replace_dead()

    async def _kill(self, which: int) -> None:
        await asyncio.to_thread(self._fleet.kill, which)

    async def _stop(self, which: int) -> None:
        """Frozen for longer or shorter than its lease: it may come back to find its claims lost."""
        self._fleet.signal(which, signal.SIGSTOP)
        await asyncio.sleep(self._rng.choice([0.3, 2.5]))
        self._fleet.signal(which, signal.SIGCONT)

    async def _drain(self, which: int) -> None:
        self._fleet.drain(which)

    async def _restart(self, which: int) -> None:
        self._server.kill()
        await asyncio.sleep(self._rng.choice([0.0, 0.5]))
        await asyncio.to_thread(self._server.start)

    async def _flush(self, which: int) -> None:
        await self._engine.redis.script_flush()

    async def _cut(self, which: int) -> None:
        await self._engine.redis.execute_command(  # type: ignore[no-untyped-call]
            "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
        )

    async def _pause(self, which: int) -> None:
        queue = self._engine.queue("storm")
        await queue.pause()
        await asyncio.sleep(0.3)
        await self._surely(queue)

    async def _surely(self, queue: Queue) -> None:
        while True:
            with contextlib.suppress(EngineUnavailable):
                await queue.resume()
                return
            await asyncio.sleep(0.1)


@pytest.fixture
async def server(start_redis: StartRedis) -> RedisServer:
    """A server that keeps what it acknowledged when it is killed."""
    return start_redis("--appendonly", "yes", "--appendfsync", "no")


@pytest.fixture
async def fleet(server: RedisServer, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Worker processes that end with the test."""
    fleet = Fleet(server.url, tmp_path / "runs.log")
    yield fleet
    fleet.close()


async def produce(
    queue: Queue, rng: random.Random, until: float, wait_until: WaitUntil, backlog: int = 3_000
) -> dict[str, str]:
    """Enqueues until then; the ids that were acknowledged, and what each job does. One whose answer got lost is asked
    for again under its id."""
    known: dict[str, str] = {}
    number = 0
    while time.monotonic() < until:
        chunk = []
        for _ in range(50):
            number += 1
            chunk.append((f"n{number}", rng.choice(WHATS), number))
        while True:
            try:
                jobs = [
                    queue.enqueue(
                        "blow",
                        {"what": what, "number": position},
                        id=job_id if position % 2 else None,
                        priority=rng.choice([2, 5, 5, 9]),
                        delay=0.2 if position % 7 == 0 else None,
                        unique=f"k{position % 40}" if position % 25 == 0 else None,
                    )
                    for job_id, what, position in chunk
                ]
                for job, (_, what, _) in zip(await asyncio.gather(*jobs), chunk, strict=True):
                    known[job.id] = what
                break
            except EngineUnavailable:
                # Some may have been stored without an id that says so: those are known by their runs alone.
                chunk = [one for one in chunk if one[2] % 2]
                await asyncio.sleep(0.1)
        with contextlib.suppress(EngineUnavailable):
            await wait_until(lambda: short(queue, backlog), "the workers keep up", timeout=60)
    return known


async def short(queue: Queue, backlog: int) -> bool:
    """Whether no more than that many jobs wait."""
    return (await queue.counts()).waiting <= backlog


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 180)
async def test_every_acknowledged_job_ends_once_by_a_stated_rule_whatever_is_struck(
    server: RedisServer, fleet: Fleet, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Kills, freezes, restarts, cut connections, forgotten scripts, pauses and drains, while thousands of jobs run."""
    seed = int(os.environ.get("STORM_SEED") or random.SystemRandom().randrange(10**9))
    rng = random.Random(seed)
    print(f"STORM_SEED={seed}")
    log = os.open(tmp_path / "none.log", os.O_WRONLY | os.O_CREAT)
    try:
        async with Engine.connect(server.url, registry=registry_of(log)) as engine:
            queue = engine.queue("storm")
            storm = Storm(server, engine, fleet, rng)
            until = time.monotonic() + SECONDS
            producing = asyncio.create_task(produce(queue, random.Random(seed + 1), until, wait_until))
            while time.monotonic() < until:
                await asyncio.sleep(rng.uniform(0.2, 1.5))
                await storm.strike()
            known = await producing

            async def at_rest() -> bool:
                with contextlib.suppress(EngineUnavailable):
                    counts = await queue.counts()
                    return counts.waiting + counts.active + counts.delayed + counts.parked + counts.blocked == 0
                return False

            await wait_until(at_rest, "all jobs have ended", timeout=120)
            noted = await asyncio.to_thread((tmp_path / "runs.log").read_text)
            await judge(queue, known, noted)
            print(f"{len(known)} jobs, {dict(storm.strikes)}")
            assert len(known) > 500
            assert sum(storm.strikes.values()) > 5
    finally:
        os.close(log)


async def judge(queue: Queue, known: dict[str, str], noted: str) -> None:
    """What must be true of a queue at rest after a storm."""
    assert await inspect_queue(queue) == []
    found: Any = await queue.engine.redis.hgetall(f"{queue.root}:ended")
    records = {key.decode(): msgspec.json.decode(text, type=Record) for key, text in found.items()}
    missing = set(known) - set(records)
    assert not missing, f"{len(missing)} acknowledged jobs are gone: {sorted(missing)[:5]}"
    counts = await queue.counts()
    assert counts.completed + counts.failed == len(records) == counts.added
    runs = Counter(line.split()[0] for line in noted.splitlines())
    for job_id, record in records.items():
        what = msgspec.json.decode(record.payload)["what"]
        state, least = ENDS[what]
        assert record.state == state, f"{job_id} ({what}) {record.state}: {record.error}"
        assert runs[job_id] >= least, f"{job_id} ({what}) ended after {runs[job_id]} runs"
        most = record.attempt + record.stalls + record.snoozes
        # A released run counts nothing, and a drain of five seconds releases none of these.
        assert runs[job_id] <= most, f"{job_id} ({what}) ran {runs[job_id]} times, at most {most} were allowed"
