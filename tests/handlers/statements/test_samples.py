"""Whole files as banks export them, read to the last row; each sample stands for one kind of export."""

from __future__ import annotations

from pathlib import Path

from dhanam_jobs.handlers.statements import Statement, read_statement

SAMPLES = Path(__file__).parent / "samples"


def read(name: str) -> Statement:
    return read_statement((SAMPLES / name).read_bytes())


def rows(statement: Statement) -> list[tuple[int, str, str, str]]:
    return [(row.line, str(row.date), str(row.amount), row.description) for row in statement.rows]


def test_a_mexican_export_with_preamble_totals_and_cargo_and_abono_is_read() -> None:
    """Windows-1252, semicolons, decimal commas, a line break in quotes; the physical lines stay right."""
    statement = read("cargo_abono_semicolon_cp1252.csv")
    assert rows(statement) == [
        (7, "2026-09-02", "-45.50", "OXXO SUC. PEÑA"),
        (8, "2026-09-02", "-45.50", "OXXO SUC. PEÑA"),
        (9, "2026-09-15", "12500.00", "NÓMINA QUINCENAL"),
        (10, "2026-09-17", "-649.00", "TOTAL PLAY TELECOM"),
        (11, "2026-09-18", "-1500.00", "RETIRO CAJERO AV. JUÁREZ 12"),
    ]
    assert statement.errors == []
    assert [line.line for line in statement.skipped] == [6, 13, 14]
    assert statement.format.encoding == "Windows-1252"
    assert statement.format.header_line == 5
    assert statement.rows[0].reference == "0004411"


def test_an_american_export_with_signed_amounts_is_read() -> None:
    """The transaction's date counts, not the posting date, and the month stands first."""
    statement = read("signed_comma_us.csv")
    assert rows(statement) == [
        (2, "2026-09-14", "-1204.17", "COSTCO WHSE #233, AUSTIN"),
        (3, "2026-09-14", "-11.99", "SPOTIFY"),
        (4, "2026-09-16", "2310.40", "PAYROLL ACME INC"),
    ]
    assert statement.format.date_order == "mdy"


def test_a_spreadsheet_export_in_utf16_with_month_names_is_read() -> None:
    """Tabs, peso signs, Spanish months and two-digit years."""
    assert rows(read("tab_utf16_month_names.csv")) == [
        (2, "2026-01-05", "-850.00", "PEMEX 4410"),
        (3, "2026-08-31", "1200.00", "SPEI RECIBIDO"),
        (4, "2026-12-24", "-2399.90", "LIVERPOOL"),
    ]


def test_on_a_card_statement_that_marks_credits_the_unmarked_are_charges() -> None:
    """CR stands beside payments only; the merchant stands in for a description."""
    statement = read("card_credit_marks.csv")
    assert rows(statement) == [
        (3, "2026-09-01", "-120.35", "UBER TRIP"),
        (4, "2026-09-02", "-219.00", "NETFLIX.COM"),
        (5, "2026-09-05", "5000.00", "PAYMENT THANK YOU"),
    ]
    assert statement.format.signs == "CR/DR marks"


def test_a_row_that_is_pending_is_passed_over_and_said() -> None:
    """It comes again, perhaps with another amount, once it is settled."""
    statement = read("neobank_status_times.csv")
    assert rows(statement) == [
        (3, "2026-09-01", "-89", "Compra"),
        (5, "2026-09-02", "1500", "Recibiste dinero"),
    ]
    assert [(line.line, line.reason) for line in statement.skipped] == [(4, 'not settled ("Pendiente")')]
    assert [(row.merchant, row.currency) for row in statement.rows] == [("STARBUCKS", "MXN"), ("", "MXN")]


def test_a_column_of_words_gives_unsigned_amounts_their_sign() -> None:
    """A row without a figure is bad and named; the header's currency holds for every row."""
    statement = read("side_column_pipe.csv")
    assert rows(statement) == [
        (2, "2026-09-28", "-1045.00", "CFE SUMINISTRADOR"),
        (3, "2026-09-29", "399.00", "DEVOLUCIÓN AMAZON"),
        (5, "2026-09-30", "-17.40", "COMISIÓN"),
    ]
    assert [str(error) for error in statement.errors] == [
        'line 4, column 4 "Importe (MXN)": "-": no amount; one is wanted'
    ]
    assert {row.currency for row in statement.rows} == {"MXN"}
