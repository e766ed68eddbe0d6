"""Proves how edit.lua replaces the payload of jobs in each state."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome, texts

PAYLOAD = '{"n":12345678901234567,"list":[],"text":"é"}'


async def payload_of(ground: Ground, job_id: str) -> str:
    """What the job would be run with."""
    return texts((await ground.run(scripts.FIND, job_id))[4])["payload"]


async def test_jobs_that_are_not_running_get_the_payload_byte_for_byte(ground: Ground) -> None:
    """Waiting, delayed and blocked; each keeps its state."""
    ids = {
        "waiting": await ground.enqueue(),
        "delayed": await ground.enqueue(delay=1000),
        "blocked": [await ground.enqueue(payload=str(number), unique="k") for number in (1, 2)][1],
    }
    for state, job_id in ids.items():
        assert await ground.run(scripts.EDIT, job_id, "greet", PAYLOAD) == b"edited"
        assert await ground.find(job_id) == state
        assert await payload_of(ground, job_id) == PAYLOAD
    assert ("edited", ids["delayed"]) in await ground.events()
    ground.now += 2000
    await ground.run_dry()


async def test_a_waiting_job_goes_to_the_end_of_its_level(ground: Ground) -> None:
    """What stands in a stream can't be changed in place."""
    job_id = await ground.enqueue()
    await ground.enqueue()
    await ground.run(scripts.EDIT, job_id, "greet", PAYLOAD)
    assert [entry.get("id") for entry in await ground.entries("waiting:5")] == [None, job_id]
    await ground.run_dry()


async def test_the_new_payload_is_what_joins_a_unique_job(ground: Ground) -> None:
    """The holder, and one that waits for the key."""
    holder = await ground.enqueue(payload="1", unique="k")
    blocked = await ground.enqueue(payload="2", unique="k")
    assert await ground.run(scripts.EDIT, holder, "greet", "3") == b"edited"
    assert await ground.run(scripts.EDIT, blocked, "greet", "4") == b"edited"
    assert await ground.enqueue(payload="3", unique="k") == holder
    assert await ground.enqueue(payload="4", unique="k") == blocked
    assert await ground.enqueue(payload="1", unique="k") not in (holder, blocked)
    await ground.run_dry()


async def test_what_can_not_be_edited_is_told(ground: Ground) -> None:
    """Running, ended, unknown, or another job under the same id."""
    await ground.register()
    ended = await ground.enqueue()
    await ground.settle(*map(outcome, await ground.claim()))
    active = await ground.enqueue()
    await ground.claim()
    waiting = await ground.enqueue("leave")
    verdicts = [await ground.run(scripts.EDIT, job_id, "greet", "1") for job_id in (ended, active, waiting, "nobody")]
    assert verdicts == [b"completed", b"active", b"changed", b"missing"]
    await ground.run_dry()


@pytest.mark.parametrize("name", ["meta", "events", "bell", "index", "unique", "waiting:5", "held:k"])
async def test_a_wrong_type_edits_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The old payload stays."""
    job_id = await ground.enqueue(unique="k")
    await refused_unchanged(name, lambda: ground.run(scripts.EDIT, job_id, "greet", PAYLOAD))


async def test_a_full_server_refuses_and_nothing_changed(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """A payload may be larger than the one before."""
    job_id = await own_ground.enqueue()
    await full_unchanged(lambda: own_ground.run(scripts.EDIT, job_id, "greet", PAYLOAD))
