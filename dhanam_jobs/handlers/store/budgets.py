"""Budgets and the categories in them; a category belongs to a space through its budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


_CATEGORIES = sa.select(
    categories.c.id, categories.c.budget_id, budgets.c.space_id, categories.c.name, categories.c.is_income
).join(budgets, budgets.c.id == categories.c.budget_id)


class Budgets(TableQueries):
    """Queries over `budgets` and `categories`."""

    async def categories_of(self, space_id: str) -> list[Category]:
        """The categories of a space, by id."""
        query = _CATEGORIES.where(budgets.c.space_id == space_id).order_by(categories.c.id)
        async with self._connections.reading() as connection:
            return [Category(*row) for row in await connection.execute(query)]

    async def space_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """Budget id to space id, for those of `ids` that exist."""
        rows = await self._where_in(sa.select(budgets.c.id, budgets.c.space_id), budgets.c.id, ids)
        return {row.id: row.space_id for row in rows}

    async def categories_by_ids(self, ids: Iterable[str]) -> dict[str, Category]:
        """Those of `ids` that are categories, of whatever space."""
        rows = await self._where_in(_CATEGORIES, categories.c.id, ids)
        return {row.id: Category(*row) for row in rows}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write budgets by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, budgets, rows, defaults={})

    async def upsert_categories(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write categories by id; gives (new, known)."""
        defaults = {"is_income": False, "budgeted_amount": Decimal(0)}
        async with self._connections.writing() as connection:
            return await upsert(connection, categories, rows, defaults=defaults)
