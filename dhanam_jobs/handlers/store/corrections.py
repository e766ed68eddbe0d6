"""What the learned part of categorisation learns from: categorised transactions, and what people corrected."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.correction_table import category_corrections
from dhanam_jobs.handlers.store.schema import accounts, budgets, categories, transactions

LEARNED_MARKS = ("autoCategorized", "mlConfidence", "mlReasoning")
"""The keys of a transaction's metadata that say that its category was learned, how surely, and why."""


class Example(msgspec.Struct, frozen=True):
    """A transaction whose category somebody, or somebody's rule, chose."""

    description: str
    merchant: str | None
    amount: Decimal
    category_id: str


class Correction(msgspec.Struct, frozen=True):
    """A transaction whose category a person changed to `category_id`."""

    description: str
    merchant: str | None
    amount: Decimal
    category_id: str
    corrected_at: dt.datetime


class Corrections(TableQueries):
    """Queries over `category_corrections`, and the history beside it; deleted rows are never seen."""

    async def history(self, space_id: str, *, limit: int) -> list[Example]:
        """The space's newest categorised transactions, but for those whose category was learned: what was guessed
        must not confirm itself."""
        columns = [transactions.c[name] for name in Example.__struct_fields__]
        query = (
            sa.select(*columns, transactions.c.metadata)
            .join(accounts, accounts.c.id == transactions.c.account_id)
            .where(
                accounts.c.space_id == space_id,
                accounts.c.deleted_at.is_(None),
                transactions.c.category_id.is_not(None),
                transactions.c.deleted_at.is_(None),
            )
            .order_by(transactions.c.date.desc(), transactions.c.id)
            .limit(limit)
        )
        async with self._connections.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [Example(*row[:4]) for row in rows if not _learned(row.metadata)]

    async def of_space(self, space_id: str, *, limit: int = 1000) -> list[Correction]:
        """The newest corrections of a space that are meant for the future too, newest first."""
        made = category_corrections
        query = (
            sa.select(
                transactions.c.description,
                transactions.c.merchant,
                transactions.c.amount,
                made.c.corrected_category_id,
                made.c.created_at,
            )
            .join(transactions, transactions.c.id == made.c.transaction_id)
            .where(made.c.space_id == space_id, made.c.applied_to_future.is_(True))
            # Who changed their mind means the last word.
            .where(transactions.c.category_id == made.c.corrected_category_id, transactions.c.deleted_at.is_(None))
            .order_by(made.c.created_at.desc(), made.c.id)
            .limit(limit)
        )
        async with self._connections.reading() as connection:
            return [Correction(*row) for row in await connection.execute(query)]

    async def correct(
        self, space_id: str, transaction_id: str, category_id: str, *, user_id: str, for_future: bool = True
    ) -> bool:
        """Give a live transaction of the space another category of the space, and keep that a person did it.

        False where the space has no such transaction or category; nothing is kept where it has that category already.
        """
        async with self._connections.writing() as connection:
            fits = (
                sa.select(categories.c.id)
                .join(budgets, budgets.c.id == categories.c.budget_id)
                .where(categories.c.id == category_id, budgets.c.space_id == space_id)
            )
            query = (
                sa.select(transactions)
                .join(accounts, accounts.c.id == transactions.c.account_id)
                .where(
                    transactions.c.id == transaction_id,
                    transactions.c.deleted_at.is_(None),
                    accounts.c.space_id == space_id,
                    accounts.c.deleted_at.is_(None),
                )
                .with_for_update(of=transactions)
            )
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None or (await connection.execute(fits)).first() is None:
                return False
            metadata: dict[str, Any] = dict(row["metadata"] or {})
            if row["category_id"] == category_id and not _learned(metadata):
                return True
            now = utc_now()
            kept = {key: value for key, value in metadata.items() if key not in LEARNED_MARKS}
            await connection.execute(
                sa.update(transactions)
                .where(transactions.c.id == transaction_id)
                .values(category_id=category_id, metadata=kept or None, updated_at=now)
            )
            confidence = metadata.get("mlConfidence")
            await connection.execute(
                sa.insert(category_corrections).values(
                    id=str(uuid.uuid4()),
                    space_id=space_id,
                    transaction_id=transaction_id,
                    user_id=user_id,
                    original_category_id=row["category_id"],
                    corrected_category_id=category_id,
                    merchant_pattern=row["merchant"],
                    description_pattern=row["description"],
                    confidence=confidence if isinstance(confidence, int | float) else None,
                    applied_to_future=for_future,
                    created_at=now,
                )
            )
        return True


def _learned(metadata: Any) -> bool:
    return isinstance(metadata, dict) and "mlConfidence" in metadata
