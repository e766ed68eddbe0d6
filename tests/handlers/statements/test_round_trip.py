"""Any transactions, rendered in any bank's way, come back as they were, or the file is asked about."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from typing import Literal, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.handlers.statements import AmbiguousStatement, Hints, StatementError, read_statement

SPANISH_MONTHS = ("ENE", "FEB", "MAR", "ABR", "MAY", "JUN", "JUL", "AGO", "SEP", "OCT", "NOV", "DIC")
DATE_PATTERNS = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d/%m/%y", "%m-%d-%y", "%d%m%Y",
    "%Y-%m-%d", "%Y%m%d", "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%d-MMM-%y", "%d MMM %Y",
)  # fmt: skip
QUOTING: tuple[Literal[0, 1], ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
SIGNS = ("minus", "trailing minus", "parentheses", "marks", "split", "split with minus", "side")
TEXT = st.text("abcXYZ ñáéíóúÑ&%$'\"()*+-./:;,|<>@#0123456789\t\n", max_size=40).filter(
    lambda text: not text.strip().startswith('="')
)


class Transaction(NamedTuple):
    date: dt.date
    ten_thousandths: int
    description: str


class Dialect(NamedTuple):
    """How a bank prints; `decimals` digits behind `mark`, `thousands` before it."""

    delimiter: str
    encoding: str
    newline: str
    date: str
    mark: str
    thousands: bool
    decimals: int
    symbol: str
    signs: str
    spanish: bool
    preamble: bool
    balance: bool
    quoting: Literal[0, 1]


TRANSACTIONS = st.lists(
    st.builds(
        Transaction,
        st.dates(dt.date(1990, 1, 1), dt.date(2060, 12, 31)),
        st.integers(-(10**11), 10**11),
        TEXT,
    ),
    min_size=1,
    max_size=12,
)
DIALECTS = st.builds(
    Dialect,
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(DATE_PATTERNS),
    st.sampled_from(".,"),
    st.booleans(),
    st.integers(0, 4),
    st.sampled_from(["", "$", "$ ", "MXN "]),
    st.sampled_from(SIGNS),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(QUOTING),
)


def printed_date(day: dt.date, dialect: Dialect) -> str:
    return day.strftime(dialect.date.replace("MMM", SPANISH_MONTHS[day.month - 1]))


def printed(value: Decimal, dialect: Dialect) -> str:
    """The figure without its sign."""
    text = f"{abs(value):,.{dialect.decimals}f}" if dialect.thousands else f"{abs(value):.{dialect.decimals}f}"
    if dialect.mark == ",":
        text = text.translate(str.maketrans(".,", ",."))
    return dialect.symbol + text


def amount_cells(value: Decimal, dialect: Dialect) -> list[str]:
    figure, out = printed(value, dialect), value < 0
    match dialect.signs:
        case "minus":
            return ["-" + figure if out else figure]
        case "trailing minus":
            return [figure + "-" if out else figure]
        case "parentheses":
            return [f"({figure})" if out else figure]
        case "marks":
            return [figure + (" DR" if out else " CR")]
        case "side":
            return [figure, "Cargo" if out else "Abono"]
        case "split with minus":
            return ["-" + figure, ""] if out else ["", figure]
        case _:
            return [figure, ""] if out else ["", figure]


def rendered(transactions: list[Transaction], dialect: Dialect) -> tuple[bytes, list[tuple[dt.date, Decimal, str]]]:
    """The file, and the rows that it has to give."""
    columns = {"split": 2, "split with minus": 2, "side": 3}.get(dialect.signs, 1)
    spanish = {1: ["Importe"], 2: ["Cargo", "Abono"], 3: ["Importe", "Tipo"]}[columns]
    english = {1: ["Amount"], 2: ["Debit", "Credit"], 3: ["Amount", "Type"]}[columns]
    header = ["Fecha", "Concepto", *spanish] if dialect.spanish else ["Date", "Description", *english]
    if dialect.balance:
        header.append("Saldo" if dialect.spanish else "Balance")
    out = io.StringIO()
    writer = csv.writer(out, delimiter=dialect.delimiter, lineterminator=dialect.newline, quoting=dialect.quoting)
    if dialect.preamble:
        writer.writerows([["Banco"], ["Cuenta", "1234"], []])
    writer.writerow(header)
    step = Decimal(1).scaleb(-dialect.decimals)
    balance, expected = Decimal(0), []
    for transaction in transactions:
        value = Decimal(transaction.ten_thousandths).scaleb(-4).quantize(step)
        balance += value
        cells = [printed_date(transaction.date, dialect), transaction.description, *amount_cells(value, dialect)]
        if dialect.balance:
            cells.append(("-" if balance < 0 else "") + printed(balance, dialect))
        writer.writerow(cells)
        expected.append((transaction.date, value, " ".join(transaction.description.split())))
    return out.getvalue().encode(dialect.encoding), expected


@given(TRANSACTIONS, DIALECTS)
def test_a_rendered_file_reads_back_or_asks_and_then_reads_back(
    transactions: list[Transaction], dialect: Dialect
) -> None:
    """No dialect gives other rows, a bad row or a skipped line; where it asks, the answer gives the rows."""
    raw, expected = rendered(transactions, dialect)
    told = Hints(
        date_format="mdy" if dialect.date.startswith("%m") else "dmy",
        decimal=dialect.mark,
    )
    options: list[str] = []
    try:
        statement = read_statement(raw)
    except AmbiguousStatement as asked:
        options.append(asked.option)
        statement = read_statement(raw, told)
    assert [(row.date, row.amount, row.description) for row in statement.rows] == expected
    assert statement.errors == []
    assert statement.skipped == []
    assert set(options) <= {"--date-format", "--decimal"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Nothing but the statement's own error comes out, whatever the bytes."""
    for prefix in (b"", b"Fecha,Concepto,Importe\n", b"Fecha;Concepto;Cargo;Abono;Saldo\n01/02/2026;"):
        try:
            statement = read_statement(prefix + raw)
        except StatementError:
            continue
        assert all(abs(row.amount) < 10**15 for row in statement.rows)
