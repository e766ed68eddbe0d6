"""Proves that resume.lua ends a pause and rings."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground


async def test_it_ends_a_pause_once_and_rings(ground: Ground) -> None:
    """Without a pause nothing happens and nobody is woken."""
    assert await ground.run(scripts.RESUME) == 0
    assert await ground.events() == []
    assert await ground.command("ZCARD", ground.key("bell")) == 0
    await ground.run(scripts.PAUSE)
    assert await ground.run(scripts.RESUME) == 1
    assert await ground.events() == [("paused", ""), ("resumed", "")]
    assert await ground.command("ZCARD", ground.key("bell")) == 1


@pytest.mark.parametrize("name", ["meta", "events", "bell"])
async def test_a_wrong_type_resumes_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The queue stays paused, and can be resumed later."""
    await ground.run(scripts.PAUSE)
    await refused_unchanged(name, lambda: ground.run(scripts.RESUME))


async def test_a_full_server_can_be_resumed(own_ground: Ground) -> None:
    """Or it could never be emptied."""
    await own_ground.run(scripts.PAUSE)
    await own_ground.fill()
    assert await own_ground.run(scripts.RESUME) == 1
