"""Proves that clear.lua takes a whole queue at one moment, and what it leaves."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome


async def tidy(ground: Ground) -> None:
    """Empties the trash."""
    while (await ground.run(scripts.TIDY, 2, "", "", "", 10_000, ""))[0]:
        pass


async def one_of_each(ground: Ground) -> None:
    """Two records, and a waiting, a delayed, a blocked and a parked job, with the holder of the key: seven."""
    await ground.register()
    for kind, name in (("completed", "greet"), ("failed", "greet"), ("parked", "unknown")):
        await ground.enqueue(name)
        await ground.settle(*(outcome(claim, kind) for claim in await ground.claim()))
    await ground.enqueue(delay=60_000, id="mine")
    await ground.enqueue(unique="k")
    await ground.enqueue(payload="2", unique="k")
    await ground.enqueue()


async def test_every_job_and_record_goes_and_is_counted(ground: Ground, keys: Keys) -> None:
    """The lifetime counters stay and balance."""
    await one_of_each(ground)
    assert await ground.run(scripts.CLEAR, 0, 100) == [b"cleared", 7]
    await tidy(ground)
    left = {name.removeprefix("jobs:{q}:") for name in await keys.names()}
    assert left <= {"meta", "events", "bell", "workers", "worker:ana", "waiting:5"}
    assert await ground.entries("waiting:5") == []
    meta = await ground.command("HMGET", ground.key("meta"), "added", "completed", "failed", "removed")
    assert [int(number) for number in meta] == [7, 1, 1, 5]
    assert ("cleared", "") in await ground.events()


async def test_active_jobs_forbid_it(ground: Ground, keys: Keys) -> None:
    """Nothing changed, and it says how many they are."""
    await ground.register()
    await ground.enqueue()
    await ground.enqueue()
    await ground.claim(1)
    before = await keys.contents()
    assert await ground.run(scripts.CLEAR, 0, 100) == [b"active", 1]
    assert await keys.contents() == before
    await ground.run_dry()


async def test_with_force_active_jobs_are_called_off_and_their_outcomes_no_longer_count(ground: Ground) -> None:
    """The worker is told, goes on claiming, and finds the next job."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    assert await ground.run(scripts.CLEAR, 1, 100) == [b"cleared", 1]
    assert b'"cancel":"' + job_id.encode() in await ground.command("LPOP", ground.key("inbox:ana"))
    following = await ground.enqueue()
    reply = await ground.settle(outcome(claim), want=5)
    assert reply[2] == b"0"
    assert f"5-{reply[5][0][0].decode()}" == following
    await ground.run_dry()


async def test_jobs_added_while_the_trash_is_emptied_stay(ground: Ground) -> None:
    """Also one under an id that was cleared."""
    await ground.enqueue(id="mine", delay=60_000)
    await ground.enqueue(id="other", delay=60_000)
    await ground.run(scripts.CLEAR, 0, 100)
    await ground.enqueue(id="mine", delay=60_000, payload='"new"')
    await ground.enqueue(id="other")
    await tidy(ground)
    assert [await ground.find(job_id) for job_id in ("mine", "other")] == ["delayed", "waiting"]
    assert await ground.command("HGET", ground.key("job:mine"), "payload") == b'"new"'
    assert await ground.command("EXISTS", ground.key("job:other")) == 0
    await ground.run_dry()


async def test_blocked_jobs_beyond_the_limit_are_left_for_the_next_call(ground: Ground) -> None:
    """Each has a line in the list of its key, so they are taken in steps."""
    for number in range(4):
        await ground.enqueue(payload=str(number), unique="k")
    assert await ground.run(scripts.CLEAR, 0, 2) == [b"more", 2]
    assert await ground.run(scripts.CLEAR, 0, 2) == [b"cleared", 2]
    assert await ground.command("EXISTS", ground.key("held:k")) == 0


async def test_an_earlier_trash_is_to_be_emptied_first(ground: Ground) -> None:
    """It would be overwritten, and what hangs on it would never be deleted."""
    await ground.enqueue(delay=60_000)
    assert await ground.run(scripts.CLEAR, 0, 100) == [b"cleared", 1]
    await ground.enqueue(delay=60_000)
    assert await ground.run(scripts.CLEAR, 0, 100) == [b"trash", 0]
    await tidy(ground)
    assert await ground.run(scripts.CLEAR, 0, 100) == [b"cleared", 1]
    await tidy(ground)


@pytest.mark.parametrize(
    "name",
    ["meta", "events", "bell", "index", "ended", "unique", "delayed", "parked", "blocked", "dead", "waiting:5"],
)
async def test_a_wrong_type_clears_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """What is damaged is for an operator to look at, and obliterate."""
    await ground.enqueue(delay=60_000)
    await refused_unchanged(name, lambda: ground.run(scripts.CLEAR, 0, 100))


async def test_a_full_server_can_be_cleared(own_ground: Ground) -> None:
    """That is what it is for."""
    await one_of_each(own_ground)
    await own_ground.fill()
    assert await own_ground.run(scripts.CLEAR, 0, 100) == [b"cleared", 7]
    await tidy(own_ground)


async def test_a_step_that_leaves_some_jobs_leaves_no_note_of_those_that_it_took(ground: Ground) -> None:
    """Owners and waiters of a removed job go with it, also where the caller never comes back for the rest."""
    await ground.enqueue(unique="k")
    blocked = await ground.enqueue(payload="2", unique="k")
    assert await ground.enqueue(payload="2", unique="k", owner="bo") == blocked
    await ground.run(scripts.WAIT, 60_000, blocked)
    ground.now += 1
    await ground.enqueue(payload="3", unique="k")
    assert await ground.run(scripts.CLEAR, 0, 1) == [b"more", 1]
    assert await ground.find(blocked) is None
    assert await ground.command("HGET", ground.key("joined"), blocked) is None
    assert await ground.command("ZSCORE", ground.key("waited"), blocked) is None
    await ground.register()
    await ground.run_dry()


async def test_no_entry_id_is_given_a_second_time(ground: Ground) -> None:
    """Else a job that was added in the millisecond of the clearing would be settled by a claim of the old one."""
    await ground.enqueue()
    await ground.command("XSETID", ground.key("waiting:5"), "9999999999999-7")
    await ground.run(scripts.CLEAR, 0, 100)
    await ground.register()
    assert await ground.enqueue() == "5-9999999999999-8"
    await ground.run_dry()


async def test_a_job_in_the_line_of_its_key_leaves_nothing_behind_at_the_step_that_removes_it(ground: Ground) -> None:
    """Its unique key goes to the next in line, so that nobody joins what is gone; who waited for it waits no more."""
    first = await ground.enqueue(unique="k", fields=["key", "tenant"], id="first")
    second = await ground.enqueue(payload="2", unique="k", fields=["key", "tenant"])
    await ground.run(scripts.WAIT, 60_000, first)
    assert await ground.run(scripts.CLEAR, 0, 1) == [b"more", 1]
    assert await ground.find(first) is None
    assert await ground.command("EXISTS", ground.key("waited")) == 0
    assert await ground.find(second) == "waiting"
    third = await ground.enqueue(unique="k", fields=["key", "tenant"])
    assert third not in (first, second)
    assert await ground.run(scripts.CLEAR, 0, 1) == [b"more", 1]
    assert await ground.find(third) == "waiting"
    assert await ground.run(scripts.CLEAR, 0, 1) == [b"more", 1]
    assert await ground.run(scripts.CLEAR, 0, 1) == [b"cleared", 0]
