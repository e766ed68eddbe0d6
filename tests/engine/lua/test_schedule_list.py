"""Proves what schedule_list.lua tells of schedules, one by one and page by page."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, outcome, texts
from tests.engine.lua.schedules_ground import first_fire, row_of, tick, tidy, upsert


async def test_named_ones_bring_their_rows_and_strangers_nothing(ground: Ground) -> None:
    """In the order of the names."""
    await upsert(ground)
    reply = await ground.run(scripts.SCHEDULE_LIST, "0", 1, "nobody", "hourly")
    assert reply[:5] == [ground.now, b"0", b"nobody", [], b""]
    assert (reply[5], texts(reply[6]), reply[7]) == (b"hourly", await row_of(ground), b"")
    await tidy(ground)


async def test_the_state_is_that_of_the_run_started_last(ground: Ground) -> None:
    """Waiting, active, ended as it ended, and empty once its record is gone."""

    async def state() -> bytes:
        reply = await ground.run(scripts.SCHEDULE_LIST, "0", 1, "hourly")
        return bytes(reply[4])

    await upsert(ground)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    assert await state() == b"waiting"
    await ground.register()
    (claim,) = await ground.claim()
    assert await state() == b"active"
    await ground.settle(outcome(claim, "failed"))
    assert await state() == b"failed"
    await ground.command("DEL", ground.key("ended"), ground.key("failed"))
    assert await state() == b""
    await tidy(ground)


async def test_pages_bring_every_schedule(ground: Ground) -> None:
    """However many, in bounded steps."""
    names = {f"s{number}".encode() for number in range(300)}
    for name in names:
        await upsert(ground, name.decode())
    found, cursor, steps = set(), b"0", 0
    while True:
        reply = await ground.run(scripts.SCHEDULE_LIST, cursor, 50)
        found |= set(reply[2::3])
        cursor, steps = reply[1], steps + 1
        if cursor == b"0":
            break
    assert found == names
    assert steps > 3
    await tidy(ground)
