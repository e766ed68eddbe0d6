"""Proves what enqueue.lua stores, joins and refuses."""

from __future__ import annotations

import msgspec
import pytest
from redis.exceptions import OutOfMemoryError

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome


async def test_a_plain_job_is_one_entry_and_its_id_names_it(ground: Ground) -> None:
    """The entry holds name and payload, and nothing stands beside it."""
    job_id = await ground.enqueue("greet", '{"a":1}', level=3)
    (entry,) = await ground.command("XRANGE", ground.key("waiting:3"), "-", "+")
    assert job_id == f"3-{entry[0].decode()}"
    assert await ground.entries("waiting:3") == [{"name": "greet", "payload": '{"a":1}'}]
    assert not await ground.command("EXISTS", ground.key("index"))
    assert await ground.events() == [("waiting", job_id)]


async def test_a_chunk_keeps_its_order_over_levels_and_says_what_existed(ground: Ground) -> None:
    """Ids come back in the order of the arguments; positions of known ones count from 1."""
    await ground.enqueue(id="mine")
    reply = await ground.run(scripts.ENQUEUE, 5, "", "a", "1", 5, '{"id":"mine"}', "b", "2", 2, "", "c", "3")
    ids, existing = [one.decode() for one in reply[0]], reply[1]
    assert [one[0] for one in ids] == ["5", "m", "2"]
    assert existing == [2]
    assert [entry["payload"] for entry in await ground.entries("waiting:5")] == ["1", "1"]


async def test_a_delayed_job_is_kept_beside_the_streams_until_it_is_due(ground: Ground) -> None:
    """Delay counts from the script's time; an instant that has passed makes the job waiting."""
    later = await ground.enqueue(delay=5000)
    at = await ground.enqueue(due=ground.now + 7000)
    past = await ground.enqueue(due=ground.now)
    delayed = await ground.command("ZRANGE", ground.key("delayed"), 0, -1, "WITHSCORES")
    assert [(member[16:].decode(), int(due)) for member, due in zip(delayed[::2], delayed[1::2], strict=True)] == [
        (later, ground.now + 5000),
        (at, ground.now + 7000),
    ]
    assert [await ground.find(one) for one in (later, at, past)] == ["delayed", "delayed", "waiting"]
    await ground.register()
    ground.now += 7000
    await ground.settle(*[outcome(claim) for claim in await ground.claim()])


async def test_a_known_id_returns_the_existing_job_in_every_state(ground: Ground) -> None:
    """Waiting, active, ended and kept for a waiter alone: each time the second enqueue changes nothing."""
    await ground.register()
    await ground.enqueue(id="mine")
    again = ["5", '{"id":"mine"}', "other", "9"]
    assert await ground.run(scripts.ENQUEUE, *again) == [[b"mine"], [1]]
    (claim,) = await ground.claim()
    assert await ground.run(scripts.ENQUEUE, *again) == [[b"mine"], [1]]
    await ground.run(scripts.WAIT, 1000, "mine")
    await ground.settle(outcome(claim), keep=1)
    assert await ground.run(scripts.ENQUEUE, *again) == [[b"mine"], [1]]
    await ground.command("ZREM", ground.key("completed"), "mine")
    await ground.command("HDEL", ground.key("ended"), "mine")
    assert await ground.run(scripts.ENQUEUE, *again) == [[b"mine"], [1]]
    assert await ground.find("mine") == "ended"
    assert await ground.command("HGET", ground.key("meta"), "added") == b"1"


async def test_rerun_replaces_an_ended_job_and_its_kept_result_only(ground: Ground) -> None:
    """A live one is left alone; of an ended one nothing remains but the lifetime counter."""
    await ground.register()
    await ground.enqueue(id="mine")
    again = ["5", '{"id":"mine","mode":"rerun_finished"}', "greet", "2"]
    assert await ground.run(scripts.ENQUEUE, *again) == [[b"mine"], [1]]
    (claim,) = await ground.claim()
    await ground.run(scripts.WAIT, 1000, "mine")
    await ground.settle(outcome(claim))
    assert await ground.run(scripts.ENQUEUE, *again) == [[b"mine"], []]
    assert await ground.find("mine") == "waiting"
    assert not await ground.command("EXISTS", ground.key("ended"), ground.key("completed"), ground.key("result:mine"))
    assert await ground.command("HGET", ground.key("meta"), "completed") == b"1"
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim))


async def test_an_equal_payload_joins_the_holder_of_a_unique_key_and_another_waits(ground: Ground) -> None:
    """Name and payload decide; the joined owners are noted once each."""
    first = await ground.enqueue(payload="1", unique="k", owner="ana")
    assert await ground.enqueue(payload="1", unique="k", owner="ben") == first
    assert await ground.enqueue(payload="1", unique="k", owner="ben") == first
    second = await ground.enqueue(payload="2", unique="k")
    other_name = await ground.enqueue("shout", payload="1", unique="k")
    assert await ground.enqueue(payload="2", unique="k") == second
    assert len({first, second, other_name}) == 3
    assert [await ground.find(one) for one in (first, second, other_name)] == ["waiting", "blocked", "blocked"]
    assert msgspec.json.decode(await ground.command("HGET", ground.key("joined"), first)) == ["ben"]


async def test_at_most_a_hundred_joined_owners_are_noted(ground: Ground) -> None:
    """The list is bounded."""
    first = await ground.enqueue(unique="k")
    for n in range(102):
        await ground.enqueue(unique="k", owner=f"user-{n}")
    owners = msgspec.json.decode(await ground.command("HGET", ground.key("joined"), first))
    assert owners == [f"user-{n}" for n in range(100)]


TOUCHED = ["meta", "events", "bell", "waiting:5", "index", "unique", "ended", "joined", "delayed", "blocked"]
MORE = ["held:k", "completed", "failed", "cancelled", "job:mine"]


@pytest.mark.parametrize("name", [*TOUCHED, *MORE])
async def test_a_wrong_type_refuses_the_whole_chunk(
    ground: Ground, refused_unchanged: RefusedUnchanged, name: str
) -> None:
    """Whatever key is spoilt, not one job of the chunk is stored."""
    await ground.enqueue(unique="k", payload="0")
    extra = b'{"id":"mine","unique":"k","delay":5,"mode":"rerun_finished","owner":"ana"}'
    await refused_unchanged(name, lambda: ground.run(scripts.ENQUEUE, 5, "", "greet", "1", 5, extra, "greet", "2"))


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        b'{"id":"new"}',
        b'{"delay":5}',
        b'{"unique":"k"}',
        b'{"id":"new","unique":"k"}',
        b'{"unique":"free"}',
        b'{"id":"done","mode":"rerun_finished"}',
        b'{"id":"mine","owner":"eva"}',
        b'{"id":"new","delay":9}',
    ],
)
async def test_a_full_server_refuses_the_whole_chunk(
    own_ground: Ground, full_unchanged: FullUnchanged, extra: bytes
) -> None:
    """Whatever kind of job comes first, nothing is stored, and no ended job is forgotten for one that is not."""
    ground = own_ground
    await ground.register()
    await ground.enqueue(id="done")
    await ground.settle(*[outcome(claim) for claim in await ground.claim()])
    await ground.enqueue(id="mine", unique="k")
    await full_unchanged(lambda: ground.run(scripts.ENQUEUE, 5, extra, "greet", "7", 5, "", "greet", "8"))


async def test_joining_without_an_owner_works_on_a_full_server(own_ground: Ground) -> None:
    """It writes nothing, so nothing is refused."""
    await own_ground.enqueue(id="mine")
    await own_ground.fill()
    assert await own_ground.run(scripts.ENQUEUE, 5, b'{"id":"mine"}', "greet", "1") == [[b"mine"], [1]]
    with pytest.raises(OutOfMemoryError):
        await own_ground.enqueue()


async def test_a_unique_key_may_be_delayed_and_still_holds(ground: Ground, keys: Keys) -> None:
    """A delayed job owns its key; equal payloads join it."""
    await ground.register()
    first = await ground.enqueue(unique="k", delay=1000)
    assert await ground.enqueue(unique="k") == first
    ground.now += 1000
    (claim,) = await ground.claim()
    assert id_of(claim) == first
    await ground.settle(outcome(claim, "completed k"))
    assert await keys.names(ground.key("unique")) == set()
