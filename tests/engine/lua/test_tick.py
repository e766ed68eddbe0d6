"""Proves that tick.lua fires each tick once, advances with it, and changes nothing for who knows less than the row."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome
from tests.engine.lua.schedules_ground import HOUR, due_ms, first_fire, row_of, tick, tidy, upsert


async def test_a_due_tick_starts_its_run_and_advances(ground: Ground) -> None:
    """The run carries its schedule and the instant that it stands for; the row says what happened."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    assert await tick(ground, at) == ["ticked", "waiting"]
    (entry,) = await ground.entries("waiting:5")
    assert entry == {
        "id": f"hourly-{at}",
        "name": "greet",
        "payload": "{}",
        "meta": f'{{"schedule":"hourly","scheduled_ms":{at}}}',
        "created": str(at),
    }
    row = await row_of(ground)
    assert (row["next_ms"], row["count"], row["last_ms"], row["last_id"]) == (
        str(at + HOUR),
        "1",
        str(at),
        f"hourly-{at}",
    )
    assert await due_ms(ground) == str(at + HOUR)
    assert await ground.events() == [("waiting", f"hourly-{at}")]
    assert await ground.command("HGET", ground.key("meta"), "added") == b"1"
    await tidy(ground)


async def test_the_second_of_two_who_saw_the_same_changes_nothing(ground: Ground) -> None:
    """The stored next fire is what is compared."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    assert await tick(ground, at) == ["ticked", "waiting"]
    before = await row_of(ground)
    assert await tick(ground, at, next_ms=at) == ["stale"]
    assert await row_of(ground) == before
    assert len(await ground.entries("waiting:5")) == 1
    await tidy(ground)


async def test_who_computed_from_an_older_definition_changes_nothing(ground: Ground) -> None:
    """Its next fire may be the same, the one that follows is not."""
    await upsert(ground)
    revision = (await row_of(ground))["revision"]
    await upsert(ground, overlap="skip")
    ground.now = at = first_fire(ground)
    assert await tick(ground, at, revision=revision) == ["stale"]
    assert await tick(ground, at) == ["ticked", "waiting"]
    await tidy(ground)


async def test_a_removed_a_paused_and_an_early_one_fire_nothing(ground: Ground) -> None:
    """Each says so."""
    assert await tick(ground, ground.now) == ["gone"]
    await upsert(ground)
    at = first_fire(ground)
    assert await tick(ground, at) == ["early"]
    ground.now = at
    await ground.run(scripts.SCHEDULE_PAUSE, "hourly")
    assert await tick(ground, at) == ["paused"]
    assert (await row_of(ground))["next_ms"] == str(at)
    assert await ground.command("EXISTS", ground.key("waiting:5")) == 0
    await tidy(ground)


async def test_a_tick_without_instants_only_advances(ground: Ground) -> None:
    """So a misfire policy skips."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    assert await tick(ground, following=at + 5 * HOUR) == ["ticked"]
    assert await due_ms(ground) == str(at + 5 * HOUR)
    assert "last_id" not in await row_of(ground)
    await tidy(ground)


async def test_a_schedule_without_a_following_fire_has_ended(ground: Ground) -> None:
    """It stays, due never."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    assert await tick(ground, at, following="") == ["ticked", "waiting"]
    assert await due_ms(ground) == "inf"
    assert (await row_of(ground))["next_ms"] == ""
    await tidy(ground)


async def test_an_id_that_exists_counts_as_fired(ground: Ground) -> None:
    """Waiting, ended and kept for a waiter alike: no second job is made."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    await ground.enqueue(id=f"hourly-{at}")
    assert await tick(ground, at) == ["ticked", "existed"]
    await ground.register()
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim))
    await upsert(ground, cron="1 * * * *", next_ms=at)
    assert await tick(ground, at) == ["ticked", "existed"]
    await ground.command("SET", ground.key(f"result:hourly-{at + HOUR}"), "{}", "PX", 100_000)
    ground.now += HOUR
    assert await tick(ground, at + HOUR) == ["ticked", "existed"]
    assert (await row_of(ground))["count"] == "3"
    await tidy(ground)


async def test_the_limit_ends_it_in_the_middle_of_a_batch(ground: Ground) -> None:
    """What goes beyond is 'over'."""
    await upsert(ground, limit=2)
    ground.now = at = first_fire(ground) + 2 * HOUR
    instants = [at - 2 * HOUR, at - HOUR, at]
    assert await tick(ground, *instants) == ["ticked", "waiting", "waiting", "over"]
    row = await row_of(ground)
    assert (row["count"], row["next_ms"], row["last_ms"]) == ("2", "", str(at - HOUR))
    await tidy(ground)


async def test_overlap_skip_drops_a_tick_while_a_run_goes_on(ground: Ground) -> None:
    """Waiting counts as going on; once it has ended, the next tick fires."""
    await upsert(ground, overlap="skip")
    ground.now = at = first_fire(ground)
    assert await tick(ground, at, at + 1) == ["ticked", "waiting", "skipped"]
    await ground.register()
    (claim,) = await ground.claim()
    assert claim[2]["unique"] == "schedule:hourly"
    ground.now += HOUR
    assert await tick(ground, at + HOUR) == ["ticked", "skipped"]
    row = await row_of(ground)
    assert (row["count"], row["skipped"]) == ("1", "2")
    await ground.settle(outcome(claim, "failed schedule:hourly"))
    ground.now += HOUR
    assert await tick(ground, at + 2 * HOUR) == ["ticked", "waiting"]
    await tidy(ground)


async def test_a_retried_run_still_goes_on(ground: Ground) -> None:
    """The line is not free while it waits for its next attempt."""
    await upsert(ground, overlap="skip")
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    await ground.register()
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "delayed", '{"delay":9000000,"set":{"attempt":"1"}}'))
    ground.now += HOUR
    assert await tick(ground, at + HOUR) == ["ticked", "skipped"]
    await tidy(ground)


async def test_overlap_queue_one_lets_a_single_run_wait(ground: Ground) -> None:
    """It starts when the one before has ended, and then another may wait."""
    await upsert(ground, overlap="queue_one")
    ground.now = at = first_fire(ground)
    assert await tick(ground, at, at + 1, at + 2) == ["ticked", "waiting", "blocked", "skipped"]
    assert await ground.events() == [("waiting", f"hourly-{at}"), ("blocked", f"hourly-{at + 1}")]
    assert await ground.find(f"hourly-{at + 1}") == "blocked"
    await ground.register()
    (claim,) = await ground.claim()
    (second,) = (await ground.settle(outcome(claim, "completed schedule:hourly"), want=5))[5]
    assert dict(zip(second[1][::2], second[1][1::2], strict=True))[b"id"] == f"hourly-{at + 1}".encode()
    ground.now += HOUR
    assert await tick(ground, at + HOUR) == ["ticked", "blocked"]
    await tidy(ground)


async def test_a_job_with_a_unique_key_of_its_own_is_joined(ground: Ground) -> None:
    """With overlap allowed, a tick that meets an equal job is that job; with another payload it waits for it."""
    await upsert(ground, unique="space-1")
    other = await ground.enqueue(payload="{}", unique="space-1")
    ground.now = at = first_fire(ground)
    assert await tick(ground, at) == ["ticked", "joined"]
    assert (await row_of(ground))["last_id"] == other
    await ground.run_dry()
    await ground.enqueue(payload="7", unique="space-1")
    ground.now = max(ground.now, at + HOUR)
    assert await tick(ground, at + HOUR) == ["ticked", "blocked"]
    await tidy(ground)


async def test_several_schedules_tick_in_one_call_each_for_itself(ground: Ground) -> None:
    """One that is stale doesn't hold the others up."""
    for name in ("a", "b"):
        await upsert(ground, name)
    ground.now = at = first_fire(ground)
    arguments: list[str | int] = []
    for name in ("a", "b", "c"):
        revision = (await row_of(ground, name)).get("revision", "0")
        arguments += (name, revision, at - (name == "a"), at + HOUR, 1, at, f"{name}-{at}")
    assert await ground.run(scripts.TICK, *arguments) == [[b"stale"], [b"ticked", b"waiting"], [b"gone"]]
    await ground.register()
    assert [id_of(claim) for claim in await ground.claim()] == [f"b-{at}"]
    await tidy(ground)


async def test_the_end_of_a_run_is_kept_by_its_schedule(ground: Ground) -> None:
    """Also where retention keeps no record, and with the record's text untouched."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    await ground.register()
    (claim,) = await ground.claim()
    record = f'{{"id":"hourly-{at}","state":"completed","result":[],"payload":12345678901234567}}'
    await ground.settle(outcome(claim, body=record), keep=0)
    assert (await row_of(ground))["run"] == record
    assert await ground.command("EXISTS", ground.key("ended"), ground.key("runs")) == 0
    await tidy(ground)


async def test_a_removed_run_is_forgotten_at_the_next_one(ground: Ground) -> None:
    """Its note goes, and the chain goes on."""
    await upsert(ground)
    ground.now = at = first_fire(ground)
    await tick(ground, at)
    (entry,) = await ground.command("XRANGE", ground.key("waiting:5"), "-", "+")
    await ground.command("XDEL", ground.key("waiting:5"), entry[0])
    await ground.command("HDEL", ground.key("index"), f"hourly-{at}")
    ground.now += HOUR
    assert await tick(ground, at + HOUR) == ["ticked", "waiting"]
    assert await ground.command("HKEYS", ground.key("runs")) == [f"hourly-{at + HOUR}".encode()]
    await tidy(ground)


@pytest.mark.parametrize(
    "name",
    [
        "meta",
        "events",
        "bell",
        "blocked",
        "schedules",
        "index",
        "unique",
        "ended",
        "runs",
        "waiting:5",
        "schedule:s",
        "held:schedule:s",
    ],
)
async def test_a_wrong_type_ticks_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at before the first write."""
    await upsert(ground, "s", overlap="queue_one")
    ground.now = at = first_fire(ground)
    revision = (await row_of(ground, "s"))["revision"]
    call = (scripts.TICK, "s", revision, at, at + HOUR, 1, at, "x")
    await refused_unchanged(name, lambda: ground.run(*call))


async def test_a_full_server_refuses_a_tick_whole(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """It stays due."""
    await upsert(own_ground)
    own_ground.now = at = first_fire(own_ground)
    revision = (await row_of(own_ground))["revision"]
    await full_unchanged(lambda: own_ground.run(scripts.TICK, "hourly", revision, at, at + HOUR, 1, at, "x"))
