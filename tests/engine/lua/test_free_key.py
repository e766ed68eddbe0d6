"""Proves whom free_key.lua lets go on, and what it returns."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def test_a_key_that_nobody_holds_is_nobody_s(ground: Ground) -> None:
    """The reply is empty, and nothing changed."""
    assert await ground.run(scripts.FREE_KEY, "k") == b""
    assert not await ground.command("EXISTS", ground.key("unique"))


async def test_the_first_that_waits_for_a_freed_key_holds_it_beside_the_one_that_held_it(ground: Ground) -> None:
    """The old holder's end does not free it a second time."""
    await ground.register()
    first = await ground.enqueue(payload="1", unique="k")
    (running,) = await ground.claim()
    second = await ground.enqueue(payload="2", unique="k")
    third = await ground.enqueue(payload="3", unique="k")
    assert await ground.run(scripts.FREE_KEY, "k") == first.encode()
    assert [await ground.find(one) for one in (first, second, third)] == ["active", "waiting", "blocked"]
    await ground.settle(outcome(running, "completed k"))
    assert await ground.find(third) == "blocked"
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "completed k"))
    assert await ground.find(third) == "waiting"
    await ground.run_dry()


async def test_a_freed_key_can_be_taken_at_once(ground: Ground) -> None:
    """An equal payload is a new job then."""
    first = await ground.enqueue(unique="k")
    await ground.run(scripts.FREE_KEY, "k")
    assert await ground.enqueue(unique="k") != first
    await ground.run_dry()


async def test_a_throttle_can_be_ended_by_hand(ground: Ground) -> None:
    """Its key is gone, and the next job is new."""
    throttle = {"unique": "k", "unique_mode": "throttle", "period": 60_000}
    first = await ground.enqueue(**throttle)  # type: ignore[arg-type]
    assert await ground.run(scripts.FREE_KEY, "k") == first.encode()
    assert await ground.enqueue(**throttle) != first  # type: ignore[arg-type]
    await ground.run_dry()


async def test_a_full_server_frees_keys(own_ground: Ground) -> None:
    """What waits for the key can run, so that the server empties."""
    await own_ground.enqueue(payload="1", unique="k")
    second = await own_ground.enqueue(payload="2", unique="k")
    await own_ground.fill()
    await own_ground.run(scripts.FREE_KEY, "k")
    assert await own_ground.find(second) == "waiting"


NAMES = ["held:k", "unique", "throttled:k", "index", "delayed", "blocked", "events", "bell", "waiting:5", "front:2"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_type_frees_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at before the first write."""
    for level in (2, 5):
        await ground.enqueue(payload=str(level), level=level, unique="k")
    await ground.enqueue(unique="k", unique_mode="throttle", period=60_000)
    await refused_unchanged(name, lambda: ground.run(scripts.FREE_KEY, "k"))
