"""Turns the figures of a row into one signed amount by the convention of its columns; negative is out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from dhanam_jobs.handlers.statements.amounts import Side
from dhanam_jobs.handlers.statements.errors import StatementError

_WITNESSES_PER_EXCEPTION = 4

_DEBITS = (
    "cargo|cargos|retiro|retiros|debito|debitos|debe|egreso|egresos|salida|gasto|d|dr|db|debit|debits|withdrawal"
    "|outflow|out|-"
)
_CREDITS = (
    "abono|abonos|deposito|depositos|credito|creditos|haber|ingreso|ingresos|entrada|h|c|a|cr|credit|credits"
    "|deposit|inflow|in|+"
)
_SIDES: dict[str, Side] = {
    **dict.fromkeys(_DEBITS.split("|"), "debit"),
    **dict.fromkeys(_CREDITS.split("|"), "credit"),
}


def side_named(text: str) -> Side | None:
    """Debit or credit where a cell of a type column says so (`Cargo`, `DR`, `C`); text is folded."""
    return _SIDES.get(text.rstrip("."))


class Signed(NamedTuple):
    """amount: with its sign, or None and `reason` says why it can't be told."""

    amount: Decimal | None
    reason: str = ""


class SideColumn:
    """The convention of one amount column whose side stands beside each figure, in a type column or as CR/DR.

    Where only one of CR and DR is ever printed, a figure without it is on the other side, as card statements
    have it. Where both are, every figure other than zero needs one.
    """

    def __init__(self, figures: Sequence[tuple[Decimal, Side | None]], *, marks: bool) -> None:
        sides = {side for _, side in figures if side}
        self._marks = marks
        self._silent: Side | None = None
        if marks and len(sides) == 1:
            self._silent = "debit" if sides == {"credit"} else "credit"
        positive = sum(value > 0 and side == "debit" for value, side in figures)
        negative = sum(value < 0 and side == "debit" for value, side in figures)
        # Debits written with a minus: the figure speaks for itself and the word only repeats it.
        self._signed = negative > positive

    def sign(self, value: Decimal, side: Side | None) -> Signed:
        """The amount, given the figure as written and what stands beside it."""
        if not value:
            return Signed(value)
        if self._signed:
            if side and (value < 0) != (side == "debit"):
                return Signed(None, f"the sign says {_word(value < 0)}, beside it stands {_word(side == 'debit')}")
            return Signed(value)
        if side is None and self._marks and value < 0:
            return Signed(value)
        side = side or self._silent
        if side is None:
            return Signed(None, "nothing beside the amount says whether it is a debit or a credit")
        if value < 0:
            return Signed(None, f"negative, where a {side} is positive in the other rows")
        return Signed(-value if side == "debit" else value)


class SplitColumns:
    """The convention of a debit and a credit column: whether the debits are written with a minus."""

    def __init__(self, debits: Sequence[Decimal]) -> None:
        self._minus = sum(v < 0 for v in debits) > sum(v > 0 for v in debits)

    def sign(self, debit: Decimal | None, credit: Decimal | None) -> Signed:
        """The amount of a row with the figures of its two cells; None for an empty cell."""
        if debit and credit:
            return Signed(None, "both a debit and a credit; one of them is wanted")
        if debit:
            if (debit < 0) != self._minus:
                return Signed(None, "its sign differs from that of the other rows' debits")
            return Signed(-abs(debit))
        if credit:
            if credit < 0:
                return Signed(None, "a negative credit; a positive figure is wanted")
            return Signed(credit)
        value = debit if debit is not None else credit
        return Signed(None, "neither a debit nor a credit") if value is None else Signed(abs(value))


def is_side_column(words: Sequence[str], *, header: str, needed: bool) -> bool:
    """Whether a column that may tell debits from credits does: at least four in five of its cells say so.

    words: its cells that aren't empty, folded. needed: no amount has a sign of its own.
    Raises StatementError where only some cells say so and nothing else tells the sides apart.
    """
    known = sum(side_named(word) is not None for word in words)
    if known and known >= _WITNESSES_PER_EXCEPTION * (len(words) - known):
        return True
    if known and needed:
        odd = next(word for word in words if side_named(word) is None)
        raise StatementError(
            f'column "{header}" says debit or credit in {known} of {len(words)} rows and "{odd}" in one, '
            "and no amount has a sign of its own; wanted signed amounts, or in every row a word of a pair "
            "such as Cargo and Abono, Debit and Credit, D and C"
        )
    return False


def _word(debit: bool) -> str:
    return "debit" if debit else "credit"
