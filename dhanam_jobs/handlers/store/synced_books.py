"""Accounts and transactions as providers tell them: written in bulk, without touching what people have chosen.

A person's category, review, renaming or deletion stands, whatever a provider sends afterwards. What providers send,
and what it means, is the syncs' matter.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from dhanam_jobs.handlers.store.accounts import ACCOUNT_DEFAULTS
from dhanam_jobs.handlers.store.columns import exact_money, utc_now
from dhanam_jobs.handlers.store.connections import PooledConnections, TableQueries
from dhanam_jobs.handlers.store.schema import accounts, transactions
from dhanam_jobs.handlers.store.transactions import TRANSACTION_DEFAULTS
from dhanam_jobs.handlers.store.upsert import insert_for

_ROWS_PER_STATEMENT = 1000
_SERIALIZATION_CODES = ("40001", "40P01")  # PostgreSQL gave way to another transaction: the same again will do
_TRIES = 4

P = ParamSpec("P")
T = TypeVar("T")


class SyncedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its provider tells it.

    `name`, `type`, `subtype`, `owner_id` and the currency count when the account is new; later a person's changes
    stand. `balance` None keeps the old one, and makes no new account. `metadata` is set field by field. `liability`
    holds columns of accounts, such as `credit_limit`.
    """

    provider_account_id: str
    name: str
    type: str
    currency: str
    balance: Decimal | None
    subtype: str | None = None
    owner_id: str | None = None
    metadata: Mapping[str, Any] = {}
    liability: Mapping[str, Any] = {}


class SyncedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction as its provider tells it; `amount` negative for an outflow, exact to 4 decimals.

    `replaces` is the provider's id of the pending one that this is the booked form of: category and review are taken
    over from it. `exclude_from_totals` counts when the row is new.
    """

    account_id: str
    provider_transaction_id: str
    amount: Decimal
    currency: str
    date: dt.date
    description: str
    merchant: str | None = None
    pending: bool = False
    metadata: Mapping[str, Any] = {}
    exclude_from_totals: bool = False
    replaces: str | None = None


class Written(msgspec.Struct, frozen=True):
    """How many transactions were new, how many changed; those that were there and equal count as neither."""

    new: int = 0
    changed: int = 0


class AccountRef(msgspec.Struct, frozen=True):
    """A live account: its id, its provider's id for it, its currency, type, metadata and deletion."""

    id: str
    provider_account_id: str | None
    space_id: str
    currency: str
    type: str
    balance: Decimal
    metadata: dict[str, Any] | None


_REF = [accounts.c[name] for name in AccountRef.__struct_fields__]
_PROVIDERS_FIELDS = ("amount", "currency", "date", "description", "pending")
_CHANGEABLE = (*_PROVIDERS_FIELDS, "merchant", "metadata", "deleted_at")


def _again_on_conflict(
    method: Callable[Concatenate[SyncedBooks, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncedBooks, P], Coroutine[Any, Any, T]]:
    """Run the transaction again where PostgreSQL chose it as the victim of a deadlock."""

    async def run(self: SyncedBooks, /, *args: P.args, **kwargs: P.kwargs) -> T:
        # Within a caller's transaction the whole of it would have to run again, which is the caller's to do.
        tries = _TRIES if isinstance(self._connections, PooledConnections) else 1
        for attempt in range(1, tries + 1):
            try:
                return await method(self, *args, **kwargs)
            except DBAPIError as error:
                if attempt == tries or getattr(error.orig, "sqlstate", None) not in _SERIALIZATION_CODES:
                    raise
            await asyncio.sleep(0.01 * attempt)
        raise AssertionError("unreachable")

    functools.update_wrapper(run, method)
    return run


class SyncedBooks(TableQueries):
    """Queries over `accounts` and `transactions`, by the providers' ids."""

    async def accounts_of(self, space_id: str, provider: str) -> list[AccountRef]:
        """The live accounts of a space that a provider feeds, by id."""
        query = (
            sa.select(*_REF)
            .where(accounts.c.space_id == space_id, accounts.c.provider == provider, accounts.c.deleted_at.is_(None))
            .order_by(accounts.c.id)
        )
        async with self._connections.reading() as connection:
            return [AccountRef(*row) for row in await connection.execute(query)]

    @_again_on_conflict
    async def write_accounts(
        self, space_id: str, provider: str, rows: Sequence[SyncedAccount]
    ) -> dict[str, AccountRef]:
        """Write a provider's accounts of a space; give the live ones by the provider's id.

        An account that a person deleted stays deleted, and is not given. Raises MoneyError for a balance or liability
        that doesn't fit; then nothing is written.
        """
        wanted = {row.provider_account_id: row for row in rows}
        if not wanted:
            return {}
        now = utc_now()
        async with self._connections.writing() as connection:
            known = await self._known_accounts(connection, space_id, provider, wanted)
            new = []
            for key in sorted(wanted):
                row, before = wanted[key], known.get(key)
                if before is None and row.balance is not None:
                    new.append(self._new_account(space_id, provider, row, now))
                elif before is not None and before.deleted_at is None:
                    values = {
                        "metadata": {**(before.metadata or {}), **row.metadata},
                        "last_synced_at": now,
                        "updated_at": now,
                        **row.liability,
                    }
                    if row.balance is not None:
                        values |= {"balance": row.balance, "currency": row.currency}
                    await connection.execute(sa.update(accounts).where(accounts.c.id == before.id).values(values))
            if new:
                # One who has made the same account at the same time wins; the next sync brings it up to date.
                insert = insert_for(connection, accounts).on_conflict_do_nothing(
                    index_elements=["space_id", "provider", "provider_account_id"]
                )
                columns = sorted({name for row in new for name in row})
                await connection.execute(insert, [{name: row.get(name) for name in columns} for row in new])
            found = await self._known_accounts(connection, space_id, provider, wanted)
        return {
            key: AccountRef(*(getattr(row, name) for name in AccountRef.__struct_fields__))
            for key, row in found.items()
            if row.deleted_at is None
        }

    async def _known_accounts(
        self, connection: AsyncConnection, space_id: str, provider: str, keys: Iterable[str]
    ) -> dict[str, Any]:
        query = (
            sa.select(*_REF, accounts.c.deleted_at)
            .where(
                accounts.c.space_id == space_id,
                accounts.c.provider == provider,
                accounts.c.provider_account_id.in_(sorted(keys)),
            )
            .order_by(accounts.c.id)
            .with_for_update()
        )
        return {row.provider_account_id: row for row in await connection.execute(query)}

    def _new_account(self, space_id: str, provider: str, row: SyncedAccount, now: dt.datetime) -> dict[str, Any]:
        return {
            **ACCOUNT_DEFAULTS,
            "id": str(uuid.uuid4()),
            "space_id": space_id,
            "provider": provider,
            "provider_account_id": row.provider_account_id,
            "name": row.name,
            "type": row.type,
            "subtype": row.subtype,
            "currency": row.currency,
            "balance": row.balance,
            "owner_id": row.owner_id,
            "metadata": dict(row.metadata),
            "last_synced_at": now,
            "created_at": now,
            "updated_at": now,
            **row.liability,
        }

    @_again_on_conflict
    async def update_balance(self, account_id: str, balance: Decimal | None, metadata: Mapping[str, Any]) -> bool:
        """Set an account's balance (None: keep it) and some metadata fields; False where it is gone or deleted."""
        now = utc_now()
        live = sa.and_(accounts.c.id == account_id, accounts.c.deleted_at.is_(None))
        async with self._connections.writing() as connection:
            row = (await connection.execute(sa.select(accounts.c.metadata).where(live).with_for_update())).one_or_none()
            if row is None:
                return False
            values: dict[str, Any] = {
                "metadata": {**(row.metadata or {}), **metadata},
                "last_synced_at": now,
                "updated_at": now,
            }
            if balance is not None:
                values["balance"] = balance
            await connection.execute(sa.update(accounts).where(accounts.c.id == account_id).values(values))
        return True

    @_again_on_conflict
    async def write_transactions(self, rows: Sequence[SyncedTransaction]) -> Written:
        """Write transactions by account and provider's id, in one transaction; of equal ids the last counts.

        Rows that a person deleted stay as they are; rows that the provider had removed come back. Raises MoneyError
        for an amount that doesn't fit; then nothing is written.
        """
        wanted = {(row.account_id, row.provider_transaction_id): row for row in rows}
        for row in wanted.values():
            exact_money(row.amount)
        ordered = [wanted[key] for key in sorted(wanted)]
        new = changed = 0
        async with self._connections.writing() as connection:
            for start in range(0, len(ordered), _ROWS_PER_STATEMENT):
                counts = await self._write_chunk(connection, ordered[start : start + _ROWS_PER_STATEMENT])
                new, changed = new + counts.new, changed + counts.changed
        return Written(new, changed)

    async def _write_chunk(self, connection: AsyncConnection, rows: Sequence[SyncedTransaction]) -> Written:
        now = utc_now()
        keys = {row.provider_transaction_id for row in rows} | {row.replaces for row in rows if row.replaces}
        query = sa.select(transactions).where(
            transactions.c.account_id.in_({row.account_id for row in rows}),
            transactions.c.provider_transaction_id.in_(keys),
        )
        found = (await connection.execute(query.order_by(transactions.c.id))).mappings()
        known = {(row["account_id"], row["provider_transaction_id"]): dict(row) for row in found}
        new: list[dict[str, Any]] = []
        ids: list[str] = []
        for row in rows:
            before = known.get((row.account_id, row.provider_transaction_id))
            if before is None:
                replaced = known.get((row.account_id, row.replaces)) if row.replaces else None
                new.append(_new_transaction(row, replaced, now))
            elif _change(row, before):
                ids.append(before["id"])
        inserted = changed = 0
        if new:
            insert = insert_for(connection, transactions).on_conflict_do_nothing(
                index_elements=["account_id", "provider_transaction_id"]
            )
            inserted = len((await connection.execute(insert.returning(transactions.c.id), new)).all())
        if ids:
            changed = await self._update(connection, rows, sorted(ids), now)
        return Written(inserted, changed)

    async def _update(
        self, connection: AsyncConnection, rows: Sequence[SyncedTransaction], ids: Sequence[str], now: dt.datetime
    ) -> int:
        # Read again under lock, by id as a categorisation writes: its change since must not be undone.
        locked = sa.select(transactions).where(transactions.c.id.in_(ids)).order_by(transactions.c.id).with_for_update()
        known = {
            (row["account_id"], row["provider_transaction_id"]): dict(row)
            for row in (await connection.execute(locked)).mappings()
        }
        parameters = []
        for row in rows:
            before = known.get((row.account_id, row.provider_transaction_id))
            values = _change(row, before) if before is not None else None
            if before is not None and values:
                kept = {f"new_{name}": values.get(name, before[name]) for name in _CHANGEABLE}
                parameters.append({"row_id": before["id"], "new_updated_at": now, **kept})
        if parameters:
            names = (*_CHANGEABLE, "updated_at")
            statement = (
                sa.update(transactions)
                .where(transactions.c.id == sa.bindparam("row_id"))
                .values({name: sa.bindparam(f"new_{name}") for name in names})
            )
            await connection.execute(statement, parameters)
        return len(parameters)

    @_again_on_conflict
    async def remove_transactions(self, account_ids: Iterable[str], provider_ids: Iterable[str]) -> int:
        """Delete those of the accounts' transactions that their provider took back; give how many there were."""
        now = utc_now()
        removed = 0
        unique = sorted(set(provider_ids))
        async with self._connections.writing() as connection:
            for start in range(0, len(unique), _ROWS_PER_STATEMENT):
                query = (
                    sa.select(transactions.c.id, transactions.c.metadata)
                    .where(
                        transactions.c.account_id.in_(sorted(set(account_ids))),
                        transactions.c.provider_transaction_id.in_(unique[start : start + _ROWS_PER_STATEMENT]),
                        transactions.c.deleted_at.is_(None),
                    )
                    .order_by(transactions.c.id)
                    .with_for_update()
                )
                for row in (await connection.execute(query)).all():
                    values = {
                        "deleted_at": now,
                        "updated_at": now,
                        "metadata": {**(row.metadata or {}), "removedByProvider": True},
                    }
                    await connection.execute(sa.update(transactions).where(transactions.c.id == row.id).values(values))
                    removed += 1
        return removed


def _new_transaction(row: SyncedTransaction, replaced: Mapping[str, Any] | None, now: dt.datetime) -> dict[str, Any]:
    new = {
        **TRANSACTION_DEFAULTS,
        "id": str(uuid.uuid4()),
        "account_id": row.account_id,
        "provider_transaction_id": row.provider_transaction_id,
        "amount": row.amount,
        "currency": row.currency,
        "date": row.date,
        "description": row.description,
        "merchant": row.merchant,
        "pending": row.pending,
        "category_id": None,
        "exclude_from_totals": row.exclude_from_totals,
        "metadata": _metadata(row, {}),
        "created_at": now,
        "updated_at": now,
    }
    if replaced is not None:
        new |= {name: replaced[name] for name in ("category_id", "reviewed", "exclude_from_totals")}
    return new


def _metadata(row: SyncedTransaction, before: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in before.items() if name != "removedByProvider"}
    return {**kept, **row.metadata, "providerMerchant": row.merchant}


def _change(row: SyncedTransaction, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the row changes in the one that is there; empty for nothing."""
    kept = before["metadata"] or {}
    if before["deleted_at"] is not None and not kept.get("removedByProvider"):
        return {}
    metadata = _metadata(row, kept)
    values = {name: getattr(row, name) for name in _PROVIDERS_FIELDS}
    values |= {"metadata": metadata, "deleted_at": None}
    # Whoever gave the transaction another merchant than its provider meant it.
    if before["merchant"] == kept.get("providerMerchant"):
        values["merchant"] = row.merchant
    return {name: value for name, value in values.items() if value != before[name]}
