"""Proves what claim.lua hands out, in what order, and to whom it gives nothing."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome


async def test_a_worker_without_a_row_is_dead(ground: Ground) -> None:
    """It gets nothing, and the job stays waiting."""
    job_id = await ground.enqueue()
    assert await ground.run(scripts.CLAIM, "nobody", 1, 5, 0) == [b"dead", ground.now]
    assert await ground.find(job_id) == "waiting"
    await ground.run_dry()


async def test_a_call_with_an_older_number_claims_nothing(ground: Ground) -> None:
    """The same number again is stale too, and brings the verdicts of the last call."""
    await ground.register()
    first = await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.enqueue()
    await ground.run(scripts.SETTLE, "ana", 50, 0, 0, "", "", "", *outcome(claim))
    for number in (50, 7):
        assert await ground.run(scripts.CLAIM, "ana", number, 5, 0) == [b"stale", ground.now, b"1"]
    assert await ground.find(first) == "ended"
    assert len((await ground.run(scripts.CLAIM, "ana", 51, 5, 0))[4:]) == 2
    await ground.run_dry()


async def test_a_paused_queue_gives_nothing_but_promotes_what_is_due(ground: Ground) -> None:
    """Delayed jobs become waiting during a pause."""
    await ground.register()
    job_id = await ground.enqueue(delay=10)
    await ground.run(scripts.PAUSE)
    ground.now += 10
    assert await ground.run(scripts.CLAIM, "ana", ground.call(), 5, 0) == [b"paused", ground.now]
    assert await ground.find(job_id) == "waiting"
    await ground.run(scripts.RESUME)
    assert [id_of(claim) for claim in await ground.claim()] == [job_id]
    await ground.run_dry()


async def test_urgent_levels_come_first_and_front_before_waiting(ground: Ground) -> None:
    """First in, first out within each; not more than wanted."""
    await ground.register()
    low = [await ground.enqueue(level=9) for _ in range(2)]
    high = [await ground.enqueue(level=0) for _ in range(2)]
    taken = await ground.claim(1)
    assert [id_of(claim) for claim in taken] == high[:1]
    await ground.settle(outcome(taken[0], "released"))
    newer = await ground.enqueue(level=0)
    assert [id_of(claim) for claim in await ground.claim(4)] == [*high, newer, low[0]]
    assert [id_of(claim) for claim in await ground.claim(4)] == [low[1]]
    await ground.run_dry()


async def test_the_fair_share_goes_to_the_oldest_of_any_level(ground: Ground) -> None:
    """One claim of the starving level, the rest by urgency."""
    await ground.register()
    old = await ground.enqueue(level=9)
    await ground.next_ms()
    urgent = [await ground.enqueue(level=1) for _ in range(2)]
    assert [id_of(claim) for claim in await ground.claim(2, fair=1)] == [old, urgent[0]]
    await ground.run_dry()


async def test_one_idle_worker_watches_for_the_next_due_job(ground: Ground) -> None:
    """The first that finds nothing is told the time; the next is not; a nearer due time is told again."""
    await ground.register()
    await ground.register("ben")
    await ground.enqueue(delay=5000)
    reply = await ground.run(scripts.CLAIM, "ana", ground.call(), 5, 0)
    assert int(float(reply[3])) == ground.now + 5000
    assert (await ground.run(scripts.CLAIM, "ben", ground.call(), 5, 0))[3] == b""
    await ground.enqueue(delay=1000)
    assert int(float((await ground.run(scripts.CLAIM, "ben", ground.call(), 5, 0))[3])) == ground.now + 1000
    await ground.run_dry()


async def test_a_busy_worker_passes_the_bell_on(ground: Ground) -> None:
    """Who fills its slots and leaves work behind rings; who empties the queue takes the token away."""
    await ground.register()
    for _ in range(3):
        await ground.enqueue()
    await ground.command("DEL", ground.key("bell"))
    await ground.claim(2)
    assert await ground.command("ZCARD", ground.key("bell")) == 1
    await ground.claim(2)
    assert await ground.command("ZCARD", ground.key("bell")) == 0
    await ground.run_dry()


async def test_what_is_left_in_another_level_rings_too(ground: Ground) -> None:
    """Though the level that filled the slots is empty."""
    await ground.register()
    for level in (1, 6):
        await ground.enqueue(level=level)
    await ground.command("DEL", ground.key("bell"))
    await ground.claim(1)
    assert await ground.command("ZCARD", ground.key("bell")) == 1
    await ground.run_dry()


async def test_a_stream_whose_group_is_gone_is_handed_out_again(ground: Ground) -> None:
    """The group is made anew at the beginning of the stream."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.command("XGROUP", "DESTROY", ground.key("waiting:5"), "workers")
    assert [id_of(claim) for claim in await ground.claim()] == [job_id]
    await ground.run_dry()


async def test_a_delayed_job_whose_body_was_overwritten_does_not_stop_those_behind_it(
    ground: Ground, damage: object
) -> None:
    """The damaged one is passed over; the other one runs."""
    await ground.register()
    spoilt = await ground.enqueue(delay=1)
    sound = await ground.enqueue(delay=2)
    await ground.plant(f"job:{spoilt}")
    ground.now += 5
    assert [id_of(claim) for claim in await ground.claim()] == [sound]


@pytest.mark.parametrize(
    "name", ["meta", "events", "delayed", "bell", "worker:ana", "waiting:5", "front:5", "waiting:2"]
)
async def test_a_wrong_type_claims_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Neither the places that exist nor the one that a due job belongs to may break a claim in the middle."""
    await ground.register()
    await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "released"))
    await ground.enqueue()
    await ground.enqueue(level=2, delay=5)
    ground.now += 10
    await refused_unchanged(name, lambda: ground.run(scripts.CLAIM, "ana", ground.call(), 5, 0))


async def test_a_full_server_still_hands_out_jobs(own_ground: Ground) -> None:
    """Waiting and due ones alike, since running them is what empties it."""
    await own_ground.register()
    waiting = await own_ground.enqueue()
    due = await own_ground.enqueue(delay=1)
    own_ground.now += 1
    await own_ground.fill()
    assert [id_of(claim) for claim in await own_ground.claim()] == [waiting, due]
