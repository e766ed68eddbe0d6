"""The key of a row: the same in every notation, different for every other row, counted among equals."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from dhanam_jobs.handlers.statements.keys import RowContent, RowKeys

COFFEE = RowContent(dt.date(2026, 1, 31), Decimal("-45.5"), "Café  Ñandú", "", "")


def test_the_key_is_the_one_that_stores_already_hold() -> None:
    """A change of this value would make every imported row new again."""
    assert RowKeys().next(COFFEE) == "csv_a5ddad4120b8b55f5c25c84b_1"


def test_equal_rows_are_counted() -> None:
    """Two coffees on one day are two."""
    keys = RowKeys()
    first, second = keys.next(COFFEE), keys.next(COFFEE)
    assert first[:-1] == second[:-1]
    assert (first[-2:], second[-2:]) == ("_1", "_2")


@pytest.mark.parametrize(
    "same",
    [
        COFFEE._replace(amount=Decimal("-45.5000")),
        COFFEE._replace(description="CAFE ÑANDU"),
        COFFEE._replace(description="cafe\u0301 n\u0303andu\u0301"),
        COFFEE._replace(reference="0000"),
    ],
)
def test_another_notation_is_the_same_row(same: RowContent) -> None:
    """Zeros, case, accents in either Unicode form, blanks, a reference of zeros."""
    assert RowKeys().next(same) == RowKeys().next(COFFEE)


def test_a_reference_that_lost_its_zeros_is_the_same() -> None:
    """Spreadsheets drop them."""
    assert RowKeys().next(COFFEE._replace(reference="0004411")) == RowKeys().next(COFFEE._replace(reference="4411"))


@pytest.mark.parametrize(
    "other",
    [
        COFFEE._replace(date=dt.date(2026, 2, 1)),
        COFFEE._replace(amount=Decimal("45.5")),
        COFFEE._replace(amount=Decimal("-45.5001")),
        COFFEE._replace(description="Té"),
        COFFEE._replace(merchant="Ñandú"),
        COFFEE._replace(reference="4411"),
        COFFEE._replace(description="", merchant="Café Ñandú"),
    ],
)
def test_another_row_has_another_key(other: RowContent) -> None:
    """Each part counts, in its own place."""
    assert RowKeys().next(other) != RowKeys().next(COFFEE)
