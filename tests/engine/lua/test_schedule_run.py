"""Proves that schedule_run.lua starts a run by hand, and where that run stands in line."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground
from tests.engine.lua.schedules_ground import due_ms, first_fire, row_of, tick, tidy, upsert


async def test_there_is_nothing_to_run_without_a_schedule(ground: Ground) -> None:
    """And nothing is made."""
    assert await ground.run(scripts.SCHEDULE_RUN, "hourly") == []
    assert await ground.command("DBSIZE") == 0


async def test_a_run_by_hand_leaves_fire_and_count_as_they_are(ground: Ground) -> None:
    """Paused or not; each call is a run of its own."""
    await upsert(ground, limit=1)
    await ground.run(scripts.SCHEDULE_PAUSE, "hourly")
    first = await ground.run(scripts.SCHEDULE_RUN, "hourly")
    second = await ground.run(scripts.SCHEDULE_RUN, "hourly")
    assert first[1:] == second[1:] == [b"greet", b"waiting"]
    assert first[0] != second[0]
    row = await row_of(ground)
    assert (row["last_id"], row["last_ms"], "count" in row) == (second[0].decode(), str(ground.now), False)
    assert (await due_ms(ground), row["next_ms"]) == ("inf", str(first_fire(ground)))
    await tidy(ground)


@pytest.mark.parametrize("overlap", ["skip", "queue_one"])
async def test_where_runs_may_not_overlap_it_waits(ground: Ground, overlap: str) -> None:
    """Nothing that a person asks for is dropped."""
    await upsert(ground, overlap=overlap)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    for _ in range(2):
        reply = await ground.run(scripts.SCHEDULE_RUN, "hourly")
        assert reply[2] == b"blocked"
        assert await ground.find(reply[0].decode()) == "blocked"
    await tidy(ground)


async def test_a_job_with_a_unique_key_of_its_own_is_joined(ground: Ground) -> None:
    """The reply names the job that goes on."""
    await upsert(ground, unique="space-1")
    other = await ground.enqueue(payload="{}", unique="space-1")
    assert await ground.run(scripts.SCHEDULE_RUN, "hourly") == [other.encode(), b"greet", b"joined"]
    await tidy(ground)


@pytest.mark.parametrize("name", ["meta", "events", "bell", "blocked", "index", "unique", "ended", "runs", "waiting:5"])
async def test_a_wrong_type_runs_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at before the first write."""
    await upsert(ground)
    await refused_unchanged(name, lambda: ground.run(scripts.SCHEDULE_RUN, "hourly"))


async def test_a_full_server_refuses_a_run_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """There is no half a run."""
    await upsert(own_ground)
    await full_unchanged(lambda: own_ground.run(scripts.SCHEDULE_RUN, "hourly"))
