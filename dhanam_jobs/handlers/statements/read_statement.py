"""Reads a whole statement from the bytes of its file; storing the rows is left to others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from dhanam_jobs.handlers.statements.amounts import (
    DecimalMark,
    currency_code,
    four_decimals,
    out_of_range,
)
from dhanam_jobs.handlers.statements.balance import judge_signs
from dhanam_jobs.handlers.statements.dates import DateOrder, date_order
from dhanam_jobs.handlers.statements.drafts import Draft, Drafts
from dhanam_jobs.handlers.statements.encoding import decode
from dhanam_jobs.handlers.statements.errors import AmbiguousStatement, StatementError
from dhanam_jobs.handlers.statements.format import decide_dates, decide_decimals, decimal_mark
from dhanam_jobs.handlers.statements.headers import find_header
from dhanam_jobs.handlers.statements.keys import folded
from dhanam_jobs.handlers.statements.records import split_lines
from dhanam_jobs.handlers.statements.signs import (
    SideColumn,
    Signed,
    SplitColumns,
    is_side_column,
    side_named,
)
from dhanam_jobs.handlers.statements.statement import (
    Format,
    Hints,
    SignSource,
    Statement,
    StatementRow,
)

_LONGEST_TEXT = 2000
_MARK_NAMES = {".": "point", ",": "comma"}
_ORDER_NAMES = {"dmy": "dd/mm/yyyy", "mdy": "mm/dd/yyyy", "ymd": "yy/mm/dd"}
_NO_HINTS = Hints()


def read_statement(raw: bytes, hints: Hints = _NO_HINTS) -> Statement:
    """The statement in the bytes of a file.

    Raises AmbiguousStatement where the rows fit several readings and no hint settles it, StatementError where
    the file can't be read as a statement at all. Bad rows are no exception: they are in `errors`.
    """
    order = None if hints.date_format is None else date_order(hints.date_format)
    mark = None if hints.decimal is None else decimal_mark(hints.decimal)
    text, encoding = decode(raw)
    lines = split_lines(text)
    drafts = Drafts(find_header(lines), lines)
    order = order or decide_dates(drafts)
    mark = mark or decide_decimals(drafts)
    signs, rows = _Rows(drafts, hints, order or "dmy", mark or ".").build()
    drafts.errors.sort(key=lambda error: error.line)
    header = drafts.header
    columns: dict[str, str] = {role: column.header for role, column in drafts.columns.items()}
    shape = Format(encoding, header.delimiter, header.line, columns, order, mark, signs)
    return Statement(shape, rows, drafts.errors, drafts.skipped)


class _Dated(msgspec.Struct):
    """A draft whose date and figures are read; amounts: one for each of `Drafts.amounts`, None for empty."""

    draft: Draft
    date: dt.date
    amounts: list[Decimal | None]


class _Rows:
    """Turns drafts into rows by a decided format; what doesn't fit it becomes an error of the drafts."""

    def __init__(self, drafts: Drafts, hints: Hints, order: DateOrder, mark: DecimalMark) -> None:
        self._drafts = drafts
        self._columns = drafts.columns
        self._hints = hints
        self._order = order
        self._mark: DecimalMark = mark

    def build(self) -> tuple[SignSource, list[StatementRow]]:
        """Where the signs come from, and the good rows in file order."""
        dated = [found for draft in self._drafts.drafts if (found := self._dated(draft))]
        signs, signed = self._sign(dated)
        if signs == "signed" and self._hints.flip_signs is None:
            self._heed_balance(dated)
        rows: list[StatementRow] = []
        for found, (amount, reason) in zip(dated, signed, strict=True):
            if amount is None:
                at = next((i for i, value in enumerate(found.amounts) if value), 0)
                column = self._drafts.amounts[at]
                self._drafts.bad(found.draft.line, column, found.draft.cells[column.position], reason)
            elif row := self._row(found, -amount if self._hints.flip_signs and amount else amount):
                rows.append(row)
        return signs, rows

    def _dated(self, draft: Draft) -> _Dated | None:
        date = draft.date.by(self._order)
        if date is None:
            column = self._columns["date"]
            reason = f"not a date in the order {_ORDER_NAMES[self._order]}"
            self._drafts.bad(draft.line, column, draft.cells[column.position], reason)
            return None
        amounts: list[Decimal | None] = []
        for column, figure in zip(self._drafts.amounts, draft.figures, strict=True):
            if figure is None:
                amounts.append(None)
                continue
            fits = figure.fits(self._mark)
            value = figure.value(self._mark) if fits else Decimal(0)
            wrong = out_of_range(value) if fits else f"not an amount with a decimal {_MARK_NAMES[self._mark]}"
            if wrong:
                self._drafts.bad(draft.line, column, draft.cells[column.position], wrong)
                return None
            amounts.append(four_decimals(value))
        return _Dated(draft, date, amounts)

    def _sign(self, dated: Sequence[_Dated]) -> tuple[SignSource, list[Signed]]:
        columns = self._columns
        if "amount" not in columns:
            both = [
                (
                    row.amounts[0] if "debit" in columns else None,
                    row.amounts[-1] if "credit" in columns else None,
                )
                for row in dated
            ]
            split = SplitColumns([debit for debit, _ in both if debit])
            return "debit and credit columns", [split.sign(debit, credit) for debit, credit in both]
        values = [row.amounts[0] for row in dated]
        amounts = [value for value in values if value is not None]
        marks = [figure.side if (figure := row.draft.figures[0]) else None for row in dated]
        if any(marks):
            sides = SideColumn(list(zip(amounts, marks, strict=True)), marks=True)
            return "CR/DR marks", [sides.sign(*pair) for pair in zip(amounts, marks, strict=True)]
        if column := columns.get("side"):
            words = [folded(row.draft.cells[column.position]) for row in dated]
            needed = self._hints.flip_signs is None and all(amount >= 0 for amount in amounts)
            if is_side_column([word for word in words if word], header=column.header, needed=needed):
                named = list(zip(amounts, map(side_named, words), strict=True))
                sides = SideColumn(named, marks=False)
                return "side column", [sides.sign(*pair) for pair in named]
        return "signed", [Signed(amount) for amount in amounts]

    def _heed_balance(self, dated: Sequence[_Dated]) -> None:
        verdict = judge_signs([(row.amounts[0] or Decimal(0), self._balance(row.draft)) for row in dated])
        if verdict in ("silent", "as written"):
            return
        amount, balance = self._columns["amount"].header, self._columns["balance"].header
        if verdict == "opposite":
            raise AmbiguousStatement(
                f'"{balance}" falls where "{amount}" is positive and rises where it is negative; say whether '
                "a positive amount is money out (--flip-signs) or money in (--keep-signs)",
                option="--flip-signs",
            )
        raise StatementError(
            f'no "{amount}" has a sign, and "{balance}" rises by some and falls by others; wanted signed '
            "amounts, a debit and a credit column, or a column that says Cargo or Abono"
        )

    def _balance(self, draft: Draft) -> Decimal | None:
        figure = draft.balance
        return figure.value(self._mark) if figure and figure.fits(self._mark) else None

    def _row(self, found: _Dated, amount: Decimal) -> StatementRow | None:
        draft, columns = found.draft, self._columns
        currency = self._currency(draft)
        description = self._description(draft)
        if currency is None or description is None:
            return None
        merchant, reference = (
            _clean(draft.cells[columns[role].position])[:_LONGEST_TEXT] if role in columns else ""
            for role in ("merchant", "reference")
        )
        return StatementRow(draft.line, found.date, amount, description, merchant, reference, currency)

    def _currency(self, draft: Draft) -> str | None:
        column = self._columns.get("currency")
        if column and draft.cells[column.position]:
            text = draft.cells[column.position]
            code = currency_code(text)
            if code is None:
                self._drafts.bad(draft.line, column, text, "not a currency; a code such as MXN is wanted")
            if code != "":
                return code
        for amount, figure in zip(self._drafts.amounts, draft.figures, strict=True):
            if figure is not None and (code := figure.currency or amount.currency):
                return code
        return ""

    def _description(self, draft: Draft) -> str | None:
        texts: list[str] = []
        for column in self._drafts.header.descriptions:
            text = _clean(draft.cells[column.position])
            if len(text) > _LONGEST_TEXT:
                reason = f"{len(text):,} characters; at most {_LONGEST_TEXT:,} are wanted"
                self._drafts.bad(draft.line, column, text, reason)
                return None
            if text and text not in texts:
                texts.append(text)
        return " / ".join(texts)


def _clean(text: str) -> str:
    if text.isprintable() and "  " not in text:
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
