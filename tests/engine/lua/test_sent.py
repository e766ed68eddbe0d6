"""Proves what sent.lua forgets, and for how long it remembers an end."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.families_ground import outgoing, running_parent
from tests.engine.lua.ground import Ground, outcome


async def test_a_stored_child_is_known_by_the_id_of_the_job_that_it_joined(ground: Ground) -> None:
    """So that it can be found, and taken along."""
    claim = await running_parent(ground, "ignore")
    assert await ground.run(scripts.SENT, "planned", "mum c0", "joined", "mum c9", "nobody") == 1
    assert (await ground.run(scripts.FAMILY, "mum", "children", "0"))[5] == b"0 ignore far joined"
    assert await outgoing(ground) == ({}, {}, {})
    await ground.settle(outcome(claim))


async def test_a_child_that_is_stored_late_a_second_time_does_not_run_again(ground: Ground, keys: Keys) -> None:
    """For a minute after its end was handed over, whether or not a record of it is left."""
    await ground.register()
    await ground.enqueue(id="kid", parent="up mum a")
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "-completed"))
    assert await ground.enqueue(id="kid", parent="up mum a") == "kid"
    assert await ground.find("kid") is None
    await ground.run(scripts.SENT, "handover", "up mum a", "")
    assert await ground.enqueue(id="kid", parent="up mum a") == "kid"
    assert await ground.find("kid") is None
    assert 0 < await keys.command("PTTL", ground.key("handed")) <= 60_000
    ground.now += 60_001
    await ground.run(scripts.SENT, "handover", "up mum b", "")
    await ground.enqueue(id="kid", parent="up mum a")
    assert await ground.find("kid") == "waiting"
    await ground.run_dry()
    await ground.run(scripts.SENT, "handover", "up mum a", "")
    for worker in ("ana", "last"):
        await ground.run(scripts.LEAVE, worker)


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """It is sent again."""
    await refused_unchanged("handed", lambda: ground.run(scripts.SENT, "handover", "up mum a", ""))
