"""Proves what outgoing.lua shows to the courier, and what it mends."""

from __future__ import annotations

import msgspec

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.families_ground import outgoing, running_parent
from tests.engine.lua.ground import Ground, outcome


async def test_the_end_of_a_child_stays_until_it_was_sent(ground: Ground) -> None:
    """However it ended, and whether or not its record is kept; each parent is told."""
    await ground.register()
    await ground.enqueue(id="done", parent="up mum a")
    await ground.enqueue(id="done", parent="up dad a")
    await ground.enqueue(id="gone", parent="up mum b")
    await ground.enqueue(id="stopped", parent="up mum c")
    (claim,) = await ground.claim(1)
    await ground.settle(outcome(claim, "-completed", '{"id":"done","state":"completed","result":7}'))
    assert await ground.command("LPOP", ground.key("inbox:ana")) == b'{"deliver":true}'
    await ground.run(scripts.REMOVE, " waiting ", "gone")
    await ground.run(scripts.CANCEL, 0, "why not", "stopped")
    for _ in range(2):
        _, ends, _ = await outgoing(ground)
        states = {link: msgspec.json.decode(text)["state"] for link, text in ends.items()}
        done = {"up mum a": "completed", "up dad a": "completed"}
        assert states == {**done, "up mum b": "removed", "up mum c": "cancelled"}
    assert await ground.run(scripts.SENT, "handover", *(part for link in ends for part in (link, ""))) == 4
    assert await outgoing(ground) == ({}, {}, {})


async def test_a_child_that_had_ended_before_it_was_asked_for_is_handed_over(ground: Ground) -> None:
    """With the result that its record holds."""
    await ground.register()
    job_id = await ground.enqueue(id="early")
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "completed", '{"id":"early","state":"completed","result":7}'))
    assert await ground.enqueue(id="early", parent="up mum a") == job_id
    _, ends, _ = await outgoing(ground)
    assert msgspec.json.decode(ends["up mum a"])["result"] == 7
    await ground.run(scripts.SENT, "handover", "up mum a", "")


async def test_mending_finds_children_and_parents_that_are_gone(ground: Ground, damage: Keys) -> None:
    """A child that vanished counts as removed, and what a vanished parent left is deleted."""
    await running_parent(ground, "fail")
    await ground.enqueue(id="lost", parent="up gran g")
    await ground.run(scripts.CLEAR, 1, 100)
    assert (await outgoing(ground))[1] == {}
    _, ends, _ = await outgoing(ground, mend=True)
    assert ends == {"up gran g": '{"id":"lost","state":"removed"}'}
    left = {name for name in await damage.names(ground.key("*")) if "child" in name or "famil" in name}
    assert left == set()
    assert await outgoing(ground, mend=True) == ({}, ends, {})


async def test_children_that_their_parent_takes_along_are_named(ground: Ground) -> None:
    """Those that have not ended; of one it is not known whether it was stored."""
    claim = await running_parent(ground, "fail", "fail")
    await ground.run(scripts.SENT, "planned", "mum c0", "other-id")
    assert await ground.run(scripts.TAKE_ALONG, "mum", "cancel") == 1
    await ground.settle(outcome(claim, "cancelled"))
    planned, _, felled = await outgoing(ground)
    assert (planned, felled) == ({}, {"far other-id mum c0": "cancel", "far mum.c1 mum c1": "cancel if ours"})
    await ground.run(scripts.SENT, "felled", *(word for name in felled for word in (name, "")))
    await ground.run(scripts.LEAVE, "ana")


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """The courier tries again later."""
    await refused_unchanged("planned", lambda: outgoing(ground, mend=True))


async def test_large_ends_are_brought_in_parts(ground: Ground) -> None:
    """About 4 MB at once, and at least one; the rest is said to be left."""
    await ground.register()
    for number in range(5):
        await ground.enqueue(id=f"big{number}", parent=f"up mum c{number}")
    result = "x" * 1_500_000
    claims = await ground.claim()
    body = f'{{"state":"completed","result":"{result}"}}'
    await ground.settle(*(outcome(claim, "-completed", body) for claim in claims))
    parts: list[tuple[int, int]] = []
    while not parts or parts[-1][1]:
        _, ends, _, more = await ground.run(scripts.OUTGOING, 100, 0)
        parts.append((len(ends) // 2, more))
        await ground.run(scripts.SENT, "handover", *(part for name in ends[::2] for part in (name, "")))
    assert parts == [(3, 1), (2, 0)]
    await ground.run(scripts.LEAVE, "ana")
