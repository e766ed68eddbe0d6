"""Proves that ring.lua gives one token, however often it is called."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground


async def test_one_token_is_enough(ground: Ground) -> None:
    """Two rings wake one worker, who passes on what it leaves."""
    for _ in range(2):
        assert await ground.run(scripts.RING) == 1
    assert await ground.command("ZRANGE", ground.key("bell"), 0, -1) == [b"work"]


async def test_a_wrong_type_is_refused(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """The bell alone is touched."""
    await refused_unchanged("bell", lambda: ground.run(scripts.RING))


async def test_a_full_server_refuses_it(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """The worker looks by itself after a while."""
    await full_unchanged(lambda: own_ground.run(scripts.RING))
