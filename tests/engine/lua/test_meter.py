"""Proves what meter.lua adds up, what it lets go, and that a repeated call counts once."""

from __future__ import annotations

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import START_MS, Ground

MINUTE, HOUR = 60_000, 3_600_000
SOME = msgspec.json.encode({"completed": 2, "duration_ms": 30, "duration": {"16": 2}})
OTHERS = msgspec.json.encode({"completed": 1, "failed": 1, "duration_ms": 5, "duration": {"16": 1, "4": 1}})


async def spans(ground: Ground, per: str, name: str = "greet") -> dict[int, dict[str, object]]:
    """The spans that are kept: start and counts."""
    kept: dict[bytes, bytes] = await ground.command("HGETALL", ground.key(f"metrics:{per}:{name}"))
    return {int(start): msgspec.json.decode(counts) for start, counts in kept.items()}


async def test_counts_of_one_minute_are_added_bin_by_bin(ground: Ground) -> None:
    """And those of the hour; each name has its own."""
    await ground.register()
    assert await ground.run(scripts.METER, "ana", 1, "greet", SOME) == 1
    assert await ground.run(scripts.METER, "ana", 2, "greet", OTHERS, "other", SOME) == 1
    counts = {"completed": 3, "failed": 1, "duration_ms": 35, "duration": {"16": 3, "4": 1}}
    assert await spans(ground, "minute") == {ground.now - ground.now % MINUTE: counts}
    assert await spans(ground, "hour") == {ground.now - ground.now % HOUR: counts}
    assert await spans(ground, "minute", "other") == {ground.now - ground.now % MINUTE: msgspec.json.decode(SOME)}
    assert await ground.command("ZRANGE", ground.key("metrics"), 0, -1) == [b"greet", b"other"]


async def test_a_repeated_call_counts_once(ground: Ground) -> None:
    """Its first reply was lost; one of another worker counts."""
    await ground.register()
    await ground.register("ben")
    for worker, number, counted in (("ana", 5, 1), ("ana", 5, 0), ("ana", 4, 0), ("ben", 5, 1), ("ana", 6, 1)):
        assert await ground.run(scripts.METER, worker, number, "greet", SOME) == counted
    ((_, counts),) = (await spans(ground, "minute")).items()
    assert counts["completed"] == 6


async def test_a_worker_that_is_gone_counts_and_gets_no_row(ground: Ground) -> None:
    """What it ran did happen."""
    assert await ground.run(scripts.METER, "nobody", 1, "greet", SOME) == 1
    assert not await ground.command("EXISTS", ground.key("worker:nobody"))


async def test_what_is_older_than_a_day_or_a_month_goes_when_a_span_begins(ground: Ground) -> None:
    """The rest goes with the key; a name that was not counted for a month is forgotten."""
    ground.now = START_MS - START_MS % HOUR
    await ground.run(scripts.METER, "ana", 1, "greet", SOME, "rare", SOME)
    first = ground.now
    for minutes, kept in ((1439, [0, 1439]), (1440, [1439, 1440]), (4000, [4000])):
        ground.now = first + minutes * MINUTE
        await ground.run(scripts.METER, "ana", 1, "greet", SOME)
        assert sorted(await spans(ground, "minute")) == [first + minute * MINUTE for minute in kept]
    assert 0 < await ground.command("PTTL", ground.key("metrics:minute:greet")) <= 1441 * MINUTE
    assert len(await spans(ground, "hour")) == 4
    ground.now = first + 720 * HOUR
    await ground.run(scripts.METER, "ana", 1, "greet", SOME)
    assert first not in await spans(ground, "hour")
    assert 0 < await ground.command("PTTL", ground.key("metrics:hour:greet")) <= 721 * HOUR
    ground.now += 1
    await ground.run(scripts.METER, "ana", 1, "greet", SOME)
    assert await ground.command("ZRANGE", ground.key("metrics"), 0, -1) == [b"greet"]


@pytest.mark.parametrize("name", ["metrics", "metrics:minute:greet", "metrics:hour:greet", "worker:ana"])
async def test_a_wrong_type_counts_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """All keys are read before it writes."""
    await refused_unchanged(name, lambda: ground.run(scripts.METER, "ana", 1, "other", SOME, "greet", SOME))


async def test_a_full_server_counts_nothing(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """The worker keeps what it counted and comes back."""
    await own_ground.register()
    await full_unchanged(lambda: own_ground.run(scripts.METER, "ana", 1, "greet", SOME))
