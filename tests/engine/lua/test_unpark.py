"""Proves which jobs unpark.lua takes back, and in what order."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome


async def park(ground: Ground, *names: str) -> list[str]:
    """Parks one job of each name, and returns their ids."""
    await ground.register()
    ids = [await ground.enqueue(name) for name in names]
    await ground.settle(*[outcome(claim, "parked") for claim in await ground.claim(100)])
    return ids


async def test_jobs_of_known_names_go_back_in_the_order_in_which_they_were_parked(ground: Ground) -> None:
    """To the end of their level; the others stay. A name that begins with another is another name."""
    ids = await park(ground, "mail", "mail2", "mail", "sms", "mail:x")
    assert await ground.run(scripts.UNPARK, 10, "mail", "fax") == 2
    assert [id_of(claim) for claim in await ground.claim()] == [ids[0], ids[2]]
    assert [await ground.find(one) for one in (ids[1], ids[3], ids[4])] == ["parked"] * 3
    assert await ground.run(scripts.UNPARK, 10, "mail2", "sms", "mail:x") == 3
    await ground.run_dry()


async def test_no_more_than_the_limit_are_moved(ground: Ground) -> None:
    """Over all names together; the rest is for the next call."""
    await park(ground, "a", "a", "b", "b")
    assert [await ground.run(scripts.UNPARK, 3, "a", "b") for _ in range(3)] == [3, 1, 0]
    await ground.run_dry()


async def test_a_body_deleted_by_hand_does_not_stop_those_behind_it(ground: Ground, damage: object) -> None:
    """The job is lost; the others go on."""
    ids = await park(ground, "a", "a")
    await ground.command("DEL", ground.key(f"job:{ids[0]}"))
    assert await ground.run(scripts.UNPARK, 10, "a") == 1
    assert [id_of(claim) for claim in await ground.claim()] == ids[1:]


async def test_a_name_with_blanks_written_by_hand_is_taken_for_no_other(ground: Ground) -> None:
    """It stays parked, where it can be seen; others are taken back beside it."""
    ids = await park(ground, "a name", "a")
    assert await ground.run(scripts.UNPARK, 10, "a") == 1
    assert [await ground.find(one) for one in ids] == ["parked", "waiting"]


@pytest.mark.parametrize("name", ["meta", "events", "index", "parked", "bell", "waiting:5"])
async def test_a_wrong_type_moves_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key that it writes to is looked at first."""
    await park(ground, "a", "a")
    await refused_unchanged(name, lambda: ground.run(scripts.UNPARK, 10, "a"))


async def test_a_full_server_still_takes_them_back(own_ground: Ground) -> None:
    """Running them is what empties it."""
    await park(own_ground, "a")
    await own_ground.fill()
    assert await own_ground.run(scripts.UNPARK, 10, "a") == 1
