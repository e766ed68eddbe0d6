"""The store: opens the database, brings its schema up to date, and offers the queries, grouped by table.

`store.transactions.insert_new(...)` is a transaction of its own; inside `async with store.transaction() as
tx` the same groups (`tx.transactions`, ...) work in one. SQL stands in the groups' modules, nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from dhanam_jobs.handlers.store import database, migrate
from dhanam_jobs.handlers.store.accounts import Accounts
from dhanam_jobs.handlers.store.audit import AuditLog
from dhanam_jobs.handlers.store.budgets import Budgets
from dhanam_jobs.handlers.store.connections import Connections, HeldConnection, PooledConnections
from dhanam_jobs.handlers.store.corrections import Corrections
from dhanam_jobs.handlers.store.emails import Emails
from dhanam_jobs.handlers.store.errors import StoreError, StoreUnavailable
from dhanam_jobs.handlers.store.esg_scores import EsgScores
from dhanam_jobs.handlers.store.exchange_rates import ExchangeRates
from dhanam_jobs.handlers.store.idempotency_keys import IdempotencyKeys
from dhanam_jobs.handlers.store.maintenance import Maintenance
from dhanam_jobs.handlers.store.provider_connections import ProviderConnections
from dhanam_jobs.handlers.store.provider_health import ProviderHealth
from dhanam_jobs.handlers.store.reports import Reports
from dhanam_jobs.handlers.store.rules import Rules
from dhanam_jobs.handlers.store.spaces import Spaces
from dhanam_jobs.handlers.store.synced_books import SyncedBooks
from dhanam_jobs.handlers.store.transactions import Transactions
from dhanam_jobs.handlers.store.users import Users
from dhanam_jobs.handlers.store.valuations import Valuations
from dhanam_jobs.handlers.store.wallets import Wallets


class Queries:
    """Every query group over one source of connections."""

    def __init__(self, connections: Connections) -> None:
        self.users = Users(connections)
        self.spaces = Spaces(connections)
        self.accounts = Accounts(connections)
        self.budgets = Budgets(connections)
        self.transactions = Transactions(connections)
        self.rules = Rules(connections)
        self.corrections = Corrections(connections)
        self.emails = Emails(connections)
        self.reports = Reports(connections)
        self.provider_connections = ProviderConnections(connections)
        self.provider_health = ProviderHealth(connections)
        self.synced_books = SyncedBooks(connections)
        self.wallets = Wallets(connections)
        self.valuations = Valuations(connections)
        self.exchange_rates = ExchangeRates(connections)
        self.esg_scores = EsgScores(connections)
        self.audit_log = AuditLog(connections)
        self.idempotency_keys = IdempotencyKeys(connections)
        self.maintenance = Maintenance(connections)


class Store(Queries):
    """An open database; made by `Store.open`, ended by `close` or by leaving `async with`."""

    def __init__(self, engine: AsyncEngine, store_id: str) -> None:
        self._engine = engine
        self._connections = PooledConnections(engine)
        self.store_id = store_id
        """Made once with the schema; tells two databases apart, whatever their URLs."""
        super().__init__(self._connections)

    @classmethod
    async def open(cls, target: str | Path) -> Self:
        """Connect, migrate to this release's schema (safe when several start at once), and give the store.

        `target` is `sqlite:///PATH`, a path (a new file is made, mode 0600), or `postgresql://...`.
        Raises StoreError for a URL that can't be used, StoreUnavailable when the database doesn't answer,
        StoreMismatch when a newer release has changed the schema.
        """
        engine = database.connect(target)
        try:
            store_id = await migrate.bring_up_to_date(engine)
        except DBAPIError as error:
            # A file that is no database, a role without rights: nothing that trying again would mend.
            await engine.dispose()
            where = engine.url.render_as_string(hide_password=True)
            raise StoreError(f"store {where}: {error.orig}") from error
        except StoreUnavailable as error:
            await engine.dispose()
            where = engine.url.render_as_string(hide_password=True)
            raise StoreUnavailable(f"the database {where} did not answer: {error}") from error
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine, store_id)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Queries]:
        """One transaction over all groups: committed when the block ends, rolled back when it raises.

        On SQLite it holds the write lock, so keep it short; the store's own groups can't write inside it
        (StoreError).
        """
        async with self._connections.writing() as connection:
            yield Queries(HeldConnection(connection))

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers."""
        async with self._connections.reading() as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
