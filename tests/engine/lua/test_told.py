"""Proves what told.lua strikes out."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground
from tests.engine.lua.hooks_ground import fail, hook, lent


async def test_what_was_told_is_struck_out_once(ground: Ground) -> None:
    """The second call, of another worker that told it too, finds nothing."""
    await ground.register()
    await hook(ground, "greet")
    job_id = await fail(ground)
    member = f"{ground.now} {job_id}"
    assert await ground.run(scripts.TOLD, "greet", member, "greet", "1 nobody") == 1
    assert await ground.run(scripts.TOLD, "greet", member) == 0
    ground.now += 60_000
    assert await lent(ground, "greet") == []
    await ground.run(scripts.LEAVE, "ana")


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """It is told again."""
    await refused_unchanged("untold", lambda: ground.run(scripts.TOLD, "greet", "1 a"))
