"""What a statement is once read: its rows, its bad rows, the lines passed over and its format; data only."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Literal

import msgspec

from dhanam_jobs.handlers.statements.amounts import DecimalMark
from dhanam_jobs.handlers.statements.dates import DateOrder
from dhanam_jobs.handlers.statements.errors import BadRow

SignSource = Literal["signed", "debit and credit columns", "side column", "CR/DR marks"]


class Hints(msgspec.Struct, frozen=True):
    """What a person says about a file; each None is decided from the rows.

    date_format: `dmy`, `mdy`, `ymd` or a pattern such as `dd/mm/yyyy` (`--date-format`). It rules the dates
    that can be read in several ways; `2025-01-31` and `31-ENE-2025` stay what they are.
    decimal: `point` or `comma`, also `.` or `,` (`--decimal`).
    flip_signs: True: a positive amount is money out, as some card statements have it (`--flip-signs`); False:
    the signs are right even where the balance speaks against them (`--keep-signs`).
    """

    date_format: str | None = None
    decimal: str | None = None
    flip_signs: bool | None = None


class StatementRow(msgspec.Struct, frozen=True):
    """One transaction.

    line: physical line it begins on, from 1. amount: exact, 4 decimals at most, negative is money out.
    description: the descriptive cells of the row, joined with ` / `; may be empty. merchant, reference: empty
    where the file has none. currency: ISO code where the row, or the header above its amount, names one.
    """

    line: int
    date: dt.date
    amount: Decimal
    description: str
    merchant: str = ""
    reference: str = ""
    currency: str = ""


class SkippedLine(msgspec.Struct, frozen=True):
    """A line that is no transaction (a total, a balance carried over, text, an unsettled row), and why."""

    line: int
    reason: str


class Format(msgspec.Struct, frozen=True):
    """How the file was read.

    encoding: as in `encoding.Decoded`. delimiter: the character. header_line: physical line, from 1.
    columns: role to header. date_order, decimal_mark: as decided or told; None where no row leaves a choice.
    signs: where the sign of an amount comes from.
    """

    encoding: str
    delimiter: str
    header_line: int
    columns: dict[str, str]
    date_order: DateOrder | None
    decimal_mark: DecimalMark | None
    signs: SignSource


class Statement(msgspec.Struct, frozen=True):
    """rows: the good ones in file order. errors: the bad ones, by line. skipped: lines that are none."""

    format: Format
    rows: list[StatementRow]
    errors: list[BadRow]
    skipped: list[SkippedLine]
