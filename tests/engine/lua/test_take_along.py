"""Proves what take_along.lua notes, and that it goes with the parent."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.families_ground import outgoing, running_parent
from tests.engine.lua.ground import Ground, outcome


async def test_the_wish_is_noted_where_there_are_children_and_ends_with_the_parent(ground: Ground) -> None:
    """A child that the queue was not told of is not among those that are taken along."""
    claim = await running_parent(ground, "fail")
    assert await ground.run(scripts.TAKE_ALONG, "nobody", "cancel") == 0
    assert await ground.run(scripts.TAKE_ALONG, "mum", "remove") == 1
    assert await ground.command("HGET", ground.key("families"), "mum tree") == b"remove"
    await ground.settle(outcome(claim))
    assert await ground.command("EXISTS", ground.key("families")) == 0
    assert await outgoing(ground) == ({}, {}, {"far mum.c0 mum c0": "remove if ours"})
    await ground.run(scripts.SENT, "felled", "far mum.c0 mum c0", "")
    await ground.run(scripts.LEAVE, "ana")


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """Nothing is half done."""
    await refused_unchanged("families", lambda: ground.run(scripts.TAKE_ALONG, "mum", "cancel"))
