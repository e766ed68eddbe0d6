"""Proves that schedule_resume.lua is refused whole, where it is refused; what it does stands beside the pause."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground
from tests.engine.lua.schedules_ground import upsert


@pytest.mark.parametrize("name", ["schedules", "schedule:hourly"])
async def test_a_wrong_type_resumes_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at first."""
    await upsert(ground)
    await ground.run(scripts.SCHEDULE_PAUSE, "hourly")
    await refused_unchanged(name, lambda: ground.run(scripts.SCHEDULE_RESUME, "hourly"))


async def test_a_full_server_refuses_a_resume_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """There is no half a resume."""
    await upsert(own_ground)
    await own_ground.run(scripts.SCHEDULE_PAUSE, "hourly")
    await full_unchanged(lambda: own_ground.run(scripts.SCHEDULE_RESUME, "hourly"))
