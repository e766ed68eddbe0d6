"""Proves what remove.lua takes away in each state, and what it leaves alone."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome

ANY = " waiting delayed blocked parked active completed failed cancelled "


async def removed(ground: Ground) -> int:
    """The lifetime counter."""
    return int(await ground.command("HGET", ground.key("meta"), "removed") or 0)


async def park(ground: Ground) -> str:
    """Parks a new job and returns its id."""
    job_id = await ground.enqueue("unknown")
    claims = await ground.claim()
    await ground.settle(*(outcome(claim, "parked") for claim in claims))
    return job_id


async def test_an_unknown_id_is_missing(ground: Ground) -> None:
    """Also one that only looks like a generated id."""
    assert await ground.run(scripts.REMOVE, ANY, "nobody", "5-1-0") == [b"missing", b"missing"]


async def test_a_job_of_every_resting_state_goes_with_all_that_names_it(ground: Ground) -> None:
    """Waiting (plain and with an id), delayed, blocked and parked."""
    await ground.register()
    parked = await park(ground)
    holder = await ground.enqueue(unique="k")
    ids = [
        await ground.enqueue(),
        await ground.enqueue(id="mine"),
        await ground.enqueue(delay=5000),
        await ground.enqueue(payload="2", unique="k"),
        parked,
        holder,
    ]
    assert await ground.run(scripts.REMOVE, ANY, *ids) == [b"removed"] * 6
    assert [await ground.find(job_id) for job_id in ids] == [None] * 6
    assert await removed(ground) == 6
    assert ("removed", " ".join(ids)) in await ground.events()


async def test_a_state_that_was_not_named_is_told_and_kept(ground: Ground) -> None:
    """The caller meant delayed jobs; this one waits."""
    job_id = await ground.enqueue()
    assert await ground.run(scripts.REMOVE, " delayed ", job_id) == [b"waiting"]
    assert await ground.find(job_id) == "waiting"
    assert await removed(ground) == 0
    await ground.register()
    await ground.run_dry()


async def test_an_active_job_is_removed_only_where_it_is_named_and_its_outcome_no_longer_counts(ground: Ground) -> None:
    """Its worker is told, and its settlement finds the claim lost."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    assert await ground.run(scripts.REMOVE, " waiting ", job_id) == [b"active"]
    assert await ground.run(scripts.REMOVE, " waiting active ", job_id) == [b"removed"]
    assert b'"cancel":"' + job_id.encode() in await ground.command("LPOP", ground.key("inbox:ana"))
    assert (await ground.settle(outcome(claim)))[2] == b"0"
    assert await ground.command("HGET", ground.key("meta"), "completed") is None


async def test_a_removed_holder_hands_its_key_to_the_next(ground: Ground) -> None:
    """The first that waits for the key waits to be run now."""
    first = await ground.enqueue(unique="k")
    second = await ground.enqueue(payload="2", unique="k")
    assert await ground.run(scripts.REMOVE, ANY, first) == [b"removed"]
    assert await ground.find(second) == "waiting"
    await ground.run_dry()


async def test_a_removed_waiter_for_a_key_leaves_the_others_in_line(ground: Ground) -> None:
    """The third takes the place of the second."""
    ids = [await ground.enqueue(payload=str(number), unique="k") for number in range(3)]
    assert await ground.run(scripts.REMOVE, ANY, ids[1]) == [b"removed"]
    held = await ground.command("LRANGE", ground.key("held:k"), 0, -1)
    assert [one.decode()[41:] for one in held] == [ids[2]]
    await ground.run_dry()


async def test_a_record_goes_without_touching_the_count_of_removed_jobs(ground: Ground) -> None:
    """It was counted when it ended."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.settle(*map(outcome, await ground.claim()))
    assert await ground.run(scripts.REMOVE, " failed ", job_id) == [b"completed"]
    assert await ground.run(scripts.REMOVE, " completed ", job_id) == [b"removed"]
    assert await ground.find(job_id) is None
    assert await removed(ground) == 0


@pytest.mark.parametrize(
    "name",
    [
        "meta",
        "events",
        "bell",
        "index",
        "unique",
        "ended",
        "joined",
        "runs",
        "delayed",
        "blocked",
        "parked",
        "waited",
        "completed",
        "failed",
        "cancelled",
        "notes",
        "cancelling",
        "waiting:5",
        "front:3",
        "result:mine",
    ],
)
async def test_a_wrong_type_removes_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Neither the first of the batch nor any other."""
    first = await ground.enqueue()
    await ground.command("SET", ground.key("result:mine"), "a string, which planting replaces")
    await refused_unchanged(name, lambda: ground.run(scripts.REMOVE, ANY, first, "mine"))


async def test_a_full_server_can_be_emptied(own_ground: Ground) -> None:
    """Removing is how an operator makes room."""
    ids = [
        await own_ground.enqueue(),
        await own_ground.enqueue(id="mine", delay=9),
        await own_ground.enqueue(unique="k"),
    ]
    await own_ground.enqueue(payload="2", unique="k")
    await own_ground.fill()
    assert await own_ground.run(scripts.REMOVE, ANY, *ids) == [b"removed"] * 3


async def test_a_damaged_line_for_a_key_stops_no_removal(ground: Ground, damage: Keys) -> None:
    """What waits for the key is lost already; the job that is named goes."""
    await ground.enqueue(unique="k")
    second = await ground.enqueue(payload="2", unique="k")
    await ground.plant("held:k")
    assert await ground.run(scripts.REMOVE, ANY, second) == [b"removed"]
