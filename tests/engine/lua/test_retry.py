"""Proves what retry.lua revives, and that no job is doubled by it."""

from __future__ import annotations

import hashlib

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def fail(ground: Ground, keep: int | str = "", **extra: object) -> str:
    """Enqueues a job and lets it fail; returns its id."""
    await ground.register()
    job_id = await ground.enqueue(**extra)  # type: ignore[arg-type]
    kind = f"failed {extra['unique']}" if "unique" in extra else "failed"
    await ground.settle(*(outcome(claim, kind) for claim in await ground.claim()), keep=keep)
    return job_id


async def request(ground: Ground, job_id: str, hash_name: str = "ended", *, unique: str = "") -> tuple[object, ...]:
    """The arguments that revive a job as its record is now."""
    record = await ground.command("HGET", ground.key(hash_name), job_id) or b""
    return job_id, hashlib.sha1(record, usedforsecurity=False).hexdigest(), 5, unique, "greet", "[]", '["created","7"]'


async def meta(ground: Ground, name: str) -> int:
    """A counter."""
    return int(await ground.command("HGET", ground.key("meta"), name) or 0)


async def test_a_failed_job_waits_again_under_its_own_id_as_if_it_had_never_run(ground: Ground) -> None:
    """Its record is gone, and it is counted as revived."""
    job_id = await fail(ground)
    assert await ground.run(scripts.RETRY, "ended", *await request(ground, job_id)) == [b"revived"]
    assert await ground.entries("waiting:5") == [{"id": job_id, "name": "greet", "payload": "[]", "created": "7"}]
    assert await ground.command("HEXISTS", ground.key("ended"), job_id) == 0
    assert await ground.command("ZCARD", ground.key("failed")) == 0
    assert await meta(ground, "revived") == 1
    await ground.run_dry()


async def test_a_dead_letter_is_replayed(ground: Ground) -> None:
    """It leaves the dead letters for the end of its level."""
    job_id = await fail(ground, keep=0)
    assert await ground.run(scripts.RETRY, "dead", *await request(ground, job_id, "buried")) == [b"revived"]
    assert await ground.find(job_id) == "waiting"
    assert await ground.command("ZCARD", ground.key("dead")) == 0
    assert await ground.command("HLEN", ground.key("buried")) == 0
    await ground.run_dry()


async def test_a_dead_letter_whose_id_a_job_has_is_left_alone(ground: Ground) -> None:
    """The job of that id goes on; the dead letter stays."""
    job_id = await fail(ground, keep=0, id="mine")
    arguments = await request(ground, job_id, "buried")
    await ground.enqueue(id="mine")
    assert await ground.run(scripts.RETRY, "dead", *arguments) == [b"waiting"]
    assert await ground.command("ZCARD", ground.key("dead")) == 1
    await ground.run_dry()
    assert await ground.run(scripts.RETRY, "dead", *arguments) == [b"completed"]


async def test_a_job_whose_key_is_held_meanwhile_waits_for_the_holder(ground: Ground) -> None:
    """Two jobs of one key never run beside each other, retried ones included."""
    job_id = await fail(ground, unique="k")
    holder = await ground.enqueue(payload="2", unique="k")
    assert await ground.run(scripts.RETRY, "ended", *await request(ground, job_id, unique="k")) == [b"held"]
    assert await ground.find(job_id) == "blocked"
    assert (await ground.command("HGET", ground.key("unique"), "k")).decode()[41:] == holder
    await ground.run_dry()


async def test_a_job_whose_key_is_free_holds_it_again(ground: Ground) -> None:
    """Who enqueues the same payload under the key joins it."""
    job_id = await fail(ground, payload="[]", unique="k")
    assert await ground.run(scripts.RETRY, "ended", *await request(ground, job_id, unique="k")) == [b"revived"]
    assert await ground.enqueue(payload="[]", unique="k") == job_id
    await ground.run_dry()


async def test_the_same_job_twice_in_one_call_is_revived_once(ground: Ground) -> None:
    """The second finds nothing left."""
    job_id = await fail(ground)
    arguments = await request(ground, job_id)
    assert await ground.run(scripts.RETRY, "ended", *arguments, *arguments) == [b"revived", b"missing"]
    assert await ground.run(scripts.RETRY, "ended", *arguments) == [b"waiting"]
    assert len(await ground.entries("waiting:5")) == 1
    await ground.run_dry()


async def test_a_record_that_changed_since_it_was_read_is_left_alone(ground: Ground) -> None:
    """The caller is to read it again."""
    job_id = await fail(ground)
    arguments = await request(ground, job_id)
    await ground.command("HSET", ground.key("ended"), job_id, '{"state":"failed","newer":1}')
    assert await ground.run(scripts.RETRY, "ended", *arguments) == [b"changed"]
    assert await ground.command("ZCARD", ground.key("failed")) == 1
    assert await meta(ground, "revived") == 0


async def test_an_unknown_job_is_missing(ground: Ground) -> None:
    """Nothing is made of nothing."""
    assert await ground.run(scripts.RETRY, "ended", *await request(ground, "nobody")) == [b"missing"]
    assert await ground.run(scripts.RETRY, "dead", *await request(ground, "nobody")) == [b"missing"]


@pytest.mark.parametrize(
    "name",
    [
        "meta",
        "events",
        "bell",
        "index",
        "unique",
        "ended",
        "buried",
        "completed",
        "failed",
        "blocked",
        "dead",
        "waiting:5",
        "front:0",
        "held:k",
    ],
)
async def test_a_wrong_type_revives_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The record stays as it is."""
    job_id = await fail(ground, unique="k")
    arguments = await request(ground, job_id, unique="k")
    await refused_unchanged(name, lambda: ground.run(scripts.RETRY, "ended", *arguments))


async def test_a_full_server_refuses_and_nothing_changed(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """The record must not be lost for a job that can't be stored."""
    job_id = await fail(own_ground)
    arguments = await request(own_ground, job_id)
    await full_unchanged(lambda: own_ground.run(scripts.RETRY, "ended", *arguments))
