"""Reads amounts as banks print them, exactly; the sign that a column gives them is left to others."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Literal, NamedTuple

DecimalMark = Literal[".", ","]
Side = Literal["debit", "credit"]

MAX_DECIMALS = 4
MAX_INTEGER_DIGITS = 15

# Nearly every amount of a statement; one or two digits behind a mark can't be a group of thousands.
_CLEAR = re.compile(
    r"-?(?:(\d+)|(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)(\.\d\d?)|(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)(,\d\d?))", re.ASCII
)
_POINT = re.compile(r"(?:\d+|[1-9]\d{0,2}([,' ])\d{3}(?:\1\d{3})*)(?:\.\d*)?|\.\d+", re.ASCII)
_COMMA = re.compile(r"(?:\d+|[1-9]\d{0,2}([.' ])\d{3}(?:\1\d{3})*)(?:,\d*)?|,\d+", re.ASCII)
_SPACES = re.compile(r"\s+")
_SIDE = re.compile(r"(?<![A-Z])(CR|DR|DB)\.?$")
_CURRENCY = re.compile(
    r"(?P<MXN>MXN|MXP|MX\$|M\.? ?N\.?(?![A-Z]))|(?P<USD>USD|US\$|U\.S\.\$|DLLS?\.?)"
    r"|(?P<EUR>EUR|€)|(?P<CAD>CAD|CA\$|C\$)|(?P<other>[A-Z]{3}(?![A-Z])|£|¥)"
)
_CURRENCY_NAMES = {
    "PESO": "MXN",
    "PESOS": "MXN",
    "PESO MEXICANO": "MXN",
    "PESOS MEXICANOS": "MXN",
    "MONEDA NACIONAL": "MXN",
    "DOLAR": "USD",
    "DOLARES": "USD",
    "DÓLAR": "USD",
    "DÓLARES": "USD",
    "US DOLLAR": "USD",
    "EURO": "EUR",
    "EUROS": "EUR",
}
_STEP = Decimal("0.0001")
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])
_MINUS = "-−–—‐"
_SIDES: dict[str, Side] = {"CR": "credit", "DR": "debit", "DB": "debit"}


class Figure(NamedTuple):
    """An amount taken apart, its decimal mark not yet decided.

    digits: figures with their marks, e.g. `1.234,50`. negative: a minus before or behind, or parentheses.
    side: what a `CR` or `DR` behind the figure says, else None. currency: the ISO code beside it, else None.
    point, comma: whether the digits can be read with a decimal point, with a decimal comma.
    """

    digits: str
    negative: bool = False
    side: Side | None = None
    currency: str | None = None
    point: bool = True
    comma: bool = True

    @property
    def undecided(self) -> bool:
        """Readable both ways with two different values, as `1.234` is."""
        return self.point and self.comma and ("." in self.digits or "," in self.digits)

    def fits(self, mark: DecimalMark) -> bool:
        """Whether the digits can be read with that decimal mark."""
        return self.point if mark == "." else self.comma

    def value(self, mark: DecimalMark) -> Decimal:
        """The exact amount with its minus, read with that decimal mark; only where it `fits`."""
        digits = self.digits
        if mark == ",":
            digits = digits.replace(".", "").replace(",", ".")
        elif "," in digits:
            digits = digits.replace(",", "")
        if "'" in digits or " " in digits:
            digits = digits.replace("'", "").replace(" ", "")
        value = Decimal(digits)
        return -value if self.negative and value else value


def read_figure(text: str) -> Figure | None:
    """An amount as written, with currency signs, thousands separators and any notation of the sign; None: no
    amount.

    The thousands separator is the comma or point that isn't the decimal mark, a blank or an apostrophe, and
    has to stand at every third digit or nowhere.
    """
    if match := _CLEAR.fullmatch(text):
        return Figure(text.lstrip("-"), text[0] == "-", None, None, match.lastindex != 3, match.lastindex != 2)
    text = _SPACES.sub(" ", text.strip().strip("'")).upper()
    side = None
    if match := _SIDE.search(text):
        side = _SIDES[match[1]]
        text = text[: match.start()].strip()
    currency = None
    if match := _CURRENCY.search(text):
        currency = match[0] if match.lastgroup == "other" else match.lastgroup
        text = _without(text, match.start(), match.end())
    if (dollar := text.find("$")) >= 0:
        text = _without(text, dollar, dollar + 1)
    negative = False
    if text.startswith("(") and text.endswith(")"):
        negative, text = True, text[1:-1].strip()
    elif text and text[0] in _MINUS:
        negative, text = True, text[1:].strip()
    elif text and text[-1] in _MINUS:
        negative, text = True, text[:-1].strip()
    elif text.startswith("+") or text.endswith("+"):
        text = text.strip("+").strip()
    return _figure(text, negative, side, currency)


def _figure(digits: str, negative: bool, side: Side | None = None, currency: str | None = None) -> Figure | None:
    point = _POINT.fullmatch(digits) is not None
    comma = _COMMA.fullmatch(digits) is not None
    return Figure(digits, negative, side, currency, point, comma) if point or comma else None


def _without(text: str, start: int, end: int) -> str:
    """Text without a currency sign; figures on both sides of it stay apart, for they aren't one amount."""
    before, after = text[:start].strip(), text[end:].strip()
    joint = "$" if before[-1:].isdigit() and after[:1].isdigit() else ""
    return before + joint + after


def currency_code(text: str) -> str | None:
    """ISO code of a currency as a statement names it (`MXN`, `$`, `Pesos`, `M.N.`); None: not known.

    A lone `$` and an empty text say nothing and give the empty string.
    """
    name = _SPACES.sub(" ", text.strip().upper())
    if name in ("", "$"):
        return ""
    if name in _CURRENCY_NAMES:
        return _CURRENCY_NAMES[name]
    match = _CURRENCY.fullmatch(name)
    return None if match is None else match[0] if match.lastgroup == "other" else match.lastgroup


def out_of_range(value: Decimal) -> str | None:
    """Why decimal(19,4) can't hold the amount exactly, else None. Zeros at its end don't count."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -MAX_DECIMALS and value:
        decimals = len(f"{value:f}".partition(".")[2].rstrip("0"))
        if decimals > MAX_DECIMALS:
            return f"{decimals} decimals; at most {MAX_DECIMALS} are wanted"
    if value.adjusted() >= MAX_INTEGER_DIGITS:
        return f"{value.adjusted() + 1} digits before the decimal mark; at most {MAX_INTEGER_DIGITS} are wanted"
    return None


def four_decimals(value: Decimal) -> Decimal:
    """The same amount without zeros beyond the fourth decimal; the value isn't `out_of_range`."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return value if exponent >= -MAX_DECIMALS else value.quantize(_STEP, context=_EXACT)
