"""The whole service of a simulated day: Redis, SQLite, processes, and a clock that the test moves.

An hour passes for the schedules (the engine's clock override), for what waits for a time (delayed jobs, keys at rest),
and for what the store remembers of providers' troubles.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import sqlalchemy as sa

from dhanam_jobs.engine import Engine, Scheduler
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.store.provider_tables import provider_connections, provider_health_status

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store
    from tests.day.fleet import Fleet

_PROVIDERS = ("bitso", "belvo", "plaid")


class Service:
    """What the test holds of it.

    Args:
        engine: for looking, enqueueing and waiting; its clock is Redis's.
        clock: another connection, whose clock is the simulated one.
    """

    def __init__(self, engine: Engine, clock: Engine, store: Store, fleet: Fleet) -> None:
        self.engine = engine
        self.store = store
        self.fleet = fleet
        self.kills: Counter[str] = Counter()
        self._clock = clock
        self._now_ms = round(time.time() * 1000)
        self._scheduler = Scheduler(clock, [clock.queue(name) for name in QUEUE_NAMES])

    @property
    def now_ms(self) -> int:
        """The simulated time."""
        return self._now_ms

    async def hour_passes(self) -> None:
        """Move the clock on by an hour, and start what is due by it."""
        self._now_ms += 3_600_000
        self._clock.time_override = self._now_ms
        await self._forgive()
        await self._scheduler.run_once()

    async def killed_at_work(self, chance: random.Random, patience: float = 6.0) -> None:
        """Kill one process by its pid, while it runs a job if one does so before long; a new one takes its place."""
        until = time.monotonic() + patience
        victim = chance.choice(self.fleet.pids)
        names: list[str] = []
        while not names and time.monotonic() < until:
            await asyncio.sleep(0.005)
            names = await self._running_at(victim)
        self.fleet.kill(victim)
        self.kills.update(names or ["idle"])
        self.fleet.start()

    async def _running_at(self, pid: int) -> list[str]:
        found: list[str] = []
        for name in QUEUE_NAMES:
            queue = self.engine.queue(name)
            for worker in await queue.operations.workers():
                if worker.pid == pid:
                    found += [f"{name}: {job.name}" for job in worker.running]
        return found

    async def quiet(self, patience: float = 180.0) -> None:
        """Wait until nothing waits, runs or is delayed; what waits for a time has its time come."""
        until = time.monotonic() + patience
        rested = time.monotonic()
        while left := await self._unfinished():
            if time.monotonic() > until:
                pytest.fail(f"still unfinished after {patience:g} s: {left}\n{self.fleet.complaints()}")
            if time.monotonic() - rested > 1:
                rested = time.monotonic()
                await self._forgive()
                for name in QUEUE_NAMES:
                    await self.engine.queue(name).operations.promote_all()
            await asyncio.sleep(0.05)

    async def _unfinished(self) -> dict[str, Any]:
        counts = [await self.engine.queue(name).counts() for name in QUEUE_NAMES]
        states = ("waiting", "active", "delayed", "blocked", "parked")
        left = {row.name: {state: getattr(row, state) for state in states if getattr(row, state)} for row in counts}
        return {name: states for name, states in left.items() if states}

    async def _forgive(self) -> None:
        """What an hour does to limits and to the circuits of providers."""
        hour = dt.timedelta(hours=1)
        async with self.store._connections.writing() as connection:
            for row in (await connection.execute(sa.select(provider_health_status))).mappings().all():
                times = ("window_start_at", "opened_at", "probe_until", "rate_limit_reset_at")
                earlier = {name: row[name] - hour for name in times if row[name] is not None}
                where = (provider_health_status.c.provider == row["provider"]) & (
                    provider_health_status.c.region == row["region"]
                )
                await connection.execute(sa.update(provider_health_status).where(where).values(earlier))
            await connection.execute(sa.update(provider_connections).values(rate_limited_until=None))
        for name in _PROVIDERS:
            await self.engine.queue("sync-transactions").limits.free_key(name)

    async def schedules(self) -> dict[str, tuple[int, int]]:
        """How many runs each schedule has started, and how many ticks it has skipped."""
        return {each.schedule.name: (each.count, each.skipped) for each in await self.engine.schedules.list()}

    async def failed_syncs(self) -> list[tuple[str, bool]]:
        """The connections whose sync ended failed, one entry for each job, and whether their access was lost."""
        return [
            (payload["connectionId"], "P002" in reason) for payload, reason in await self._failed("sync-transactions")
        ]

    async def failed_wallets(self) -> set[str]:
        """The people whose wallets' sync ended failed."""
        return {payload["userId"] for payload, _ in await self._failed("sync-wallets") if payload.get("userId")}

    async def _failed(self, name: str) -> list[tuple[dict[str, Any], str]]:
        operations = self.engine.queue("sync-transactions").operations
        found: list[tuple[dict[str, Any], str]] = []
        for page in (await operations.page("failed", limit=100), await operations.dead_letters.page(limit=100)):
            assert page.cursor is None
            for info in page.jobs:
                if info.name == name:
                    found.append((msgspec.json.decode(info.payload), info.error.message if info.error else ""))
        return found

    def inspect(self, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """`dhanam-jobs inspect`, as an operator runs it."""
        command = [sys.executable, "-m", "dhanam_jobs", "inspect"]
        path = os.pathsep.join(each for each in sys.path if each)
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path, **environ}, capture_output=True, text=True, check=False
        )
