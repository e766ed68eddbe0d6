"""What grows old: connections that nothing reaches, sessions, abandoned demo users, people who have left, histories.

Each removal is one transaction with its audit entry. What is old enough, and what must be spared, the caller says.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dhanam_jobs.handlers.store.audit import AuditEntry, AuditLog
from dhanam_jobs.handlers.store.connections import HeldConnection, TableQueries
from dhanam_jobs.handlers.store.emails import email_deliveries
from dhanam_jobs.handlers.store.maintenance_tables import sessions
from dhanam_jobs.handlers.store.provider_tables import connection_attempts, provider_connections
from dhanam_jobs.handlers.store.schema import spaces, user_spaces, users

_PER_TRANSACTION = 200
"""Removed with all that hangs on them, users and connections are taken in parts, so that nobody waits long."""


class AgedConnection(msgspec.Struct, frozen=True):
    """A connection to a provider and when anything good last happened to it."""

    id: str
    user_id: str
    provider: str
    last_seen: dt.datetime


class Erased(msgspec.Struct, frozen=True):
    """How many users were erased, and how many spaces that nobody else belonged to."""

    users: int = 0
    spaces: int = 0


class Maintenance(TableQueries):
    """Queries over what maintenance removes."""

    async def connections(self) -> list[AgedConnection]:
        """All connections but the demo's, by id."""
        async with self._connections.reading() as connection:
            return await _aged(connection, sa.true())

    async def remove_connections(self, ids: Collection[str], before: dt.datetime) -> list[str]:
        """Remove those of the connections that nothing good has happened to since `before`; gives their ids."""
        removed: list[str] = []
        for start in range(0, len(ids), _PER_TRANSACTION):
            part = sorted(ids)[start : start + _PER_TRANSACTION]
            async with self._connections.writing() as connection:
                found = await _aged(connection, provider_connections.c.id.in_(part), lock=True)
                stale = [each for each in found if each.last_seen < before]
                chosen = [each.id for each in stale]
                await connection.execute(sa.delete(provider_connections).where(provider_connections.c.id.in_(chosen)))
                await AuditLog(HeldConnection(connection)).record([_removed(each) for each in stale])
            removed += chosen
        return removed

    async def expired_sessions(self, now: dt.datetime) -> int:
        """How many sessions have expired."""
        return await self._count(sessions, sessions.c.expires_at <= now)

    async def remove_expired_sessions(self, now: dt.datetime) -> int:
        """Remove the sessions that have expired; gives how many."""
        return await self._remove(sessions, sessions.c.expires_at <= now)

    async def abandoned_users(self, domain: str, before: dt.datetime, kept: Collection[str]) -> list[str]:
        """Ids of users with an address in `domain` but those of `kept`, who haven't been seen since `before`."""
        query = sa.select(
            users.c.id, users.c.email, users.c.updated_at, users.c.last_activity_at, users.c.last_login_at
        ).where(users.c.updated_at < before, sa.func.lower(users.c.email).like(f"%@{domain}"))
        async with self._connections.reading() as connection:
            rows = (await connection.execute(query.order_by(users.c.id))).all()
        return [
            row.id
            for row in rows
            if row.email.lower() not in kept
            and all(seen is None or seen < before for seen in (row.last_activity_at, row.last_login_at))
        ]

    async def left_users(self, before: dt.datetime) -> list[str]:
        """Ids of users who were deleted before a moment, whose rows are still there."""
        query = sa.select(users.c.id).where(users.c.deleted_at < before).order_by(users.c.id)
        async with self._connections.reading() as connection:
            return list((await connection.execute(query)).scalars())

    async def erase_users(self, ids: Sequence[str], action: str) -> Erased:
        """Erase users with all that is theirs, and the spaces that only they belong to, but no demo space.

        `action` is what the audit entries say.
        """
        erased = Erased()
        for start in range(0, len(ids), _PER_TRANSACTION):
            part = list(ids[start : start + _PER_TRANSACTION])
            async with self._connections.writing() as connection:
                alone = await _spaces_of_nobody_else(connection, part)
                await connection.execute(sa.delete(spaces).where(spaces.c.id.in_(alone)))
                count = (await connection.execute(sa.delete(users).where(users.c.id.in_(part)))).rowcount
                entries = [
                    AuditEntry(action=action, resource="User", resource_id=each, user_id=each, severity="high")
                    for each in part
                ]
                entries += [
                    AuditEntry(action=action, resource="Space", resource_id=each, severity="high") for each in alone
                ]
                await AuditLog(HeldConnection(connection)).record(entries)
            erased = Erased(erased.users + count, erased.spaces + len(alone))
        return erased

    async def old_attempts(self, before: dt.datetime) -> int:
        """How many entries the history of syncs has from before a moment."""
        return await self._count(connection_attempts, connection_attempts.c.attempted_at < before)

    async def remove_old_attempts(self, before: dt.datetime) -> int:
        """Remove the history of syncs from before a moment; gives how many entries."""
        return await self._remove(connection_attempts, connection_attempts.c.attempted_at < before)

    async def old_deliveries(self, before: dt.datetime) -> int:
        """How many e-mail deliveries are from before a moment."""
        return await self._count(email_deliveries, email_deliveries.c.begun_at < before)

    async def _count(self, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
        async with self._connections.reading() as connection:
            query = sa.select(sa.func.count()).select_from(table).where(condition)
            return int((await connection.execute(query)).scalar_one())

    async def _remove(self, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
        async with self._connections.writing() as connection:
            return (await connection.execute(sa.delete(table).where(condition))).rowcount


async def _aged(
    connection: AsyncConnection, condition: sa.ColumnElement[bool], *, lock: bool = False
) -> list[AgedConnection]:
    table = provider_connections.c
    query = (
        sa.select(table.id, table.user_id, table.provider, table.updated_at, table.last_synced_at, table.metadata)
        .where(condition)
        .order_by(table.id)
    )
    rows: Sequence[Any] = (await connection.execute(query.with_for_update() if lock else query)).all()
    return [
        AgedConnection(row.id, row.user_id, row.provider, max(row.updated_at, row.last_synced_at or row.updated_at))
        for row in rows
        if not (isinstance(row.metadata, dict) and row.metadata.get("demo") is True)
    ]


def _removed(each: AgedConnection) -> AuditEntry:
    return AuditEntry(
        action="connection.removed_stale",
        resource="ProviderConnection",
        resource_id=each.id,
        user_id=each.user_id,
        severity="medium",
        details={"provider": each.provider, "lastSeenAt": each.last_seen},
    )


async def _spaces_of_nobody_else(connection: AsyncConnection, user_ids: Sequence[str]) -> list[str]:
    theirs = sa.select(user_spaces.c.space_id).where(user_spaces.c.user_id.in_(user_ids))
    others = sa.select(user_spaces.c.space_id).where(user_spaces.c.user_id.not_in(user_ids))
    query = (
        sa.select(spaces.c.id)
        .where(spaces.c.id.in_(theirs), spaces.c.id.not_in(others), spaces.c.is_demo.is_(False))
        .order_by(spaces.c.id)
    )
    return list((await connection.execute(query)).scalars())
