"""Proves what wait.lua answers, and that it notes the waiter."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def test_a_job_that_is_not_there_is_missing(ground: Ground) -> None:
    """Nobody is noted for it."""
    assert await ground.run(scripts.WAIT, 1000, "nothing") == [b"0-0", 0]
    assert not await ground.command("EXISTS", ground.key("waited"))


async def test_a_live_job_is_pending_from_the_newest_event_on(ground: Ground) -> None:
    """The waiter is noted until its time; again renews it."""
    job_id = await ground.enqueue()
    reply = await ground.run(scripts.WAIT, 1000, job_id)
    (newest,) = await ground.command("XRANGE", ground.key("events"), "-", "+")
    assert reply == [newest[0], 1]
    ground.now += 10
    await ground.run(scripts.WAIT, 1000, job_id)
    assert int(await ground.command("ZSCORE", ground.key("waited"), job_id)) == ground.now + 1000
    await ground.register()
    await ground.settle(*[outcome(claim) for claim in await ground.claim()])


async def test_without_any_event_it_is_pending_from_the_beginning(ground: Ground) -> None:
    """The stream may have been deleted by hand."""
    job_id = await ground.enqueue()
    await ground.command("DEL", ground.key("events"))
    assert await ground.run(scripts.WAIT, 1000, job_id) == [b"0-0", 1]
    await ground.run_dry()


async def test_an_ended_job_answers_with_its_record(ground: Ground) -> None:
    """At once, and nobody is noted."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "completed", '{"state":"completed","x":1}'))
    assert (await ground.run(scripts.WAIT, 1000, job_id))[1:] == [b'{"state":"completed","x":1}']
    assert not await ground.command("EXISTS", ground.key("waited"))


async def test_many_jobs_are_answered_in_the_order_of_the_call(ground: Ground) -> None:
    """An id that is named twice is answered twice, and noted once."""
    await ground.register()
    ended, live = await ground.enqueue(), await ground.enqueue()
    (claim,) = await ground.claim(1)
    await ground.settle(outcome(claim, "failed"))
    reply = await ground.run(scripts.WAIT, 1000, live, ended, "nothing", live)
    assert reply[1:] == [1, f'{{"id":"{ended}","state":"failed"}}'.encode(), 0, 1]
    assert await ground.command("ZRANGE", ground.key("waited"), 0, -1) == [live.encode()]
    await ground.run_dry()


@pytest.mark.parametrize("name", ["waited", "events", "index"])
async def test_a_wrong_type_notes_nobody(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """What it reads is read before it writes."""
    job_id = await ground.enqueue(id="mine")
    await refused_unchanged(name, lambda: ground.run(scripts.WAIT, 1000, job_id))


async def test_a_full_server_still_notes_a_waiter(own_ground: Ground) -> None:
    """It is emptied while somebody waits."""
    job_id = await own_ground.enqueue()
    await own_ground.fill()
    assert (await own_ground.run(scripts.WAIT, 1000, job_id))[1:] == [1]
    assert await own_ground.command("ZCARD", own_ground.key("waited")) == 1
