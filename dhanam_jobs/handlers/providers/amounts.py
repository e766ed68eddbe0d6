"""Figures from outside as figures that the store can hold, and codes of currencies; anything else is None."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

from dhanam_jobs.handlers.store.columns import MONEY_MAX

FIAT: Final = frozenset({"MXN", "USD", "EUR", "CAD"})
"""The currencies in which Dhanam's accounts may be kept without a conversion."""

_STEP = Decimal("0.0001")
_ROUND = Context(prec=60, rounding=ROUND_HALF_EVEN)
_CODE = re.compile(r"[A-Za-z]{3}\Z")


def money(amount: Decimal | None) -> Decimal | None:
    """The amount with four decimals, rounded half to even; None for none, NaN, infinity and what is too large."""
    if amount is None or not amount.is_finite():
        return None
    try:
        rounded = amount.quantize(_STEP, context=_ROUND)
    except InvalidOperation:
        return None
    return rounded if abs(rounded) <= MONEY_MAX else None


def decimal(text: str | int | None) -> Decimal | None:
    """The number that a text holds, exactly; None for anything that is none."""
    if text is None or isinstance(text, bool):
        return None
    try:
        number = Decimal(text)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 60 else None


def currency_code(code: str | None, default: str) -> str:
    """The code in capitals, whatever currency it is; `default` where there is none or it is no code.

    A currency that nobody here knows keeps its name: it is better named as lacking a rate than taken for another.
    """
    return code.upper() if code is not None and _CODE.match(code) else default


def plain(number: Decimal) -> str:
    """The number as people write it: no exponent, no zeros at the end.

    >>> plain(Decimal("1.50000")), plain(Decimal("1E+3"))
    ('1.5', '1000')
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text
