"""Read-only wallets on chains: accounts of the provider `manual` that name an address and a coin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import accounts, spaces, transactions, user_spaces, users
from dhanam_jobs.handlers.store.spaces import SpaceRole


class Wallet(msgspec.Struct, frozen=True):
    """A wallet's account; `coin` is `btc`, `eth` or whatever stands there, in lower case; the address keeps its case.

    `metadata` is the account's.
    """

    account_id: str
    name: str
    space_id: str
    timezone: str
    is_demo: bool
    coin: str
    address: str
    metadata: dict[str, Any]

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the wallet's space."""
        return ZoneInfo(self.timezone)


_QUERY = (
    sa.select(
        accounts.c.id,
        accounts.c.name,
        accounts.c.space_id,
        spaces.c.timezone,
        spaces.c.is_demo,
        accounts.c.provider_account_id,
        accounts.c.metadata,
    )
    .join(spaces, spaces.c.id == accounts.c.space_id)
    .where(
        accounts.c.provider == "manual",
        accounts.c.type == "crypto",
        accounts.c.deleted_at.is_(None),
        spaces.c.deleted_at.is_(None),
    )
    .order_by(accounts.c.id)
)


class Wallets(TableQueries):
    """Queries over the accounts that are wallets; other manual accounts are never seen."""

    async def of_user(self, user_id: str) -> list[Wallet]:
        """The wallets of the spaces that the user owns, or may write to as a member, by account id."""
        mine = sa.select(user_spaces.c.space_id).where(
            user_spaces.c.user_id == user_id, user_spaces.c.role != SpaceRole.VIEWER.value
        )
        return await self._found(_QUERY.where(accounts.c.space_id.in_(mine)))

    async def all_of(self, coin: str, *, demo: bool) -> list[Wallet]:
        """Everybody's wallets of a coin: the demo's, or all but the demo's."""
        found = await self._found(_QUERY.where(spaces.c.is_demo.is_(demo)))
        return [wallet for wallet in found if wallet.coin == coin]

    async def owners(self) -> list[str]:
        """Ids of users whose wallets together are all but the demo's: one owner of each space that has any."""
        found = await self._found(_QUERY.where(spaces.c.is_demo.is_(False)))
        query = (
            sa.select(user_spaces.c.space_id, sa.func.min(user_spaces.c.user_id))
            .join(users, users.c.id == user_spaces.c.user_id)
            .where(user_spaces.c.role == SpaceRole.OWNER.value, users.c.is_active, users.c.deleted_at.is_(None))
            .group_by(user_spaces.c.space_id)
        )
        rows = await self._where_in(query, user_spaces.c.space_id, {wallet.space_id for wallet in found})
        return sorted({user_id for _, user_id in rows})

    async def known_values(self, account_id: str, provider_ids: Sequence[str]) -> dict[str, Decimal]:
        """The amounts of those of the account's transactions that are there already, deleted ones too."""
        query = sa.select(transactions.c.provider_transaction_id, transactions.c.amount).where(
            transactions.c.account_id == account_id
        )
        rows = await self._where_in(query, transactions.c.provider_transaction_id, provider_ids)
        return {row.provider_transaction_id: row.amount for row in rows}

    async def _found(self, query: sa.Select[Any]) -> list[Wallet]:
        async with self._connections.reading() as connection:
            rows: Iterable[Any] = (await connection.execute(query)).all()
        wallets = []
        for row in rows:
            metadata = row.metadata if isinstance(row.metadata, dict) else {}
            address = metadata.get("address") or row.provider_account_id
            if metadata.get("readOnly") is not True or metadata.get("deletedAt") or not isinstance(address, str):
                continue
            coin = str(metadata.get("cryptoCurrency", "")).lower()
            wallets.append(Wallet(row.id, row.name, row.space_id, row.timezone, row.is_demo, coin, address, metadata))
        return wallets
