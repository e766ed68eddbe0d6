"""Proves what schedule_due.lua finds due, and what it tells of it."""

from __future__ import annotations

from typing import Any

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.ground import Ground
from tests.engine.lua.schedules_ground import HOUR, first_fire, tidy, upsert


async def due(ground: Ground, leave_out: int = 0, most: int = 10) -> tuple[bytes, list[bytes]]:
    """The next fire that isn't due, and the names of the due ones."""
    reply: list[Any] = await ground.run(scripts.SCHEDULE_DUE, leave_out, most)
    assert reply[0] == ground.now
    return reply[1], reply[2::2]


async def test_nothing_is_due_where_there_is_nothing(ground: Ground) -> None:
    """And there is no next fire."""
    assert await due(ground) == (b"", [])


async def test_due_ones_come_earliest_first_with_the_next_that_is_not(ground: Ground) -> None:
    """Due at this very ms is due; paused and ended ones never are."""
    at = first_fire(ground)
    for name, offset in (("late", 2), ("early", 0), ("future", 3), ("middle", 1), ("paused", 0)):
        await upsert(ground, name, next_ms=at + offset)
    await ground.run(scripts.SCHEDULE_PAUSE, "paused")
    await upsert(ground, "ended", next_ms="")
    ground.now = at + 2
    assert await due(ground) == (str(at + 3).encode(), [b"early", b"middle", b"late"])
    assert await due(ground, 1, 1) == (str(at + 3).encode(), [b"middle"])
    ground.now = at + 3
    assert (await due(ground))[0] == b""
    await tidy(ground)


async def test_a_due_one_brings_what_its_next_fire_is_computed_from(ground: Ground) -> None:
    """Nil for what isn't there."""
    await upsert(ground, misfire="all", tz="Europe/Madrid")
    ground.now = at = first_fire(ground)
    reply = await ground.run(scripts.SCHEDULE_DUE, 0, 10)
    times = [b"0 * * * *", b"Europe/Madrid", b"all", b"60000", None, None, b"{name}-{time}"]
    assert reply[2:] == [b"hourly", [b"1", str(at).encode(), *times]]
    await tidy(ground)


async def test_a_damaged_schedule_hides_no_other(ground: Ground, damage: Keys) -> None:
    """A row of a wrong type, or none, brings empty values."""
    for name in ("a", "b", "c"):
        await upsert(ground, name)
    await ground.plant("schedule:a")
    await ground.command("DEL", ground.key("schedule:b"))
    ground.now += 2 * HOUR
    reply = await ground.run(scripts.SCHEDULE_DUE, 0, 10)
    assert reply[2::2] == [b"a", b"b", b"c"]
    assert reply[3] == reply[5] == [None] * 9
    assert reply[7][0] is not None
