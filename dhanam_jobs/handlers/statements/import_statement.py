"""Brings a statement file into an account of the store, each row once; reading the file is the parser's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from dhanam_jobs.handlers.statements.encoding import MAX_BYTES
from dhanam_jobs.handlers.statements.errors import AmbiguousStatement, BadRow, StatementError
from dhanam_jobs.handlers.statements.keys import RowContent, RowKeys
from dhanam_jobs.handlers.statements.read_statement import read_statement
from dhanam_jobs.handlers.statements.statement import Format, Hints, SkippedLine, Statement, StatementRow
from dhanam_jobs.handlers.store import Store
from dhanam_jobs.handlers.store.transactions import NewTransaction

_ROWS_PER_BATCH = 1000
_NO_HINTS = Hints()

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all) after each batch and once before the first."""


class ImportReport(msgspec.Struct, frozen=True):
    """What an import did.

    account_id: the account it went to. format: how the file was read.
    rows: good rows in the file; each is either inserted or known, unless `refused`.
    inserted: rows that are new in the store. known: rows that it had from before, deleted ones too.
    errors: bad rows, by line. skipped: lines that are no transactions.
    refused: strict, and there were bad rows: nothing was stored.
    """

    account_id: str
    format: Format
    rows: int
    inserted: int
    known: int
    errors: list[BadRow]
    skipped: list[SkippedLine]
    refused: bool = False


async def import_statement(
    store: Store,
    path: Path,
    *,
    space_id: str,
    account_id: str | None = None,
    strict: bool = False,
    hints: Hints = _NO_HINTS,
    progress: Progress | None = None,
) -> ImportReport:
    """Store the good rows of a statement that the account doesn't have yet.

    account_id: may be left out where the space has one account only. strict: one bad row, and nothing is
    stored. Rows go in by the thousand, each thousand in a transaction of its own, so that a large file
    doesn't lock the store; an import that was cut off is finished by running it again.

    Raises StatementError for a file that can't be read (AmbiguousStatement where a hint would settle it), and
    the store's UnknownSpace and UnknownAccount; then nothing has been stored.
    """
    account = await store.accounts.for_import(space_id, account_id)
    statement = await asyncio.to_thread(_read, path, hints)
    if account.type == "credit" and hints.flip_signs is None:
        _heed_card(statement)
    rows, errors = _in_currency(statement, account.currency)
    if strict and errors:
        return ImportReport(account.id, statement.format, len(rows), 0, 0, errors, statement.skipped, refused=True)
    new = await asyncio.to_thread(_new_transactions, rows, account.currency)
    inserted = 0
    if progress:
        progress(0, len(new))
    for start in range(0, len(new), _ROWS_PER_BATCH):
        batch = new[start : start + _ROWS_PER_BATCH]
        inserted += await store.transactions.insert_new(account.id, batch)
        if progress:
            progress(start + len(batch), len(new))
    return ImportReport(
        account.id, statement.format, len(new), inserted, len(new) - inserted, errors, statement.skipped
    )


def _read(path: Path, hints: Hints) -> Statement:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StatementError(f"{path}: {error.strerror or error}; a readable CSV file is wanted") from None
    return read_statement(raw, hints)


def _heed_card(statement: Statement) -> None:
    """Asks about a card most of whose amounts are positive: card statements often print charges so."""
    if statement.format.signs != "signed":
        return
    positive = sum(row.amount > 0 for row in statement.rows)
    negative = sum(row.amount < 0 for row in statement.rows)
    if positive > negative:
        raise AmbiguousStatement(
            f"the account is a credit card and {positive} of {len(statement.rows)} amounts are positive; say "
            "whether a positive amount is a charge (--flip-signs) or money in (--keep-signs)",
            option="--flip-signs",
        )


def _in_currency(statement: Statement, currency: str) -> tuple[list[StatementRow], list[BadRow]]:
    rows: list[StatementRow] = []
    errors = list(statement.errors)
    for row in statement.rows:
        if row.currency in ("", currency):
            rows.append(row)
        else:
            reason = f"the amount is in {row.currency}, the account in {currency}"
            errors.append(BadRow(row.line, None, None, f"{row.amount} {row.currency}", reason))
    errors.sort(key=lambda error: error.line)
    return rows, errors


def _new_transactions(rows: list[StatementRow], currency: str) -> list[NewTransaction]:
    keys = RowKeys()
    return [
        NewTransaction(
            provider_transaction_id=keys.next(
                RowContent(row.date, row.amount, row.description, row.merchant, row.reference)
            ),
            amount=row.amount,
            currency=currency,
            date=row.date,
            description=row.description,
            merchant=row.merchant or None,
            metadata={"source": "csv", **({"reference": row.reference} if row.reference else {})},
        )
        for row in rows
    ]
