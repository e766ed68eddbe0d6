"""Proves what promote_now.lua makes runnable, and in which order."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def test_a_delayed_job_goes_to_the_front_of_its_level(ground: Ground) -> None:
    """It is claimed before what waited longer."""
    waiting = await ground.enqueue()
    job_id = await ground.enqueue(delay=60_000)
    assert await ground.run(scripts.PROMOTE_NOW, 0, job_id) == [b"promoted"]
    assert [entry["id"] for entry in await ground.entries("front:5")] == [job_id]
    assert await ground.command("ZCARD", ground.key("delayed")) == 0
    assert ("waiting", job_id) in await ground.events()
    await ground.register()
    claims = await ground.claim()
    assert claims[0][2]["id"] == job_id
    assert f"5-{claims[1][1]}" == waiting
    await ground.settle(*map(outcome, claims))


async def test_other_states_are_told_and_kept(ground: Ground) -> None:
    """Only what is delayed can be promoted."""
    await ground.register()
    ended = await ground.enqueue()
    await ground.settle(*map(outcome, await ground.claim()))
    waiting = await ground.enqueue()
    verdicts = await ground.run(scripts.PROMOTE_NOW, 0, ended, waiting, "nobody")
    assert verdicts == [b"completed", b"waiting", b"missing"]
    await ground.run_dry()


async def test_without_ids_those_due_next_are_moved_up_to_a_limit(ground: Ground) -> None:
    """In the order of their due times."""
    ids = [await ground.enqueue(delay=delay) for delay in (3000, 1000, 2000)]
    assert await ground.run(scripts.PROMOTE_NOW, 2) == 2
    assert [entry["id"] for entry in await ground.entries("front:5")] == [ids[1], ids[2]]
    assert await ground.find(ids[0]) == "delayed"
    await ground.run_dry()


@pytest.mark.parametrize("name", ["meta", "events", "bell", "index", "ended", "delayed", "front:5", "waiting:5"])
async def test_a_wrong_type_moves_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Checks come before writes."""
    job_id = await ground.enqueue(delay=60_000)
    await refused_unchanged(name, lambda: ground.run(scripts.PROMOTE_NOW, 0, job_id))


async def test_a_full_server_promotes(own_ground: Ground) -> None:
    """What is stored already may run, which is how a full server empties."""
    job_id = await own_ground.enqueue(delay=60_000)
    await own_ground.fill()
    assert await own_ground.run(scripts.PROMOTE_NOW, 0, job_id) == [b"promoted"]
