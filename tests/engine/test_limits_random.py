"""Drives a queue with limits through random programs; after every step no share has leaked and no limit is broken."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, Limit, inspect_queue, scripts
from dhanam_jobs.engine.queue import Queue
from tests.engine.lua.ground import Claimed, Ground, id_of, outcome

KEYS = ("a", "b", "c", "d", None)
KINDS = ("completed", "failed", "cancelled", "delayed", "released", "parked", "limited")
BODIES = {"delayed": '{"delay":%d,"set":{}}', "limited": '{"limit":%d,"scope":"key","set":{}}'}


class Program:
    """A random walk of callers, workers, operators and time over one queue; what it knows, it checks."""

    def __init__(self, seed: int, ground: Ground, queue: Queue) -> None:
        self.random = random.Random(seed)
        self.ground = ground
        self.queue = queue
        self.held: dict[str, list[Claimed]] = {"ana": [], "ben": []}
        self.ids: list[str] = []
        self.concurrency: int | None = None
        self.starts: list[int] = []
        self.rate: tuple[int, int] | None = None
        self.rate_since = 0

    def running(self) -> Counter[str]:
        """Claims by key, as the workers know them."""
        return Counter(claim[2].get("key", "") for claims in self.held.values() for claim in claims)

    async def enqueue(self) -> None:
        key = self.random.choice(KEYS)
        extra: dict[str, Any] = {} if key is None else {"fields": ["key", key]}
        if self.random.random() < 0.2:
            extra["delay"] = self.random.randint(1, 3000)
        self.ids.append(await self.ground.enqueue(level=self.random.choice((1, 5, 5, 9)), **extra))

    def _claimed(self, worker: str, claims: list[Claimed], before: Counter[str]) -> None:
        self.held[worker] += claims
        now = self.running()
        for key in KEYS[:4]:
            assert key is not None
            if self.concurrency is not None and now[key] > before[key]:
                assert now[key] <= self.concurrency, (key, now)
        self.starts += [self.ground.now] * len(claims)
        if self.rate is not None:
            most, period = self.rate
            since = max(self.rate_since, self.ground.now - period + 1)
            assert sum(at >= since for at in self.starts) <= most

    async def claim(self) -> None:
        worker = self.random.choice(("ana", "ben"))
        await self.ground.register(worker)
        before = self.running()
        want = self.random.randint(1, 6)
        claims = await self.ground.claim(want, self.random.randint(0, 1), worker)
        assert len(claims) <= want
        self._claimed(worker, claims, before)

    async def settle(self) -> None:
        worker = self.random.choice(("ana", "ben"))
        claims = self.held[worker]
        self.random.shuffle(claims)
        ending = [claims.pop() for _ in range(self.random.randint(0, len(claims)))]
        if not ending:
            return
        outcomes = []
        for claim in ending:
            kind = self.random.choice(KINDS if "key" in claim[2] else KINDS[:-1])
            body = BODIES.get(kind, "") and BODIES[kind] % self.random.randint(1, 4000)
            outcomes.append(outcome(claim, kind, body))
        reply = await self.ground.settle(*outcomes, worker=worker, want=0)
        assert set(reply[2]) <= set(b"01")

    async def die(self) -> None:
        worker, other = self.random.sample(("ana", "ben"), 2)
        await self.ground.register(worker)
        await self.ground.register(other)
        await self.ground.command("ZADD", self.ground.key("workers"), 0, worker, self.ground.now, other)
        await self.ground.sweep(stalls=99)
        self.held[worker] = []

    async def take_away(self) -> None:
        if not self.ids:
            return
        chosen = self.random.sample(self.ids, min(3, len(self.ids)))
        if self.random.random() < 0.5:
            verdicts = await self.ground.run(scripts.REMOVE, "waiting active delayed parked", *chosen)
            gone = {job for job, verdict in zip(chosen, verdicts, strict=True) if verdict == b"removed"}
        else:
            verdicts = await self.ground.run(scripts.CANCEL, "", "no", *chosen)
            gone = {job for job, verdict in zip(chosen, verdicts, strict=True) if verdict == b"cancelled"}
        for worker, claims in self.held.items():
            self.held[worker] = [claim for claim in claims if id_of(claim) not in gone]

    async def move(self) -> None:
        if self.ids:
            await self.ground.run(scripts.REPRIORITISE, self.random.randint(0, 9), self.random.choice(self.ids))
            await self.ground.run(scripts.PROMOTE_NOW, 2)
            await self.ground.run(scripts.UNPARK, 5, "greet")

    async def limit(self) -> None:
        self.concurrency = self.random.choice((None, 1, 2, 3))
        await self.queue.limits.set_keys(None if self.concurrency is None else Limit(concurrency=self.concurrency))
        if self.random.random() < 0.5:
            self.rate = self.random.choice((None, (1, 500), (4, 2000)))
            self.rate_since = self.ground.now + 1
            self.ground.now += 1
            await self.ground.command("DEL", self.ground.key("starts"))
            await self.queue.limits.set_queue(
                None if self.rate is None else Limit(starts=self.rate[0], period=self.rate[1] / 1000)
            )

    async def wait(self) -> None:
        self.ground.now += self.random.randint(1, 2000)

    async def step(self) -> None:
        """One random deed, and what must be true after it."""
        deeds = [self.enqueue] * 6 + [self.claim] * 5 + [self.settle] * 4 + [self.wait] * 2
        await self.random.choice([*deeds, self.die, self.take_away, self.move, self.limit])()
        self.queue.engine.time_override = self.ground.now
        shares = await self.ground.command("HGETALL", self.ground.key("running"))
        known = {key: count for key, count in self.running().items() if key}
        assert {key.decode(): int(count) for key, count in shares.items()} == known

    async def finish(self) -> None:
        """Without limits, all that is left can be run to its end, and nothing remains of any key."""
        await self.queue.limits.set_keys(None)
        await self.queue.limits.set_queue(None)
        for key in KEYS[:4]:
            assert key is not None
            await self.queue.limits.free_key(key)
        for job in await self.ground.command("ZRANGE", self.ground.key("parked"), 0, -1):
            assert job.startswith(b"greet ")
        await self.ground.run(scripts.UNPARK, 10_000, "greet")
        await self.ground.run_dry()
        counts = await self.queue.counts()
        assert (counts.waiting, counts.active, counts.delayed, counts.parked) == (0, 0, 0, 0)
        for name in ("keyed", "turns", "resting", "holding", "running"):
            assert not await self.ground.command("EXISTS", self.ground.key(name)), name


async def run(redis: redis_async.Redis, engine: Engine, seed: int, steps: int) -> None:
    """One program from beginning to end."""
    ground = Ground(redis)
    queue = engine.queue("q")
    engine.time_override = ground.now
    program = Program(seed, ground, queue)
    for _ in range(steps):
        await program.step()
    living = {problem for problem in await inspect_queue(queue) if "no live worker" not in problem}
    assert living == set()
    await program.finish()
    assert await inspect_queue(queue) == []
    await ground.command("FLUSHALL")


@pytest.mark.parametrize("seed", range(8))
async def test_no_share_leaks_and_no_limit_breaks_in_a_random_program(
    redis: redis_async.Redis, engine: Engine, seed: int
) -> None:
    """The seed names the program, so that a failure can be run again."""
    await run(redis, engine, seed, 150)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1100))
async def test_no_share_leaks_and_no_limit_breaks_in_many_random_programs(
    redis: redis_async.Redis, engine: Engine, seed: int
) -> None:
    """A hundred more, and longer ones."""
    await run(redis, engine, seed, 500)
