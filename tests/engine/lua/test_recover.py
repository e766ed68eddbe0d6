"""Proves what recover.lua tells a worker whose call got no reply."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, claims_of, id_of, outcome


async def test_a_worker_without_a_row_is_dead(ground: Ground) -> None:
    """Its claims are lost."""
    assert await ground.run(scripts.RECOVER, "nobody", 1) == [b"dead", ground.now]


async def test_it_brings_every_claim_that_the_worker_holds(ground: Ground) -> None:
    """Of all places, with their entries; other workers' claims are left out."""
    await ground.register()
    await ground.register("ben")
    ids = [await ground.enqueue(level=level) for level in (2, 5)]
    await ground.claim()
    await ground.enqueue()
    await ground.claim(worker="ben")
    reply = await ground.run(scripts.RECOVER, "ana", ground.call())
    assert [id_of(claim) for claim in claims_of(reply)] == ids
    await ground.run_dry()


async def test_a_call_on_its_way_is_refused_afterwards(ground: Ground) -> None:
    """Recover raises the number; an equal or older one is stale, also for recover itself."""
    await ground.register()
    await ground.enqueue()
    late = ground.call()
    assert (await ground.run(scripts.RECOVER, "ana", ground.call()))[0] == b"ok"
    assert await ground.run(scripts.CLAIM, "ana", late, 5, 0) == [b"stale", ground.now, b""]
    assert await ground.run(scripts.RECOVER, "ana", late) == [b"stale", ground.now, b""]
    await ground.run_dry()


async def test_verdicts_come_with_the_number_of_their_call_however_often_it_is_asked(ground: Ground) -> None:
    """A recover whose own reply was lost must not hide what the settle before it did."""
    await ground.register()
    await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.run(scripts.SETTLE, "ana", 70, 0, 0, "", "", "", *outcome(claim))
    for number in (71, 72):
        assert await ground.run(scripts.RECOVER, "ana", number) == [b"ok", ground.now, b"1", 70]


async def test_the_verdicts_of_an_earlier_call_are_not_taken_for_those_of_a_lost_one(ground: Ground) -> None:
    """A settle that never arrived is told from one whose reply was lost."""
    await ground.register()
    assert await ground.run(scripts.RECOVER, "ana", 5) == [b"ok", ground.now, b"", 0]
    await ground.run(scripts.CLAIM, "ana", 8, 1, 0)
    assert await ground.run(scripts.RECOVER, "ana", 9) == [b"ok", ground.now, b"", 8]


async def test_a_claim_whose_entry_was_deleted_by_hand_is_let_go(ground: Ground, damage: Keys) -> None:
    """Nothing is left to run, so nothing stays pending."""
    await ground.register()
    await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.command("XDEL", ground.key("waiting:5"), claim[1])
    assert len(await ground.run(scripts.RECOVER, "ana", ground.call())) == 4
    assert (await ground.settle(outcome(claim)))[2] == b"0"


@pytest.mark.parametrize("name", ["meta", "bell", "worker:ana", "waiting:5"])
async def test_a_wrong_type_raises_no_number(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """The worker may ask again, with what it knows unchanged."""
    await ground.register()
    await ground.enqueue()
    await ground.claim()
    await refused_unchanged(name, lambda: ground.run(scripts.RECOVER, "ana", ground.call()))


async def test_a_full_server_still_answers(own_ground: Ground) -> None:
    """A worker must find its way back on a full server too."""
    await own_ground.register()
    job_id = await own_ground.enqueue()
    await own_ground.claim()
    await own_ground.fill()
    reply = await own_ground.run(scripts.RECOVER, "ana", own_ground.call())
    assert [id_of(claim) for claim in claims_of(reply)] == [job_id]
