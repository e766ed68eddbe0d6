"""Proves what add_children.lua notes, for whom, and what it leaves alone."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.families_ground import add, outgoing, running_parent
from tests.engine.lua.ground import Ground, outcome


async def test_children_are_noted_once_and_stand_ready_to_be_stored(ground: Ground) -> None:
    """A key that the parent has changes nothing, whatever else is said of it."""
    claim = await running_parent(ground, "fail", "ignore")
    assert await add(ground, claim, "continue", "fail", "fail") == 1
    planned, _, _ = await outgoing(ground)
    assert planned == {f"mum c{i}": f'{{"queue":"far","n":{i}}}' for i in range(3)}
    reply = await ground.run(scripts.FAMILY, "mum", "children", "0")
    assert reply == [b"", 3, 0, b"0", b"c0", b"0 fail far mum.c0", b"c1", b"1 ignore far mum.c1", *reply[8:]]
    assert reply[8:] == [b"c2", b"2 fail far mum.c2"]
    await ground.settle(outcome(claim))
    assert (await outgoing(ground))[0] == {}


async def test_only_the_worker_that_holds_the_claim_may_add_children(ground: Ground, damage: Keys) -> None:
    """Another worker's call, and one after the job has ended, change nothing."""
    claim = await running_parent(ground, "fail")
    before = await damage.contents()
    assert await add(ground, claim, "fail", "fail", worker="ben") == -1
    assert await damage.contents() == before
    await ground.settle(outcome(claim))
    before = await damage.contents()
    assert await add(ground, claim, "fail") == -1
    assert await damage.contents() == before


async def test_a_job_that_waits_for_this_one_is_not_its_child(ground: Ground, damage: Keys) -> None:
    """At whatever remove: the circle is named, and nothing was added."""
    await ground.register()
    await ground.enqueue(id="mum", parent="q granny x")
    await ground.enqueue(id="granny", parent="far elder y")
    (claim, _) = await ground.claim()
    before = await damage.contents()
    for child, circle in (
        ("q granny", "q granny\nq mum\nq granny"),
        ("far elder", "far elder\nq granny\nq mum\nfar elder"),
    ):
        flat = ("ok", "fail far kid", "{}", "bad", f"fail {child}", "{}")
        where = ("ana", claim[0], claim[1], "mum")
        assert (await ground.run(scripts.ADD_CHILDREN, *where, *flat)).decode() == circle
    assert await damage.contents() == before


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """Nothing is half noted."""
    claim = await running_parent(ground)
    await refused_unchanged("planned", lambda: add(ground, claim, "fail"))


async def test_a_full_redis_refuses_children_and_changes_nothing(
    own_ground: Ground, full_unchanged: FullUnchanged
) -> None:
    """The handler is told, instead of waiting for children that were lost."""
    claim = await running_parent(own_ground)
    await full_unchanged(lambda: add(own_ground, claim, "fail"))
