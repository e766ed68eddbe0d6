"""Proves that schedule_pause.lua and schedule_resume.lua stop and start a schedule, and say so once."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground
from tests.engine.lua.schedules_ground import due_ms, first_fire, row_of, tidy, upsert


async def test_there_is_nothing_to_pause_or_resume_without_a_schedule(ground: Ground) -> None:
    """And nothing is made."""
    assert await ground.run(scripts.SCHEDULE_PAUSE, "hourly") == -1
    assert await ground.run(scripts.SCHEDULE_RESUME, "hourly") == -1
    assert await row_of(ground) == {}


async def test_the_first_pause_counts_and_keeps_its_time(ground: Ground) -> None:
    """From then on the schedule is never due, and remembers its fire."""
    await upsert(ground)
    start = ground.now
    assert await ground.run(scripts.SCHEDULE_PAUSE, "hourly") == 1
    ground.now += 5
    assert await ground.run(scripts.SCHEDULE_PAUSE, "hourly") == 0
    row = await row_of(ground)
    assert (row["paused_ms"], row["next_ms"]) == (str(start), str(first_fire(ground)))
    assert await due_ms(ground) == "inf"
    await tidy(ground)


async def test_the_first_resume_counts_and_keeps_its_time(ground: Ground) -> None:
    """The stored fire is due again; what fires is up to the resumed time."""
    await upsert(ground)
    assert await ground.run(scripts.SCHEDULE_RESUME, "hourly") == 0
    await ground.run(scripts.SCHEDULE_PAUSE, "hourly")
    ground.now += 5
    assert await ground.run(scripts.SCHEDULE_RESUME, "hourly") == 1
    row = await row_of(ground)
    assert (row["resumed_ms"], "paused_ms" in row) == (str(ground.now), False)
    assert await due_ms(ground) == str(first_fire(ground))
    await tidy(ground)


async def test_one_that_has_ended_stays_ended(ground: Ground) -> None:
    """A resume makes no fire of none."""
    await upsert(ground, next_ms="")
    await ground.run(scripts.SCHEDULE_PAUSE, "hourly")
    assert await ground.run(scripts.SCHEDULE_RESUME, "hourly") == 1
    assert await due_ms(ground) == "inf"
    await tidy(ground)


@pytest.mark.parametrize("name", ["schedules", "schedule:hourly"])
async def test_a_wrong_type_pauses_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at first."""
    await upsert(ground)
    await refused_unchanged(name, lambda: ground.run(scripts.SCHEDULE_PAUSE, "hourly"))


async def test_a_full_server_refuses_a_pause_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """There is no half a pause."""
    await upsert(own_ground)
    await full_unchanged(lambda: own_ground.run(scripts.SCHEDULE_PAUSE, "hourly"))
