"""Proves what limit.lua sets and ends, and that it lets those go whom a limit held."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome


async def put(ground: Ground, *keys: str) -> list[str]:
    """One job of each key."""
    return [await ground.enqueue(fields=["key", key]) for key in keys]


async def test_it_returns_the_limit_before(ground: Ground) -> None:
    """Of the queue, of all keys, of one key; nothing where there was none, or none any more."""
    for what, about in (("queue", ""), ("keys", ""), ("key", "a")):
        assert await ground.run(scripts.LIMIT, what, about, 1, 2, 3000) == [b"0", b""]
        assert await ground.run(scripts.LIMIT, what, about, 0, 0, 0) == [b"0", b"1 2 3000"]
        assert await ground.run(scripts.LIMIT, what, about, 4, 0, 0) == [b"0", b""]
        assert await ground.run(scripts.LIMIT, what, about, 0, 0, 0) == [b"0", b"4 0 0"]


async def test_a_raised_limit_of_keys_lets_those_go_that_it_held(ground: Ground) -> None:
    """Each key that runs a job, over as many steps as it takes; and the bell rings."""
    await ground.register()
    keys = [f"k{n}" for n in range(700)]
    await ground.run(scripts.LIMIT, "keys", "", 1, 0, 0)
    await put(ground, *keys)
    await put(ground, *keys)
    assert len(await ground.claim(1000)) == 700
    assert await ground.command("ZCARD", ground.key("turns")) == 0
    await ground.command("DEL", ground.key("bell"))
    cursor, _ = await ground.run(scripts.LIMIT, "keys", "", 2, 0, 0)
    steps = 1
    while cursor != b"0":
        cursor, before = await ground.run(scripts.LIMIT, "next", cursor, "", "", "")
        assert before == b""
        steps += 1
    assert steps > 1
    assert await ground.command("ZCARD", ground.key("bell")) == 1
    assert len(await ground.claim(1000)) == 700
    await ground.run_dry()


async def test_a_lowered_limit_holds_from_the_next_claim_on(ground: Ground) -> None:
    """Also for a key whose turn has come already."""
    await ground.register()
    await put(ground, "a", "a", "a")
    await ground.run(scripts.LIMIT, "keys", "", 1, 0, 0)
    (claim,) = await ground.claim(10)
    assert await ground.claim(10) == []
    await ground.settle(outcome(claim))
    assert len(await ground.claim(10)) == 1
    await ground.run(scripts.LIMIT, "keys", "", 0, 0, 0)
    await ground.run_dry()


async def test_an_ended_rate_limit_lets_those_go_that_rest(ground: Ground) -> None:
    """The key's starts within the period don't count any more."""
    await ground.register()
    await ground.run(scripts.LIMIT, "keys", "", 0, 1, 60_000)
    await put(ground, "a", "a", "b", "b")
    assert len(await ground.claim(10)) == 2
    assert await ground.command("ZCARD", ground.key("resting")) == 2
    await ground.run(scripts.LIMIT, "keys", "", 0, 0, 0)
    assert len(await ground.claim(10)) == 2
    assert await ground.command("ZCARD", ground.key("resting")) == 0
    await ground.run_dry()


@pytest.mark.parametrize("scope", ["key", "queue"])
async def test_what_a_handler_told_is_ended(ground: Ground, scope: str) -> None:
    """The limited job, which went back to the front, is the next; the limit itself stays."""
    await ground.register()
    ids = await put(ground, "a", "a")
    (claim,) = await ground.claim(1)
    body = '{"limit":60000,"scope":"' + scope + '","set":{}}'
    await ground.settle((*outcome(claim)[:3], "limited", body))
    assert await ground.claim(10) == []
    await ground.run(scripts.LIMIT, scope, "a" if scope == "key" else "", "", "", "")
    assert [id_of(one) for one in await ground.claim(10)] == ids
    await ground.run_dry()


async def test_a_full_redis_refuses_a_limit_and_changes_nothing(
    own_ground: Ground, full_unchanged: FullUnchanged
) -> None:
    """Whatever it is for."""
    await full_unchanged(lambda: own_ground.run(scripts.LIMIT, "queue", "", 1, 0, 0))
    await full_unchanged(lambda: own_ground.run(scripts.LIMIT, "keys", "", 1, 0, 0))


@pytest.mark.parametrize("name", ["turns", "resting", "running", "limits", "bell"])
async def test_a_key_of_a_wrong_type_refuses_it(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Before anything was written."""
    await refused_unchanged(name, lambda: ground.run(scripts.LIMIT, "keys", "", 1, 0, 0))
