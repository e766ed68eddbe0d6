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


async def test_a_worker_that_holds_more_than_it_runs_is_told_to_let_go(ground: Ground) -> None:
    """One without prefetch is told nothing; nobody is told twice."""
    await ground.run(scripts.REGISTER, "ana", '{"concurrency":5,"prefetch":20}')
    await ground.run(scripts.REGISTER, "ben", '{"concurrency":5,"prefetch":0}')
    await ground.run(scripts.PAUSE)
    await ground.run(scripts.PAUSE)
    assert await ground.command("LRANGE", ground.key("inbox:ana"), 0, -1) == [b'{"release":true}']
    assert not await ground.command("EXISTS", ground.key("inbox:ben"))
    for worker in ("ana", "ben"):
        await ground.run(scripts.LEAVE, worker)


@pytest.mark.parametrize("name", ["meta", "events"])
async def test_a_wrong_type_pauses_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The event stream is looked at first."""
    await refused_unchanged(name, lambda: ground.run(scripts.PAUSE))


async def test_a_full_server_refuses_a_pause_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """There is no half a pause."""
    await full_unchanged(lambda: own_ground.run(scripts.PAUSE))
