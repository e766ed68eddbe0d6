"""What cron expressions mean and which are refused; time zones have their own file."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dhanam_jobs.engine.cron import Cron, CronError, next_fires

# A Saturday, so that weekdays and days of the month can't be mistaken for each other.
START = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def fires(cron: str, count: int = 3, after: datetime = START) -> list[str]:
    return [fire.strftime("%a %Y-%m-%d %H:%M:%S") for fire in next_fires(cron, "UTC", after, count)]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", ["Sat 2026-08-01 12:01:00", "Sat 2026-08-01 12:02:00"]),
        ("*/25 * * * *", ["Sat 2026-08-01 12:25:00", "Sat 2026-08-01 12:50:00", "Sat 2026-08-01 13:00:00"]),
        ("10-50/20 * * * *", ["Sat 2026-08-01 12:10:00", "Sat 2026-08-01 12:30:00"]),
        ("50,5,05 3 * * *", ["Sun 2026-08-02 03:05:00", "Sun 2026-08-02 03:50:00"]),
        ("31-33 * * * *", ["Sat 2026-08-01 12:31:00", "Sat 2026-08-01 12:32:00", "Sat 2026-08-01 12:33:00"]),
        ("5-5 * * * *", ["Sat 2026-08-01 12:05:00", "Sat 2026-08-01 13:05:00"]),
        ("0 6,18 * * *", ["Sat 2026-08-01 18:00:00", "Sun 2026-08-02 06:00:00"]),
        ("0 */4 * * *", ["Sat 2026-08-01 16:00:00", "Sat 2026-08-01 20:00:00", "Sun 2026-08-02 00:00:00"]),
        ("0 0 1 jan,JUL *", ["Fri 2027-01-01 00:00:00", "Thu 2027-07-01 00:00:00"]),
        (
            "0 0 * * MON-wed",
            ["Mon 2026-08-03 00:00:00", "Tue 2026-08-04 00:00:00", "Wed 2026-08-05 00:00:00"],
        ),
        ("0 0 * * 7", ["Sun 2026-08-02 00:00:00", "Sun 2026-08-09 00:00:00"]),
        ("0 0 * * 6-7", ["Sun 2026-08-02 00:00:00", "Sat 2026-08-08 00:00:00", "Sun 2026-08-09 00:00:00"]),
        (
            "0 0 * * SAT-SUN",
            ["Sun 2026-08-02 00:00:00", "Sat 2026-08-08 00:00:00", "Sun 2026-08-09 00:00:00"],
        ),
        (
            "0 0 * * SUN-MON",
            ["Sun 2026-08-02 00:00:00", "Mon 2026-08-03 00:00:00", "Sun 2026-08-09 00:00:00"],
        ),
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00:00", "Sun 2032-02-29 00:00:00"]),
        ("0 0 30,31 2,4 *", ["Fri 2027-04-30 00:00:00", "Sun 2028-04-30 00:00:00"]),
        ("0 0 L * *", ["Mon 2026-08-31 00:00:00", "Wed 2026-09-30 00:00:00", "Sat 2026-10-31 00:00:00"]),
        ("0 0 15,L 2 *", ["Mon 2027-02-15 00:00:00", "Sun 2027-02-28 00:00:00", "Tue 2028-02-15 00:00:00"]),
        ("32 * 2-31,L * *", ["Sun 2026-08-02 00:32:00", "Sun 2026-08-02 01:32:00"]),
    ],
)
def test_fields_admit_values_ranges_steps_lists_and_names(cron: str, expected: list[str]) -> None:
    """Each way to write a field gives the fires that it names."""
    assert fires(cron, len(expected)) == expected


def test_a_sixth_field_is_the_second_and_stands_last() -> None:
    """Six fields are the five usual ones and then the second."""
    assert fires("30 12 * * * 5,10") == [
        "Sat 2026-08-01 12:30:05",
        "Sat 2026-08-01 12:30:10",
        "Sun 2026-08-02 12:30:05",
    ]
    assert fires("* * * * * */20", 2) == ["Sat 2026-08-01 12:00:20", "Sat 2026-08-01 12:00:40"]


def test_day_of_month_and_weekday_are_alternatives_if_both_are_restricted() -> None:
    """The 4th and every Monday fire, as in Debian's cron."""
    assert fires("0 0 4 * MON") == [
        "Mon 2026-08-03 00:00:00",
        "Tue 2026-08-04 00:00:00",
        "Mon 2026-08-10 00:00:00",
    ]
    assert fires("0 0 1-31 * MON", 2) == ["Sun 2026-08-02 00:00:00", "Mon 2026-08-03 00:00:00"]


def test_day_of_month_and_weekday_must_both_match_if_one_begins_with_a_star() -> None:
    """Mondays with an odd date fire, and neither other Mondays nor other odd dates."""
    assert fires("0 0 */2 * MON") == [
        "Mon 2026-08-03 00:00:00",
        "Mon 2026-08-17 00:00:00",
        "Mon 2026-08-31 00:00:00",
    ]
    assert fires("0 0 1-7 * */7", 2) == ["Sun 2026-08-02 00:00:00", "Sun 2026-09-06 00:00:00"]


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("@hourly", "Sat 2026-08-01 13:00:00"),
        ("@daily", "Sun 2026-08-02 00:00:00"),
        ("@midnight", "Sun 2026-08-02 00:00:00"),
        ("@weekly", "Sun 2026-08-02 00:00:00"),
        ("@monthly", "Tue 2026-09-01 00:00:00"),
        ("@yearly", "Fri 2027-01-01 00:00:00"),
        ("@annually", "Fri 2027-01-01 00:00:00"),
        ("@Daily", "Sun 2026-08-02 00:00:00"),
    ],
)
def test_aliases_stand_for_the_plain_time(alias: str, expected: str) -> None:
    """An alias fires on the hour or at midnight, not at a time hashed from a name."""
    assert fires(alias, 1) == [expected]


@pytest.mark.parametrize(
    ("every", "seconds"),
    [("1s", 1), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("7m", 420), ("1H", 3600)],
)
def test_every_fires_at_multiples_of_the_interval_since_1970(every: str, seconds: int) -> None:
    """All starts within a slot give the same next slot, so no process drifts from another."""
    slot_ms = 3_000_000_000 // seconds * seconds * 1000
    cron = Cron.parse(f"@every {every}", "Asia/Kathmandu")
    assert {cron.next_after_ms(slot_ms + late) for late in (0, 1, seconds * 1000 - 1)} == {slot_ms + seconds * 1000}
    assert cron.next_after_ms(slot_ms - 1) == slot_ms


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "fields: found '0', wanted 5"),
        ("* * * *", "fields: found '4', wanted 5"),
        ("0 0 0 1 1 * 2026", "fields: found '7', wanted 5"),
        ("60 * * * *", "minute: found '60', wanted 0-59"),
        ("* 24 * * *", "hour: found '24', wanted 0-23"),
        ("* * 0 * *", "day of month: found '0', wanted 1-31"),
        ("* * 32 * *", "day of month: found '32', wanted 1-31"),
        ("* * * 0 *", "month: found '0', wanted 1-12 or JAN-DEC"),
        ("* * * 13 *", "month: found '13', wanted 1-12"),
        ("* * * * 8", "day of week: found '8', wanted 0-7 or SUN-SAT"),
        ("* * * * * 60", "second: found '60', wanted 0-59"),
        ("0 0 31 2 *", "day of month: found '31', wanted a day up to 29"),
        ("0 0 30-31 FEB *", "day of month: found '30-31', wanted a day up to 29"),
        ("0 0 31 4,6,9,11 MON", "day of month: found '31', wanted a day up to 30"),
        ("10-5 * * * *", "minute: found '10-5', wanted a rising range, such as 10-59,0-5"),
        ("* 22-2 * * *", "hour: found '22-2', wanted a rising range, such as 22-23,0-2"),
        ("* * * NOV-FEB *", "month: found 'NOV-FEB', wanted a rising range"),
        ("* * * * FRI-MON", "day of week: found 'FRI-MON', wanted a rising range"),
        ("5/15 * * * *", "minute: found '5/15', wanted a range to step through: 5-59/15"),
        ("*/0 * * * *", r"minute: found '\*/0', wanted a step of 1-60"),
        ("*/90 * * * *", r"minute: found '\*/90', wanted a step of 1-60 \(or use @every\)"),
        ("* 1-3/4 * * *", "hour: found '1-3/4', wanted a step of 1-3"),
        ("R * * * *", "minute: found 'R', wanted 0-59 .* nobody can foretell"),
        ("H/15 * * * *", "minute: found 'H/15', wanted 0-59 .* nobody can foretell"),
        ("* H(0-7) * * *", r"hour: found 'H\(0-7\)', wanted 0-23 .* nobody can foretell"),
        ("0 0 12 * * ?", r"second: found '\?', wanted \* \(\? belongs to Quartz"),
        ("0 0 ? * MON", r"day of month: found '\?', wanted \* "),
        ("0 0 * * MON#2", "day of week: found 'MON#2', wanted .* differ between crons"),
        ("0 0 * * 5L", "day of week: found '5L', wanted .* differ between crons"),
        ("0 0 * * L", "day of week: found 'L', wanted 0-7"),
        ("0 0 15W * *", "day of month: found '15W', wanted .* differ between crons"),
        ("0 0 LW * *", "day of month: found 'LW', wanted .* differ between crons"),
        ("0 0 L-3 * *", "day of month: found 'L-3', wanted .* differ between crons"),
        ("0 0 1-L * *", "day of month: found '1-L', wanted 1-31"),
        ("0 0 * JANUARY *", "month: found 'JANUARY', wanted 1-12 or JAN-DEC"),
        ("MON * * * *", "minute: found 'MON', wanted 0-59"),
        ("1,,2 * * * *", "minute: found '', wanted 0-59"),
        ("-5 * * * *", "minute: found '-5', wanted 0-59"),
        ("1.5 * * * *", "minute: found '1.5', wanted 0-59"),
        ("٣ * * * *", "minute: found '٣', wanted 0-59"),
        ("@reboot", "alias: found '@reboot', wanted one of @hourly, .* @every INTERVAL"),
        ("@every", "interval: found '', wanted whole d, h, m and s"),
        ("@every 0s", "interval: found '0s', wanted .* from 1s"),
        ("@every 500ms", "interval: found '500ms', wanted .* from 1s"),
        ("@every 1.5s", "interval: found '1.5s', wanted whole"),
        ("@every 90", "interval: found '90', wanted whole"),
        ("@every 30m1h", "interval: found '30m1h', wanted whole"),
        ("@every 1h 30m", "interval: found '1h 30m', wanted whole"),
        ("@every 99999999d", "interval: found '99999999d', wanted .* to 3660d"),
    ],
)
def test_impossible_and_ambiguous_expressions_are_refused_with_the_reason(cron: str, reason: str) -> None:
    """The message names the expression, the field, what was found and what is wanted."""
    with pytest.raises(CronError, match=reason) as refusal:
        Cron.parse(cron)
    assert repr(cron) in str(refusal.value)


def test_a_huge_expression_is_refused_before_it_is_read() -> None:
    """The message tells the length and not the text."""
    with pytest.raises(CronError, match=r"found 100009 characters, wanted at most 1000$"):
        Cron.parse("9" * 100_000 + " * * * * ")


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Mars/Olympus",
        "america/new_york",
        "America",
        "../UTC",
        "/etc/localtime",
        "localtime",
        "right/UTC",
        "\0",
    ],
)
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """Names that aren't IANA's, and files that differ between machines, give no schedule."""
    with pytest.raises(CronError, match=r"time zone: found .*, wanted an IANA name such as"):
        Cron.parse("@daily", zone)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(0), "Sun 2026-08-02 12:00:00"),
        (timedelta(microseconds=1), "Sun 2026-08-02 12:00:00"),
        (timedelta(microseconds=-1), "Sat 2026-08-01 12:00:00"),
        (timedelta(seconds=-30), "Sat 2026-08-01 12:00:00"),
    ],
)
def test_fires_are_strictly_after_the_instant_given(after: timedelta, expected: str) -> None:
    """A fire at the instant itself is past, one a microsecond later isn't."""
    assert fires("0 12 * * *", 1, START + after) == [expected]


def test_fires_are_in_utc_whatever_the_zones() -> None:
    """Neither the schedule's zone nor that of the instant given shows in the result."""
    after = START.astimezone(ZoneInfo("Asia/Tokyo"))
    (fire,) = next_fires("0 9 * * *", "Europe/Madrid", after, 1)
    assert fire == datetime(2026, 8, 2, 7, 0, tzinfo=UTC)
    assert fire.tzinfo is UTC


def test_next_fires_refuses_what_it_can_not_count_from() -> None:
    """A naive or too early instant and a negative count are the caller's errors; zero fires are none."""
    assert next_fires("@daily", "UTC", START, 0) == []
    with pytest.raises(CronError, match="after: found 2026-08-01T12:00:00, wanted one with a time zone"):
        next_fires("@daily", "UTC", START.replace(tzinfo=None), 1)
    with pytest.raises(CronError, match="count: found -1, wanted 0 or more"):
        next_fires("@daily", "UTC", START, -1)
    with pytest.raises(CronError, match=r"last_scheduled_ms: found -1, wanted 0 \(1970\) or later"):
        Cron.parse("@daily").next_after_ms(-1)


def test_fires_end_at_the_year_9900() -> None:
    """The end of the calendar gives fewer fires and None, not an error."""
    late = datetime(9899, 12, 30, tzinfo=UTC)
    assert fires("0 0 * * *", 9, late) == ["Sun 9899-12-31 00:00:00", "Mon 9900-01-01 00:00:00"]
    assert Cron.parse("@every 5m").next_after_ms(10**18) is None


def test_parsed_expressions_are_equal_if_written_alike() -> None:
    """What a schedule compares on upsert is the text, spaces aside, and the zone."""
    assert Cron.parse(" 0  3 * * *\n") == Cron.parse("0 3 * * *")
    assert Cron.parse("0 3 * * *") != Cron.parse("0 3 * * *", "Europe/Madrid")
    assert Cron.parse("0 3 * * *").expression == "0 3 * * *"
