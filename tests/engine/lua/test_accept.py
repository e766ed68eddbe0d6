"""Proves what accept.lua makes of the ends of children: who runs again, who fails, and what a repetition changes."""

from __future__ import annotations

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.families_ground import accept, add, outgoing, running_parent, wait
from tests.engine.lua.ground import Ground, outcome


async def test_the_last_end_sends_the_parent_to_the_front(ground: Ground) -> None:
    """It runs before what waited longer, and is found there with all ends."""
    claim = await running_parent(ground, "fail", "fail")
    await ground.enqueue(name="other")
    assert await wait(ground, claim) == "blocked"
    assert await accept(ground, ("c0", "completed")) == [1, 0, 0]
    assert await ground.find("mum") == "blocked"
    assert await accept(ground, ("c1", "completed")) == [1, 0, 0]
    assert [event for event in await ground.events() if event == ("waiting", "mum")][-1:] == [("waiting", "mum")]
    again, _ = await ground.claim()
    assert (again[0], again[2]["id"], again[2]["waits"]) == ("front:5", "mum", "1")
    await ground.run_dry()


async def test_an_end_counts_once(ground: Ground, damage: Keys) -> None:
    """A courier that was cut off tells it again, and says something else: the first stands."""
    claim = await running_parent(ground, "fail", "fail")
    assert await wait(ground, claim) == "blocked"
    assert await accept(ground, ("c0", "completed"), ("c0", "failed")) == [1, 0, 0]
    before = await damage.contents()
    assert await accept(ground, ("c0", "failed")) == [0, 0, 0]
    assert await damage.contents() == before


async def test_a_parent_that_cannot_do_without_the_child_fails_at_once(ground: Ground) -> None:
    """Its record says which child and why, its key is free, and its family is forgotten."""
    await ground.register()
    await ground.enqueue(id="mum", unique="k")
    (claim,) = await ground.claim(1)
    assert await add(ground, claim, "fail", "fail") == 2
    assert await wait(ground, claim) == "blocked"
    held = await ground.enqueue(payload="2", unique="k")
    assert await accept(ground, ("c0", "failed"), ("c1", "completed")) == [2, 0, 0]
    record = msgspec.json.decode(await ground.command("HGET", ground.key("ended"), "mum"))
    assert record["error"] == {"type": "ChildFailed", "message": "child c0 failed: Broken: it broke"}
    assert await ground.find(held) == "waiting"
    assert await accept(ground, ("c1", "completed")) == [0, 1, 0]
    await ground.run_dry()


@pytest.mark.parametrize(
    ("policy", "after"), [("fail", "ended"), ("ignore", "blocked"), ("continue", "waiting")], ids=lambda value: value
)
async def test_a_failure_means_what_the_child_s_policy_says(ground: Ground, policy: str, after: str) -> None:
    """To a parent that waits, and to one that was still running when the child failed."""
    claim = await running_parent(ground, policy, "fail")
    assert await wait(ground, claim) == "blocked"
    await accept(ground, ("c0", "cancelled"))
    assert await ground.find("mum") == after
    other = await running_parent(ground, policy, "fail", job_id="dad") if after != "waiting" else None
    if other is not None:
        await accept(ground, ("c0", "removed"), job_id="dad")
        assert await ground.find("dad") == "active"
        assert await wait(ground, other) == after
        await accept(ground, ("c1", "completed"), job_id="dad")
    await accept(ground, ("c1", "completed"))
    await ground.run_dry()


async def test_a_parent_that_knew_of_the_failure_waits_for_the_others(ground: Ground) -> None:
    """One that failed meanwhile makes it run again."""
    claim = await running_parent(ground, "continue", "continue", "fail")
    await accept(ground, ("c0", "failed"))
    assert await wait(ground, claim, seen=0) == "waiting"
    (claim,) = await ground.claim(1)
    assert await wait(ground, claim, seen=1) == "blocked"
    await accept(ground, ("c1", "failed"))
    assert await ground.find("mum") == "waiting"
    await accept(ground, ("c2", "completed"))
    await ground.run_dry()


async def test_a_parent_that_is_a_child_hands_its_failure_on(ground: Ground) -> None:
    """The reply says that there is something to carry."""
    claim = await running_parent(ground, "fail")
    await ground.enqueue(id="mum", parent="up gran g")
    assert await wait(ground, claim) == "blocked"
    assert await accept(ground, ("c0", "failed")) == [1, 0, 1]
    _, ends, _ = await outgoing(ground)
    assert msgspec.json.decode(ends["up gran g"])["error"]["type"] == "ChildFailed"
    await ground.run(scripts.SENT, "handover", "up gran g", "")


@pytest.mark.parametrize("name", ["blocked", "children:mum", "child_ends:mum"])
async def test_a_key_of_a_wrong_type_refuses_the_call(
    ground: Ground, refused_unchanged: RefusedUnchanged, name: str
) -> None:
    """Nothing is half done."""
    await ground.enqueue()
    await refused_unchanged(name, lambda: accept(ground, ("c0", "completed")))


async def test_a_full_redis_refuses_ends_and_changes_nothing(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """They stay with the child's queue, and are brought again."""
    claim = await running_parent(own_ground, "fail")
    assert await wait(own_ground, claim) == "blocked"
    await full_unchanged(lambda: accept(own_ground, ("c0", "completed")))


async def test_a_parent_whose_children_ended_while_it_ran_does_not_wait(ground: Ground) -> None:
    """It goes to the front by the very settlement."""
    claim = await running_parent(ground, "fail")
    assert await accept(ground, ("c0", "completed")) == [1, 0, 0]
    assert await wait(ground, claim) == "waiting"
    (again,) = await ground.claim()
    await ground.settle(outcome(again))
    assert await ground.run(scripts.FAMILY, "mum", "ends", "0") == [b"", 0, 0, b"0"]
