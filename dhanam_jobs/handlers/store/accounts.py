"""Accounts of a space: finding the one that a statement belongs to, writing for load and demo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.errors import UnknownAccount, UnknownSpace
from dhanam_jobs.handlers.store.schema import accounts, spaces
from dhanam_jobs.handlers.store.upsert import Row, upsert


class Account(msgspec.Struct, frozen=True):
    """A live account; `balance` is exact, negative for what is owed."""

    id: str
    space_id: str
    provider: str
    name: str
    type: str
    currency: str
    balance: Decimal


ACCOUNT_DEFAULTS: Row = {
    "provider": "manual",
    "balance": Decimal(0),
    "currency": "MXN",
    "ownership": "individual",
}

_COLUMNS = [accounts.c[name] for name in Account.__struct_fields__]


class Accounts(TableQueries):
    """Queries over `accounts`."""

    async def of_space(self, space_id: str) -> list[Account]:
        """The live accounts of a space, by id."""
        query = (
            sa.select(*_COLUMNS)
            .where(accounts.c.space_id == space_id, accounts.c.deleted_at.is_(None))
            .order_by(accounts.c.id)
        )
        async with self._connections.reading() as connection:
            return [Account(*row) for row in await connection.execute(query)]

    async def for_import(self, space_id: str, account_id: str | None) -> Account:
        """The account that a statement goes to: the named one, or the space's only one.

        Raises UnknownSpace for a space that isn't there or is deleted; UnknownAccount, listing the space's
        accounts, when the named one isn't among them, there is none, or none is named and there are several.
        """
        query = sa.select(spaces.c.id).where(spaces.c.id == space_id, spaces.c.deleted_at.is_(None))
        async with self._connections.reading() as connection:
            if (await connection.execute(query)).first() is None:
                raise UnknownSpace(f"space: found {space_id!r}, which is no space here")
        found = await self.of_space(space_id)
        listing = ", ".join(f"{account.id} ({account.name}, {account.currency})" for account in found)
        if account_id is None:
            if len(found) == 1:
                return found[0]
            if not found:
                raise UnknownAccount(f"account: space {space_id!r} has none; make one first")
            raise UnknownAccount(f"account: none named, wanted one of space {space_id!r}: {listing}")
        for account in found:
            if account.id == account_id:
                return account
        raise UnknownAccount(f"account: found {account_id!r}, wanted one of space {space_id!r}: {listing or 'none'}")

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Account]:
        """Those of `ids` that exist, deleted or not."""
        rows = await self._where_in(sa.select(*_COLUMNS), accounts.c.id, ids)
        return {row.id: Account(*row) for row in rows}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write accounts by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, accounts, rows, defaults=ACCOUNT_DEFAULTS)
