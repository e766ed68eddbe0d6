"""Statements into the store: each row once, whatever file it comes in, on both databases."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers.statements import (
    AmbiguousStatement,
    Hints,
    ImportReport,
    StatementError,
    import_statement,
)
from dhanam_jobs.handlers.store import Store, UnknownAccount, UnknownSpace

if TYPE_CHECKING:
    from tests.handlers.conftest import Household

MONTH = (
    "Fecha,Concepto,Importe",
    "30/01/2026,OXXO PEÑA,-45.50",
    "30/01/2026,CAFÉ,-38.00",
    "30/01/2026,CAFÉ,-38.00",
    "31/01/2026,NÓMINA,\"12,500.00\"",
)  # fmt: skip
BAD = "32/01/2026,X,1.00"


class Importer:
    """Writes lines to a file and imports it into the household."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._path = folder / "statement.csv"

    async def __call__(
        self, *lines: str, encoding: str = "utf-8", space_id: str = "home", **options: Any
    ) -> ImportReport:
        self._path.write_bytes("\n".join(lines).encode(encoding))
        return await import_statement(self._store, self._path, space_id=space_id, **options)

    async def stored(self) -> list[tuple[str, Decimal]]:
        """Description and amount of every row in the space, sorted."""
        pages = self._store.transactions.uncategorized_pages("home")
        return sorted([(row.description, row.amount) async for page in pages for row in page])


@pytest.fixture
def importer(household: Household, tmp_path: Path) -> Importer:
    return Importer(household.store, tmp_path)


def counts(report: ImportReport) -> tuple[int, int]:
    return report.inserted, report.known


async def test_twice_the_same_file_adds_nothing(importer: Importer) -> None:
    """Two identical coffees on one day stay two, both times."""
    assert counts(await importer(*MONTH)) == (4, 0)
    assert counts(await importer(*MONTH)) == (0, 4)
    assert await importer.stored() == [
        ("CAFÉ", Decimal("-38")),
        ("CAFÉ", Decimal("-38")),
        ("NÓMINA", Decimal("12500")),
        ("OXXO PEÑA", Decimal("-45.5")),
    ]


async def test_an_overlapping_export_adds_only_the_new(importer: Importer) -> None:
    """In the other order, with a third coffee and a row of the next month."""
    await importer(*MONTH)
    header, *rows = MONTH
    report = await importer(header, "01/02/2026,OXXO PEÑA,-45.50", "30/01/2026,CAFÉ,-38.00", *reversed(rows))
    assert counts(report) == (2, 4)


async def test_two_imports_of_one_file_at_once_add_each_row_once(importer: Importer) -> None:
    """Two people, or one who is impatient."""
    await importer(MONTH[0], "29/01/2026,A,-1.00")
    reports = await asyncio.gather(importer(*MONTH), importer(*MONTH))
    assert sum(report.inserted for report in reports) == 4
    assert len(await importer.stored()) == 5


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
async def test_the_same_rows_in_another_dialect_are_known(importer: Importer, encoding: str) -> None:
    """Encoding, delimiter, decimal comma, date format, headers and split columns make no other row."""
    await importer(*MONTH)
    report = await importer(
        "Date;Description;Debit;Credit;Balance",
        "2026-01-31;NÓMINA;;12.500,00;12.378,50",
        "2026-01-30;CAFÉ;38,00;;-121,50",
        "2026-01-30;CAFÉ;38,00;;-83,50",
        "2026-01-30;OXXO PEÑA;45,50;;-45,50",
        encoding=encoding,
    )
    assert counts(report) == (0, 4)


async def test_bad_rows_are_reported_and_the_good_ones_kept(importer: Importer) -> None:
    """The report names the place and the value."""
    report = await importer(*MONTH, BAD)
    assert (counts(report), report.rows, report.refused) == ((4, 0), 4, False)
    assert [str(error) for error in report.errors] == ['line 6, column 1 "Fecha": "32/01/2026": not a date']


async def test_with_strict_one_bad_row_keeps_everything_out(importer: Importer) -> None:
    """And without bad rows strict is no different."""
    report = await importer(*MONTH, BAD, strict=True)
    assert (counts(report), len(report.errors), report.refused) == ((0, 0), 1, True)
    assert await importer.stored() == []
    assert counts(await importer(*MONTH, strict=True)) == (4, 0)


async def test_amounts_in_another_currency_than_the_accounts_are_bad_rows(importer: Importer) -> None:
    """They would be added to pesos as if they were pesos."""
    report = await importer("Fecha,Concepto,Importe,Moneda", "30/01/2026,A,-1.00,USD", "30/01/2026,B,-2.00,MXN")
    assert counts(report) == (1, 0)
    assert [str(error) for error in report.errors] == ['line 2: "-1.00 USD": the amount is in USD, the account in MXN']


async def test_what_is_ambiguous_stores_nothing_until_the_option_is_given(importer: Importer) -> None:
    """The same file then goes in."""
    lines = ("Fecha,Concepto,Importe", "03/04/2026,A,-1.00")
    with pytest.raises(AmbiguousStatement, match="--date-format"):
        await importer(*lines)
    assert await importer.stored() == []
    assert counts(await importer(*lines, hints=Hints(date_format="dmy"))) == (1, 0)


async def test_the_finest_and_the_largest_amount_arrive_exactly(importer: Importer) -> None:
    """decimal(19,4) from the file to the store and back."""
    await importer("Fecha,Concepto,Importe", "30/01/2026,A,0.0001", "30/01/2026,B,-999999999999999.9999")
    assert await importer.stored() == [("A", Decimal("0.0001")), ("B", Decimal("-999999999999999.9999"))]


async def test_an_account_has_to_be_named_where_there_are_several(importer: Importer, household: Household) -> None:
    """The message lists them; the named one gets the rows, and the other account knows none of them."""
    card = {"id": "card", "space_id": "home", "name": "Tarjeta", "type": "credit"}
    await household.store.accounts.upsert([card])
    with pytest.raises(UnknownAccount, match=r"card .*debit"):
        await importer(*MONTH)
    assert (await importer(*MONTH, account_id="card")).account_id == "card"
    assert counts(await importer(*MONTH, account_id="debit")) == (4, 0)


async def test_an_account_of_another_space_is_refused(importer: Importer) -> None:
    """As is a space that isn't there."""
    with pytest.raises(UnknownAccount):
        await importer(*MONTH, account_id="foreign")
    with pytest.raises(UnknownSpace):
        await importer(*MONTH, space_id="nowhere")


async def test_a_file_that_is_not_there_is_an_error_that_names_it(importer: Importer, household: Household) -> None:
    """No stack trace of the operating system."""
    with pytest.raises(StatementError, match=r"missing\.csv: No such file"):
        await import_statement(household.store, Path("missing.csv"), space_id="home")


async def test_a_large_file_goes_in_by_the_thousand_and_says_how_far_it_is(importer: Importer) -> None:
    """The last call says that all is done; a file half known adds the other half."""
    lines = [f"30/01/2026,COMPRA {number},-1.00" for number in range(2500)]
    await importer(MONTH[0], *lines[:1300])
    seen: list[tuple[int, int]] = []
    report = await importer(MONTH[0], *lines, progress=lambda done, total: seen.append((done, total)))
    assert counts(report) == (1200, 1300)
    assert seen == [(0, 2500), (1000, 2500), (2000, 2500), (2500, 2500)]


async def test_charges_printed_as_positive_amounts_on_a_card_are_asked_about(
    importer: Importer, household: Household
) -> None:
    """Half of the cards print them so; stored as income they would spoil every total."""
    card = {"id": "card", "space_id": "home", "name": "Tarjeta", "type": "credit"}
    await household.store.accounts.upsert([card])
    lines = ("Fecha,Concepto,Importe", "30/01/2026,OXXO,45.00", "30/01/2026,CAFÉ,38.00", "31/01/2026,PAGO,-83.00")
    with pytest.raises(AmbiguousStatement, match="credit card and 2 of 3") as raised:
        await importer(*lines, account_id="card")
    assert raised.value.option == "--flip-signs"
    await importer(*lines, account_id="card", hints=Hints(flip_signs=True))
    assert [amount for _, amount in await importer.stored()] == [Decimal("-38"), Decimal("-45"), Decimal("83")]
