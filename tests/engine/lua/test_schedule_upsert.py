"""Proves what schedule_upsert.lua makes, keeps and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground
from tests.engine.lua.schedules_ground import HOUR, due_ms, first_fire, row_of, tick, tidy, upsert


async def test_a_new_schedule_is_written_in_words(ground: Ground) -> None:
    """What isn't set has no field."""
    assert await upsert(ground) == [b"created", ground.now]
    assert await row_of(ground) == {
        "owner": "operator",
        "cron": "0 * * * *",
        "tz": "UTC",
        "job": "greet",
        "payload": "{}",
        "priority": "5",
        "misfire": "once",
        "overlap": "allow",
        "grace_ms": "60000",
        "id_template": "{name}-{time}",
        "next_ms": str(first_fire(ground)),
        "created_ms": str(ground.now),
        "updated_ms": str(ground.now),
        "revision": "1",
    }
    assert await due_ms(ground) == str(first_fire(ground))
    await tidy(ground)


async def test_the_same_again_changes_nothing(ground: Ground) -> None:
    """Not even the revision, so that a fleet that starts disturbs nobody."""
    await upsert(ground)
    before = await row_of(ground)
    ground.now += 2 * HOUR
    assert await upsert(ground, from_ms=ground.now) == [b"same", ground.now]
    assert await row_of(ground) == before
    await tidy(ground)


async def test_times_that_stay_keep_a_fire_that_is_due(ground: Ground) -> None:
    """A restart with another payload or policy loses no tick."""
    await upsert(ground)
    at = first_fire(ground)
    ground.now = at + 5
    assert (await upsert(ground, misfire="all"))[0] == b"changed"
    assert await due_ms(ground) == str(at)
    row = await row_of(ground)
    assert (row["revision"], row["created_ms"] < row["updated_ms"]) == ("2", True)
    await tidy(ground)


@pytest.mark.parametrize("changes", [{"cron": "30 * * * *"}, {"tz": "Asia/Kolkata"}])
async def test_other_times_count_from_now(ground: Ground, changes: dict[str, Any]) -> None:
    """The fire that was due before is dropped."""
    await upsert(ground)
    ground.now = first_fire(ground) + 5
    assert (await upsert(ground, next_ms=ground.now + 77, **changes))[0] == b"changed"
    assert await due_ms(ground) == str(ground.now + 77)
    await tidy(ground)


async def test_a_fire_computed_for_another_time_is_asked_for_again(ground: Ground) -> None:
    """A clock that is ahead may have passed a fire over, a late caller's fire may be long past."""
    assert await upsert(ground, from_ms=ground.now + 1) == [b"again", ground.now]
    assert await upsert(ground, from_ms=ground.now - 3000, next_ms=ground.now - 10) == [b"again", ground.now]
    assert await due_ms(ground) is None
    assert (await upsert(ground, from_ms=ground.now - HOUR))[0] == b"created"
    await tidy(ground)


async def test_a_fire_of_a_moment_ago_is_taken(ground: Ground) -> None:
    """The caller asked before it."""
    assert (await upsert(ground, from_ms=ground.now - 500, next_ms=ground.now - 10))[0] == b"created"
    await tidy(ground)


async def test_what_an_application_owns_only_it_may_change(ground: Ground) -> None:
    """It takes over what people made; the reply names the owner to others."""
    await upsert(ground)
    assert (await upsert(ground, owner="billing"))[0] == b"changed"
    for other in ("operator", "shop"):
        assert await upsert(ground, owner=other, cron="5 * * * *") == [b"owned", ground.now, b"billing"]
    assert (await row_of(ground))["cron"] == "0 * * * *"
    await tidy(ground)


async def test_a_change_leaves_pause_count_and_last_run(ground: Ground) -> None:
    """They are the schedule's, not the definition's."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    await ground.command("HSET", ground.key("schedule:hourly"), "paused_ms", ground.now)
    await upsert(ground, cron="30 * * * *", next_ms=ground.now + 9)
    row = await row_of(ground)
    assert (row["paused_ms"], row["count"], row["last_id"]) == (str(at), "1", f"hourly-{at}")
    assert await due_ms(ground) == "inf"
    await tidy(ground)


async def test_a_limit_that_is_reached_ends_it_and_a_higher_one_revives_it(ground: Ground) -> None:
    """Also where the times stay the same."""
    await upsert(ground, limit=1)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    assert await due_ms(ground) == "inf"
    assert (await upsert(ground, limit=2))[0] == b"changed"
    assert await due_ms(ground) == str(at + HOUR)
    assert (await upsert(ground, limit=1))[0] == b"changed"
    assert await due_ms(ground) == "inf"
    assert (await upsert(ground))[0] == b"changed"
    assert "limit" not in await row_of(ground)
    await tidy(ground)


@pytest.mark.parametrize("name", ["meta", "schedules", "schedule:hourly"])
async def test_a_wrong_type_upserts_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at before the first write."""
    await refused_unchanged(name, lambda: upsert(ground))


async def test_a_full_server_refuses_an_upsert_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """There is no half a schedule."""
    await full_unchanged(lambda: upsert(own_ground))
