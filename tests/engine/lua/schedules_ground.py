"""A schedule that a test drives script by script: its rows as the engine writes them, and what ticks make of them."""

from __future__ import annotations

from typing import Any

from dhanam_jobs.engine import Schedule, scripts
from dhanam_jobs.engine.schedule import definition
from tests.engine.lua.ground import Ground, decoded

HOUR = 3_600_000


def first_fire(ground: Ground) -> int:
    """The hour that comes next on the ground's clock."""
    return (ground.now // HOUR + 1) * HOUR


async def upsert(
    ground: Ground,
    name: str = "hourly",
    *,
    next_ms: int | str | None = None,
    from_ms: int | None = None,
    owner: str = "operator",
    unique: str = "",
    **changes: Any,
) -> list[Any]:
    """Makes an hourly schedule of job `greet`, or what `changes` make of it; the script's reply."""
    schedule = Schedule(**{"name": name, "job": "greet", "cron": "0 * * * *", **changes})
    row = definition(schedule, payload=b"{}", priority=5, unique=unique, fields=[])
    given = first_fire(ground) if next_ms is None else next_ms
    since = ground.now if from_ms is None else from_ms
    flat = [text for pair in row.items() for text in pair]
    reply: list[Any] = await ground.run(scripts.SCHEDULE_UPSERT, name, owner, since, given, *flat)
    return reply


async def row_of(ground: Ground, name: str = "hourly") -> dict[str, str]:
    """The schedule's hash."""
    return decoded(await ground.command("HGETALL", ground.key(f"schedule:{name}")))


async def tick(
    ground: Ground,
    *instants: int,
    name: str = "hourly",
    following: int | str | None = None,
    revision: str | None = None,
    next_ms: int | str | None = None,
) -> list[str]:
    """Ticks one schedule for these instants, as one who has just read its row unless told otherwise; the verdict."""
    row = await row_of(ground, name)
    expected = row.get("next_ms", "") if next_ms is None else next_ms
    after = int(row.get("next_ms") or 0) + HOUR if following is None else following
    pairs = [part for instant in instants for part in (instant, f"{name}-{instant}")]
    arguments = (name, revision or row.get("revision", ""), expected, after, len(instants), *pairs)
    (verdict,) = await ground.run(scripts.TICK, *arguments)
    return [word.decode() for word in verdict]


async def due_ms(ground: Ground, name: str = "hourly") -> str | None:
    """When the schedule is due, as the set of schedules has it."""
    score: float | None = await ground.command("ZSCORE", ground.key("schedules"), name)
    return None if score is None else f"{score:.0f}"


async def tidy(ground: Ground) -> None:
    """Takes all schedules away and runs the queue empty."""
    for name in await ground.command("ZRANGE", ground.key("schedules"), 0, -1):
        await ground.run(scripts.SCHEDULE_REMOVE, name, "")
    await ground.run_dry()
