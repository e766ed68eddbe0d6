"""What reports are made of: a space's money in and out by category, its budgets, and who reads about it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import (
    accounts,
    budgets,
    categories,
    transactions,
    user_preferences,
    user_spaces,
    users,
)


class Flow(msgspec.Struct, frozen=True):
    """Money of one category and currency within a time: `inflow` and `outflow` are both positive.

    `category_id` and `category` are None for what has no category; `count` is the number of transactions.
    """

    currency: str
    category_id: str | None
    category: str | None
    inflow: Decimal
    outflow: Decimal
    count: int


class BudgetedCategory(msgspec.Struct, frozen=True):
    """A category and what may be spent on it in a month, in the space's currency."""

    id: str
    name: str
    monthly: Decimal


class SpaceReader(msgspec.Struct, frozen=True):
    """An active member of a space, and which letters they want."""

    user_id: str
    email: str
    name: str
    locale: str
    weekly_reports: bool
    monthly_reports: bool
    email_notifications: bool


class Reports(TableQueries):
    """Queries for reports; deleted rows, deleted accounts and what is excluded from totals don't count."""

    async def flows(self, space_id: str, first: dt.date, last: dt.date) -> list[Flow]:
        """Money in and out from `first` to `last`, both included, by currency and category."""
        zero = Decimal(0)
        found: dict[tuple[str, str | None], Flow] = {}
        async with self._connections.reading() as connection:
            for outward in (True, False):
                amount = transactions.c.amount
                query = (
                    sa.select(
                        transactions.c.currency,
                        transactions.c.category_id,
                        sa.func.min(categories.c.name),
                        sa.func.sum(amount),
                        sa.func.count(),
                    )
                    .join(accounts, accounts.c.id == transactions.c.account_id)
                    .join(categories, categories.c.id == transactions.c.category_id, isouter=True)
                    .where(
                        accounts.c.space_id == space_id,
                        accounts.c.deleted_at.is_(None),
                        transactions.c.deleted_at.is_(None),
                        transactions.c.exclude_from_totals.is_(False),
                        transactions.c.date.between(first, last),
                        amount < zero if outward else amount > zero,
                    )
                    .group_by(transactions.c.currency, transactions.c.category_id)
                )
                for currency, category_id, name, total, count in await connection.execute(query):
                    known = found.get((currency, category_id), Flow(currency, category_id, name, zero, zero, 0))
                    found[currency, category_id] = msgspec.structs.replace(
                        known,
                        inflow=known.inflow if outward else total,
                        outflow=-total if outward else known.outflow,
                        count=known.count + count,
                    )
        return sorted(found.values(), key=lambda flow: (-flow.outflow, flow.currency, flow.category or ""))

    async def budgeted(self, space_id: str) -> list[BudgetedCategory]:
        """The space's spending categories that have a budget, by name."""
        query = (
            sa.select(categories.c.id, categories.c.name, categories.c.budgeted_amount)
            .join(budgets, budgets.c.id == categories.c.budget_id)
            .where(
                budgets.c.space_id == space_id,
                categories.c.is_income.is_(False),
                categories.c.budgeted_amount > Decimal(0),
            )
            .order_by(categories.c.name, categories.c.id)
        )
        async with self._connections.reading() as connection:
            return [BudgetedCategory(*row) for row in await connection.execute(query)]

    async def readers(self, space_id: str) -> list[SpaceReader]:
        """The space's active members, by user id; who has no preferences has the default ones."""
        preferences = (
            sa.func.coalesce(user_preferences.c[name], sa.true())
            for name in ("weekly_reports", "monthly_reports", "email_notifications")
        )
        query = (
            sa.select(users.c.id, users.c.email, users.c.name, users.c.locale, *preferences)
            .join(user_spaces, user_spaces.c.user_id == users.c.id)
            .join(user_preferences, user_preferences.c.user_id == users.c.id, isouter=True)
            .where(user_spaces.c.space_id == space_id, users.c.is_active.is_(True), users.c.deleted_at.is_(None))
            .order_by(users.c.id)
        )
        async with self._connections.reading() as connection:
            return [
                SpaceReader(*row[:4], *(bool(wanted) for wanted in row[4:])) for row in await connection.execute(query)
            ]
