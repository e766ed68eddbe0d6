"""Transactions: new ones in, uncategorised ones out in pages, categories set where nobody has chosen."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import VALUES_PER_QUERY, TableQueries
from dhanam_jobs.handlers.store.schema import accounts, transactions
from dhanam_jobs.handlers.store.upsert import Row, insert_for, upsert

PAGE_ROWS = 500
"""Rows per page of uncategorised transactions."""

_ROWS_PER_INSERT = 1000


class NewTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction to be inserted.

    `provider_transaction_id` is unique within the account; `amount` has at most 4 decimals, negative is an
    outflow; `currency` is a three-letter code; `metadata` must be JSON-ready.
    """

    provider_transaction_id: str
    amount: Decimal
    currency: str
    date: dt.date
    description: str
    merchant: str | None = None
    pending: bool = False
    metadata: dict[str, Any] | None = None


class Candidate(msgspec.Struct, frozen=True):
    """What a rule looks at; `category_id` is None where none has been chosen."""

    id: str
    account_id: str
    amount: Decimal
    description: str
    merchant: str | None
    category_id: str | None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A category for one transaction, and what else is set with it.

    `metadata` is merged over what is there, key by key; `tags` join those in its key `tags`; `merchant` None leaves it.
    """

    category_id: str
    metadata: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    merchant: str | None = None


TRANSACTION_DEFAULTS: Row = {"pending": False, "reviewed": False, "exclude_from_totals": False}

_CANDIDATE = [transactions.c[name] for name in Candidate.__struct_fields__]
_LIVE = transactions.c.deleted_at.is_(None)
_UNCATEGORIZED = sa.and_(transactions.c.category_id.is_(None), _LIVE)
# The same said so that no planner takes the index of uncategorised rows for it: on a table without statistics
# PostgreSQL would go through that whole index for a dozen ids (40 ms instead of 0.4 at 50,000 rows).
_STILL_FREE = sa.and_(sa.func.coalesce(transactions.c.category_id, "") == "", _LIVE)


class Transactions(TableQueries):
    """Queries over `transactions`; deleted rows and rows of deleted accounts are never seen or changed."""

    async def insert_new(self, account_id: str, rows: Sequence[NewTransaction]) -> int:
        """Insert the rows whose provider_transaction_id is new to the account; give how many those were.

        Rows already there, deleted ones too, stay as they are. Raises MoneyError for an amount that doesn't
        fit; then nothing is inserted.
        """
        if not rows:
            return 0
        now = utc_now()
        inserted = 0
        async with self._connections.writing() as connection:
            statement = (
                insert_for(connection, transactions)
                .on_conflict_do_nothing(index_elements=["account_id", "provider_transaction_id"])
                .returning(transactions.c.id)
            )
            for start in range(0, len(rows), _ROWS_PER_INSERT):
                values = [
                    {
                        **TRANSACTION_DEFAULTS,
                        **msgspec.structs.asdict(row),
                        "id": str(uuid.uuid4()),
                        "account_id": account_id,
                        "created_at": now,
                        "updated_at": now,
                    }
                    for row in rows[start : start + _ROWS_PER_INSERT]
                ]
                inserted += len((await connection.execute(statement, values)).all())
        return inserted

    async def uncategorized_pages(self, space_id: str, *, size: int = PAGE_ROWS) -> AsyncIterator[list[Candidate]]:
        """Pages of the space's transactions without a category, by account; each page is its own short read.

        By key, not by offset: rows that get a category meanwhile don't shift the rest, and none comes twice.
        """
        query = sa.select(accounts.c.id).where(accounts.c.space_id == space_id, accounts.c.deleted_at.is_(None))
        async with self._connections.reading() as connection:
            account_ids = list((await connection.execute(query.order_by(accounts.c.id))).scalars())
        for account_id in account_ids:
            after = ""
            while True:
                page = await self._page(account_id, after, size)
                if page:
                    yield page
                if len(page) < size:
                    break
                after = page[-1].id

    async def _page(self, account_id: str, after: str, size: int) -> list[Candidate]:
        query = (
            sa.select(*_CANDIDATE)
            .where(transactions.c.account_id == account_id, _UNCATEGORIZED, transactions.c.id > after)
            .order_by(transactions.c.id)
            .limit(size)
        )
        async with self._connections.reading() as connection:
            return [Candidate(*row) for row in await connection.execute(query)]

    async def count_uncategorized(self, space_id: str) -> int:
        """How many of the space's transactions have no category."""
        query = (
            sa.select(sa.func.count())
            .select_from(transactions.join(accounts, accounts.c.id == transactions.c.account_id))
            .where(accounts.c.space_id == space_id, accounts.c.deleted_at.is_(None), _UNCATEGORIZED)
        )
        async with self._connections.reading() as connection:
            return (await connection.execute(query)).scalar_one()

    async def by_ids(self, space_id: str, ids: Iterable[str]) -> list[Candidate]:
        """Those of `ids` that are live transactions of the space, categorised or not."""
        query = (
            sa.select(*_CANDIDATE)
            .join(accounts, accounts.c.id == transactions.c.account_id)
            .where(accounts.c.space_id == space_id, accounts.c.deleted_at.is_(None), _LIVE)
            .order_by(transactions.c.id)
        )
        return [Candidate(*row) for row in await self._where_in(query, transactions.c.id, ids)]

    async def set_categories(self, chosen: Mapping[str, Sequence[str]]) -> int:
        """Give transactions their category (category id to transaction ids) and tell how many took it.

        One transaction, one statement per category. A row that has got a category meanwhile, or was deleted,
        is left as it is and not counted: whoever chose first wins.
        """
        changed = 0
        async with self._connections.writing() as connection:
            now = utc_now()
            # Always in one order, so that two callers can't wait for each other.
            for category_id in sorted(chosen):
                ids = sorted(chosen[category_id])
                for start in range(0, len(ids), VALUES_PER_QUERY):
                    statement = (
                        sa.update(transactions)
                        .where(transactions.c.id.in_(ids[start : start + VALUES_PER_QUERY]), _STILL_FREE)
                        .values(category_id=category_id, updated_at=now)
                    )
                    changed += (await connection.execute(statement)).rowcount
        return changed

    async def choose(self, choices: Mapping[str, Choice]) -> int:
        """As `set_categories`, with more than a category for each transaction: its id to the choice."""
        changed = 0
        ids = sorted(choices)
        change = (
            sa.update(transactions)
            .where(transactions.c.id == sa.bindparam("row_id"))
            .values({name: sa.bindparam(f"new_{name}") for name in ("category_id", "merchant", "metadata")})
            .values(updated_at=utc_now())
        )
        columns = (transactions.c.id, transactions.c.merchant, transactions.c.metadata)
        async with self._connections.writing() as connection:
            for start in range(0, len(ids), VALUES_PER_QUERY):
                free = (
                    sa.select(*columns)
                    .where(transactions.c.id.in_(ids[start : start + VALUES_PER_QUERY]), _STILL_FREE)
                    .order_by(transactions.c.id)
                    .with_for_update()
                )
                rows = (await connection.execute(free)).all()
                if rows:
                    await connection.execute(change, [_chosen(row, choices[row.id]) for row in rows])
                changed += len(rows)
        return changed

    async def account_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """Transaction id to account id, for those of `ids` that exist, deleted or not."""
        query = sa.select(transactions.c.id, transactions.c.account_id)
        return {row.id: row.account_id for row in await self._where_in(query, transactions.c.id, ids)}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write transactions by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, transactions, rows, defaults=TRANSACTION_DEFAULTS)


def _chosen(row: sa.Row[*tuple[Any, ...]], choice: Choice) -> dict[str, Any]:
    metadata = {**(row.metadata or {}), **choice.metadata}
    if choice.tags:
        before = metadata.get("tags")
        metadata["tags"] = list(dict.fromkeys([*(before if isinstance(before, list) else []), *choice.tags]))
    return {
        "row_id": row.id,
        "new_category_id": choice.category_id,
        "new_merchant": row.merchant if choice.merchant is None else choice.merchant,
        "new_metadata": metadata or None,
    }
