"""Amounts as banks print them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dhanam_jobs.handlers.statements.amounts import (
    DecimalMark,
    currency_code,
    out_of_range,
    read_figure,
)


@pytest.mark.parametrize(
    ("text", "mark", "value"),
    [
        ("12", ".", "12"), ("12", ",", "12"), ("12.5", ".", "12.5"), ("12,5", ",", "12.5"),
        ("1,234.50", ".", "1234.50"), ("1.234,50", ",", "1234.50"), ("1 234,50", ",", "1234.50"),
        ("1\u00a0234\u00a0567,5", ",", "1234567.5"), ("1'234.50", ".", "1234.50"), ("1,234,567", ".", "1234567"),
        ("1.234.567", ",", "1234567"), ("1234.567", ".", "1234.567"), ("0.123", ".", "0.123"), (".5", ".", "0.5"),
        ("1.234", ".", "1.234"), ("1.234", ",", "1234"), ("-5.00", ".", "-5.00"), ("−5,00", ",", "-5.00"),
        ("5.00-", ".", "-5.00"), ("(5.00)", ".", "-5.00"), ("($1,234.50)", ".", "-1234.50"),
        ("$(5.00)", ".", "-5.00"), ("-$5.00", ".", "-5.00"), ("$-5.00", ".", "-5.00"), ("$ 5.00", ".", "5.00"),
        ("+5.00", ".", "5.00"), ("€ 5,00", ",", "5.00"), ("5,00 €", ",", "5.00"), ("$1,234.50 MXN", ".", "1234.50"),
        ("MXN -5.00", ".", "-5.00"), ("US$5.00", ".", "5.00"), ("5.00 M.N.", ".", "5.00"), ("-0.00", ".", "0.00"),
        ("999999999999999.9999", ".", "999999999999999.9999"),
    ],
)  # fmt: skip
def test_an_amount_is_read_to_the_last_digit(text: str, mark: DecimalMark, value: str) -> None:
    """Thousands, currency signs and every notation of a minus."""
    figure = read_figure(text)
    assert figure is not None
    assert figure.fits(mark)
    assert str(figure.value(mark)) == str(Decimal(value))


@pytest.mark.parametrize(
    "text",
    ["", "abc", "12a", "1,23,456", "1.2.3", "12,34,56", "1,234.567.8", "1.234,5,6", "--5", "5 USD 6", "1$234", "1 23",
     "()", "$", "NaN", "Infinity", "1e5", "١٢", "0x10", "1_000"],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Python's own notations of numbers aren't a bank's."""
    assert read_figure(text) is None


@pytest.mark.parametrize("text", ["1.234", "1,234", "999.999", "-1.234", "$12,345"])
def test_three_digits_behind_one_mark_are_undecided(text: str) -> None:
    """Thousands or decimals: a single cell can't tell."""
    figure = read_figure(text)
    assert figure is not None
    assert figure.undecided


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [("1.5", True, False), ("1,5", False, True), ("1234.567", True, False), ("0,123", False, True), ("7", True, True)],
)
def test_most_amounts_fit_one_mark_or_mean_the_same_in_both(text: str, point: bool, comma: bool) -> None:
    """They are the evidence by which a file is decided."""
    figure = read_figure(text)
    assert figure is not None
    assert (figure.point, figure.comma, figure.undecided) == (point, comma, False)


@pytest.mark.parametrize(
    ("text", "side", "currency"),
    [("5.00 CR", "credit", None), ("5.00DR", "debit", None), ("$5.00 Cr.", "credit", None), ("5.00 USD", None, "USD"),
     ("€5", None, "EUR"), ("GBP 5", None, "GBP"), ("5 M.N.", None, "MXN"), ("$5", None, None)],
)  # fmt: skip
def test_what_stands_beside_an_amount_is_kept(text: str, side: str | None, currency: str | None) -> None:
    """A lone $ names no currency: it is a peso here and a dollar there."""
    figure = read_figure(text)
    assert figure is not None
    assert (figure.side, figure.currency) == (side, currency)


@pytest.mark.parametrize(
    ("value", "reason"),
    [("0.0001", None), ("1.23450000", None), ("1.23456", "5 decimals"), ("999999999999999.9999", None),
     ("1000000000000000", "16 digits"), ("0.00000", None)],
)  # fmt: skip
def test_an_amount_has_to_fit_the_store_exactly(value: str, reason: str | None) -> None:
    """decimal(19,4); nothing is rounded."""
    found = out_of_range(Decimal(value))
    assert found is None if reason is None else found is not None and found.startswith(reason)


@pytest.mark.parametrize(
    ("text", "code"),
    [("MXN", "MXN"), ("mxn", "MXN"), ("Pesos", "MXN"), ("M.N.", "MXN"), ("Dólares", "USD"), ("$", ""), ("", ""),
     ("gbp", "GBP"), ("doubloons", None)],
)  # fmt: skip
def test_a_currency_is_known_by_its_names(text: str, code: str | None) -> None:
    """Codes, signs and the words that statements use."""
    assert currency_code(text) == code
