"""What accounts were worth by day: writing a day, reading days, and how accounts moved since a day."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import accounts, transactions
from dhanam_jobs.handlers.store.upsert import insert_for
from dhanam_jobs.handlers.store.valuation_tables import asset_valuations

_ROWS_PER_WRITE = 1000


class Holding(msgspec.Struct, frozen=True):
    """An account and its balance in its own currency; what is owed is negative, but by hand perhaps positive."""

    account_id: str
    name: str
    provider: str
    type: str
    liability_type: str | None
    currency: str
    balance: Decimal


class Valued(msgspec.Struct, frozen=True):
    """What a holding was worth on a day: its `balance` and `currency` are those of that day."""

    date: dt.date
    holding: Holding


class Written(msgspec.Struct, frozen=True):
    """How many accounts had no value of that day yet, and how many had one."""

    created: int
    updated: int


class Movements(msgspec.Struct, frozen=True):
    """An account's transactions: the first one's day, and the sum by currency of those after a day."""

    first: dt.date
    after: Mapping[str, Decimal]


_HOLDING: list[sa.ColumnElement[Any]] = [
    accounts.c.id,
    accounts.c.name,
    accounts.c.provider,
    accounts.c.type,
    accounts.c.liability_type,
]


class Valuations(TableQueries):
    """Queries over `asset_valuations`."""

    async def holdings(self, space_id: str) -> list[Holding]:
        """The live accounts of a space with their balances of now, by id."""
        query = (
            sa.select(*_HOLDING, accounts.c.currency, accounts.c.balance)
            .where(accounts.c.space_id == space_id, accounts.c.deleted_at.is_(None))
            .order_by(accounts.c.id)
        )
        async with self._connections.reading() as connection:
            return [Holding(*tuple(row)) for row in await connection.execute(query)]

    async def between(self, space_id: str, first: dt.date, last: dt.date) -> list[Valued]:
        """The space's values from `first` to `last`, both included, oldest first; of deleted accounts too."""
        query = (
            sa.select(asset_valuations.c.date, *_HOLDING, asset_valuations.c.currency, asset_valuations.c.value)
            .join(accounts, accounts.c.id == asset_valuations.c.account_id)
            .where(accounts.c.space_id == space_id, asset_valuations.c.date.between(first, last))
            .order_by(asset_valuations.c.date, accounts.c.id)
        )
        async with self._connections.reading() as connection:
            return [Valued(row[0], Holding(*tuple(row)[1:])) for row in await connection.execute(query)]

    async def write(self, day: dt.date, holdings: Sequence[Holding]) -> Written:
        """Keep the accounts' values of a day in one transaction, a value that is there already is replaced.

        Raises StoreConflict when an account has been erased meanwhile; nothing is written then.
        """
        created = updated = 0
        now = utc_now()
        async with self._connections.writing() as connection:
            for start in range(0, len(holdings), _ROWS_PER_WRITE):
                chunk = holdings[start : start + _ROWS_PER_WRITE]
                known = sa.select(sa.func.count()).where(
                    asset_valuations.c.date == day,
                    asset_valuations.c.account_id.in_([holding.account_id for holding in chunk]),
                )
                there = int((await connection.execute(known)).scalar_one())
                created, updated = created + len(chunk) - there, updated + there
                rows = [
                    {
                        "id": str(uuid.uuid4()),
                        "account_id": holding.account_id,
                        "date": day,
                        "value": holding.balance,
                        "currency": holding.currency,
                        "created_at": now,
                        "updated_at": now,
                    }
                    for holding in chunk
                ]
                statement = insert_for(connection, asset_valuations)
                changed = {name: statement.excluded[name] for name in ("value", "currency", "updated_at")}
                await connection.execute(
                    statement.on_conflict_do_update(index_elements=["account_id", "date"], set_=changed), rows
                )
        return Written(created, updated)

    async def movements(self, space_id: str, day: dt.date) -> dict[str, Movements]:
        """By account of the space that has booked transactions: when they begin, and what was booked after `day`."""
        booked = (
            accounts.c.space_id == space_id,
            accounts.c.deleted_at.is_(None),
            transactions.c.deleted_at.is_(None),
            transactions.c.pending.is_(False),
        )
        joined = transactions.join(accounts, accounts.c.id == transactions.c.account_id)
        firsts = (
            sa.select(accounts.c.id, sa.func.min(transactions.c.date))
            .select_from(joined)
            .where(*booked)
            .group_by(accounts.c.id)
        )
        sums = (
            sa.select(accounts.c.id, transactions.c.currency, sa.func.sum(transactions.c.amount))
            .select_from(joined)
            .where(*booked, transactions.c.date > day)
            .group_by(accounts.c.id, transactions.c.currency)
        )
        after: dict[str, dict[str, Decimal]] = {}
        async with self._connections.reading() as connection:
            begun = {row[0]: row[1] for row in await connection.execute(firsts)}
            for account_id, currency, total in await connection.execute(sums):
                after.setdefault(account_id, {})[currency] = total
        return {account_id: Movements(first, after.get(account_id, {})) for account_id, first in begun.items()}
