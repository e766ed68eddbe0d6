"""Proves what leave.lua takes away, and what it leaves to the sweep."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of


async def test_an_idle_worker_leaves_nothing_behind(ground: Ground) -> None:
    """Row, lease and consumers are gone."""
    await ground.register()
    await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.settle((*claim[:2], id_of(claim), "completed", "{}"))
    assert await ground.run(scripts.LEAVE, "ana") == 0
    assert not await ground.command("EXISTS", ground.key("workers"), ground.key("worker:ana"))
    assert await ground.command("XINFO", "CONSUMERS", ground.key("waiting:5"), "workers") == []


async def test_claims_that_are_still_held_are_counted_and_reclaimed_by_the_next_sweep(ground: Ground) -> None:
    """Their consumer stays until then."""
    await ground.register()
    ids = [await ground.enqueue() for _ in range(2)]
    await ground.claim()
    assert await ground.run(scripts.LEAVE, "ana") == 2
    assert [await ground.find(one) for one in ids] == ["active", "active"]
    assert (await ground.sweep())[2] == 2
    await ground.run_dry()


async def test_the_watch_over_delayed_jobs_is_handed_on(ground: Ground) -> None:
    """The bell rings for another worker to take it."""
    await ground.register()
    await ground.register("ben")
    await ground.enqueue(delay=5000)
    await ground.claim()
    assert await ground.command("ZCARD", ground.key("bell")) == 0
    await ground.run(scripts.LEAVE, "ben")
    assert await ground.command("ZCARD", ground.key("bell")) == 0
    await ground.run(scripts.LEAVE, "ana")
    assert await ground.command("ZCARD", ground.key("bell")) == 1
    assert await ground.command("HGET", ground.key("meta"), "watch") is None
    await ground.run_dry()


@pytest.mark.parametrize("name", ["meta", "workers", "bell", "waiting:5"])
async def test_a_wrong_type_changes_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The worker stays until it is swept."""
    await ground.register()
    await ground.enqueue(delay=5)
    await ground.claim()
    await ground.enqueue()
    await refused_unchanged(name, lambda: ground.run(scripts.LEAVE, "ana"))


async def test_a_full_server_lets_workers_go(own_ground: Ground) -> None:
    """Nothing is stored for it."""
    await own_ground.register()
    await own_ground.enqueue(delay=5)
    await own_ground.claim()
    await own_ground.fill()
    assert await own_ground.run(scripts.LEAVE, "ana") == 0
    assert await Keys(own_ground.client).names(own_ground.key("worker*")) == set()
