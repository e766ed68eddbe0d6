"""Proves that workers of two releases may serve one queue, and that other key layouts are refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    Engine,
    JobContext,
    Registry,
    Retention,
    ServerUnsuitable,
    Worker,
    defaults,
    inspect_queue,
)

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil

PROCESS = Path(__file__).with_name("release_process.py")


def start_old_release(url: str) -> subprocess.Popen[bytes]:
    """A worker of another release, in a process of its own."""
    return subprocess.Popen([sys.executable, PROCESS, url])


async def test_two_releases_serve_one_queue_until_the_old_one_is_drained(
    start_redis: StartRedis, wait_until: WaitUntil
) -> None:
    """Each job runs once, those with new names on the new release only, and the scripts of both stay known."""
    server = start_redis()
    ran: Counter[tuple[str, int]] = Counter()
    registry = Registry()
    registry.queue("q", concurrency=3, retention=Retention(completed=None))

    @registry.job("old", queue="q")
    async def old(ctx: JobContext, payload: int) -> int:
        ran["old", payload] += 1
        return payload

    @registry.job("new", queue="q")
    async def new(ctx: JobContext, payload: int) -> int:
        ran["new", payload] += 1
        return payload

    async with (
        Engine.connect(server.url, registry=registry) as engine,
        redis_async.Redis.from_url(server.url, protocol=2) as traces,
    ):
        queue = engine.queue("q")
        other = start_old_release(server.url)
        try:
            await wait_until(lambda: traces.llen("ready"), "the other release works", timeout=30)
            # The old release meets names that it doesn't know before anybody does who knows them.
            early = await queue.enqueue_many([("new", n) for n in range(20)])

            async def parked() -> bool:
                return (await queue.counts()).parked == 20

            await wait_until(parked, "the old release parked them")
            async with Worker(queue):
                mixed = await queue.enqueue_many([("new" if n % 4 == 0 else "old", n) for n in range(100, 500)])

                async def both_worked() -> bool:
                    return bool(await traces.llen("ran")) and ran.total() > 20

                await wait_until(both_worked, "both releases have run some")
                other.send_signal(signal.SIGTERM)
                late = await queue.enqueue_many([("old", n) for n in range(1000, 1020)])
                for job in [*early, *mixed, *late]:
                    await job.result(timeout=30)
            other.wait(20)
        finally:
            other.kill()
            other.wait(20)
        assert other.returncode == 0
        whole = Counter(ran)
        for line in await traces.lrange("ran", 0, -1):
            name, number, _ = bytes(line).decode().split()  # type: ignore[arg-type]
            whole[name, int(number)] += 1
        assert set(whole.values()) == {1}
        assert len(whole) == 440
        assert (await queue.counts()).workers == 0
        assert await inspect_queue(queue) == []


@pytest.mark.parametrize("layout", [defaults.LAYOUT_VERSION + 1, 0])
async def test_keys_of_another_layout_are_refused_at_the_start(
    redis: redis_async.Redis, redis_url: str, layout: int
) -> None:
    """By name, found and wanted; nothing was changed."""
    await redis.hset("jobs:registry", "layout", str(layout))
    with pytest.raises(ServerUnsuitable, match=f"layout {layout}; this release reads layout {defaults.LAYOUT_VERSION}"):
        async with Engine.connect(redis_url):
            pass
    assert await redis.hget("jobs:registry", "layout") == str(layout).encode()
    async with Engine.connect(redis_url, prefix="others"):
        assert await redis.hget("others:registry", "layout") == str(defaults.LAYOUT_VERSION).encode()
