"""Proves that a hook on final failure is told of every one, however it came, and what it pays for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dhanam_jobs.engine import (
    Child,
    Engine,
    JobContext,
    JobFailed,
    Middleware,
    Record,
    Registry,
    RetryPolicy,
    Worker,
    inspect_queue,
)
from tests.conftest import WaitUntil
from tests.engine.conftest import Hands, Keys

Told = asyncio.Queue[tuple[str, str, str]]


@pytest.fixture
def told(registry: Registry) -> Told:
    """Names, errors and metadata that the hook of `fail` and `gather`, on `work`, was told."""
    heard: Told = asyncio.Queue()
    registry.queue("work", max_stalls=0, retry=RetryPolicy(attempts=1))

    async def hook(ctx: JobContext, record: Record) -> None:
        assert record.error is not None
        heard.put_nowait((ctx.job.name, record.error.type, str((ctx.job.meta or {}).get("of"))))

    @registry.job("fail", queue="work", on_failure=hook)
    async def fail(ctx: JobContext, payload: Any) -> None:
        raise ValueError("no luck")

    @registry.job("gather", queue="work", on_failure=hook)
    async def gather(ctx: JobContext, payload: Any) -> None:
        await ctx.wait_children()

    @registry.job("plain", queue="work")
    async def plain(ctx: JobContext, payload: Any) -> None:
        raise ValueError("nobody cares")

    return heard


async def test_a_hook_is_told_of_a_job_that_lost_its_workers_and_of_a_parent_that_lost_a_child(
    engine: Engine, told: Told, hands: Hands, keys: Keys
) -> None:
    """Neither failed in a run; each is told once, with what the job carried."""
    queue = engine.queue("work")
    async with Worker(queue):
        pass  # from now on it is known which jobs have a hook
    await queue.enqueue("fail", meta={"of": "stalls"})
    await hands.claim(queue)
    await hands.die(queue)
    await queue.enqueue_parent("gather", children=[Child("a", "plain")], meta={"of": "child"})
    engine.time_override = b""
    async with Worker(queue, sweep_ms=150), asyncio.timeout(20):
        assert {await told.get(), await told.get()} == {
            ("fail", "Stalled", "stalls"),
            ("gather", "ChildFailed", "child"),
        }
        assert await inspect_queue(queue) == []
    assert told.empty()
    assert not await keys.names("*:untold*")


async def test_a_job_without_a_hook_has_nothing_kept(engine: Engine, told: Told, keys: Keys) -> None:
    """Beside jobs that have one."""
    queue = engine.queue("work")
    async with Worker(queue):
        job = await queue.enqueue("plain", 1)
        with pytest.raises(JobFailed, match="nobody cares"):
            await job.result(timeout=10)
        assert not await keys.names("*:untold*")


async def test_a_middleware_is_told_of_every_job_that_its_worker_knows(
    engine: Engine, registry: Registry, told: Told, wait_until: WaitUntil, keys: Keys
) -> None:
    """And a record that nobody can read stands in nobody's way."""
    names: list[str] = []

    class Watch(Middleware):
        async def failed(self, ctx: JobContext, record: Record) -> None:
            names.append(record.name)

    registry.use(Watch())
    queue = engine.queue("work")
    async with Worker(queue, sweep_ms=150):
        await engine.redis.hset(f"{queue.root}:untold", "1 broken", "not a record")
        await engine.redis.zadd(f"{queue.root}:untold:plain", {"1 broken": 0})
        await queue.enqueue("plain", 1)
        await queue.enqueue("fail", 1)

        async def all_told() -> bool:
            return sorted(names) == ["fail", "plain"] and not await keys.names("*:untold*")

        await wait_until(all_told, "both were told, and struck out")


async def test_inspect_finds_failures_that_nobody_will_tell(engine: Engine, damage: Keys) -> None:
    """A record without its place in the line of its name, and the other way round."""
    queue = engine.queue("work")
    await engine.redis.hset(f"{queue.root}:untold", "1 a", '{"name":"fail"}')
    await engine.redis.zadd(f"{queue.root}:untold:fail", {"1 b": 0})
    assert sorted(await inspect_queue(queue)) == [
        "untold 1 a: a failure that no hook will be told of",
        "untold:fail: names 1 b, whose record is gone",
    ]
