"""Proves retention by age and the bounds of the dead letters, step by step (the trash is clear's: test_clear.py)."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, outcome

NOTHING = [0, 0, 0, 0, 0, 0]


async def end(ground: Ground, kind: str, *, keep: int | str = "") -> str:
    """A job that ends now; returns its id."""
    await ground.register()
    job_id = await ground.enqueue(id=f"job-{ground.now}")
    (claim,) = await ground.claim()
    record = f'{{"id":"{job_id}","state":"{kind}","finished_ms":{ground.now}}}'
    await ground.settle(outcome(claim, kind, record), keep=keep)
    return job_id


async def tidy(
    ground: Ground,
    limit: int = 10,
    *,
    ages: tuple[int | str, ...] = ("", "", ""),
    dead: int = 10_000,
    age: int | str = "",
) -> list[int]:
    """One step."""
    return list(await ground.run(scripts.TIDY, limit, *ages, dead, age))


async def dead(ground: Ground) -> list[str]:
    """Ids of the dead letters, oldest first; each has its record."""
    ids = [one.decode() for one in await ground.command("ZRANGE", ground.key("dead"), 0, -1)]
    assert sorted(ids) == sorted(one.decode() for one in await ground.command("HKEYS", ground.key("buried")))
    return ids


@pytest.mark.parametrize("kind", ["completed", "cancelled"])
async def test_records_older_than_their_age_go_and_younger_ones_stay(ground: Ground, kind: str) -> None:
    """To the millisecond."""
    old = await end(ground, kind)
    ground.now += 1000
    young = await end(ground, kind)
    ages: tuple[int | str, ...] = (1000, "", "") if kind == "completed" else ("", "", 1000)
    ground.now -= 1
    assert await tidy(ground, ages=ages) == NOTHING
    ground.now += 1
    assert sum(await tidy(ground, ages=ages)) == 1
    assert [await ground.find(job_id) for job_id in (old, young)] == [None, "ended"]


async def test_failures_older_than_their_age_become_dead_letters(ground: Ground) -> None:
    """With their records as they were."""
    job_id = await end(ground, "failed")
    record = await ground.command("HGET", ground.key("ended"), job_id)
    ground.now += 5000
    assert await tidy(ground, ages=("", 5000, "")) == [0, 0, 1, 0, 0, 0]
    assert await dead(ground) == [job_id]
    assert await ground.command("HGET", ground.key("buried"), job_id) == record


async def test_a_step_takes_no_more_than_its_limit_and_says_that_more_is_left(ground: Ground) -> None:
    """Oldest first."""
    ids = []
    for _ in range(5):
        ids.append(await end(ground, "completed"))
        ground.now += 1
    ground.now += 1000
    assert await tidy(ground, 2, ages=(1000, "", "")) == [1, 2, 0, 0, 0, 0]
    assert [await ground.find(job_id) for job_id in ids] == [None, None, "ended", "ended", "ended"]
    assert await tidy(ground, 4, ages=(1000, "", "")) == [0, 3, 0, 0, 0, 0]


async def test_failures_that_retention_evicts_are_buried_in_the_order_in_which_they_failed(ground: Ground) -> None:
    """By a settlement, without waiting for a sweep; with a retention of none as well."""
    ids = []
    for keep in (1, 1, 1, 0):
        ids.append(await end(ground, "failed", keep=keep))
        ground.now += 1
    assert await dead(ground) == ids


async def test_dead_letters_beyond_their_number_go_oldest_first(ground: Ground) -> None:
    """By the step, and from then on at once."""
    ids = []
    for _ in range(4):
        ids.append(await end(ground, "failed", keep=0))
        ground.now += 1
    assert await tidy(ground, dead=2) == [0, 0, 0, 0, 2, 0]
    assert await dead(ground) == ids[2:]
    newest = await end(ground, "failed", keep=0)
    assert await dead(ground) == [ids[3], newest]


async def test_dead_letters_older_than_their_age_go(ground: Ground) -> None:
    """Their age counts from the end of the job."""
    await end(ground, "failed", keep=0)
    ground.now += 1000
    young = await end(ground, "failed", keep=0)
    assert await tidy(ground, age=1000) == [0, 0, 0, 0, 1, 0]
    assert await dead(ground) == [young]


async def test_where_none_are_to_be_kept_nothing_is_buried(ground: Ground) -> None:
    """The policy is known to settlements from the first step on."""
    assert await tidy(ground, dead=0) == NOTHING
    await end(ground, "failed", keep=0)
    assert await dead(ground) == []


async def test_completed_and_cancelled_records_are_never_buried(ground: Ground) -> None:
    """Dead letters are failures."""
    await end(ground, "completed", keep=0)
    ground.now += 1
    await end(ground, "cancelled", keep=0)
    assert await dead(ground) == []


@pytest.mark.parametrize(
    "name", ["completed", "failed", "cancelled", "dead", "ended", "buried", "joined", "trash:delayed"]
)
async def test_a_wrong_type_tidies_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Checks come before writes."""
    await end(ground, "completed")
    ground.now += 10
    await refused_unchanged(name, lambda: tidy(ground, ages=(1, "", "")))


async def test_a_damaged_store_of_dead_letters_stops_no_job_from_ending(ground: Ground, damage: object) -> None:
    """What can't be buried is let go."""
    await ground.plant("dead")
    job_id = await end(ground, "failed", keep=0)
    assert await ground.find(job_id) is None


async def test_a_full_server_is_tidied(own_ground: Ground) -> None:
    """Letting go makes room."""
    await end(own_ground, "completed")
    own_ground.now += 10
    await own_ground.fill()
    assert await tidy(own_ground, ages=(1, "", "")) == [0, 1, 0, 0, 0, 0]


async def test_many_thrown_away_records_are_gone_after_as_many_steps_as_they_fill(ground: Ground) -> None:
    """Each step takes a full share, also when the hash has become sparse."""
    for first in range(0, 20_000, 1000):
        pairs = [part for n in range(first, first + 1000) for part in (f"job-{n}", "{}")]
        await ground.command("HSET", ground.key("trash:ended"), *pairs)
    for step in range(1, 101):
        reply = await ground.run(scripts.TIDY, 200, "", "", "", 10_000, "")
        assert reply[5] == 200
        assert reply[0] == (step < 100)
    assert not await ground.command("EXISTS", ground.key("trash:ended"))
