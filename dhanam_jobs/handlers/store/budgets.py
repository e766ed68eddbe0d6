"""Budgets and the categories in them; a category belongs to a space through its budget."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import budgets, categories
from dhanam_jobs.handlers.store.upsert import Row, upsert


class Category(msgspec.Struct, frozen=True):
    """A category with the space that its budget belongs to."""

    id: str
    budget_id: str
    space_id: str
    name: str
    is_income: bool


class Budgets(TableQueries):
    """Queries over `budgets` and `categories`."""

    async def categories_of(self, space_id: str) -> list[Category]:
        """The categories of a space, by id."""
        query = (
            sa.select(
                categories.c.id,
                categories.c.budget_id,
                budgets.c.space_id,
                categories.c.name,
                categories.c.is_income,
            )
            .join(budgets, budgets.c.id == categories.c.budget_id)
            .where(budgets.c.space_id == space_id)
            .order_by(categories.c.id)
        )
        async with self._connections.reading() as connection:
            return [Category(*row) for row in await connection.execute(query)]

    async def space_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """Budget id to space id, for those of `ids` that exist."""
        query = sa.select(budgets.c.id, budgets.c.space_id).where(budgets.c.id.in_(ids))
        async with self._connections.reading() as connection:
            return {row.id: row.space_id for row in await connection.execute(query)}

    async def category_budgets(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Category id to (budget id, space id), for those of `ids` that exist."""
        query = (
            sa.select(categories.c.id, categories.c.budget_id, budgets.c.space_id)
            .join(budgets, budgets.c.id == categories.c.budget_id)
            .where(categories.c.id.in_(ids))
        )
        async with self._connections.reading() as connection:
            return {row.id: (row.budget_id, row.space_id) for row in await connection.execute(query)}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write budgets by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, budgets, rows, defaults={})

    async def upsert_categories(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write categories by id; gives (new, known)."""
        defaults = {"is_income": False, "budgeted_amount": Decimal(0)}
        async with self._connections.writing() as connection:
            return await upsert(connection, categories, rows, defaults=defaults)
