"""A second computation of cron fires, on zoneinfo alone: it watches a wall clock go by, minute by minute.

It trusts the expression (refusals are tested elsewhere) and shares no idea with the engine: no search for the
next match, no folds, no bisection. An hour field without all hours fires when the clock first reaches or
jumps over a matching time; one with all hours fires whenever the clock shows one.
"""

import calendar
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NAMES = {name: str(number) for number, name in [*enumerate(_WEEKDAYS), *enumerate(_MONTHS, 1)]}
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6), (0, 59))
# Longer than any repeated stretch, so that a walk that starts within one knows what was shown before.
_RUN_UP = timedelta(hours=26)


class Pattern:
    """The sets of numbers that an expression of five or six fields admits."""

    def __init__(self, expression: str) -> None:
        texts = expression.upper().split()
        sets = [_numbers(text, *bounds) for text, bounds in zip(texts, _BOUNDS, strict=False)]
        self.minutes, self.hours, self.days, self.months = sets[:4]
        self.weekdays = {number % 7 for number in sets[4]}
        self.seconds = sets[5] if len(sets) == 6 else {0}
        self.step = timedelta(seconds=1) if len(sets) == 6 else timedelta(minutes=1)
        self.last_day = "L" in texts[2].split(",")
        self.both = texts[2].startswith("*") or texts[4].startswith("*")
        self.all_hours = self.hours == set(range(24))
        self._dates: dict[date, bool] = {}

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.second not in self.seconds:
            return False
        day = wall.date()
        if day not in self._dates:
            self._dates[day] = self._matches_date(day)
        return self._dates[day]

    def _matches_date(self, day: date) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        by_day = day.day in self.days or (self.last_day and day.day == last)
        by_weekday = day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (by_day and by_weekday if self.both else by_day or by_weekday)


def fires(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """All fires in (after, until], in UTC; both are whole minutes of UTC."""
    pattern = Pattern(expression)
    found: list[datetime] = []
    *before, (_, now) = _film(zone, after - _RUN_UP, after, timedelta(minutes=1))
    shown = max(now, *(wall + timedelta(minutes=1) - pattern.step for _, wall in before))
    for instant, wall in _film(zone, after, until, pattern.step):
        due = pattern.all_hours and pattern.matches(wall)
        while not pattern.all_hours and shown < wall:
            shown += pattern.step
            due = due or pattern.matches(shown)
        if due:
            found.append(instant)
    return found


def shifts(zone: str, first_year: int, last_year: int) -> list[datetime]:
    """The minutes of UTC at which the zone's clock is put forward or back in these years."""
    found = []
    day, day_s = datetime(first_year, 1, 1, tzinfo=UTC), timedelta(days=1)
    local = ZoneInfo(zone)
    while day.year <= last_year:
        if day.astimezone(local).utcoffset() != (day + day_s).astimezone(local).utcoffset():
            walls = _film(zone, day, day + day_s, timedelta(minutes=1))
            previous = day.astimezone(local).replace(tzinfo=None)
            for instant, wall in walls:
                if wall != previous + timedelta(minutes=1):
                    found.append(instant)
                previous = wall
        day += day_s
    return found


@lru_cache(maxsize=256)
def _film(zone: str, after: datetime, until: datetime, step: timedelta) -> list[tuple[datetime, datetime]]:
    """Each instant in (after, until] with what a clock on the wall shows then."""
    local = ZoneInfo(zone)
    return [
        (instant, instant.astimezone(local).replace(tzinfo=None, fold=0))
        for instant in (after + count * step for count in range(1, (until - after) // step + 1))
    ]


def _numbers(text: str, low: int, high: int) -> set[int]:
    numbers: set[int] = set()
    for item in text.replace("-SUN", "-7").split(","):
        if item == "L":
            continue
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        start, end = (int(_NAMES.get(bound, bound)) for bound in (first, last or first))
        numbers.update(range(start, end + 1, int(step or 1)))
    return numbers
