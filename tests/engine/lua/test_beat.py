"""Proves that beat.lua renews a lease, and none that is gone."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground


async def test_a_beat_renews_the_lease_and_says_what_is_done(ground: Ground) -> None:
    """The new time and the worker's own words are kept."""
    await ground.register()
    ground.now += 3000
    assert await ground.run(scripts.BEAT, "ana", '{"running":[]}') == 1
    assert int(await ground.command("ZSCORE", ground.key("workers"), "ana")) == ground.now
    assert await ground.command("HGET", ground.key("worker:ana"), "doing") == b'{"running":[]}'


async def test_a_worker_declared_dead_is_told_and_stays_dead(ground: Ground) -> None:
    """Its beat makes no row."""
    await ground.register()
    ground.now += 10_000
    await ground.sweep()
    assert await ground.run(scripts.BEAT, "ana", "{}") == 0
    assert not await ground.command("EXISTS", ground.key("workers"), ground.key("worker:ana"))


async def test_a_worker_whose_row_was_deleted_by_hand_is_told(ground: Ground) -> None:
    """Half a row is none: its next call would find it dead."""
    await ground.register()
    await ground.command("DEL", ground.key("worker:ana"))
    assert await ground.run(scripts.BEAT, "ana", "{}") == 0
    assert not await ground.command("EXISTS", ground.key("worker:ana"))


@pytest.mark.parametrize("name", ["workers", "worker:ana"])
async def test_a_wrong_type_renews_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Both keys are looked at first."""
    await ground.register()
    ground.now += 1
    await refused_unchanged(name, lambda: ground.run(scripts.BEAT, "ana", "{}"))


async def test_a_full_server_still_takes_beats(own_ground: Ground) -> None:
    """Otherwise all its workers would be declared dead."""
    await own_ground.register()
    await own_ground.fill()
    own_ground.now += 3000
    assert await own_ground.run(scripts.BEAT, "ana", '{"running":["' + "x" * 500 + '"]}') == 1
    assert int(await own_ground.command("ZSCORE", own_ground.key("workers"), "ana")) == own_ground.now
