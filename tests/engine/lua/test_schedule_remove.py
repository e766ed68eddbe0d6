"""Proves what schedule_remove.lua takes away, and what it leaves."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome
from tests.engine.lua.schedules_ground import due_ms, first_fire, row_of, tick, tidy, upsert


async def test_what_is_there_goes_once(ground: Ground) -> None:
    """Row and due time both."""
    await upsert(ground)
    assert await ground.run(scripts.SCHEDULE_REMOVE, "hourly", "") == 1
    assert await ground.run(scripts.SCHEDULE_REMOVE, "hourly", "") == 0
    assert (await row_of(ground), await due_ms(ground)) == ({}, None)


async def test_another_owners_schedule_stays(ground: Ground) -> None:
    """Where an owner is asked for."""
    await upsert(ground, owner="shop")
    assert await ground.run(scripts.SCHEDULE_REMOVE, "hourly", "billing") == 0
    assert await ground.run(scripts.SCHEDULE_REMOVE, "hourly", "shop") == 1


async def test_a_run_that_goes_on_ends_and_brings_nothing_back(ground: Ground) -> None:
    """Its end makes no row anew."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    await ground.register()
    (claim,) = await ground.claim()
    await ground.run(scripts.SCHEDULE_REMOVE, "hourly", "")
    assert (await ground.settle(outcome(claim)))[2] == b"1"
    assert await row_of(ground) == {}
    await tidy(ground)


async def test_a_wrong_type_removes_nothing(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """The set of schedules is touched first."""
    await upsert(ground)
    await refused_unchanged("schedules", lambda: ground.run(scripts.SCHEDULE_REMOVE, "hourly", ""))


async def test_a_full_server_can_be_rid_of_a_schedule(own_ground: Ground) -> None:
    """Taking away needs no memory."""
    await upsert(own_ground)
    await own_ground.fill()
    assert await own_ground.run(scripts.SCHEDULE_REMOVE, "hourly", "") == 1
