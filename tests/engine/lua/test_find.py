"""Proves that find.lua finds a job by its id in every state, and changes nothing."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.ground import Ground, outcome, texts


async def test_it_finds_a_job_in_every_state(ground: Ground, keys: Keys) -> None:
    """State, detail, owners, place and fields as the header says."""
    await ground.register()
    assert await ground.run(scripts.FIND, "nothing") == []
    job_id = await ground.enqueue(unique="k", level=3)
    held = await ground.enqueue(payload="2", unique="k", level=4, id="mine")
    before = await keys.contents()

    (state, entry, joined, place, _) = await ground.run(scripts.FIND, job_id)
    assert (state, f"3-{entry.decode()}", joined, place) == (b"waiting", job_id, b"", b"waiting:3")
    (state, detail, _, place, fields) = await ground.run(scripts.FIND, held)
    assert (state, detail, place) == (b"blocked", b"k", b"kept:4")
    assert texts(fields)["payload"] == "2"
    assert await keys.contents() == before

    (claim,) = await ground.claim()
    assert (await ground.run(scripts.FIND, job_id))[:4] == [b"active", b"ana", b"", b"waiting:3"]
    await ground.settle(outcome(claim, "delayed", '{"delay":70,"set":{"attempt":"1"}}'))
    (state, due, _, place, fields) = await ground.run(scripts.FIND, job_id)
    assert (state, int(due), place) == (b"delayed", ground.now + 70, b"kept:3")
    assert texts(fields)["attempt"] == "1"
    ground.now += 70
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "parked"))
    assert (await ground.run(scripts.FIND, job_id))[:2] == [b"parked", b"greet"]
    await ground.run(scripts.UNPARK, 9, "greet")
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "completed k", '{"state":"completed"}'))
    assert await ground.run(scripts.FIND, job_id) == [b"ended", b'{"state":"completed"}', b""]
    await ground.run_dry()


async def test_joined_owners_come_with_the_job(ground: Ground) -> None:
    """Of a live and of an ended one."""
    await ground.register()
    job_id = await ground.enqueue(unique="k")
    await ground.enqueue(unique="k", owner="ben")
    assert (await ground.run(scripts.FIND, job_id))[2] == b'["ben"]'
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "completed k"))
    assert (await ground.run(scripts.FIND, job_id))[2] == b'["ben"]'


async def test_an_id_that_looks_generated_but_names_no_entry_is_not_found(ground: Ground) -> None:
    """Neither in a stream that exists nor in one that doesn't."""
    await ground.enqueue()
    assert await ground.run(scripts.FIND, "5-1-1") == []
    assert await ground.run(scripts.FIND, "8-1-1") == []
    await ground.run_dry()
