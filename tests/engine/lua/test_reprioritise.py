"""Proves how reprioritise.lua changes the level of jobs in each state."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def test_a_waiting_job_goes_to_the_end_of_its_new_level_and_keeps_its_id(ground: Ground) -> None:
    """A plain job, whose id says where it was born, is found all the same."""
    there = await ground.enqueue(level=1)
    job_id = await ground.enqueue(payload='"é"')
    assert await ground.run(scripts.REPRIORITISE, 1, job_id) == [b"moved"]
    assert await ground.find(job_id) == "waiting"
    await ground.register()
    first, second = await ground.claim()
    assert f"1-{first[1]}" == there
    assert (second[0], second[2]["id"], second[2]["payload"]) == ("waiting:1", job_id, '"é"')
    await ground.settle(outcome(first), outcome(second))


async def test_a_job_at_the_front_stays_at_the_front(ground: Ground) -> None:
    """It came back once, and still goes before what never ran."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.settle(*(outcome(claim, "released") for claim in await ground.claim()))
    assert await ground.run(scripts.REPRIORITISE, 0, job_id) == [b"moved"]
    assert len(await ground.entries("front:0")) == 1
    await ground.run_dry()


async def test_a_delayed_or_blocked_job_has_its_new_level_when_it_runs(ground: Ground) -> None:
    """Its state stays as it is."""
    holder = await ground.enqueue(unique="k")
    blocked = await ground.enqueue(payload="2", unique="k")
    delayed = await ground.enqueue(delay=1000)
    assert await ground.run(scripts.REPRIORITISE, 2, blocked, delayed) == [b"moved", b"moved"]
    assert [await ground.find(job_id) for job_id in (blocked, delayed)] == ["blocked", "delayed"]
    await ground.register()
    ground.now += 2000
    claims = await ground.claim()
    assert next((claim[0], claim[2].get("id")) for claim in claims) == ("waiting:2", delayed)
    assert f"5-{claims[1][1]}" == holder
    await ground.settle(outcome(claims[0]), outcome(claims[1], "completed k"))
    assert len(await ground.entries("waiting:2")) == 1
    await ground.run_dry()


async def test_what_it_can_not_change_is_told(ground: Ground) -> None:
    """Same level, running, ended, unknown."""
    await ground.register()
    ended = await ground.enqueue()
    await ground.settle(*map(outcome, await ground.claim()))
    active = await ground.enqueue()
    await ground.claim()
    same = await ground.enqueue()
    verdicts = await ground.run(scripts.REPRIORITISE, 5, same, active, ended, "nobody")
    assert verdicts == [b"same", b"active", b"completed", b"missing"]
    await ground.run_dry()


@pytest.mark.parametrize("name", ["meta", "events", "bell", "index", "ended", "delayed", "waiting:5", "waiting:1"])
async def test_a_wrong_type_moves_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The job is in its old level."""
    job_id = await ground.enqueue()
    await refused_unchanged(name, lambda: ground.run(scripts.REPRIORITISE, 1, job_id))


async def test_a_full_server_still_moves_jobs(own_ground: Ground) -> None:
    """Nothing grows by it."""
    ids = [await own_ground.enqueue(), await own_ground.enqueue(delay=1000)]
    await own_ground.fill()
    assert await own_ground.run(scripts.REPRIORITISE, 1, *ids) == [b"moved", b"moved"]
