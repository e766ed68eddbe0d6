"""Proves what workers.lua tells of living workers."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, texts


async def test_where_nobody_lives_there_are_none(ground: Ground) -> None:
    """A reply all the same."""
    assert await ground.run(scripts.WORKERS, 0, 10, 10) == [ground.now, 0]


async def test_each_worker_has_its_row_its_last_beat_and_its_claims(ground: Ground) -> None:
    """Of all places, plain jobs and jobs with ids."""
    await ground.run(scripts.REGISTER, "ana", '{"pid":7}')
    plain = await ground.enqueue(level=1)
    await ground.enqueue("leave", id="mine")
    await ground.claim()
    reply = await ground.run(scripts.WORKERS, 0, 10, 10)
    assert reply[:4] == [ground.now, 1, b"ana", str(ground.now).encode()]
    assert texts(reply[4])["about"] == '{"pid":7}'
    assert [reply[5][0], reply[5][1], reply[5][3], reply[5][4]] == [plain.encode(), b"greet", b"mine", b"leave"]
    assert (await ground.run(scripts.WORKERS, 0, 10, 1))[5][0::3] == [plain.encode()]
    await ground.run_dry()


async def test_workers_come_in_steps(ground: Ground) -> None:
    """By rank, the one that beat longest ago first."""
    for name in ("ana", "ben", "eva"):
        await ground.register(name)
        ground.now += 1
    reply = await ground.run(scripts.WORKERS, 1, 1, 10)
    assert (reply[1], reply[2::4]) == (3, [b"ben"])
