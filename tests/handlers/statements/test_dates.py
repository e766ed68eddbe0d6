"""Dates as banks print them."""

from __future__ import annotations

import datetime as dt

import pytest

from dhanam_jobs.handlers.statements import StatementError
from dhanam_jobs.handlers.statements.dates import DateReadings, date_order, read_date

DAY = dt.date(2026, 1, 31)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31", "2026/01/31", "2026.1.31", "20260131", "2026-01-31T23:59:59Z", "2026-01-31 08:15",
        "31-ENE-26", "31/ene/2026", "31 Jan 2026", "31-Jan-26", "31 de enero de 2026", "31 de Enero del 2026",
        "31ENE2026", "31 ene. 2026", "Jan 31, 2026", "January 31st, 2026", "enero 31, 2026", "2026-Jan-31",
        "  31-ENE-26 ", "31-ENE-2026 10:15 p. m.",
    ],
)  # fmt: skip
def test_a_date_that_leaves_no_choice_is_read_whatever_the_order(text: str) -> None:
    """Year first, or the month by name in either language."""
    assert read_date(text) == DateReadings(DAY)


@pytest.mark.parametrize("text", ["31/01/2026", "31.01.2026", "31-1-26", "31012026", "'31012026", "31 01 2026"])
def test_a_day_above_twelve_fits_one_order_only(text: str) -> None:
    """The other order has no month of that number."""
    readings = read_date(text)
    assert (readings.dmy, readings.mdy) == (DAY, None)


def test_a_date_that_fits_both_orders_keeps_both() -> None:
    """Nothing is decided by one cell."""
    readings = read_date("03/04/2026")
    assert (readings.dmy, readings.mdy) == (dt.date(2026, 4, 3), dt.date(2026, 3, 4))


@pytest.mark.parametrize(("text", "year"), [("01/02/69", 2069), ("01/02/70", 1970), ("01/02/00", 2000)])
def test_two_digits_of_a_year_mean_1970_to_2069(text: str, year: int) -> None:
    """The usual window of C and POSIX."""
    day = read_date(text).dmy
    assert day is not None
    assert day.year == year


def test_a_year_of_two_digits_in_front_needs_to_be_told() -> None:
    """Nearly every dd/mm/yy would fit yy/mm/dd too, and no bank of ours prints it."""
    readings = read_date("26/01/31")
    assert readings.by("ymd") == DAY
    assert readings.by("dmy") == dt.date(2031, 1, 26)


@pytest.mark.parametrize(
    "text",
    ["", "31/02/2026", "2026-13-01", "32-ENE-26", "31-FOO-26", "31/01", "31/01/126", "31/01-2026", "45672", "1/1/1",
     "31/01/0026", "Total", "٣١/٠١/٢٠٢٦"],
)  # fmt: skip
def test_what_is_no_date_has_no_reading(text: str) -> None:
    """No nearest day, no serial number of a spreadsheet."""
    assert read_date(text) == DateReadings()


@pytest.mark.parametrize(
    ("text", "order"),
    [("dmy", "dmy"), ("DD/MM/YYYY", "dmy"), ("%m/%d/%Y", "mdy"), ("aaaa-mm-dd", "ymd"), ("yy.mm.dd", "ymd")],
)
def test_an_order_is_named_by_letters_or_a_pattern(text: str, order: str) -> None:
    """As people write it in either language."""
    assert date_order(text) == order


@pytest.mark.parametrize("text", ["", "dd/mm", "european", "ydm"])
def test_an_order_that_is_none_is_refused_by_name(text: str) -> None:
    """The message says what was found and what is wanted."""
    with pytest.raises(StatementError, match=r"--date-format .* wanted: dmy, mdy, ymd"):
        date_order(text)
