"""What a whole file decides, what it leaves open, and which of its rows are bad."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dhanam_jobs.handlers.statements import (
    AmbiguousStatement,
    Hints,
    Statement,
    StatementError,
    read_statement,
)


def read(*lines: str, hints: Hints | None = None) -> Statement:
    raw = "\n".join(lines).encode()
    return read_statement(raw) if hints is None else read_statement(raw, hints)


def amounts(statement: Statement) -> list[str]:
    return [str(row.amount) for row in statement.rows]


def dates(statement: Statement) -> list[str]:
    return [str(row.date) for row in statement.rows]


def errors(statement: Statement) -> list[str]:
    return [str(error) for error in statement.errors]


DATES = ("Date,Description,Amount", "03/04/2026,A,-1.00", "04/05/2026,B,-2.00")
THOUSANDS = ("Fecha;Concepto;Importe", "31/01/2026;A;-1.234", "31/01/2026;B;50")


class TestDates:
    """dd/mm or mm/dd."""

    def test_one_day_above_twelve_decides_the_whole_file(self) -> None:
        """The rows before it are read the same way."""
        assert dates(read(*DATES, "25/12/2026,C,-3.00")) == ["2026-04-03", "2026-05-04", "2026-12-25"]
        assert dates(read(*DATES, "12/25/2026,C,-3.00")) == ["2026-03-04", "2026-04-05", "2026-12-25"]

    @pytest.mark.parametrize("header", ["Date,Description,Amount", "Fecha,Concepto,Importe"])
    def test_dates_that_all_fit_both_orders_are_asked_for(self, header: str) -> None:
        """The headers' language decides nothing; the message shows a row, both dates and the option."""
        with pytest.raises(AmbiguousStatement) as raised:
            read(header, *DATES[1:])
        message = str(raised.value)
        assert raised.value.option == "--date-format"
        assert 'line 2 "03/04/2026" is 2026-04-03 or 2026-03-04' in message
        assert "--date-format dmy or --date-format mdy" in message

    @pytest.mark.parametrize(
        ("told", "first"), [("dmy", "2026-04-03"), ("mdy", "2026-03-04"), ("mm/dd/yyyy", "2026-03-04")]
    )
    def test_the_option_settles_it(self, told: str, first: str) -> None:
        """In words or as a pattern."""
        assert dates(read(*DATES, hints=Hints(date_format=told)))[0] == first

    def test_the_same_day_and_month_need_no_decision(self) -> None:
        """5 May is 5 May in both orders."""
        assert dates(read("Date,Description,Amount", "05/05/2026,A,-1.00")) == ["2026-05-05"]

    def test_rows_that_contradict_each_other_are_asked_for(self) -> None:
        """Two witnesses against one aren't enough to call the one a slip."""
        with pytest.raises(AmbiguousStatement, match=r"contradict .* line 4 .* line 6"):
            read(*DATES, "25/12/2026,C,1.00", "26/12/2026,D,1.00", "12/27/2026,E,1.00")

    def test_one_slip_among_many_is_a_bad_row(self) -> None:
        """Four witnesses to one."""
        rows = [f"{day}/12/2026,C,1.00" for day in (25, 26, 27, 28)]
        statement = read(*DATES, *rows, "12/29/2026,E,1.00")
        assert len(statement.rows) == 6
        assert errors(statement) == ['line 8, column 1 "Date": "12/29/2026": not a date in the order dd/mm/yyyy']

    def test_a_date_by_name_stays_what_it_is_under_any_option(self) -> None:
        """The option is about dates that can be read in several ways."""
        statement = read("Fecha,Concepto,Importe", "31-ENE-26,A,-1.00", hints=Hints(date_format="mdy"))
        assert dates(statement) == ["2026-01-31"]

    def test_a_year_of_two_digits_in_front_is_read_when_told(self) -> None:
        """It is never guessed."""
        statement = read("Fecha,Concepto,Importe", "26/01/31,A,-1.00", hints=Hints(date_format="ymd"))
        assert dates(statement) == ["2026-01-31"]


class TestDecimals:
    """A decimal point or a decimal comma."""

    def test_thousands_that_could_be_decimals_are_asked_for(self) -> None:
        """1.234 is one and a bit, or more than a thousand."""
        with pytest.raises(AmbiguousStatement) as raised:
            read(*THOUSANDS)
        assert raised.value.option == "--decimal"
        assert 'column 3 "Importe"' in str(raised.value)
        assert 'line 2 "-1.234" is -1.234 or -1234' in str(raised.value)

    @pytest.mark.parametrize(("told", "first"), [("point", "-1.234"), ("comma", "-1234"), (",", "-1234")])
    def test_the_option_settles_it(self, told: str, first: str) -> None:
        """In words or as the mark."""
        assert amounts(read(*THOUSANDS, hints=Hints(decimal=told)))[0] == first

    def test_one_amount_that_fits_one_mark_decides_the_whole_column(self) -> None:
        """Wherever it stands."""
        assert amounts(read(*THOUSANDS, "31/01/2026;C;-7,5")) == ["-1234", "50", "-7.5"]
        assert amounts(read(*THOUSANDS, "31/01/2026;C;-7.5")) == ["-1.234", "50", "-7.5"]

    def test_debits_decide_for_credits(self) -> None:
        """Two columns, one way of writing."""
        statement = read("Fecha;Concepto;Cargo;Abono", "31/01/2026;A;7,50;", "31/01/2026;B;;1.234")
        assert amounts(statement) == ["-7.50", "1234"]

    def test_the_balance_decides_what_the_amounts_leave_open(self) -> None:
        """The same program printed both."""
        statement = read("Fecha;Concepto;Importe;Saldo", "31/01/2026;A;1.234;10.234,50")
        assert amounts(statement) == ["1234"]

    def test_an_unknown_option_is_refused_by_name(self) -> None:
        """The message lists the words."""
        with pytest.raises(StatementError, match=r'--decimal "dot" .* point or comma'):
            read(*THOUSANDS, hints=Hints(decimal="dot"))


class TestSigns:
    """Money in or money out."""

    def test_debits_written_with_a_minus_stay_debits(self) -> None:
        """Both habits exist."""
        statement = read("Fecha,Concepto,Retiro,Depósito", "31/01/2026,A,-5.00,", "31/01/2026,B,,7.00")
        assert amounts(statement) == ["-5.00", "7.00"]

    def test_zero_in_the_other_column_is_an_empty_cell(self) -> None:
        """Many banks fill both."""
        statement = read("Fecha,Concepto,Debe,Haber", "31/01/2026,A,5.00,0.00", "31/01/2026,B,0.00,7.00")
        assert amounts(statement) == ["-5.00", "7.00"]

    def test_a_debit_and_a_credit_in_one_row_is_a_bad_row(self) -> None:
        """One of them is wanted."""
        statement = read("Fecha,Concepto,Debe,Haber", "31/01/2026,A,5.00,7.00", "31/01/2026,B,,7.00")
        assert amounts(statement) == ["7.00"]
        assert errors(statement) == [
            'line 2, column 3 "Debe": "5.00": both a debit and a credit; one of them is wanted'
        ]

    def test_a_debit_of_another_sign_than_the_others_is_a_bad_row(self) -> None:
        """A reversal or a slip: money isn't guessed."""
        rows = ["31/01/2026,A,5.00,", "31/01/2026,B,6.00,", "31/01/2026,C,-7.00,"]
        statement = read("Fecha,Concepto,Cargo,Abono", *rows)
        assert amounts(statement) == ["-5.00", "-6.00"]
        assert [error.line for error in statement.errors] == [4]

    def test_a_type_column_repeats_the_sign_of_signed_amounts(self) -> None:
        """No sign is turned twice; a row in which the two disagree is bad."""
        rows = ["31/01/2026,A,-5.00,Cargo", "31/01/2026,B,7.00,Abono", "31/01/2026,C,7.00,Cargo"]
        statement = read("Fecha,Concepto,Importe,Tipo", *rows, "31/01/2026,D,-6.00,Cargo")
        assert amounts(statement) == ["-5.00", "7.00", "-6.00"]
        assert [error.line for error in statement.errors] == [4]

    def test_a_type_column_of_other_words_is_left_alone_beside_signed_amounts(self) -> None:
        """Sale, ACH, Fee: no sides."""
        statement = read("Date,Description,Amount,Type", "2026-01-31,A,-5.00,Sale", "2026-01-31,B,7.00,Credit")
        assert amounts(statement) == ["-5.00", "7.00"]

    def test_a_type_column_of_which_some_words_are_sides_is_refused_beside_unsigned_amounts(self) -> None:
        """Nothing says what the other rows are."""
        with pytest.raises(StatementError, match=r'column "Type" says debit or credit in 1 of 2 rows and "sale"'):
            read("Date,Description,Amount,Type", "2026-01-31,A,5.00,Sale", "2026-01-31,B,7.00,Credit")

    def test_a_column_named_cargo_abono_holds_amounts_or_words(self) -> None:
        """The cells decide which."""
        signed = read("Fecha,Concepto,Cargo/Abono", "31/01/2026,A,-5.00", "31/01/2026,B,7.00")
        words = read("Fecha,Concepto,Importe,Cargo/Abono", "31/01/2026,A,5.00,C", "31/01/2026,B,7.00,D")
        assert amounts(signed) == ["-5.00", "7.00"]
        assert amounts(words) == ["5.00", "-7.00"]

    def test_where_both_marks_are_printed_an_unmarked_amount_is_a_bad_row(self) -> None:
        """It could be either."""
        rows = ["2026-01-31,A,5.00 DR", "2026-01-31,B,7.00 CR", "2026-01-31,C,8.00"]
        statement = read("Date,Description,Amount", *rows)
        assert amounts(statement) == ["-5.00", "7.00"]
        assert [error.line for error in statement.errors] == [4]

    BALANCED = (
        "Fecha,Concepto,Importe,Saldo",
        "28/01/2026,A,100.00,900.00",
        "29/01/2026,B,50.00,850.00",
        "30/01/2026,C,50.00,800.00",
    )

    def test_a_balance_that_moves_against_the_amounts_is_asked_about(self) -> None:
        """Charges printed as positive figures would come in as income."""
        with pytest.raises(AmbiguousStatement, match=r'"Saldo" falls where "Importe" is positive') as raised:
            read(*self.BALANCED)
        assert raised.value.option == "--flip-signs"

    def test_the_option_flips_or_keeps_the_signs(self) -> None:
        """A person knows what the card is."""
        flipped = read(*self.BALANCED, hints=Hints(flip_signs=True))
        kept = read(*self.BALANCED, hints=Hints(flip_signs=False))
        assert amounts(flipped) == ["-100.00", "-50.00", "-50.00"]
        assert amounts(kept) == ["100.00", "50.00", "50.00"]

    def test_the_newest_row_first_is_no_contradiction(self) -> None:
        """The balance is then read upwards."""
        rows = ["30/01/2026,C,-50.00,800.00", "29/01/2026,B,-50.00,850.00", "28/01/2026,A,-100.00,900.00"]
        assert amounts(read("Fecha,Concepto,Importe,Saldo", *rows)) == ["-50.00", "-50.00", "-100.00"]

    def test_unsigned_amounts_whose_balance_goes_both_ways_are_refused(self) -> None:
        """Half of them would be stored with the wrong sign."""
        rows = ["28/01/2026,A,1.00,9.00", "29/01/2026,B,2.00,7.00", "30/01/2026,C,4.00,11.00", "31/01/2026,D,8.00,3.00"]
        with pytest.raises(StatementError, match=r'no "Importe" has a sign'):
            read("Fecha,Concepto,Importe,Saldo", *rows)


class TestBadRows:
    """Each is named by line and column; the others are kept."""

    def test_every_kind_of_bad_row_is_reported_with_its_place(self) -> None:
        """Physical lines of the file, columns from one, the value found."""
        statement = read(
            "Fecha,Concepto,Importe",
            "30/01/2026,A,abc",
            "31/02/2026,B,5",
            "15/01/2026,C,1.23456",
            '17/01/2026,"D,7',
            "18/01/2026,E,8.00",
            "19/01/2026,F,9,99",
            ",G,5",
            "20/01/2026,H,",
            "21/01/2026",
            "22/01/2026,I,1000000000000000",
            f"23/01/2026,{'x' * 2001},1.00",
        )
        assert [(row.line, row.amount) for row in statement.rows] == [(6, Decimal("8.00"))]
        assert errors(statement) == [
            'line 2, column 3 "Importe": "abc": not an amount',
            'line 3, column 1 "Fecha": "31/02/2026": not a date',
            'line 4, column 3 "Importe": "1.23456": 5 decimals; at most 4 are wanted',
            'line 5: "17/01/2026,"D,7": a quote is opened and not closed',
            'line 7: "19/01/2026,F,9,99": 4 cells, 3 are wanted; one with the delimiter in it needs quotes',
            'line 8, column 1 "Fecha": "": empty; a date is wanted',
            'line 9, column 3 "Importe": "": no amount; one is wanted',
            'line 10, column 3 "Importe": "": no amount; one is wanted',
            'line 11, column 3 "Importe": "1000000000000000": 16 digits before the decimal mark; at most 15 are wanted',
            f'line 12, column 2 "Concepto": "{"x" * 79}…": 2,001 characters; at most 2,000 are wanted',
        ]

    def test_a_line_break_in_quotes_does_not_shift_the_lines_behind_it(self) -> None:
        """CRLF, LF and CR count alike."""
        raw = b'Fecha,Concepto,Importe\r\n30/01/2026,"A\r\nB\nC",1.00\r31/01/2026,D,x\n'
        statement = read_statement(raw)
        assert [(row.line, row.description) for row in statement.rows] == [(2, "A B C")]
        assert [error.line for error in statement.errors] == [5]

    def test_stray_quotes_that_join_two_rows_cost_those_two_only(self) -> None:
        """The first is cut off, the second is read by itself, and reading goes on."""
        statement = read("Fecha,Concepto,Importe", '29/01/2026,"A', '30/01/2026",B,1.00', "31/01/2026,C,2.00")
        assert amounts(statement) == ["2.00"]
        assert errors(statement) == [
            'line 2: "29/01/2026,"A": a quote joins 2 lines to 4 cells, 3 are wanted',
            'line 3, column 1 "Fecha": "30/01/2026"": not a date',
        ]

    def test_a_total_play_bill_without_a_date_is_no_line_of_totals(self) -> None:
        """It is a bad row, so that somebody looks at it."""
        statement = read("Fecha,Concepto,Importe", "30/01/2026,A,1.00", ",TOTAL PLAY,-649.00", ",Total:,-648.00")
        assert [error.line for error in statement.errors] == [3]
        assert [line.line for line in statement.skipped] == [4]

    def test_a_header_repeated_on_each_page_is_passed_over(self) -> None:
        """As exports of several pages have it."""
        statement = read("Fecha,Concepto,Importe", "30/01/2026,A,1.00", "Fecha,Concepto,Importe", "31/01/2026,B,2.00")
        assert len(statement.rows) == 2
        assert errors(statement) == []

    def test_an_unknown_currency_is_a_bad_row(self) -> None:
        """Its amount would be counted in another one."""
        statement = read("Fecha,Concepto,Importe,Moneda", "30/01/2026,A,1.00,doubloons", "31/01/2026,B,2.00,$")
        assert [(error.line, error.column) for error in statement.errors] == [(2, 4)]
        assert [row.currency for row in statement.rows] == [""]


class TestFiles:
    """Files that are no statement are refused as a whole, with what is wrong and what is wanted."""

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"", "the file is empty"),
            (b" \r\n\n", "the file is empty"),
            (b"\xef\xbb\xbf", "the file is empty"),
            ("\n".encode("utf-16"), "the file is empty"),
            (b"Fecha,Concepto,Importe\n", "a header on line 1 and no rows under it"),
            (b"30/01/2026,A,1.00\n31/01/2026,B,2.00\n", 'no header line .* line 1 reads "30/01/2026,A,1.00"'),
            (b"Fecha,Concepto,Saldo\n30/01/2026,A,1.00\n", r"wanted one that names amounts .* line 1 reads"),
            (b"Concepto,Importe\nA,1.00\n", r"wanted one that names a date .* line 1 reads"),
            (b"sep=;", "no header line .* line 1 reads \"sep=;\""),
            (b"Fecha,Importe\n31/01/2026,1.00\n", "names no column with a description"),
            (b"Fecha,Concepto,Importe,Importe\n31/01/2026,A,1,2\n", 'columns 3 "Importe" and 4 "Importe"'),
            (bytes(range(256)) * 40, "not text: a NUL byte on line 1"),
            (bytes(range(1, 256)) * 40, "not text: .* control characters"),
            (b"Fecha,Concepto,Importe\n31/01/2026,A\0B,1.00\n", "a NUL byte on line 2"),
            ("Fecha,Concepto,Importe\n31/01/2026,A\0B,1\n".encode("utf-16"), "a NUL character on line 2"),
            ("Fecha,Concepto,Importe\n".encode("utf-16-le"), "a NUL byte .* UTF-16 with a byte order mark"),
            (b"PK\x03\x04xl/workbook", "Excel workbook"),
            (b"%PDF-1.7\n", "PDF"),
            (b"<html><table>", "HTML"),
            (b"\xff\xfeF", "is not UTF-16"),
            (b"Fecha,Concepto,Importe\n31/01/2026,\x81,1.00\n", "byte 0x81 on line 2 .* save the file as UTF-8"),
            ("Fecha,Descripción,Importe\n31/01/2026,ñandú ".encode() + b"\xe9,1.00\n", "byte 0xe9 on line 2 .* UTF-8"),
        ],
    )  # fmt: skip
    def test_a_file_that_cannot_be_read_says_why(self, raw: bytes, message: str) -> None:
        """Never a stack trace, never a half-read file."""
        with pytest.raises(StatementError, match=message):
            read_statement(raw)

    def test_a_cell_of_a_million_characters_costs_its_own_row_only(self) -> None:
        """Quoted or not."""
        statement = read(
            "Fecha,Concepto,Importe",
            f"30/01/2026,{'x' * 10**6},1.00",
            f'30/01/2026,"{"x" * 10**6}",1.00',
            "31/01/2026,B,2.00",
        )
        assert amounts(statement) == ["2.00"]
        assert [(error.line, error.reason) for error in statement.errors] == [
            (2, "a cell is longer than 131,072 characters"),
            (3, "a cell is longer than 131,072 characters"),
        ]

    def test_a_file_full_of_stray_quotes_is_read_in_linear_time(self) -> None:
        """Each open quote looks a bounded way ahead; every row is reported."""
        statement = read("Fecha,Concepto,Importe", *['30/01/2026,"A,1.00'] * 5000)
        assert len(statement.errors) == 5000

    def test_a_spreadsheets_separator_line_settles_the_delimiter(self) -> None:
        """`sep=` is Excel's own."""
        assert read("sep=;", "Fecha;Concepto;Importe", "31/01/2026;A;1,50").format.delimiter == ";"

    def test_headers_are_known_without_accents_case_and_currency(self) -> None:
        """The currency beside an amount's header holds for its rows."""
        statement = read("FECHA DE OPERACION|DESCRIPCIÓN|Importe (USD)", "31/01/2026|A|1.50")
        assert [row.currency for row in statement.rows] == ["USD"]

    @pytest.mark.parametrize(
        ("header", "amount"),
        [
            ("Fecha,Concepto / Referencia,Retiros / Cargos,Depósitos / Abonos", "-5.00"),
            ("Fecha de alta,Descripción del comercio,Depósitos y Retiros", "5.00"),
            ("Día,Detalle,DEBE", "-5.00"),
        ],
    )
    def test_headers_joined_of_known_words_are_known(self, header: str, amount: str) -> None:
        """Banks join them in many ways."""
        assert amounts(read(header, "31/01/2026,A,5.00")) == [amount]

    def test_a_summary_above_the_rows_is_not_their_header(self) -> None:
        """It names a date and amounts, and describes nothing."""
        statement = read(
            "Fecha de corte,Cargos,Abonos", "31/01/2026,9.00,8.00", "", "Fecha,Concepto,Importe", "30/01/2026,A,1.00"
        )
        assert [(row.line, row.description) for row in statement.rows] == [(5, "A")]

    def test_every_descriptive_column_goes_into_the_description(self) -> None:
        """Rules look for words there; the same words aren't said twice."""
        statement = read(
            "Fecha,Movimiento,Concepto,Observaciones,Importe",
            "30/01/2026,OXXO CDMX,Pago con tarjeta,OXXO CDMX,1.00",
            "31/01/2026,,Comisión,,2.00",
        )
        assert [row.description for row in statement.rows] == ["Pago con tarjeta / OXXO CDMX", "Comisión"]
