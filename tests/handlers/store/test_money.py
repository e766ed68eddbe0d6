"""Money is exact to 19,4 on both databases: kept, compared, ordered and summed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.handlers.store import MoneyError
from dhanam_jobs.handlers.store.columns import exact_money, money_from_steps, money_to_steps
from dhanam_jobs.handlers.store.schema import transactions

if TYPE_CHECKING:
    from tests.handlers.conftest import Household

EDGES = [
    "-999999999999999.9999",
    "-1000.5",
    "-2",
    "-0.5",
    "-0.0001",
    "0",
    "0.0001",
    "0.1",
    "9.99",
    "10",
    "922337203685477.5808",
    "999999999999999.9999",
]


@pytest.fixture
async def edges(household: Household) -> Household:
    rows = [household.row(f"e{i:02}", f"{i:02}", amount) for i, amount in enumerate(EDGES)]
    await household.insert(*reversed(rows))
    return household


async def _scalars(household: Household, query: sa.Select[Any]) -> list[Any]:
    async with household.store._connections.reading() as connection:
        return list((await connection.execute(query)).scalars())


async def test_amounts_come_back_digit_for_digit(edges: Household) -> None:
    """What is read has the value that was written, with four decimals."""
    pages = [c async for page in edges.store.transactions.uncategorized_pages("home") for c in page]
    found = {c.description: c.amount for c in pages}

    assert {f"{i:02}": Decimal(a) for i, a in enumerate(EDGES)} == found
    assert {-4} == {amount.as_tuple().exponent for amount in found.values()}


async def test_sql_orders_amounts_as_numbers(edges: Household) -> None:
    """ORDER BY is numeric over the whole range, below zero too."""
    amount = transactions.c.amount

    assert [Decimal(a) for a in EDGES] == await _scalars(edges, sa.select(amount).order_by(amount))


async def test_sql_compares_amounts_as_numbers(edges: Household) -> None:
    """WHERE with <, >= and BETWEEN is numeric: 9.99 is less than 10, -2 is more than -1000.5."""
    amount = transactions.c.amount

    below = await _scalars(edges, sa.select(amount).where(amount < Decimal(10)).order_by(amount))
    between = sa.select(amount).where(amount.between(Decimal("-2"), Decimal("0.1"))).order_by(amount)

    assert [Decimal(a) for a in EDGES[:9]] == below
    assert [Decimal(a) for a in EDGES[2:8]] == await _scalars(edges, between)


async def test_sql_sums_are_exact_beyond_the_range_of_one_amount(edges: Household) -> None:
    """SUM loses no digit, even where the total is longer than any single amount."""
    amount = transactions.c.amount
    total = sa.select(sa.func.sum(amount)).where(amount > Decimal(0))

    expected = sum((Decimal(a) for a in EDGES if Decimal(a) > 0), Decimal(0))
    assert [expected] == await _scalars(edges, total)


async def test_the_sum_of_no_rows_is_null(edges: Household) -> None:
    """As SQL says, so that a caller can tell nothing from zero."""
    query = sa.select(sa.func.sum(transactions.c.amount)).where(transactions.c.amount > Decimal("999999999999999.9999"))

    assert await _scalars(edges, query) == [None]


@pytest.mark.parametrize("amount", ["1000000000000000", "-1000000000000000", "0.00001", "1.23456", "NaN", "Infinity"])
async def test_an_amount_that_does_not_fit_is_refused_and_nothing_is_written(household: Household, amount: str) -> None:
    """Too large, too fine and not finite are errors that show the value; the row beside it isn't kept."""
    rows = [household.row("good", amount="1"), household.row("bad", amount=amount)]

    with pytest.raises(MoneyError, match="found"):
        await household.store.transactions.insert_new("debit", rows)

    assert await household.ids() == []


def test_a_float_is_refused() -> None:
    """0.1 as a float is not 0.1."""
    with pytest.raises(MoneyError, match=r"found 0\.1, wanted a finite Decimal"):
        exact_money(0.1)  # type: ignore[arg-type]


def test_arithmetic_on_a_money_column_is_refused() -> None:
    """SQLite would do it in floating point."""
    with pytest.raises(TypeError, match="not exact on SQLite"):
        _ = transactions.c.amount + Decimal(1)


@given(st.integers(-(10**19) + 1, 10**19 - 1))
def test_money_text_reads_back(steps: int) -> None:
    """Text and count of ten-thousandths are two spellings of one number."""
    text = money_from_steps(steps)

    assert steps == money_to_steps(text)
    assert Decimal(steps) / 10_000 == exact_money(Decimal(text))
    assert text == f"{exact_money(Decimal(text)):f}"
