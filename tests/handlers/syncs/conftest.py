"""Gives tests the sandbox over an empty world, providers that reach it, and a user whose connections sync from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from dhanam_jobs.handlers.providers import Providers
from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox
from dhanam_jobs.handlers.sandbox.world import BelvoLink, BitsoClient, PlaidItem, World
from dhanam_jobs.handlers.store import Store
from dhanam_jobs.handlers.store.schema import accounts, transactions
from dhanam_jobs.handlers.sync_transactions import SyncResult, sync_connection
from dhanam_jobs.handlers.token_cipher import TokenCipher

CIPHER = TokenCipher("c" * 32)


class Bank:
    """A world of providers, a store with the user `ana` and her space `home`, and what connects the two."""

    def __init__(self, store: Store, providers: Providers, world: World) -> None:
        self.store = store
        self.providers = providers
        self.world = world
        self.cipher = CIPHER

    async def build(self) -> None:
        async with self.store.transaction() as tx:
            await tx.users.upsert(
                [{"id": name, "email": f"{name}@example.test", "name": name} for name in ("ana", "eva")]
            )
            await tx.spaces.upsert(
                [
                    {"id": "firm", "name": "Taller", "type": "business"},
                    {"id": "home", "name": "Casa"},
                    {"id": "other", "name": "Otra"},
                ]
            )
            await tx.spaces.upsert_members(
                [
                    {"user_id": "ana", "space_id": "firm", "role": "owner"},
                    {"user_id": "ana", "space_id": "home", "role": "owner"},
                    {"user_id": "ana", "space_id": "other", "role": "viewer"},
                    {"user_id": "eva", "space_id": "other", "role": "owner"},
                ]
            )

    async def connect(
        self, connection_id: str, provider: str, token: str, user_id: str = "ana", **metadata: Any
    ) -> None:
        """Store a connection with a sealed token."""
        await self.store.provider_connections.upsert(
            [
                {
                    "id": connection_id,
                    "user_id": user_id,
                    "provider": provider,
                    "provider_user_id": f"{connection_id}-at-provider",
                    "encrypted_token": self.cipher.encrypt(token),
                    "metadata": metadata or None,
                }
            ]
        )

    async def bitso(self, connection_id: str = "exchange", user_id: str = "ana", **client: Any) -> BitsoClient:
        """Store a Bitso connection and its client in the world."""
        key = f"key-{connection_id}"
        sealed = self.cipher.encrypt("the-api-secret")
        await self.connect(connection_id, "bitso", key, user_id, encryptedApiSecret=sealed)
        given: dict[str, Any] = {"balances": [], "trades": [], **client}
        self.world.bitso[key] = BitsoClient("the-api-secret", **given)
        return self.world.bitso[key]

    async def plaid(self, connection_id: str = "bank", **item: Any) -> PlaidItem:
        """Store a Plaid connection into `home` and its item in the world."""
        token = f"access-{connection_id}"
        await self.connect(connection_id, "plaid", token, spaceId="home", itemId="item")
        self.world.plaid[token] = PlaidItem(**{"accounts": [], "events": [], **item})
        return self.world.plaid[token]

    async def belvo(self, connection_id: str = "banco", **link: Any) -> BelvoLink:
        """Store a Belvo connection into `home` and its link in the world."""
        name = f"link-{connection_id}"
        await self.connect(connection_id, "belvo", name, spaceId="home")
        self.world.belvo[name] = BelvoLink(**{"accounts": [], "transactions": [], **link})
        return self.world.belvo[name]

    async def sync(self, connection_id: str, *, full: bool = False) -> SyncResult:
        """Sync a connection, as the job does."""
        connection = await self.store.provider_connections.get(connection_id)
        assert connection is not None
        return await sync_connection(self.store, self.providers, connection, full=full)

    async def accounts(self, space_id: str = "home") -> dict[str, dict[str, Any]]:
        """The space's accounts by their provider's id, deleted ones too."""
        query = sa.select(accounts).where(accounts.c.space_id == space_id)
        async with self.store._connections.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row["provider_account_id"]: dict(row) for row in rows}

    async def transactions(self, space_id: str = "home", *, live: bool = True) -> list[dict[str, Any]]:
        """The space's transactions by their provider's id, with the provider's id of their account."""
        query = (
            sa.select(transactions, accounts.c.provider_account_id)
            .join(accounts, accounts.c.id == transactions.c.account_id)
            .where(accounts.c.space_id == space_id)
            .order_by(transactions.c.provider_transaction_id, accounts.c.provider_account_id)
        )
        if live:
            query = query.where(transactions.c.deleted_at.is_(None))
        async with self.store._connections.reading() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def amounts(self, space_id: str = "home") -> dict[str, Decimal]:
        """The amounts of the space's live transactions by their provider's id."""
        return {row["provider_transaction_id"]: row["amount"] for row in await self.transactions(space_id)}


@pytest.fixture
async def world() -> World:
    """Providers that know nobody yet."""
    return World()


@pytest.fixture
async def bank(store: Store, world: World) -> AsyncIterator[Bank]:
    """The sandbox in the real providers' place, and a store whose connections lead to it."""
    async with (
        running_sandbox(world) as url,
        Providers.open(store, cipher=CIPHER, live=endpoints_at(url, world), allowances=None, timeout=5) as providers,
    ):
        built = Bank(store, providers, world)
        await built.build()
        yield built
