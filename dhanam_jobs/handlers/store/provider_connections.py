"""Users' connections to providers: whom they belong to, their sealed tokens, and how their last sync ended.

Tokens pass through here encrypted; opening them is the cipher's, talking to providers the syncs'.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.provider_tables import account_connections, connection_attempts, provider_connections
from dhanam_jobs.handlers.store.upsert import Row, insert_for, upsert


class ProviderConnection(msgspec.Struct, frozen=True):
    """One connection; `status` is active, error, syncing or disconnected. `metadata` may hold sealed secrets too."""

    id: str
    user_id: str
    provider: str
    provider_user_id: str
    encrypted_token: str
    metadata: dict[str, Any] | None
    status: str
    error_code: str | None
    error: str | None
    rate_limited_until: dt.datetime | None
    last_synced_at: dt.datetime | None
    updated_at: dt.datetime

    @property
    def details(self) -> dict[str, Any]:
        """The metadata, empty where there is none."""
        return self.metadata or {}

    @property
    def is_demo(self) -> bool:
        """Whether the connection is the demo's, which only the sandbox answers."""
        return self.details.get("demo") is True


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One sync as it ended; `status` is success, failure or timeout, `response_time_ms` the whole sync's time."""

    connection_id: str
    provider: str
    space_id: str | None
    status: str
    error_code: str | None = None
    error_message: str | None = None
    response_time_ms: int = 0
    attempt_type: str = "sync"


CONNECTION_DEFAULTS: Row = {"status": "active"}
SECRET_METADATA = ("encryptedApiSecret",)
"""Metadata fields that are sealed like the token."""

_COLUMNS = [provider_connections.c[name] for name in ProviderConnection.__struct_fields__]


class ProviderConnections(TableQueries):
    """Queries over `provider_connections`, `connection_attempts` and the accounts' `connections`."""

    async def get(self, connection_id: str) -> ProviderConnection | None:
        """The connection of that id."""
        query = sa.select(*_COLUMNS).where(provider_connections.c.id == connection_id)
        async with self._connections.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else ProviderConnection(*row)

    async def of_user(self, user_id: str, provider: str | None = None) -> list[ProviderConnection]:
        """The user's connections that aren't disconnected, to one provider or to all, by id."""
        return await self._listed(provider_connections.c.user_id == user_id, provider)

    async def of_provider(self, provider: str, *, with_demo: bool) -> list[ProviderConnection]:
        """Everybody's connections to a provider that aren't disconnected, by id; schedules leave the demo's out."""
        found = await self._listed(sa.true(), provider)
        return [each for each in found if with_demo or not each.is_demo]

    async def _listed(self, condition: sa.ColumnElement[bool], provider: str | None) -> list[ProviderConnection]:
        query = (
            sa.select(*_COLUMNS)
            .where(condition, provider_connections.c.status != "disconnected")
            .order_by(provider_connections.c.id)
        )
        if provider is not None:
            query = query.where(provider_connections.c.provider == provider)
        async with self._connections.reading() as connection:
            return [ProviderConnection(*row) for row in await connection.execute(query)]

    async def user_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """Connection id to user id, for those of `ids` that exist."""
        query = sa.select(provider_connections.c.id, provider_connections.c.user_id)
        return {row.id: row.user_id for row in await self._where_in(query, provider_connections.c.id, ids)}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write connections by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, provider_connections, rows, defaults=CONNECTION_DEFAULTS)

    async def erase(self, ids: Sequence[str]) -> int:
        """Delete connections for good; gives how many there were."""
        async with self._connections.writing() as connection:
            statement = sa.delete(provider_connections).where(provider_connections.c.id.in_(ids))
            return (await connection.execute(statement)).rowcount

    async def set_synced(self, connection_id: str, changes: Mapping[str, Any], **secrets: str) -> bool:
        """Note a sync that succeeded: metadata fields are set one by one, the others stay as they are now.

        `secrets` may give a new `encrypted_token`. False where the connection is gone.
        """
        now = utc_now()
        cleared = {"status": "active", "error_code": None, "error": None, "failed_at": None}
        values = {**cleared, "rate_limited_until": None, "last_synced_at": now, "updated_at": now, **secrets}
        return await self._merge(connection_id, changes, values)

    async def set_metadata(self, connection_id: str, changes: Mapping[str, Any]) -> bool:
        """Set metadata fields one by one; the others stay. False where the connection is gone."""
        return await self._merge(connection_id, changes, {})

    async def set_failed(self, connection_id: str, code: str, error: str) -> bool:
        """Note why a sync failed, for the person to see; `updated_at` stays. False where the connection is gone."""
        values = {"status": "error", "error_code": code, "error": error, "failed_at": utc_now()}
        return await self._merge(connection_id, {}, values)

    async def set_rate_limited(self, connection_id: str, until: dt.datetime) -> bool:
        """Note until when the provider wants no more calls for this connection."""
        return await self._merge(connection_id, {}, {"rate_limited_until": until})

    async def _merge(self, connection_id: str, changes: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
        async with self._connections.writing() as connection:
            query = (
                sa.select(provider_connections.c.metadata)
                .where(provider_connections.c.id == connection_id)
                .with_for_update()
            )
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return False
            merged = {**(row.metadata or {}), **changes} if changes else row.metadata
            statement = (
                sa.update(provider_connections)
                .where(provider_connections.c.id == connection_id)
                .values(metadata=merged, **values)
            )
            await connection.execute(statement)
        return True

    async def record_attempt(self, attempt: Attempt) -> None:
        """Keep one sync's end in the history."""
        row = {**msgspec.structs.asdict(attempt), "id": str(uuid.uuid4()), "attempted_at": utc_now()}
        async with self._connections.writing() as connection:
            await connection.execute(sa.insert(connection_attempts).values(row))

    async def attempts_of(self, connection_id: str) -> list[Attempt]:
        """The connection's syncs as they ended, oldest first."""
        columns = [connection_attempts.c[name] for name in Attempt.__struct_fields__]
        query = (
            sa.select(*columns)
            .where(connection_attempts.c.connection_id == connection_id)
            .order_by(connection_attempts.c.attempted_at, connection_attempts.c.id)
        )
        async with self._connections.reading() as connection:
            return [Attempt(**dict(row)) for row in (await connection.execute(query)).mappings()]

    async def set_account_states(self, account_ids: Sequence[str], status: str, error: str | None = None) -> None:
        """Set the feed's state of accounts, with a row for each that has none."""
        if not account_ids:
            return
        now = utc_now()
        stamps = {"created_at": now, "updated_at": now}
        rows = [
            {"id": str(uuid.uuid4()), "account_id": account_id, "status": status, "error": error, **stamps}
            for account_id in sorted(account_ids)
        ]
        async with self._connections.writing() as connection:
            statement = insert_for(connection, account_connections)
            changed = {name: statement.excluded[name] for name in ("status", "error", "updated_at")}
            conflict = statement.on_conflict_do_update(index_elements=["account_id"], set_=changed)
            await connection.execute(conflict, rows)

    async def account_states(self, account_ids: Iterable[str]) -> dict[str, tuple[str, str | None]]:
        """Account id to (status, error), for those that have a state."""
        table = account_connections
        query = sa.select(table.c.account_id, table.c.status, table.c.error)
        rows = await self._where_in(query, table.c.account_id, account_ids)
        return {row.account_id: (row.status, row.error) for row in rows}

    async def renew_tokens(self, renew: Callable[[str], str | None]) -> int:
        """Give every sealed text to `renew` and keep what it returns (None: leave it); give how many rows changed."""
        async with self._connections.reading() as connection:
            query = sa.select(provider_connections.c.id).order_by(provider_connections.c.id)
            ids = list((await connection.execute(query)).scalars())
        changed = 0
        for connection_id in ids:
            changed += await self._renew(connection_id, renew)
        return changed

    async def _renew(self, connection_id: str, renew: Callable[[str], str | None]) -> int:
        table = provider_connections
        async with self._connections.writing() as connection:
            query = sa.select(table.c.encrypted_token, table.c.metadata).where(table.c.id == connection_id)
            row = (await connection.execute(query.with_for_update())).one_or_none()
            if row is None:
                return 0
            token = renew(row.encrypted_token)
            sealed = {
                name: renewed
                for name in SECRET_METADATA
                if isinstance(text := (row.metadata or {}).get(name), str) and (renewed := renew(text)) is not None
            }
            if token is None and not sealed:
                return 0
            values: dict[str, Any] = {"encrypted_token": token or row.encrypted_token}
            if sealed:
                values["metadata"] = {**row.metadata, **sealed}
            await connection.execute(sa.update(table).where(table.c.id == connection_id).values(values))
        return 1
