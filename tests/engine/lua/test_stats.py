"""Proves that stats.lua counts every state, of one moment."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, outcome


async def test_an_unknown_queue_counts_nothing_and_makes_no_key(ground: Ground) -> None:
    """Zeros alone."""
    assert await ground.run(scripts.STATS) == [0] * 15
    assert await ground.command("DBSIZE") == 0


async def test_every_state_is_counted(ground: Ground) -> None:
    """Lifetime endings beside the retained ones, and each place's waiting and active."""
    await ground.register()
    for name in ("a", "b", "c", "d"):
        await ground.enqueue(name)
    first, second, third, _ = await ground.claim()
    await ground.settle(outcome(first), keep=0)
    await ground.settle(outcome(second, "failed"), keep=5)
    await ground.settle(outcome(third, "parked"))
    await ground.enqueue(unique="k", level=1)
    await ground.enqueue(unique="k", payload="2")
    await ground.enqueue(delay=50)
    await ground.run(scripts.PAUSE)
    counts = await ground.run(scripts.STATS)
    assert counts[:15] == [1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 7, ground.now, 1, 0]
    assert counts[15:] == [b"waiting:1", 1, 0, b"waiting:5", 0, 1]
    await ground.run(scripts.RESUME)
    await ground.run(scripts.UNPARK, 5, "c")
    await ground.run_dry()


async def test_a_stream_without_its_group_counts_as_waiting(ground: Ground) -> None:
    """What nobody holds waits."""
    await ground.enqueue()
    await ground.command("XGROUP", "DESTROY", ground.key("waiting:5"), "workers")
    assert (await ground.run(scripts.STATS))[:2] == [1, 0]
    await ground.run_dry()
