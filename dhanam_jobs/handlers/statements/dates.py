"""Reads the dates of a statement as banks print them; which cell holds one is left to others."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import Literal, NamedTuple

from dhanam_jobs.handlers.statements.errors import StatementError

DateOrder = Literal["dmy", "mdy", "ymd"]

_ORDERS: dict[str, DateOrder] = {"dmy": "dmy", "mdy": "mdy", "ymd": "ymd"}
_FIRST_YEAR = 1900
_LAST_YEAR = 2100
_PIVOT = 70

_MONTHS: dict[str, int] = {}
for _number, _names in enumerate(
    (
        "ene enero jan january",
        "feb febrero february",
        "mar marzo march",
        "abr abril apr april",
        "may mayo",
        "jun junio june",
        "jul julio july",
        "ago agosto aug august",
        "sep sept set septiembre setiembre september",
        "oct octubre october",
        "nov noviembre november",
        "dic diciembre dec december",
    ),
    start=1,
):
    _MONTHS.update(dict.fromkeys(_names.split(), _number))

_TIME = re.compile(r"(?:[ ,]+|(?<=\d)t)\d{1,2}:\d{2}.*$")
_NUMERIC = re.compile(r"(\d{1,4})([/.\- ])(\d{1,2})\2(\d{1,4})", re.ASCII)
_COMPACT = re.compile(r"\d{8}", re.ASCII)
_DAY_NAME_YEAR = re.compile(r"(\d{1,2})(?:[-/. ]| de |)([a-z]+)\.?(?:[-/. ,]|, | del? |)(\d{4}|\d{2})", re.ASCII)
_NAME_DAY_YEAR = re.compile(r"([a-z]+)\.?[-/. ](\d{1,2})(?:st|nd|rd|th)?(?:, ?|[-/. ])(\d{4}|\d{2})", re.ASCII)
_YEAR_NAME_DAY = re.compile(r"(\d{4})[-/. ]([a-z]+)\.?[-/. ](\d{1,2})", re.ASCII)


class DateReadings(NamedTuple):
    """The dates that one cell can mean.

    plain: the date where the notation leaves no choice (year first with four digits, a month by name, eight
    digits that begin with a year).
    dmy, mdy, ymd: the date in that order of day, month and year, where the notation leaves a choice.
    All None: the cell holds no date.
    """

    plain: date | None = None
    dmy: date | None = None
    mdy: date | None = None
    ymd: date | None = None

    def by(self, order: DateOrder) -> date | None:
        """The date, read in that order where the notation leaves a choice; None: no date in that order."""
        if self.plain is not None:
            return self.plain
        return self.dmy if order == "dmy" else self.mdy if order == "mdy" else self.ymd


def date_order(text: str) -> DateOrder:
    """Order named by `--date-format`: `dmy`, `mdy`, `ymd`, or a pattern such as `dd/mm/yyyy` or `%d/%m/%Y`.

    Spanish `aaaa` for the year is understood. Raises StatementError for anything else.
    """
    letters = re.sub(r"[^a-z]", "", text.lower().replace("a", "y"))
    order = re.sub(r"(.)\1+", r"\1", letters)
    if known := _ORDERS.get(order):
        return known
    raise StatementError(f'--date-format "{text}" is not known; wanted: dmy, mdy, ymd, or a pattern such as dd/mm/yyyy')


def read_date(text: str) -> DateReadings:
    """Every reading of a cell. A time behind the date is dropped: the date counts as it is printed.

    Two-digit years are 1970 to 2069. Years outside 1900 to 2100 are no dates.
    """
    text = _TIME.sub("", text.strip().lstrip("'").lower()).strip()
    if match := _NUMERIC.fullmatch(text):
        return _numeric(match[1], match[3], match[4])
    if _COMPACT.fullmatch(text):
        # A year can't stand in the month's place, so only one of the two ways can be a date.
        plain = _date(text[:4], text[4:6], text[6:])
        return DateReadings(plain) if plain else _numeric(text[:2], text[2:4], text[4:])
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = " ".join(text.split())
    if match := _DAY_NAME_YEAR.fullmatch(text):
        return DateReadings(_date(match[3], _MONTHS.get(match[2]), match[1]))
    if match := _NAME_DAY_YEAR.fullmatch(text):
        return DateReadings(_date(match[3], _MONTHS.get(match[1]), match[2]))
    if match := _YEAR_NAME_DAY.fullmatch(text):
        return DateReadings(_date(match[1], _MONTHS.get(match[2]), match[3]))
    return DateReadings()


def _numeric(first: str, second: str, third: str) -> DateReadings:
    if len(first) == 4:
        return DateReadings(_date(first, second, third) if len(third) <= 2 else None)
    if len(third) not in (2, 4) or len(first) > 2:
        return DateReadings()
    ymd = _date(first, second, third) if len(first) == len(third) == 2 else None
    return DateReadings(None, _date(third, second, first), _date(third, first, second), ymd)


def _date(year: str, month: str | int | None, day: str) -> date | None:
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= _PIVOT else 2000
    if month is None or not _FIRST_YEAR <= number <= _LAST_YEAR:
        return None
    try:
        return date(number, int(month), int(day))
    except ValueError:
        return None
