"""Proves what inspect.lua replies to each of its questions; what it finds is proved on the engine's own inspection."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.ground import Ground

CURSORS = ["index", "ended", "completed", "failed", "cancelled", "delayed", "blocked", "parked", "unique", "joined"]


async def test_counts_are_a_flat_list_of_names_and_numbers(ground: Ground) -> None:
    """Every state, every lifetime counter, and the records beside the lists that hold them."""
    await ground.enqueue()
    reply = await ground.run(scripts.INSPECT, "counts", "")
    counts = dict(zip(reply[::2], reply[1::2], strict=True))
    assert (counts.pop(b"added"), counts.pop(b"waiting")) == (1, 1)
    assert set(counts.values()) == {0}
    assert len(counts) == 13
    await ground.run_dry()


@pytest.mark.parametrize("what", CURSORS)
async def test_a_list_is_walked_by_cursor(ground: Ground, what: str) -> None:
    """On a queue without jobs the first step is the last, and finds nothing."""
    assert await ground.run(scripts.INSPECT, what, "0") == [b"0"]


async def test_a_large_list_takes_several_steps(ground: Ground) -> None:
    """Each is bounded; together they see all."""
    for n in range(700):
        await ground.command("HSET", ground.key("index"), f"job-{n}", "waiting:5 1-1")
    cursor, steps, problems = "0", 0, set()
    while True:
        step = await ground.run(scripts.INSPECT, "index", cursor)
        steps, cursor = steps + 1, step[0].decode()
        problems.update(step[1:])
        if cursor == "0":
            break
    assert steps > 1
    assert len(problems) == 700
    await ground.command("DEL", ground.key("index"))


@pytest.mark.parametrize("what", ["entries", "claims"])
async def test_a_place_is_walked_by_entry(ground: Ground, what: str) -> None:
    """200 at a time; the empty cursor is the end."""
    await ground.register()
    for _ in range(201):
        await ground.enqueue()
    await ground.claim(300)
    (after,) = await ground.run(scripts.INSPECT, what, "waiting:5", "")
    assert after
    assert await ground.run(scripts.INSPECT, what, "waiting:5", after) == [b""]
    await ground.run_dry()


async def test_a_key_is_judged_alone_and_nothing_is_written(ground: Ground, keys: Keys) -> None:
    """Of a sound queue every key is sound."""
    await ground.register()
    await ground.enqueue(unique="k")
    await ground.enqueue(unique="k", payload="2")
    await ground.enqueue(delay=5)
    before = await keys.contents()
    for name in await keys.names():
        assert await ground.run(scripts.INSPECT, "key", name.removeprefix(ground.key(""))) == [b""]
    assert await keys.contents() == before
    await ground.run_dry()
