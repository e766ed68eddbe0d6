"""Takes the records under a header apart, cell by cell; what the rows mean is decided by others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dhanam_jobs.handlers.statements.amounts import Figure, read_figure
from dhanam_jobs.handlers.statements.dates import DateReadings, read_date
from dhanam_jobs.handlers.statements.errors import BadRow, StatementError, shown
from dhanam_jobs.handlers.statements.headers import Column, Header, Role
from dhanam_jobs.handlers.statements.keys import folded
from dhanam_jobs.handlers.statements.notes import is_balance, is_total, is_unsettled
from dhanam_jobs.handlers.statements.records import Record, read_records
from dhanam_jobs.handlers.statements.signs import side_named
from dhanam_jobs.handlers.statements.statement import SkippedLine

_AMOUNT_ROLES: tuple[Role, ...] = ("amount", "debit", "credit")
_NO_DATE = DateReadings()
_EMPTY = frozenset(("", "-", "--", "–", "—", "N/A", "n/a"))


class Draft(msgspec.Struct):
    """A row with every reading of its cells.

    cells: as many as the header has, stripped. figures: one for each of `Drafts.amounts`, None for an empty
    cell.
    """

    line: int
    cells: list[str]
    date: DateReadings
    figures: tuple[Figure | None, ...]
    balance: Figure | None


class Drafts:
    """The rows of a file before its format is decided.

    columns: role to column, with one way to write amounts left: `amount`, or `debit` and `credit` or one of
    them.
    amounts: the columns of that way. drafts: the rows. errors, skipped: the lines that are no draft.
    """

    def __init__(self, header: Header, lines: Sequence[str]) -> None:
        """Raises StatementError when no row stands under the header or no column has amounts."""
        self.header = header
        self.columns = dict(header.columns)
        self.drafts: list[Draft] = []
        self.errors: list[BadRow] = []
        self.skipped: list[SkippedLine] = []
        self._dates: dict[str, DateReadings] = {}
        records = [
            record
            for record in read_records(lines, header.delimiter, start=header.next_line, width=header.width)
            if record.malformed or any(cell and not cell.isspace() for cell in record.cells)
        ]
        if not records:
            raise StatementError(f"a header on line {header.line} and no rows under it; one or more are wanted")
        self.amounts = self._choose_amounts(records)
        titles = [cell.strip() for cell in header.cells]
        for record in records:
            self._take(record, titles)

    def bad(self, line: int, column: Column | None, value: str, reason: str) -> None:
        """Counts a row as bad; column None: the row as a whole."""
        if column is None:
            self.errors.append(BadRow(line, None, None, shown(value), reason))
        else:
            self.errors.append(BadRow(line, column.position + 1, column.header, shown(value), reason))

    def _choose_amounts(self, records: Sequence[Record]) -> tuple[Column, ...]:
        columns = self.columns
        if either := columns.pop("signed or side", None):
            cells = [r.cells[either.position].strip() for r in records if len(r.cells) > either.position]
            figures = sum(read_figure(cell) is not None for cell in cells)
            words = sum(side_named(folded(cell)) is not None for cell in cells)
            columns.setdefault("amount" if figures > words else "side", either)
        if "debit" in columns and "credit" in columns:
            columns.pop("amount", None)
        elif "amount" in columns:
            columns.pop("debit", None)
            columns.pop("credit", None)
        amounts = tuple(columns[role] for role in _AMOUNT_ROLES if role in columns)
        if not amounts:
            raise StatementError(
                f"the header on line {self.header.line} names no column with amounts; wanted one such as "
                "Importe, Amount, or Cargo and Abono"
            )
        return amounts

    def _take(self, record: Record, titles: list[str]) -> None:
        header = self.header
        if record.malformed:
            self.bad(record.line, None, record.cells[0], record.malformed)
            return
        cells = [_cell(text) for text in record.cells]
        if cells == titles:
            self.skipped.append(SkippedLine(record.line, "the header again"))
        elif len(cells) > header.width and any(cells[header.width :]):
            reason = f"{len(cells)} cells, {header.width} are wanted; one with the delimiter in it needs quotes"
            self.bad(record.line, None, header.delimiter.join(cells), reason)
        else:
            self._draft(record.line, cells + [""] * (header.width - len(cells)))

    def _draft(self, line: int, cells: list[str]) -> None:
        date_column = self.columns["date"]
        text = cells[date_column.position]
        readings = self._dates.get(text)
        if readings is None:
            readings = self._dates[text] = read_date(text)
        written = [cells[column.position] for column in self.amounts]
        if reason := self._no_transaction(cells, readings, written):
            self.skipped.append(SkippedLine(line, reason))
            return
        if readings == _NO_DATE:
            self.bad(line, date_column, text, "not a date" if text else "empty; a date is wanted")
            return
        figures: list[Figure | None] = []
        for column, amount in zip(self.amounts, written, strict=True):
            figure = None if amount in _EMPTY else read_figure(amount)
            if figure is None and amount not in _EMPTY:
                self.bad(line, column, amount, "not an amount")
                return
            figures.append(figure)
        if not any(figures):
            self.bad(line, self.amounts[0], written[0], "no amount; one is wanted")
            return
        balance = self.columns.get("balance")
        self.drafts.append(
            Draft(
                line,
                cells,
                readings,
                tuple(figures),
                read_figure(cells[balance.position]) if balance else None,
            )
        )

    def _no_transaction(self, cells: list[str], date: DateReadings, written: list[str]) -> str | None:
        columns = self.columns
        if date == _NO_DATE:
            text = cells[columns["date"].position]
            first = next(cell for cell in cells if cell)
            if text in ("", first) and is_total(folded(first)):
                return "a total or balance"
            if not text and not any(written):
                return "text without a date and an amount"
            if text and not text[0].isdigit() and sum(map(bool, cells)) == 1:
                return "text without a date and an amount"
            return None
        if not any(written) and is_balance(folded(cells[columns["description"].position])):
            return "a total or balance"
        if (status := columns.get("status")) and is_unsettled(folded(cells[status.position])):
            return f'not settled ("{shown(cells[status.position])}")'
        return None


def _cell(text: str) -> str:
    text = text.strip()
    # How spreadsheets are told to keep leading zeros.
    return text[2:-1].strip() if text.startswith('="') and text.endswith('"') else text
