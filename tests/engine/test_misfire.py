"""Proves which ticks fire now, by the misfire policy, the grace, a pause and the end; pure instants, no Redis."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dhanam_jobs.engine import defaults
from dhanam_jobs.engine.cron import Cron
from dhanam_jobs.engine.misfire import Firing, Misfire, firing

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1000
HOURLY = Cron.parse("0 * * * *")


def test_a_tick_in_time_fires_and_the_next_follows() -> None:
    """Also at the very ms, and at the last ms of the grace."""
    for late in (0, 1, defaults.MISFIRE_GRACE_MS):
        assert firing(HOURLY, START, START + late, misfire="skip") == Firing([START], START + HOUR)


def test_what_is_not_due_does_not_fire() -> None:
    """The stored fire stays the next one."""
    assert firing(HOURLY, START, START - 1) == Firing([], START)


@pytest.mark.parametrize(
    ("misfire", "fired"), [("skip", []), ("once", [START + 2 * HOUR]), ("all", [START, START + HOUR, START + 2 * HOUR])]
)
def test_missed_ticks_go_by_the_policy(misfire: Misfire, fired: list[int]) -> None:
    """Once makes up for all of them by the newest."""
    now = START + 2 * HOUR + 30 * MINUTE
    assert firing(HOURLY, START, now, misfire=misfire) == Firing(fired, START + 3 * HOUR)


@pytest.mark.parametrize(("misfire", "fired"), [("skip", [2]), ("once", [2]), ("all", [0, 1, 2])])
def test_a_tick_in_time_needs_no_making_up(misfire: Misfire, fired: list[int]) -> None:
    """Only "all" fires the missed ones beside it."""
    found = firing(HOURLY, START, START + 2 * HOUR + 5, misfire=misfire)
    assert found == Firing([START + hour * HOUR for hour in fired], START + 3 * HOUR)


def test_ticks_in_time_all_fire_whatever_the_policy() -> None:
    """A scheduler that is some seconds late loses no second of an every-second schedule."""
    seconds = Cron.parse("* * * * * *")
    found = firing(seconds, START, START + 4500, misfire="skip")
    assert found == Firing([START + second * 1000 for second in range(5)], START + 5000)


def test_all_is_bounded_to_the_newest() -> None:
    """After a week of seconds, those of the last stretch fire, and the next is in the future."""
    seconds = Cron.parse("@every 1s")
    now = START + 7 * DAY
    found = firing(seconds, START, now, misfire="all", grace_ms=10_000)
    first = now - (defaults.MISFIRE_CAP - 1) * 1000
    assert found.instants_ms == list(range(first, now + 1, 1000))
    assert found.following_ms == now + 1000


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "* * 1 1 *", "*/7 3 * * 1", "@every 90s"])
@pytest.mark.parametrize("years", [1, 5])
def test_the_newest_missed_are_those_of_a_plain_walk(expression: str, years: int) -> None:
    """Whatever the pattern, however long nobody ran."""
    cron = Cron.parse(expression)
    first = cron.next_after_ms(START)
    assert first is not None
    until = START + (years if expression == "0 0 29 2 *" else 1) * 40 * DAY * (9 if years > 1 else 1)
    walked, instant = [], first
    while instant <= until - defaults.MISFIRE_GRACE_MS - 1:
        walked.append(instant)
        following = cron.next_after_ms(instant)
        assert following is not None
        instant = following
    found = firing(cron, first, until, misfire="once")
    on_time = [fire for fire in found.instants_ms if fire >= until - defaults.MISFIRE_GRACE_MS]
    if not on_time:
        assert found.instants_ms == walked[-1:]
    every = firing(cron, first, until, misfire="all")
    made_up = [fire for fire in every.instants_ms if fire < until - defaults.MISFIRE_GRACE_MS]
    assert made_up == walked[-len(made_up) :] if made_up else not walked
    assert len(every.instants_ms) == min(len(walked) + len(on_time), defaults.MISFIRE_CAP)


def test_nothing_up_to_the_end_of_a_pause_fires() -> None:
    """Neither what was missed during it nor before."""
    resumed = START + 3 * HOUR + MINUTE
    assert firing(HOURLY, START, resumed + 5, misfire="all", resumed_ms=resumed) == Firing([], START + 4 * HOUR)
    found = firing(HOURLY, START, START + 4 * HOUR + 5, misfire="all", resumed_ms=resumed)
    assert found == Firing([START + 4 * HOUR], START + 5 * HOUR)


def test_the_end_is_the_last_instant_that_may_fire() -> None:
    """What was missed before it is made up for after it; then there is none."""
    end = START + HOUR
    assert firing(HOURLY, START, START, end_ms=end) == Firing([START], end)
    assert firing(HOURLY, end, end, end_ms=end) == Firing([end], None)
    assert firing(HOURLY, START, START + 9 * HOUR, misfire="all", end_ms=end) == Firing([START, end], None)
    assert firing(HOURLY, end + HOUR, end + HOUR, end_ms=end) == Firing([], None)
