"""Proves what let_go.lua takes away, and what it says of the child."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.families_ground import outgoing
from tests.engine.lua.ground import Ground


async def test_a_child_is_alone_when_its_last_parent_has_let_it_go(ground: Ground) -> None:
    """Its state is told then, and nobody is told of its end."""
    await ground.register()
    await ground.enqueue(id="kid", parent="up mum a")
    await ground.enqueue(id="kid", parent="up dad b")
    assert await ground.run(scripts.LET_GO, "kid", "up mum a") == [b"kept", 1]
    assert await ground.run(scripts.LET_GO, "kid", "up mum a") == [b"kept", 1]
    assert await ground.run(scripts.LET_GO, "kid", "up dad b") == [b"alone", b"waiting"]
    assert await ground.run(scripts.LET_GO, "nobody", "up dad b") == [b"alone", b""]
    await ground.run_dry()
    assert await outgoing(ground) == ({}, {}, {})


async def test_a_child_that_may_not_know_its_parent_is_let_go_only_where_it_does(ground: Ground) -> None:
    """Whoever asks again is told the same, until it has ended."""
    await ground.register()
    await ground.enqueue(id="kid", parent="up mum a")
    await ground.enqueue(id="other")
    assert await ground.run(scripts.LET_GO, "other", "up mum b", 1) == [b"kept", 0]
    assert await ground.run(scripts.LET_GO, "nobody", "up mum c", 1) == [b"kept", 0]
    for _ in range(2):
        assert await ground.run(scripts.LET_GO, "kid", "up mum a", 1) == [b"alone", b"waiting"]
    await ground.enqueue(id="kid", parent="up dad b")
    assert await ground.run(scripts.LET_GO, "kid", "up mum a", 1) == [b"kept", 1]
    await ground.run(scripts.LET_GO, "kid", "up dad b")
    await ground.run_dry()


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """Nothing is half done."""
    await refused_unchanged("parents", lambda: ground.run(scripts.LET_GO, "kid", "up mum a"))
