"""Proves what sweep.lua takes from dead workers, when it spares the living, and what it does besides."""

from __future__ import annotations

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from dhanam_jobs.engine.job import Record
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome

INTERVAL, LEASE = 2000, 10_000


async def round_of(ground: Ground) -> list[int]:
    """One sweep as a process of the fleet begins it, throttle and grace included."""
    await ground.command("DEL", ground.key("sweeping"))
    return [int(n) for n in await ground.run(scripts.SWEEP, INTERVAL, LEASE, 200, 3, "", 0, 0)]


async def test_one_process_sweeps_within_the_interval(ground: Ground) -> None:
    """The second is told only how many are parked."""
    assert len(await ground.run(scripts.SWEEP, INTERVAL, LEASE, 200, 3, "", 0, 0)) == 9
    assert await ground.run(scripts.SWEEP, INTERVAL, LEASE, 200, 3, "", 0, 0) == [0, 0]
    assert 0 < await ground.command("PTTL", ground.key("sweeping")) <= INTERVAL


async def test_a_dead_workers_jobs_are_at_the_front_in_order_with_a_stall_and_no_attempt(ground: Ground) -> None:
    """The worker's row and consumer are gone, and an event says so."""
    await ground.register()
    ids = [await ground.enqueue() for _ in range(3)]
    await ground.claim()
    waiting = await ground.enqueue()
    ground.now += LEASE
    assert await ground.sweep() == [0, 0, 3, 0, 0, 1, 0, 0, 0]
    assert not await ground.command("EXISTS", ground.key("workers"), ground.key("worker:ana"))
    assert await ground.command("XINFO", "CONSUMERS", ground.key("waiting:5"), "workers") == []
    assert await ground.events() == [
        *[("waiting", job_id) for job_id in ids],
        ("active", " ".join(ids)),
        ("worker", "ana"),
        ("waiting", waiting),
        ("dead", "ana"),
        ("waiting", " ".join(ids)),
        ("stalled", " ".join(ids)),
    ]
    await ground.register("ben")
    claims = await ground.claim(worker="ben")
    assert [id_of(claim) for claim in claims] == [*ids, waiting]
    assert [claim[2].get("stalls") for claim in claims] == ["1", "1", "1", None]
    assert all("attempt" not in claim[2] for claim in claims)
    await ground.run_dry()


async def test_a_beating_worker_keeps_its_claims(ground: Ground) -> None:
    """A beat less than a lease old is enough."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.claim()
    ground.now += LEASE - 1
    assert await ground.sweep() == [0, 0, 0, 0, 0, 0, 0, 0, 0]
    await ground.run(scripts.BEAT, "ana", "{}")
    ground.now += LEASE - 1
    assert await ground.sweep() == [0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert await ground.find(job_id) == "active"
    await ground.run_dry()


async def test_after_an_outage_the_living_are_given_one_lease(ground: Ground) -> None:
    """With the last sweep older than two intervals nobody is declared dead until a lease has passed."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.claim()
    await round_of(ground)
    ground.now += LEASE
    await round_of(ground)
    ground.now += 60_000
    assert await round_of(ground) == [0, 0, 0, 0, 0, 0, 0, 1, 0]
    for _ in range(4):
        ground.now += INTERVAL
        assert await round_of(ground) == [0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert await ground.find(job_id) == "active"
    ground.now += INTERVAL
    assert await round_of(ground) == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    await ground.run_dry()


async def test_on_a_server_of_our_own_all_but_the_named_are_dead_at_once(ground: Ground) -> None:
    """No lease and no grace is waited for."""
    await ground.register()
    await ground.register("ben")
    lost = await ground.enqueue()
    await ground.claim(1)
    kept = await ground.enqueue()
    await ground.claim(1, worker="ben")
    assert await ground.run(scripts.SWEEP, INTERVAL, LEASE, 200, 3, "", 1, 1, "", "ben") == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert [await ground.find(one) for one in (lost, kept)] == ["waiting", "active"]
    await ground.run_dry()


async def test_a_step_is_bounded_and_says_that_more_is_left(ground: Ground) -> None:
    """Budget 2 takes five claims in three steps, in order."""
    await ground.register()
    ids = [await ground.enqueue() for _ in range(5)]
    await ground.claim()
    ground.now += LEASE
    steps = [await ground.sweep(budget=2) for _ in range(3)]
    assert [(step[2], step[6]) for step in steps] == [(2, 1), (2, 1), (1, 0)]
    await ground.register("ben")
    assert [id_of(claim) for claim in await ground.claim(worker="ben")] == ids
    await ground.run_dry()


async def test_past_the_allowed_stalls_a_job_fails_with_its_payload_untouched(ground: Ground) -> None:
    """The record reads as any other, says why, and the unique key goes on to the next."""
    payload = '{"a":[],"b":{},"n":12345678901234567,"d":0.1234,"t":"é\\u0000😀"}'
    await ground.register()
    meta = '{"owners":["ana"]}'
    job_id = await ground.enqueue(payload=payload, level=2, unique="k", fields=["meta", meta])
    following = await ground.enqueue(payload="2", level=2, unique="k")
    for stall in range(2):
        await ground.register(f"w{stall}")
        await ground.claim(1, worker=f"w{stall}")
        ground.now += LEASE
        reply = await ground.sweep(stalls=1)
    assert reply[2:4] == [0, 1]
    text = await ground.command("HGET", ground.key("ended"), job_id)
    assert f'"payload":{payload},'.encode() in text
    record = msgspec.json.decode(text, type=Record)
    assert record.error is not None
    assert (record.id, record.name, record.state, record.priority) == (job_id, "greet", "failed", 2)
    assert (record.error.type, record.stalls, record.unique, record.attempt) == ("Stalled", 2, "k", 1)
    assert record.error.message == "lost its worker 2 times, at most 1 are allowed"
    assert record.meta == {"owners": ["ana"]}
    assert record.finished_ms == ground.now
    assert await ground.find(following) == "waiting"
    assert await ground.command("HGET", ground.key("meta"), "failed") == b"1"
    await ground.run_dry()


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        (("name", "greet"), b"null"),
        (("payload", "[1]", "x", "y"), b"[1]"),
        (("name", "greet", "payload", "no JSON"), b'"no JSON"'),
    ],
)
async def test_an_entry_written_by_hand_stalls_out_into_a_readable_record(
    ground: Ground, fields: tuple[str, ...], payload: bytes
) -> None:
    """What it lacks breaks neither the sweep nor the record."""
    await ground.run_dry()
    await ground.enqueue()
    await ground.command("XADD", ground.key("waiting:5"), "*", *fields)
    await ground.register()
    await ground.claim(1)
    (claim,) = await ground.claim(1)
    ground.now += LEASE
    assert (await ground.sweep(stalls=0))[2:4] == [0, 2]
    record = msgspec.json.decode(await ground.command("HGET", ground.key("ended"), id_of(claim)), type=Record)
    assert bytes(record.payload) == payload


async def test_it_promotes_what_is_due_during_a_pause_too_and_counts_the_parked(ground: Ground) -> None:
    """Delayed jobs become waiting whether or not anybody claims."""
    await ground.register()
    await ground.enqueue("unknown")
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "parked"))
    job_id = await ground.enqueue(delay=5)
    await ground.run(scripts.PAUSE)
    ground.now += 5
    assert await ground.sweep() == [1, 0, 0, 0, 1, 0, 0, 0, 0]
    assert await ground.find(job_id) == "waiting"
    await ground.run(scripts.RESUME)
    await ground.run(scripts.UNPARK, 5, "unknown")
    await ground.run_dry()


async def test_it_forgets_waits_that_are_over(ground: Ground) -> None:
    """A waiter that went away keeps no result."""
    job_id = await ground.enqueue()
    await ground.run(scripts.WAIT, 1000, job_id)
    ground.now += 999
    await ground.sweep()
    assert await ground.command("ZCARD", ground.key("waited")) == 1
    ground.now += 1
    await ground.sweep()
    assert await ground.command("ZCARD", ground.key("waited")) == 0
    await ground.run_dry()


TOUCHED = ["meta", "events", "delayed", "failed", "waited", "ended", "index", "unique", "joined", "parked", "blocked"]


@pytest.mark.parametrize("name", [*TOUCHED, "bell", "workers", "waiting:5", "front:5", "waiting:7"])
async def test_a_wrong_type_reclaims_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key that it may write to is looked at before the first write."""
    await ground.register()
    await ground.enqueue(unique="k")
    await ground.enqueue(level=7, delay=5)
    await ground.claim()
    ground.now += LEASE
    await refused_unchanged(name, ground.sweep)


async def test_a_full_server_is_still_swept(own_ground: Ground) -> None:
    """Dead workers' jobs come back, and a stalled-out one fails."""
    ground = own_ground
    await ground.register()
    back = await ground.enqueue()
    await ground.claim()
    ground.now += LEASE
    await ground.fill()
    reply = await ground.run(scripts.SWEEP, INTERVAL, LEASE, 200, 3, "", 0, 0)
    assert reply == [0, 0, 0, 0, 0, 0, 0, 1, 0]
    ground.now += LEASE
    assert (await ground.sweep())[2:4] == [1, 0]
    assert await ground.find(back) == "waiting"
    await ground.register("ben")
    await ground.claim(worker="ben")
    ground.now += LEASE
    assert (await ground.sweep(stalls=1))[2:4] == [0, 1]


async def test_a_lost_entry_of_a_dead_worker_is_let_go(ground: Ground, damage: Keys) -> None:
    """It was deleted by hand: nothing comes back and nothing stays pending."""
    await ground.register()
    await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.command("XDEL", ground.key("waiting:5"), claim[1])
    ground.now += LEASE
    assert (await ground.sweep())[2:4] == [0, 0]
    assert await ground.command("XINFO", "CONSUMERS", ground.key("waiting:5"), "workers") == []


async def test_what_a_dead_worker_said_to_hold_unbegun_costs_no_stall_but_only_so_often(ground: Ground) -> None:
    """What it ran counts one, and what was spared too often; a claim that it named and that has ended is forgotten."""
    for _ in range(3):
        await ground.enqueue()
    seen = []
    for _ in range(3):
        await ground.register()
        claims = await ground.claim()
        held = [f"{place} {entry}" for place, entry, _ in claims[1:]]
        await ground.run(scripts.BEAT, "ana", msgspec.json.encode({"held": [*held, "waiting:5 1-1"]}))
        ground.now += LEASE
        first, second = await ground.sweep(budget=2, stalls=2), await ground.sweep(budget=2, stalls=2)
        assert (first[6], second[6]) == (1, 0)
        assert not await ground.command("EXISTS", ground.key("spared"))
        entries = await ground.entries("front:5")
        seen.append([(fields.get("stalls"), fields.get("spared")) for fields in entries])
    assert seen == [
        [("1", None), (None, "1"), (None, "1")],
        [("2", None), (None, "2"), (None, "2")],
        [("1", "2"), ("1", "2")],
    ]
    assert await ground.command("HGET", ground.key("meta"), "failed") == b"1"
    await ground.run_dry()
