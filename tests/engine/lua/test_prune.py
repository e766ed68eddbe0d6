"""Proves that prune.lua deletes dead letters and nothing else."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def bury(ground: Ground, job_id: str) -> None:
    """A failure that retention doesn't keep."""
    await ground.register()
    await ground.enqueue(id=job_id)
    await ground.settle(*(outcome(claim, "failed") for claim in await ground.claim()), keep=0)


async def test_those_named_go_and_are_counted(ground: Ground) -> None:
    """With their records; the others stay."""
    for job_id in ("one", "two"):
        await bury(ground, job_id)
    assert await ground.run(scripts.PRUNE, "one", "nobody") == 1
    assert await ground.command("ZRANGE", ground.key("dead"), 0, -1) == [b"two"]
    assert await ground.command("HKEYS", ground.key("buried")) == [b"two"]


@pytest.mark.parametrize("name", ["dead", "buried"])
async def test_a_wrong_type_prunes_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Checks come before writes."""
    await bury(ground, "one")
    await refused_unchanged(name, lambda: ground.run(scripts.PRUNE, "one"))


async def test_a_full_server_can_be_pruned(own_ground: Ground) -> None:
    """Letting go makes room."""
    await bury(own_ground, "one")
    await own_ground.fill()
    assert await own_ground.run(scripts.PRUNE, "one") == 1
