"""Proves to whom, and for how long, untold.lua lends failures of which a hook is to be told."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground
from tests.engine.lua.hooks_ground import fail, hook, lent


async def test_a_failure_is_lent_to_one_worker_at_a_time(ground: Ground) -> None:
    """Oldest first, as many as were asked for, of the names asked for; what was not told in time is lent again."""
    await ground.register()
    await hook(ground, "greet", "other")
    ids = []
    for _ in range(3):
        ids.append(await fail(ground))
        ground.now += 1
    await fail(ground, name="other")
    ground.now += 60_000
    assert [member.split()[1] for member in await lent(ground, "greet", at_most=2)] == ids[:2]
    assert [member.split()[1] for member in await lent(ground, "greet", at_most=2)] == ids[2:]
    assert await lent(ground, "greet", "nobody") == []
    ground.now += 59_999
    assert await lent(ground, "greet") == []
    ground.now += 1
    reply = await ground.run(scripts.UNTOLD, 1, 10, "greet", "other")
    assert reply[::3] == [b"greet"] * 3 + [b"other"]
    assert b'"name":"greet"' in reply[2]
    flat = [part for name, member in zip(reply[::3], reply[1::3], strict=True) for part in (name, member)]
    assert await ground.run(scripts.TOLD, *flat) == 4
    await ground.run(scripts.LEAVE, "ana")


async def test_a_failure_whose_record_is_gone_is_struck_out(ground: Ground) -> None:
    """Deleted by hand: nothing is left to tell."""
    await ground.register()
    await hook(ground, "greet")
    await fail(ground)
    await ground.command("DEL", ground.key("untold"))
    ground.now += 60_000
    assert await lent(ground, "greet") == []
    assert not await ground.command("EXISTS", ground.key("untold:greet"))
    await ground.run(scripts.LEAVE, "ana")


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """Nothing was lent."""
    await refused_unchanged("untold:greet", lambda: ground.run(scripts.UNTOLD, 1, 1, "greet"))
