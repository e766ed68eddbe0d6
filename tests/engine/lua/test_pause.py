"""Proves that pause.lua stops claims once, and says so once."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground


async def test_the_first_pause_counts_and_keeps_its_time(ground: Ground) -> None:
    """A second one changes nothing and tells nobody."""
    start = ground.now
    assert await ground.run(scripts.PAUSE) == 1
    ground.now += 5
    assert await ground.run(scripts.PAUSE) == 0
    assert await ground.command("HGET", ground.key("meta"), "paused") == str(start).encode()
    assert await ground.events() == [("paused", "")]


@pytest.mark.parametrize("name", ["meta", "events"])
async def test_a_wrong_type_pauses_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The event stream is looked at first."""
    await refused_unchanged(name, lambda: ground.run(scripts.PAUSE))


async def test_a_full_server_refuses_a_pause_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """There is no half a pause."""
    await full_unchanged(lambda: own_ground.run(scripts.PAUSE))
