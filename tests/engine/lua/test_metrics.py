"""Proves what metrics.lua returns."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import START_MS, Ground

MINUTE, HOUR = 60_000, 3_600_000


async def test_spans_come_oldest_first_as_far_back_as_is_asked(ground: Ground) -> None:
    """Those in which nothing was counted are left out."""
    ground.now = START_MS - START_MS % HOUR
    for minute in (0, 1, 3, 700):
        ground.now = START_MS - START_MS % HOUR + minute * MINUTE
        await ground.run(scripts.METER, "ana", 1, "greet", f'{{"completed":{minute}}}')
    starts = [ground.now - (700 - minute) * MINUTE for minute in (0, 1, 3, 700)]
    counts = [f'{{"completed":{minute}}}'.encode() for minute in (0, 1, 3, 700)]
    whole = [part for start, count in zip(starts, counts, strict=True) for part in (f"{start}".encode(), count)]
    ground.now += MINUTE - 1
    for last, skipped in ((1440, 0), (701, 0), (700, 1), (698, 2), (697, 3), (1, 3)):
        assert await ground.run(scripts.METRICS, "minute", last, "greet") == whole[2 * skipped :]
    assert len(await ground.run(scripts.METRICS, "hour", 720, "greet")) == 4
    assert await ground.run(scripts.METRICS, "hour", 1, "greet") == [
        f"{ground.now - ground.now % HOUR}".encode(),
        b'{"completed":700}',
    ]


async def test_without_a_name_it_returns_the_names(ground: Ground) -> None:
    """None where nothing was counted."""
    assert await ground.run(scripts.METRICS, "minute", 1, "") == []
    assert await ground.run(scripts.METRICS, "minute", 1, "greet") == []
    await ground.run(scripts.METER, "ana", 1, "greet", "{}", "other", "{}")
    assert await ground.run(scripts.METRICS, "minute", 1, "") == [b"greet", b"other"]
