"""Gives tests a store on each database, empty or with a small household in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dhanam_jobs.handlers.store import NewTransaction, Store
from dhanam_jobs.handlers.store.schema import transactions


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("pg_url"))
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open store without rows."""
    async with await Store.open(database_url) as opened:
        yield opened


def row(key: str, description: str = "OXXO", amount: str = "-10", **fields: Any) -> NewTransaction:
    """A transaction to insert, with short defaults."""
    given = {"currency": "MXN", "date": dt.date(2026, 9, 1), "description": description, **fields}
    return NewTransaction(provider_transaction_id=key, amount=Decimal(amount), **given)


class Household:
    """A space `home` (owner `ana`, viewer `luis`) with account `debit`; a space `other` (owner `eva`)."""

    row = staticmethod(row)

    def __init__(self, store: Store) -> None:
        self.store = store

    async def build(self) -> None:
        people = [{"id": name, "email": f"{name}@example.test", "name": name} for name in ("ana", "luis", "eva")]
        async with self.store.transaction() as tx:
            await tx.users.upsert(people)
            await tx.spaces.upsert([{"id": "home", "name": "Casa"}, {"id": "other", "name": "Otra"}])
            await tx.spaces.upsert_members(
                [
                    {"user_id": "ana", "space_id": "home", "role": "owner"},
                    {"user_id": "luis", "space_id": "home", "role": "viewer"},
                    {"user_id": "eva", "space_id": "other", "role": "owner"},
                ]
            )
            await tx.accounts.upsert(
                [
                    {"id": "debit", "space_id": "home", "name": "Débito", "type": "checking"},
                    {"id": "foreign", "space_id": "other", "name": "Ajena", "type": "checking"},
                ]
            )
            await tx.budgets.upsert(
                [
                    {"id": "budget", "space_id": "home", "name": "Gastos"},
                    {"id": "budget-other", "space_id": "other", "name": "Gastos"},
                ]
            )
            await tx.budgets.upsert_categories(
                [
                    {"id": "food", "budget_id": "budget", "name": "Comida"},
                    {"id": "fuel", "budget_id": "budget", "name": "Gasolina"},
                    {"id": "alien", "budget_id": "budget-other", "name": "Comida"},
                ]
            )

    async def rule(self, rule_id: str, needle: str, category_id: str | None = "food", **fields: Any) -> None:
        """Store a rule: description contains `needle`."""
        conditions = [{"field": "description", "operator": "contains", "value": needle}]
        given = {"space_id": "home", "name": rule_id, "conditions": conditions, "category_id": category_id}
        await self.store.rules.upsert([{"id": rule_id, **given, **fields}])

    async def insert(self, *rows: NewTransaction, account_id: str = "debit") -> list[str]:
        """Insert rows; gives the ids of the uncategorised ones in the order of their keys."""
        await self.store.transactions.insert_new(account_id, rows)
        return await self.ids(account_id)

    async def ids(self, account_id: str = "debit") -> list[str]:
        """Ids of the account's uncategorised transactions, by provider id."""
        space = {"debit": "home", "foreign": "other"}[account_id]
        found = [c async for page in self.store.transactions.uncategorized_pages(space) for c in page]
        return [c.id for c in sorted(found, key=lambda c: c.description) if c.account_id == account_id]

    async def category_of(self, transaction_id: str, space_id: str = "home") -> str | None:
        """The transaction's category now."""
        (found,) = await self.store.transactions.by_ids(space_id, [transaction_id])
        return found.category_id

    async def facts(self, transaction_id: str) -> tuple[str | None, str | None, Any]:
        """The transaction's category, merchant and metadata now."""
        query = sa.select(transactions.c.category_id, transactions.c.merchant, transactions.c.metadata)
        async with self.store._connections.reading() as connection:
            row = (await connection.execute(query.where(transactions.c.id == transaction_id))).one()
        return row.category_id, row.merchant, row.metadata


@pytest.fixture
async def household(store: Store) -> Household:
    """A small household in an otherwise empty store."""
    built = Household(store)
    await built.build()
    return built
