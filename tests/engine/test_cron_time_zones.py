"""Fires in time zones whose clocks are put forward and back, against an oracle that watches a clock."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dhanam_jobs.engine.cron import Cron, next_fires
from tests.engine import cron_oracle

ZONES = [
    "America/New_York",
    "Europe/Madrid",
    "America/Mexico_City",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "UTC",
]
SHIFTS = {zone: cron_oracle.shifts(zone, 2018, 2027) for zone in ZONES}
MINUTES = ["0", "30", "45", "0,20,50", "10-12", "5-59/15", "*/15", "*/40", "*"]
HOURS = ["0", "1", "2", "23", "1,2,3", "0-5", "*/2", "1-23/2", "*/1", "0-23", "*"]
DAYS = [
    "* * *",
    "*/2 * *",
    "L * *",
    "1-7,25-30,L * *",
    "* 3-4,10-11 *",
    "* * SUN",
    "*/2 * FRI-SUN",
    "1,10 * THU",
]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def chain(cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """The engine's fires in (after, until], each computed from the one before it alone."""
    parsed = Cron.parse(cron, zone)
    found = []
    next_ms = parsed.next_after_ms(round(after.timestamp() * 1000))
    while next_ms is not None and next_ms <= until.timestamp() * 1000:
        found.append(EPOCH + timedelta(milliseconds=next_ms))
        next_ms = parsed.next_after_ms(next_ms)
    return found


def differences(cron: str, zone: str, after: datetime, until: datetime) -> list[str]:
    """Fires that either the engine or the oracle has alone, in words."""
    ours, oracle = chain(cron, zone, after, until), cron_oracle.fires(cron, zone, after, until)
    if ours == oracle:
        return []
    local = ZoneInfo(zone)
    shown = [[fire.astimezone(local).isoformat() for fire in fires] for fires in (ours, oracle)]
    return [f"{cron} {zone} after {after.astimezone(local)}: engine {shown[0]}, oracle {shown[1]}"]


KNOWN = [
    # New York: 02:00 -> 03:00 on 2026-03-08, 02:00 -> 01:00 on 2026-11-01.
    ("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", ["08 03:00-0400", "09 02:30-0400"]),
    (
        "0,30 2,3 * * *",
        "America/New_York",
        "2026-03-08T05:00Z",
        ["08 03:00-0400", "08 03:30-0400", "09 02:00-0400"],
    ),
    (
        "*/20 2 * * *",
        "America/New_York",
        "2026-03-08T05:00Z",
        ["08 03:00-0400", "09 02:00-0400", "09 02:20-0400"],
    ),
    (
        "0 */2 * * *",
        "America/New_York",
        "2026-03-08T05:00Z",
        ["08 03:00-0400", "08 04:00-0400", "08 06:00-0400"],
    ),
    ("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["01 01:30-0400", "02 01:30-0500"]),
    ("30 1 * * *", "America/New_York", "2026-11-01T06:10Z", ["02 01:30-0500", "03 01:30-0500"]),
    (
        "*/30 * * * *",
        "America/New_York",
        "2026-11-01T05:00Z",
        ["01 01:30-0400", "01 01:00-0500", "01 01:30-0500", "01 02:00-0500"],
    ),
    (
        "0 * * * *",
        "America/New_York",
        "2026-11-01T04:30Z",
        ["01 01:00-0400", "01 01:00-0500", "01 02:00-0500"],
    ),
    ("30 * * * *", "America/New_York", "2026-03-08T06:00Z", ["08 01:30-0500", "08 03:30-0400"]),
    # Madrid: 02:00 -> 03:00 on 2026-03-29, 03:00 -> 02:00 on 2026-10-25.
    ("30 2 * * *", "Europe/Madrid", "2026-03-28T12:00Z", ["29 03:00+0200", "30 02:30+0200"]),
    ("30 2 * * *", "Europe/Madrid", "2026-10-24T12:00Z", ["25 02:30+0200", "26 02:30+0100"]),
    # Mexico City: 02:00 -> 03:00 on 2022-04-03, for the last time 02:00 -> 01:00 on 2022-10-30, none since.
    ("30 2 * * *", "America/Mexico_City", "2022-04-02T12:00Z", ["03 03:00-0500", "04 02:30-0500"]),
    ("30 1 * * *", "America/Mexico_City", "2022-10-29T12:00Z", ["30 01:30-0500", "31 01:30-0600"]),
    ("30 2 * * *", "America/Mexico_City", "2023-04-01T12:00Z", ["02 02:30-0600", "03 02:30-0600"]),
    # Cairo: 00:00 -> 01:00 on 2024-04-26, 24:00 -> 23:00 on 2024-10-31.
    ("@daily", "Africa/Cairo", "2024-04-25T12:00Z", ["26 01:00+0300", "27 00:00+0300"]),
    ("59 23 * * *", "Africa/Cairo", "2024-10-31T12:00Z", ["31 23:59+0300", "01 23:59+0200"]),
    ("@daily", "Africa/Cairo", "2024-10-31T12:00Z", ["01 00:00+0200", "02 00:00+0200"]),
    # Lord Howe moves by half an hour: 02:00 -> 01:30 on 2025-04-06, 02:00 -> 02:30 on 2025-10-05.
    ("45 1 * * *", "Australia/Lord_Howe", "2025-04-05T12:00Z", ["06 01:45+1100", "07 01:45+1030"]),
    ("15 2 * * *", "Australia/Lord_Howe", "2025-10-04T12:00Z", ["05 02:30+1100", "06 02:15+1100"]),
    (
        "*/15 * * * *",
        "Australia/Lord_Howe",
        "2025-04-05T14:30Z",
        ["06 01:45+1100", "06 01:30+1030", "06 01:45+1030", "06 02:00+1030"],
    ),
    (
        "*/26 * * * *",
        "Australia/Lord_Howe",
        "2022-04-02T14:31Z",
        ["03 01:52+1100", "03 01:52+1030", "03 02:00+1030"],
    ),
    # Casablanca goes back for Ramadan: 03:00 -> 02:00 on 2024-03-10, 02:00 -> 03:00 on 2024-04-14.
    ("30 2 * * *", "Africa/Casablanca", "2024-03-09T12:00Z", ["10 02:30+0100", "11 02:30+0000"]),
    ("30 2 * * *", "Africa/Casablanca", "2024-04-13T12:00Z", ["14 03:00+0100", "15 02:30+0100"]),
]


@pytest.mark.parametrize(("cron", "zone", "after", "expected"), KNOWN)
def test_known_shifts_fire_as_the_rules_say(cron: str, zone: str, after: str, expected: list[str]) -> None:
    """A skipped time fires once at the end of the gap, a repeated one once, `*` hours go on."""
    fires = next_fires(cron, zone, datetime.fromisoformat(after), len(expected))
    shown = [f"{fire.astimezone(ZoneInfo(zone)):%d %H:%M%z}" for fire in fires]
    assert shown == expected


@pytest.mark.parametrize(("cron", "zone", "after", "expected"), [case for case in KNOWN if case[0][0] != "@"])
def test_the_oracle_knows_the_known_shifts_too(cron: str, zone: str, after: str, expected: list[str]) -> None:
    """An oracle that agreed with anything would prove nothing."""
    start = datetime.fromisoformat(after)
    fires = cron_oracle.fires(cron, zone, start, start + timedelta(days=3))[: len(expected)]
    assert fires == next_fires(cron, zone, start, len(expected))


def test_the_zones_of_these_tests_have_the_shifts_that_make_them_worth_testing() -> None:
    """Without them (a machine with an empty zone database, say) the sweeps below would prove little."""
    assert {zone: bool(shifts) for zone, shifts in SHIFTS.items()} == {zone: zone != "UTC" for zone in ZONES}
    assert SHIFTS["America/Mexico_City"][-1] == datetime(2022, 10, 30, 7, 0, tzinfo=UTC)
    assert len(SHIFTS["Africa/Casablanca"]) == 21


@pytest.mark.parametrize("zone", ZONES)
def test_every_pattern_class_agrees_with_the_oracle_round_shifts(zone: str) -> None:
    """Minutes and hours fixed, listed, ranged, stepped and starred, for hours round two shifts."""
    shifts = SHIFTS[zone][-3:-1] or [datetime(2026, 3, 29, 1, 0, tzinfo=UTC)]
    found = []
    for shift, minute, hour in itertools.product(shifts, MINUTES, HOURS):
        reach = timedelta(hours=3 if hour in ("*", "*/1", "0-23") else 4)
        found += differences(f"{minute} {hour} * * *", zone, shift - reach, shift + reach)
    assert found == []


@pytest.mark.parametrize("zone", ZONES)
def test_days_months_and_weekdays_agree_with_the_oracle_for_weeks_round_shifts(zone: str) -> None:
    """Rules for days, and times that shifts move into another day, from a month before two shifts to after."""
    found = []
    for shift in SHIFTS[zone][-2:] or [datetime(2024, 2, 29, tzinfo=UTC)]:
        for time, days in itertools.product(["30 2", "0 0", "30 23"], DAYS):
            found += differences(f"{time} {days}", zone, shift - timedelta(days=28), shift + timedelta(days=5))
    assert found == []


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """A cron field over these bounds, of every class."""
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: (min(pair), max(pair)))
    ranged = span.map(lambda pair: f"{pair[0]}-{pair[1]}")
    stepped = span.flatmap(lambda pair: st.integers(1, pair[1] - pair[0] + 1).map(lambda step: (pair, step))).map(
        lambda spec: f"{spec[0][0]}-{spec[0][1]}/{spec[1]}"
    )
    starred = st.integers(1, high - low + 1).map(lambda step: f"*/{step}")
    listed = st.lists(st.one_of(number.map(str), ranged, stepped), min_size=1, max_size=4).map(",".join)
    return st.one_of(st.just("*"), number.map(str), ranged, stepped, starred, listed)


def any_day() -> st.SearchStrategy[str]:
    """Day of month, month and day of week, mostly free so that fires are frequent enough to compare."""
    day = st.one_of(st.just("*"), st.just("*"), field(1, 28), field(1, 28).map(lambda text: f"{text},L"))
    month = st.one_of(st.just("*"), st.just("*"), field(1, 12))
    return st.tuples(day, month, st.one_of(st.just("*"), field(0, 6))).map(" ".join)


def instants() -> st.SearchStrategy[tuple[str, datetime]]:
    """A zone and a whole minute in it, within a day or two of one of the zone's shifts."""

    def near(zone: str) -> st.SearchStrategy[tuple[str, datetime]]:
        shifts = SHIFTS[zone] or [datetime(2024, 2, 29, tzinfo=UTC)]
        minutes = st.integers(-240, 240) | st.integers(-2880, 1440)
        return st.tuples(st.sampled_from(shifts), minutes).map(
            lambda pair: (zone, pair[0] + timedelta(minutes=pair[1]))
        )

    return st.sampled_from(ZONES).flatmap(near)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field(0, 59), field(0, 23), any_day(), instants())
@example("0", "2", "* * *", ("America/New_York", datetime(2026, 3, 8, 6, 59, tzinfo=UTC)))
def test_any_expression_agrees_with_the_oracle_from_any_minute(
    minute: str, hour: str, days: str, start: tuple[str, datetime]
) -> None:
    """The fires of some hours, or of two days for rare ones, are those that a watcher of the clock sees."""
    zone, after = start
    reach = (
        timedelta(hours=3) if len(cron_oracle.Pattern(f"{minute} {hour} {days}").minutes) > 20 else timedelta(days=2)
    )
    assert differences(f"{minute} {hour} {days}", zone, after, after + reach) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field(0, 59), field(0, 59), field(0, 23), instants())
def test_any_expression_with_seconds_agrees_with_the_oracle(
    second: str, minute: str, hour: str, start: tuple[str, datetime]
) -> None:
    """After the start, and after some 200 fires within an hour and a half, the next is the watcher's next."""
    zone, after = start
    cron = f"{minute} {hour} * * * {second}"
    until = after + timedelta(minutes=90)
    known = [after, *cron_oracle.fires(cron, zone, after, until)]
    for before, expected in list(itertools.pairwise(known))[:: len(known) // 200 + 1]:
        assert next_fires(cron, zone, before, 1) == [expected]
    assert next_fires(cron, zone, known[-1], 1)[0] > until


@pytest.mark.parametrize("zone", [zone for zone in ZONES if SHIFTS[zone]])
def test_cronsim_agrees_where_its_rules_are_ours(zone: str) -> None:
    """Debian's rules, as cronsim has them, are ours for fixed minutes and hours and for every hour.

    They differ where the minute begins with `*` and hours are named, and for `*/n` hours: cronsim then skips
    a gap and fires twice in a repeat. It loses every-hour fires in Lord Howe, for it takes shifts for hours.
    """
    fixed = itertools.product(["0", "30", "0,20,50", "5-59/15"], ["0", "1", "2", "23", "1,2,3", "0-5"])
    hourly = [] if zone == "Australia/Lord_Howe" else itertools.product(["0", "30", "*/15", "10-12"], ["*"])
    for minute, hour in [*fixed, *hourly]:
        for shift in SHIFTS[zone][-3:-1]:
            after = shift - timedelta(hours=5)
            theirs = CronSim(f"{minute} {hour} * * *", after.astimezone(ZoneInfo(zone)))
            expected = [next(theirs).astimezone(UTC) for _ in range(25)]
            assert next_fires(f"{minute} {hour} * * *", zone, after, 25) == expected, f"{minute} {hour} {shift}"


@pytest.mark.long
@pytest.mark.parametrize("zone", [zone for zone in ZONES if SHIFTS[zone]])
def test_every_pattern_class_agrees_with_the_oracle_round_every_shift_of_ten_years(zone: str) -> None:
    """The sweep of the pattern classes, round all shifts from 2018 to 2027."""
    found = []
    for shift, minute, hour in itertools.product(SHIFTS[zone], MINUTES, HOURS):
        found += differences(f"{minute} {hour} * * *", zone, shift - timedelta(hours=3), shift + timedelta(hours=3))
    assert found == []


@pytest.mark.long
@pytest.mark.parametrize("zone", ZONES)
def test_whole_years_agree_with_the_oracle(zone: str) -> None:
    """All rules for days at the times that shifts touch, through four whole years."""
    found = []
    for year in (2018, 2022, 2023, 2024):
        after, until = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 2, tzinfo=UTC)
        for time, days in [
            *itertools.product(["30 2", "0 0"], DAYS),
            ("0 */4", "* * *"),
            ("0 *", "*/2 * FRI-SUN"),
        ]:
            found += differences(f"{time} {days}", zone, after, until)
    assert found == []


@pytest.mark.long
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field(0, 59), field(0, 23), any_day(), instants())
def test_many_expressions_agree_with_the_oracle_from_any_minute(
    minute: str, hour: str, days: str, start: tuple[str, datetime]
) -> None:
    """The everyday property with more examples."""
    zone, after = start
    assert differences(f"{minute} {hour} {days}", zone, after, after + timedelta(hours=8)) == []
