"""Proves what limits.lua says of a queue and of a key, and how claims and outcomes move what it says."""

from __future__ import annotations

from typing import Any

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, claims_of, id_of, outcome


async def said(ground: Ground, key: str = "") -> list[Any]:
    """Limit, running, waiting, when the next may start (as ms from now; 0 now, -1 when one has ended), own."""
    now, limit, running, waiting, opens, own = await ground.run(scripts.LIMITS, key)
    assert now == ground.now
    return [limit.decode(), running, waiting, opens - now if opens > 0 else opens, own]


async def test_a_queue_without_limits_may_start_now(ground: Ground) -> None:
    """Its jobs are counted, those in line too."""
    await ground.register()
    await ground.enqueue()
    await ground.enqueue(fields=["key", "a"])
    await ground.enqueue(fields=["key", "b"])
    assert await said(ground) == ["", 0, 3, 0, 1]
    await ground.claim(1)
    assert await said(ground) == ["", 1, 2, 0, 1]
    assert await said(ground, "nobody") == ["", 0, 0, 0, 0]
    await ground.run_dry()


async def test_a_full_queue_may_start_when_a_job_has_ended(ground: Ground) -> None:
    """Then at once."""
    await ground.register()
    await ground.run(scripts.LIMIT, "queue", "", 2, 0, 0)
    for _ in range(3):
        await ground.enqueue()
    claims = await ground.claim(10)
    assert len(claims) == 2
    assert await said(ground) == ["2 0 0", 2, 1, -1, 1]
    await ground.settle(outcome(claims[0]))
    assert await said(ground) == ["2 0 0", 1, 1, 0, 1]
    await ground.run(scripts.LIMIT, "queue", "", 0, 0, 0)
    await ground.run_dry()


async def test_a_claim_is_told_when_the_limit_ends_and_one_worker_watches(ground: Ground) -> None:
    """Of the queue, and of a key that rests."""
    await ground.register()
    await ground.register("ben")
    await ground.run(scripts.LIMIT, "queue", "", 0, 1, 5000)
    await ground.enqueue()
    await ground.enqueue()
    reply = await ground.run(scripts.CLAIM, "ana", ground.call(), 5, 0)
    assert (int(reply[3]), len(reply[5])) == (ground.now + 5000, 1)
    assert (await ground.run(scripts.CLAIM, "ben", ground.call(), 5, 0))[3:] == [b""]
    assert await ground.command("ZCARD", ground.key("bell")) == 0
    assert (await said(ground))[3] == 5000
    await ground.run(scripts.LIMIT, "queue", "", 0, 0, 0)
    await ground.run(scripts.LIMIT, "keys", "", 0, 1, 3000)
    await ground.enqueue(fields=["key", "a"])
    await ground.enqueue(fields=["key", "a"])
    reply = await ground.run(scripts.CLAIM, "ben", ground.call(), 5, 0)
    assert int(reply[3]) == ground.now + 3000
    await ground.run(scripts.LIMIT, "keys", "", 0, 0, 0)
    await ground.run_dry()


@pytest.mark.parametrize("kind", ["completed", "failed", "cancelled", "delayed", "released", "parked", "limited"])
async def test_every_outcome_gives_the_share_of_its_key_back(ground: Ground, kind: str) -> None:
    """So the next job of the key may start, unless the key is limited itself."""
    await ground.register()
    await ground.run(scripts.LIMIT, "key", "a", 1, 0, 0)
    first = await ground.enqueue(fields=["key", "a"])
    second = await ground.enqueue(fields=["key", "a"])
    (claim,) = await ground.claim(10)
    assert id_of(claim) == first
    assert claim[0] == "admitted:5"
    assert (await said(ground, "a"))[1:] == [1, 1, -1, 1]
    body = {"delayed": '{"delay":60000,"set":{}}', "limited": '{"limit":60000,"scope":"key","set":{}}'}
    await ground.settle((*outcome(claim)[:3], kind, body.get(kind, outcome(claim, kind)[4])))
    back = kind in ("released", "limited")
    opens = 60_000 if kind == "limited" else 0
    assert (await said(ground, "a"))[1:] == [0, 1 + back, opens, 1]
    ground.now += opens
    (claim,) = await ground.claim(10)
    assert id_of(claim) == (first if back else second)
    await ground.run(scripts.LIMIT, "key", "a", 0, 0, 0)
    if kind == "parked":
        await ground.run(scripts.UNPARK, 10, "greet")
    await ground.run_dry()


async def test_a_job_of_a_key_may_be_delayed_and_blocked_and_waits_in_line_then(ground: Ground) -> None:
    """What is due, and whose unique key is free, goes into its line."""
    await ground.register()
    delayed = await ground.enqueue(fields=["key", "a"], delay=1000)
    holder = await ground.enqueue(fields=["key", "a"], unique="u")
    blocked = await ground.enqueue(payload="2", fields=["key", "a"], unique="u")
    assert (await said(ground, "a"))[2] == 1
    ground.now += 1000
    (claim,) = await ground.claim(1)
    assert id_of(claim) == holder
    assert (await said(ground, "a"))[2] == 1
    await ground.settle(outcome(claim, "completed u"))
    assert (await said(ground, "a"))[2] == 2
    assert [id_of(claim) for claim in await ground.claim(10)] == [delayed, blocked]
    await ground.run_dry()


async def test_the_least_urgent_key_has_its_share_of_fair_claims(ground: Ground) -> None:
    """The oldest of any level, in line or not."""
    await ground.register()
    old = await ground.enqueue(level=9, fields=["key", "a"])
    ground.now += 1
    urgent = [await ground.enqueue(level=1, fields=["key", key]) for key in "bc"]
    assert [id_of(claim) for claim in await ground.claim(2, fair=1)] == [old, urgent[0]]
    await ground.run_dry()


async def test_a_line_that_was_overwritten_does_not_stop_other_keys(ground: Ground, damage: Keys) -> None:
    """What it held is lost, and inspection can tell; its key goes on with what comes."""
    await ground.register()
    await ground.enqueue(fields=["key", "a"])
    other = await ground.enqueue(fields=["key", "b"])
    await ground.plant("keyed:a")
    assert [id_of(claim) for claim in await ground.claim(10)] == [other]
    following = await ground.enqueue(fields=["key", "a"])
    assert [id_of(claim) for claim in await ground.claim(10)] == [following]


@pytest.mark.parametrize("name", ["keyed", "turns", "resting", "holding", "running", "limits"])
async def test_a_key_of_a_wrong_type_refuses_a_claim(
    ground: Ground, refused_unchanged: RefusedUnchanged, name: str
) -> None:
    """Before anything was written."""
    await ground.register()
    await ground.enqueue(fields=["key", "a"])
    await refused_unchanged(name, lambda: ground.run(scripts.CLAIM, "ana", ground.call(), 5, 0))


async def test_a_queue_with_both_limits_keeps_both(ground: Ground) -> None:
    """Starts that are left in the period don't let more jobs run at once."""
    await ground.register()
    await ground.run(scripts.LIMIT, "queue", "", 2, 4, 60_000)
    for _ in range(6):
        await ground.enqueue()
    claims = await ground.claim(10)
    assert len(claims) == 2
    assert await ground.claim(10) == []
    await ground.settle(*map(outcome, claims))
    assert len(await ground.claim(10)) == 2
    await ground.run(scripts.LIMIT, "queue", "", 0, 0, 0)
    await ground.run_dry()


async def test_the_first_job_with_a_key_that_becomes_due_is_claimed_by_the_trip_that_finds_it(ground: Ground) -> None:
    """By a claim and by a settle: left behind, it would wait until something else rings."""
    await ground.register()
    first = await ground.enqueue(delay=1_000, fields=["key", "tenant"])
    ground.now += 1_000
    (claim,) = await ground.claim(5)
    assert id_of(claim) == first
    await ground.run(scripts.CLEAR, 1, 100)
    await ground.enqueue()
    second = await ground.enqueue(delay=1_000, fields=["key", "tenant"])
    (plain,) = await ground.claim(5)
    ground.now += 1_000
    reply = await ground.settle(outcome(plain), want=5)
    assert [id_of(claim) for claim in claims_of(reply)] == [second]
    await ground.run_dry()
