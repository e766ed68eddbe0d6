"""Proves how settle.lua ends claims, what fences them, and what it brings back."""

from __future__ import annotations

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, claims_of, id_of, outcome


async def test_a_worker_without_a_row_settles_nothing(ground: Ground) -> None:
    """Its claims stay as they are."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    assert await ground.settle(outcome(claim), worker="nobody") == [b"dead", ground.now]
    assert await ground.find(job_id) == "active"
    await ground.run_dry()


async def test_an_older_call_settles_nothing_and_returns_the_last_verdicts(ground: Ground) -> None:
    """A call that was repeated, or overtaken, does nothing."""
    await ground.register()
    for _ in range(2):
        await ground.enqueue()
    first, second = await ground.claim()
    flat = [0, 0, "", "", "", *outcome(first), "waiting:5", "1-1", "5-1-1", "completed", "{}"]
    assert (await ground.run(scripts.SETTLE, "ana", 90, *flat))[2] == b"10"
    flat = [0, 0, "", "", "", *outcome(second)]
    for number in (90, 3):
        assert await ground.run(scripts.SETTLE, "ana", number, *flat) == [b"stale", ground.now, b"10"]
    assert await ground.find(id_of(second)) == "active"
    await ground.run_dry()


async def test_a_lost_claim_counts_for_nothing_and_the_others_count(ground: Ground) -> None:
    """One verdict each; the lost one leaves no record, no event and no counter."""
    await ground.register()
    for _ in range(3):
        await ground.enqueue()
    claims = await ground.claim()
    await ground.settle(outcome(claims[1]))
    reply = await ground.settle(*[outcome(claim, "failed") for claim in claims])
    assert reply == [b"ok", ground.now, b"101", b""]
    assert await ground.command("HMGET", ground.key("meta"), "completed", "failed") == [b"1", b"2"]
    assert [state for state, _ in await ground.events()][-2:] == ["completed", "failed"]


async def test_the_claim_of_another_worker_after_a_reclaim_is_fenced_by_its_entry(ground: Ground) -> None:
    """The old entry is gone, so its holder changes nothing for the new one."""
    await ground.register()
    job_id = await ground.enqueue()
    (old,) = await ground.claim()
    ground.now += 10_000
    await ground.sweep()
    await ground.register("ben")
    (new,) = await ground.claim(worker="ben")
    await ground.register("ana2")
    assert (await ground.settle(outcome(old), worker="ana2"))[2] == b"0"
    assert await ground.find(job_id) == "active"
    assert (await ground.settle((*new[:2], job_id, "completed", '{"state":"completed"}'), worker="ben"))[2] == b"1"


async def test_a_settle_claims_the_next_jobs_in_the_same_trip(ground: Ground) -> None:
    """The reply holds the verdicts, and then places and entries."""
    await ground.register()
    first, second = await ground.enqueue(), await ground.enqueue()
    (claim,) = await ground.claim(1)
    reply = await ground.settle(outcome(claim), want=5)
    assert reply[:4] == [b"ok", ground.now, b"1", b""]
    assert [id_of(next_claim) for next_claim in claims_of(reply)] == [second]
    assert [await ground.find(one) for one in (first, second)] == ["ended", "active"]
    await ground.run_dry()


async def test_a_settle_on_a_paused_queue_counts_and_brings_nothing(ground: Ground) -> None:
    """Running jobs end during a pause."""
    await ground.register()
    await ground.enqueue()
    await ground.enqueue()
    (claim,) = await ground.claim(1)
    await ground.run(scripts.PAUSE)
    assert await ground.settle(outcome(claim), want=5) == [b"ok", ground.now, b"1", b"paused"]
    await ground.run(scripts.RESUME)
    await ground.run_dry()


async def test_a_settle_that_leaves_slots_free_says_when_the_next_job_is_due(ground: Ground) -> None:
    """The due time comes where the next of a claim's reply would."""
    await ground.register()
    await ground.enqueue()
    await ground.enqueue(delay=700)
    (claim,) = await ground.claim(1)
    assert int(float((await ground.settle(outcome(claim), want=5))[3])) == ground.now + 700
    await ground.run_dry()


async def test_a_retry_is_delayed_with_its_fields_changed(ground: Ground) -> None:
    """Id, payload and created stay; attempt and errors are as told; an empty value takes a field away."""
    await ground.register()
    job_id = await ground.enqueue(payload="[1,{}]", fields=["meta", "{}", "note", "x"], id="mine")
    (claim,) = await ground.claim()
    change = msgspec.json.encode({"delay": 5000, "set": {"attempt": "1", "note": ""}}).decode()
    await ground.settle(outcome(claim, "delayed", change))
    assert await ground.find(job_id) == "delayed"
    ground.now += 4999
    assert await ground.claim() == []
    ground.now += 1
    (again,) = await ground.claim()
    assert again[2] == {
        "id": "mine",
        "name": "greet",
        "payload": "[1,{}]",
        "meta": "{}",
        "attempt": "1",
        "created": str(ground.now - 5000),
    }
    await ground.settle(outcome(again))


async def test_a_retry_without_a_wait_is_claimed_in_the_same_trip(ground: Ground) -> None:
    """Delay 0 is due at once, at the end of its level."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    reply = await ground.settle(outcome(claim, "delayed", '{"delay":0,"set":{"attempt":"1"}}'), want=1)
    assert [id_of(again) for again in claims_of(reply)] == [job_id]
    await ground.run_dry()


async def test_released_jobs_go_to_the_front_in_their_order(ground: Ground) -> None:
    """They come before what waits, and keep their ids and attempt."""
    await ground.register()
    ids = [await ground.enqueue() for _ in range(4)]
    claims = await ground.claim(3)
    await ground.settle(*[outcome(claim, "released") for claim in claims])
    again = await ground.claim()
    assert [id_of(claim) for claim in again] == ids
    assert [claim[0] for claim in again] == ["front:5"] * 3 + ["waiting:5"]
    assert all("attempt" not in claim[2] for claim in again)
    await ground.run_dry()


async def test_parked_jobs_stand_under_their_name(ground: Ground) -> None:
    """The member says name, order and id; the body is kept beside it."""
    await ground.register()
    job_id = await ground.enqueue("unknown")
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "parked"))
    assert await ground.find(job_id) == "parked"
    (member,) = await ground.command("ZRANGE", ground.key("parked"), 0, -1)
    assert member.decode().split() == ["unknown", "000000000000001", job_id]
    await ground.run(scripts.UNPARK, 10, "unknown")
    await ground.run_dry()


@pytest.mark.parametrize(("keep", "kept"), [("", 5), (2, 2), (0, 0)])
async def test_retention_keeps_the_newest_and_counts_all(ground: Ground, keep: object, kept: int) -> None:
    """Over one batch larger than what is kept, and over several."""
    await ground.register()
    ids = [await ground.enqueue() for _ in range(5)]
    claims = await ground.claim()
    await ground.settle(*[outcome(claim) for claim in claims[:1]], keep=keep)
    await ground.settle(*[outcome(claim) for claim in claims[1:]], keep=keep)
    records = await ground.command("ZRANGE", ground.key("completed"), 0, -1)
    assert [one.decode() for one in records] == (ids[-kept:] if kept else [])
    assert await ground.command("HLEN", ground.key("ended")) == kept
    assert await ground.command("HGET", ground.key("meta"), "completed") == b"5"


async def test_lowering_retention_to_none_evicts_what_was_kept_before(ground: Ground) -> None:
    """The next ending takes the old records with it."""
    await ground.register()
    for _ in range(3):
        await ground.enqueue()
    claims = await ground.claim()
    await ground.settle(*[outcome(claim) for claim in claims[:2]], keep=100)
    await ground.settle(outcome(claims[2]), keep=0)
    assert not await ground.command("EXISTS", ground.key("completed"), ground.key("ended"))


async def test_a_result_that_somebody_waits_for_is_kept_beside_retention(ground: Ground) -> None:
    """It has a time to live, and the wait is over."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.run(scripts.WAIT, 1000, job_id)
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim), keep=0)
    assert 0 < await ground.command("PTTL", ground.key(f"result:{job_id}")) <= 600_000
    assert not await ground.command("EXISTS", ground.key("waited"))
    assert await ground.find(job_id) == "ended"


async def test_a_unique_key_goes_to_the_next_in_line(ground: Ground) -> None:
    """Freed by the owner's end alone; the next one waits at the end of its level."""
    await ground.register()
    first, second, third = [await ground.enqueue(payload=text, unique="k") for text in ("1", "2", "3")]
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "delayed", '{"delay":5,"set":{"attempt":"1"}}'))
    assert [await ground.find(one) for one in (first, second)] == ["delayed", "blocked"]
    ground.now += 5
    for job_id, kind in ((first, "failed k"), (second, "completed k"), (third, "completed k")):
        (claim,) = await ground.claim()
        assert id_of(claim) == job_id
        await ground.settle(outcome(claim, kind))
    assert not await ground.command("EXISTS", ground.key("unique"), ground.key("held:k"), ground.key("blocked"))


async def test_an_entry_deleted_by_hand_settles_once_and_moves_nowhere(ground: Ground, damage: Keys) -> None:
    """Nothing is left to move; the claim is acknowledged."""
    await ground.register()
    await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.command("XDEL", ground.key("waiting:5"), claim[1])
    assert (await ground.settle(outcome(claim, "released")))[2] == b"1"
    assert (await ground.settle(outcome(claim, "released")))[2] == b"0"


async def test_an_event_names_each_state_once_whether_records_are_kept_or_not(ground: Ground) -> None:
    """A reader that takes the fields for a mapping would miss the ends of the first."""
    await ground.register()
    ids = [await ground.enqueue() for _ in range(2)]
    kept, unkept = await ground.claim()
    await ground.settle(outcome(kept), outcome(unkept, "-completed"))
    assert [told for told in await ground.events() if told[0] == "completed"] == [("completed", " ".join(ids))]
    await ground.run(scripts.LEAVE, "ana")


TOUCHED = ["meta", "events", "delayed", "completed", "failed", "waited", "parked", "blocked", "ended", "index"]


@pytest.mark.parametrize("name", [*TOUCHED, "unique", "joined", "bell", "worker:ana", "waiting:5", "front:5"])
@pytest.mark.parametrize("kind", ["completed k", "delayed", "released"])
async def test_a_wrong_type_settles_nothing(
    ground: Ground, refused_unchanged: RefusedUnchanged, name: str, kind: str
) -> None:
    """Every stream that the outcome could move a job to is looked at before the first acknowledgement."""
    await ground.register()
    await ground.enqueue(unique="k")
    await ground.enqueue(unique="k", payload="2")
    (claim,) = await ground.claim()
    body = '{"delay":0,"set":{}}' if kind == "delayed" else ""
    await refused_unchanged(name, lambda: ground.settle(outcome(claim, kind, body), want=1))


async def test_a_held_list_overwritten_by_hand_does_not_keep_the_key(ground: Ground, damage: Keys) -> None:
    """The owner ends and the key is free."""
    await ground.register()
    await ground.enqueue(unique="k")
    await ground.enqueue(unique="k", payload="2")
    await ground.plant("held:k")
    (claim,) = await ground.claim()
    assert (await ground.settle(outcome(claim, "completed k")))[2] == b"1"
    assert not await ground.command("EXISTS", ground.key("unique"))


async def test_a_retry_overwrites_whatever_stands_where_its_body_belongs(ground: Ground, damage: Keys) -> None:
    """A stranger's key of that name can't lose the job."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.plant(f"job:{job_id}")
    await ground.settle(outcome(claim, "delayed", '{"delay":1,"set":{"attempt":"1"}}'))
    ground.now += 1
    assert [id_of(again) for again in await ground.claim()] == [job_id]


@pytest.mark.parametrize(
    ("kind", "body", "state"),
    [
        ("completed k", "", "ended"),
        ("failed k", "", "ended"),
        ("delayed", '{"delay":9,"set":{"attempt":"1"}}', "delayed"),
        ("released", "", "active"),
        ("parked", "", "parked"),
    ],
)
async def test_a_full_server_still_settles_and_claims(own_ground: Ground, kind: str, body: str, state: str) -> None:
    """Every kind of ending works, and brings the next job."""
    ground = own_ground
    await ground.register()
    job_id = await ground.enqueue(unique="k", level=3)
    following = await ground.enqueue()
    await ground.run(scripts.WAIT, 1000, job_id)
    (claim,) = await ground.claim(1)
    await ground.fill()
    reply = await ground.settle(outcome(claim, kind, body), want=2)
    assert reply[2] == b"1"
    assert following in [id_of(one) for one in claims_of(reply)]
    assert await ground.find(job_id) == state
