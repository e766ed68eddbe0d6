"""Cron says when a schedule fires next: it parses an expression and computes instants; no clock, no Redis.

Who fires, what was missed while nobody ran, and start, end and limit are the schedule's business.

Expressions
    Five fields: minute, hour, day of month, month, day of week. Six fields: the same and then the second,
    last (not first, as Quartz has it). A field is ``*``, a value, a range ``a-b``, either of ``*/n`` and
    ``a-b/n``, or a list of these. Months and weekdays also by name, in any case: ``JAN``, ``MON``; Sunday is
    0, 7 or ``SUN``. ``L`` among the days of the month is its last day.
    If day of month and day of week are both restricted, a day of either kind matches; if one of them begins
    with ``*`` (as in ``*/2``), a day must match both. This is Debian's cron.
    ``@hourly``, ``@daily`` or ``@midnight`` (00:00), ``@weekly`` (Sunday 00:00), ``@monthly`` (the 1st),
    ``@yearly`` or ``@annually``; ``@every 90s``, ``@every 1h30m``: whole d, h, m and s,
    in all from 1s to 3660d.
    What could never fire, or means different things in different crons, is refused with the reason: the 31st
    of February, ``22-2``, ``5/15``, ``?``, ``H``, ``R``, ``W``, ``#``, ``@reboot``, a year.

Time zones
    An hour field that names hours means times on the wall clock. Each fires once: those in an hour that the
    clock skips fire together at the end of the gap, those in an hour that it repeats fire in the first pass.
    An hour field that admits every hour (``*``, ``*/1``, ``0-23``) means elapsed time: it fires whenever the
    wall clock shows a match, in both passes of a repeated hour and not at all for times that never came.
    Debian's cron also lets ``*/15 2 * * *`` and ``0 */2 * * *`` elapse, and so loses what the gap swallows.
    ``@every`` knows no zone: its slots are the multiples of the interval since 1970-01-01 00:00 UTC, so that
    every process, whenever started, names the same ones.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from croniter import croniter

from dhanam_jobs.engine.checks import shown
from dhanam_jobs.engine.errors import ConfigurationError
from dhanam_jobs.engine.wall_clock import WallClock

__all__ = ["Cron", "CronError", "next_fires"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Far enough from datetime's end that no search for the next match can run over it.
_HORIZON = datetime(9900, 1, 1, tzinfo=UTC)
# More than the longest sensible expression, which lists every value of every field.
_MAX_LENGTH = 1000

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM = re.compile(r"(?:\*|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/([0-9]+))?")
_EVERY = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_MAX_EVERY_S = 3660 * 86_400
# Files of the system's zone folder that differ between machines or count leap seconds.
_NOT_A_ZONE = re.compile(r"localtime|posixrules|Factory|right/.*|posix/.*")


class CronError(ConfigurationError, ValueError):
    """An expression, time zone or instant that gives no schedule; raised when it is given, never later.

    The message names the expression, the field, the value found and the value wanted.
    """


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        named = f" or {self.names[0].upper()}-{self.names[-1].upper()}" if self.names else ""
        return f"{self.low}-{self.high}{named}"


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 7, _WEEKDAYS)
_FIELDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _Field("second", 0, 59))
# Stands for `L`; greater than the numbers of every field.
_LAST_DAY = 99
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class _Rule(Protocol):
    def next_after(self, after: datetime) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression in a time zone; two are equal if written alike. Made by `parse`."""

    expression: str
    time_zone: str
    _rule: _Rule = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, time_zone: str = "UTC") -> "Cron":
        """Read an expression (see the module) and an IANA time zone, such as ``America/Mexico_City``.

        Raises `CronError` with the reason if either is refused.
        """
        if len(expression) > _MAX_LENGTH:
            raise CronError(f"cron: found {len(expression)} characters, wanted at most {_MAX_LENGTH}")
        expression = " ".join(expression.split())
        zone = _zone(time_zone)
        every, _, interval = expression.partition(" ")
        if every.lower() == "@every":
            return cls(expression, time_zone, _Slots(_interval(expression, interval)))
        return cls(expression, time_zone, _wall_clock(expression, zone))

    def next_after_ms(self, last_scheduled_ms: int) -> int | None:
        """The first fire strictly after an instant; both in ms since 1970, UTC. None after the year 9900.

        Give it the instant last scheduled, not the time now: then late runs don't move the following ones.
        Raises `CronError` for an instant before 1970.
        """
        if last_scheduled_ms < 0:
            found = f"cron {self.expression!r}: last_scheduled_ms: found {last_scheduled_ms}"
            raise CronError(f"{found}, wanted 0 (1970) or later")
        if last_scheduled_ms >= _to_ms(_HORIZON):
            return None
        return _to_ms(self._rule.next_after(_EPOCH + last_scheduled_ms * _MILLISECOND))


def next_fires(cron: str, tz: str, after: datetime, count: int) -> list[datetime]:
    """The next ``count`` fires of an expression strictly after an aware instant, in order, in UTC.

    They are in UTC because datetimes of one zone compare by wall clock and so misorder a repeated hour; for
    people write ``fire.astimezone(ZoneInfo(tz))``. There are fewer only at the year 9900. Raises `CronError`
    for a refused expression or zone, an ``after`` without a time zone or before 1970, and a negative count.
    """
    parsed = Cron.parse(cron, tz)
    if after.utcoffset() is None:
        raise CronError(f"next_fires: after: found {after.isoformat()}, wanted one with a time zone")
    if count < 0:
        raise CronError(f"next_fires: count: found {count}, wanted 0 or more")
    fires: list[datetime] = []
    instant_ms: int | None = _to_ms(after)
    while len(fires) < count and instant_ms is not None:
        instant_ms = parsed.next_after_ms(instant_ms)
        if instant_ms is not None:
            fires.append(_EPOCH + instant_ms * _MILLISECOND)
    return fires


@dataclass(frozen=True, slots=True)
class _Slots:
    """The multiples of an interval since 1970, UTC."""

    interval: timedelta

    def next_after(self, after: datetime) -> datetime:
        return _EPOCH + ((after - _EPOCH) // self.interval + 1) * self.interval


def _to_ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


def _zone(name: str) -> ZoneInfo:
    try:
        if not isinstance(name, str) or _NOT_A_ZONE.fullmatch(name):
            raise ValueError("not the same on every machine")
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        wanted = "an IANA name such as UTC or America/Mexico_City"
        raise CronError(f"time zone: found {shown(name)}, wanted {wanted}") from error


def _interval(expression: str, text: str) -> timedelta:
    parts = _EVERY.fullmatch(text.lower())
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0, 0)
    total_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not 1 <= total_s <= _MAX_EVERY_S:
        wanted = "whole d, h, m and s in this order, such as 90s or 1h30m, from 1s to 3660d"
        raise _refused(expression, "interval", text, wanted)
    return timedelta(seconds=total_s)


def _wall_clock(expression: str, zone: tzinfo) -> WallClock:
    if expression.startswith("@") and expression.lower() not in _ALIASES:
        raise _refused(expression, "alias", expression, f"one of {', '.join(_ALIASES)} or @every INTERVAL")
    texts = _ALIASES.get(expression.lower(), expression).split()
    if len(texts) not in (5, 6):
        wanted = "5 (minute, hour, day of month, month, day of week) or 6 (and second)"
        raise _refused(expression, "fields", str(len(texts)), wanted)
    values = [_expand(expression, field, text) for field, text in zip(_FIELDS, texts, strict=False)]
    _minutes, hours, days, months, weekdays, *_seconds = values
    longest = max(_LONGEST.get(month, 31) for month in months)
    if min(days) > longest and _LAST_DAY not in days:
        wanted = f"a day up to {longest}, the longest of the months {','.join(map(str, sorted(months)))}"
        raise _refused(expression, _DAY.name, texts[2], wanted)
    both = texts[2].startswith("*") or texts[4].startswith("*")
    if not both and (days >= set(range(1, 32)) or weekdays >= set(range(7))):
        # Either kind of day matches and one kind is all of them.
        values[2], values[4] = set(range(1, 32)), set(range(7))
    # croniter gets plain lists only, for it reads `10-5`, `5-5`, `5/15`, `R` and `L3` in ways of its own.
    plain = " ".join(_plain(field, numbers) for field, numbers in zip(_FIELDS, values, strict=False))
    return WallClock(croniter(plain, _EPOCH.replace(tzinfo=None), day_or=not both), zone, len(hours) == 24)


def _expand(expression: str, field: _Field, text: str) -> set[int]:
    values: set[int] = set()
    for item in text.split(","):
        if field is _DAY and item in ("l", "L"):
            values.add(_LAST_DAY)
            continue
        values.update(_expand_item(expression, field, item))
    return {value % 7 for value in values} if field is _WEEKDAY else values


def _expand_item(expression: str, field: _Field, item: str) -> Iterable[int]:
    parts = _ITEM.fullmatch(item.lower())
    if parts is None:
        raise _refused(expression, field.name, item, _wanted_instead(field, item))
    first, last, step = parts.groups()
    if first is None:
        low, high = field.low, field.high - (field is _WEEKDAY)
    else:
        low = _value(expression, field, item, first)
        high = low if last is None else _value(expression, field, item, last)
        if last == "sun" and low > 0:
            high = 7
    if low > high:
        wanted = f"a rising range, such as {low}-{field.high},{field.low}-{high}"
        raise _refused(expression, field.name, item, wanted)
    if step is None:
        return range(low, high + 1)
    if first is not None and last is None:
        raise _refused(expression, field.name, item, f"a range to step through: {low}-{field.high}/{step}")
    if not 1 <= int(step) <= high - low + 1:
        raise _refused(expression, field.name, item, f"a step of 1-{high - low + 1} (or use @every)")
    return range(low, high + 1, int(step))


def _value(expression: str, field: _Field, item: str, text: str) -> int:
    if text in field.names:
        return field.names.index(text) + field.low
    if not text.isdigit() or not field.low <= int(text) <= field.high:
        raise _refused(expression, field.name, item, _wanted_instead(field, item))
    return int(text)


def _wanted_instead(field: _Field, item: str) -> str:
    item = item.lower()
    if item == "?":
        return "* (? belongs to Quartz, which puts the second first; here it is last)"
    if item and (item[0] in "hr" and (len(item) == 1 or item[1] in "(/")):
        return f"{field.wanted} (H and R stand for times that nobody can foretell)"
    if re.search(r"#|[0-9]w|lw|[0-9a-z]l\b|\bl[0-9-]", item):
        return f"{field.wanted} (W, # and L, save L as a day of the month, differ between crons)"
    return f"{field.wanted}, a range, */n, a-b/n, or a list of these"


def _plain(field: _Field, numbers: set[int]) -> str:
    if _LAST_DAY in numbers:
        # croniter takes any 31 days for all days; the 31st is always the last.
        numbers = numbers - {31}
    if len(numbers) == field.high - field.low + (field is not _WEEKDAY):
        return "*"
    return ",".join("l" if number == _LAST_DAY else str(number) for number in sorted(numbers))


def _refused(expression: str, field: str, found: str, wanted: str) -> CronError:
    return CronError(f"cron {expression!r}: {field}: found {found!r}, wanted {wanted}")
