"""Proves that hooks.lua has failures kept for the jobs that it was told of, by every script that fails one, and for how
long."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.families_ground import accept, running_parent, wait
from tests.engine.lua.ground import Ground
from tests.engine.lua.hooks_ground import MONTH_MS, fail, failure, hook, lent


async def told(ground: Ground, name: str = "greet") -> int:
    """Strikes out everything that is kept for a name; returns how many there were."""
    ground.now += 60_000
    flat = [part for member in await lent(ground, name) for part in (name, member)]
    return int(await ground.run(scripts.TOLD, *flat)) if flat else 0


async def test_a_job_without_a_hook_leaves_nothing(ground: Ground) -> None:
    """Neither where no job of the queue has a hook, nor where another one has."""
    await ground.register()
    await fail(ground)
    await hook(ground, "other")
    await fail(ground)
    assert not await ground.command("EXISTS", ground.key("untold"), ground.key("untold:greet"))
    await ground.run(scripts.LEAVE, "ana")


@pytest.mark.parametrize("kind", ["failed", "-failed"])
async def test_a_failure_in_a_run_is_left_to_its_worker_for_a_minute(ground: Ground, kind: str) -> None:
    """Also where no record of it is kept."""
    await ground.register()
    await hook(ground, "greet")
    job_id = await fail(ground, kind=kind)
    ended = ground.now
    assert await lent(ground, "greet") == []
    ground.now += 60_000
    assert await lent(ground, "greet") == [f"{ended} {job_id}"]
    assert await told(ground) == 1
    await ground.run(scripts.LEAVE, "ana")


async def test_a_job_that_lost_its_workers_is_to_be_told_at_once(ground: Ground) -> None:
    """The sweep says so, also to a process that did not do its work; names with a slash are told apart from none."""
    await ground.register()
    await hook(ground, "a/b")
    job_id = await ground.enqueue(name="a/b")
    await ground.claim()
    ground.now += 10_000
    assert (await ground.sweep(stalls=0))[:4] == [0, 1, 0, 1]
    await ground.command("SET", ground.key("sweeping"), 1, "PX", 60_000)
    assert await ground.sweep(again=False) == [0, 1]
    assert await lent(ground, "a/b") == [f"{ground.now} {job_id}"]
    assert await told(ground, "a/b") == 1
    assert (await ground.sweep())[1] == 0


@pytest.mark.parametrize("waits_first", [True, False])
async def test_a_parent_that_fails_with_its_child_is_to_be_told_at_once(ground: Ground, waits_first: bool) -> None:
    """Whether it waits already, or is about to: its worker does not know that it failed."""
    await hook(ground, "greet")
    claim = await running_parent(ground, "fail")
    if waits_first:
        assert await wait(ground, claim) == "blocked"
    await accept(ground, ("c0", "failed"))
    if not waits_first:
        assert await wait(ground, claim) == "ended"
    assert await lent(ground, "greet") == [f"{ground.now} mum"]
    assert await told(ground) == 1
    await ground.run(scripts.LEAVE, "ana")


async def test_of_more_than_ten_thousand_the_oldest_go(ground: Ground) -> None:
    """What can't be told must not fill the memory."""
    await ground.register()
    await hook(ground, "greet")
    first = await fail(ground)
    flat = [part for n in range(9_999) for part in (f"1 x{n}", "{}")]
    await ground.command("HSET", ground.key("untold"), *flat)
    ground.now += 1
    second = await fail(ground)
    assert await ground.command("HLEN", ground.key("untold")) == 10_000
    ground.now += 60_000
    assert [member.split()[1] for member in await lent(ground, "greet")] == [second] != [first]
    await ground.command("DEL", ground.key("untold"), ground.key("untold:greet"))
    await ground.run(scripts.LEAVE, "ana")


async def test_a_name_that_nobody_noted_for_a_month_is_forgotten_with_its_failures(ground: Ground) -> None:
    """By whoever notes another one."""
    await ground.register()
    await hook(ground, "greet")
    await fail(ground)
    ground.now += MONTH_MS
    assert await ground.run(scripts.HOOKS, MONTH_MS, "other") == 1
    assert not await ground.command("EXISTS", ground.key("untold"), ground.key("untold:greet"))
    assert await ground.command("ZRANGE", ground.key("hooks"), 0, -1) == [b"other"]
    await ground.run(scripts.LEAVE, "ana")


async def test_stores_of_a_wrong_type_stop_no_job_from_ending(ground: Ground, damage: object) -> None:
    """The failure is not kept, and the job has failed."""
    await ground.register()
    await hook(ground, "greet")
    for name in ("untold:greet", "untold", "hooks"):
        await ground.plant(name)
        assert await ground.find(await fail(ground)) == "ended"
        await ground.command("DEL", ground.key(name))
        await hook(ground, "greet")


async def test_two_failures_of_one_job_are_told_apart(ground: Ground) -> None:
    """It was retried by hand before anybody was told of the first."""
    await ground.register()
    await hook(ground, "greet")
    await fail(ground, id="a")
    ground.now += 1
    await ground.enqueue(id="a", mode="rerun_finished")
    (claim,) = await ground.claim()
    await ground.settle(failure(ground, claim))
    assert await told(ground) == 2
    await ground.run(scripts.LEAVE, "ana")


async def test_a_key_of_a_wrong_type_refuses_the_call(ground: Ground, refused_unchanged: RefusedUnchanged) -> None:
    """The worker notes again later."""
    await refused_unchanged("hooks", lambda: ground.run(scripts.HOOKS, MONTH_MS, "greet"))


async def test_a_full_redis_refuses_the_call(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """And the worker starts all the same."""
    await full_unchanged(lambda: own_ground.run(scripts.HOOKS, MONTH_MS, "greet"))
