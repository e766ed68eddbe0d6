"""Proves that users' assertions see what a queue was given, and say what is there where it is something else."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from dhanam_jobs.engine import Engine, JobContext, Registry, Worker
from dhanam_jobs.engine.testing import assert_enqueued, enqueued

registry = Registry()


@registry.job("greet", queue="hello")
async def greet(ctx: JobContext, payload: dict[str, str]) -> str:
    """Greets."""
    return payload["name"]


async def test_jobs_are_found_waiting_delayed_and_ended(redis: Redis, redis_url: str) -> None:
    """By name and by some fields of the payload, whatever became of them."""
    async with Engine.connect(redis_url, registry=registry) as engine:
        queue = engine.queue("hello")
        first = await queue.enqueue("greet", {"name": "Ana", "tongue": "es"})
        async with Worker(queue):
            await first.result(timeout=10)
        later = await queue.enqueue("greet", {"name": "Ben"}, delay=3600)
        third = await queue.enqueue("greet", {"name": "Ana"})
        assert {job.id for job in await enqueued(queue)} == {first.id, later.id, third.id}
        assert await enqueued(queue, "other") == []
        await assert_enqueued(queue, "greet", {"name": "Ana"}, times=2)
        assert [job.id for job in await assert_enqueued(queue, "greet", {"tongue": "es"})] == [first.id]
        await assert_enqueued(queue, "greet", times=3)


async def test_a_failing_assertion_names_what_is_there(redis: Redis, redis_url: str) -> None:
    """The number found, the number wanted, and the payloads."""
    async with Engine.connect(redis_url, registry=registry) as engine:
        await engine.queue("hello").enqueue("greet", {"name": "Ana"})
        with pytest.raises(AssertionError, match=r"has 0 jobs 'greet' with .*Eva.*, wanted 1; .*Ana"):
            await assert_enqueued(engine.queue("hello"), "greet", {"name": "Eva"})
