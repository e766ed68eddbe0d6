"""Proves what family.lua reads."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.families_ground import accept, running_parent
from tests.engine.lua.ground import Ground, outcome


async def test_a_family_is_counted_and_read_in_steps(ground: Ground) -> None:
    """Children and ends, by their keys; nothing of a job that has none."""
    claim = await running_parent(ground, "ignore", "continue")
    await accept(ground, ("c1", "failed"))
    assert await ground.run(scripts.FAMILY, "mum", "", "0") == [b"go 1", 2, 1, b"0"]
    reply = await ground.run(scripts.FAMILY, "mum", "ends", "0")
    assert reply == [b"go 1", 2, 1, b"0", b"c1", b'{"key":"c1","state":"failed"}']
    assert await ground.run(scripts.FAMILY, "dad", "children", "0") == [b"", 0, 0, b"0"]
    await ground.settle(outcome(claim))
