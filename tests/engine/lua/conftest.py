"""Gives the scripts' tests their queue, on an emptied server or on one whose memory they may fill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as redis_async
from redis.exceptions import OutOfMemoryError, ResponseError

from tests.conftest import StartRedis
from tests.engine.conftest import Keys
from tests.engine.lua.ground import Ground

RefusedUnchanged = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[None]]
FullUnchanged = Callable[[Callable[[], Awaitable[Any]]], Awaitable[None]]


@pytest.fixture
def ground(redis: redis_async.Redis) -> Ground:
    """One empty queue."""
    return Ground(redis)


@pytest.fixture
async def own_ground(start_redis: StartRedis) -> AsyncIterator[Ground]:
    """One empty queue on a server of the test's own, whose memory it may fill."""
    async with redis_async.Redis.from_url(start_redis().url, protocol=2) as client:
        yield Ground(client)


@pytest.fixture
def refused_unchanged(ground: Ground, damage: Keys) -> RefusedUnchanged:
    """Plants a wrong type at a key, makes the call, and asserts that it is refused and nothing changed."""

    async def check(name: str, call: Callable[[], Awaitable[Any]]) -> None:
        await ground.plant(name)
        before = await damage.contents()
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await call()
        assert await damage.contents() == before

    return check


@pytest.fixture
def full_unchanged(own_ground: Ground) -> FullUnchanged:
    """Fills the server's memory, makes the call, and asserts that it is refused and nothing changed."""

    async def check(call: Callable[[], Awaitable[Any]]) -> None:
        keys = Keys(own_ground.client)
        await own_ground.fill()
        before = await keys.contents()
        with pytest.raises(OutOfMemoryError):
            await call()
        assert await keys.contents() == before

    return check
