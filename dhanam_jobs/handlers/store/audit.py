"""The audit log: who did what to which thing; each entry seals the one before it, so that a change shows."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.maintenance_tables import audit_logs

_LOCK_KEY: Final = 0x41_55_44_49_54  # any number, the same in every process
_ROWS_PER_READ: Final = 1000


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be kept; `severity` is low, medium, high or critical, `details` any JSON without secrets."""

    action: str
    resource: str
    resource_id: str | None = None
    user_id: str | None = None
    severity: str = "low"
    details: Mapping[str, Any] = {}


class AuditLog(TableQueries):
    """Queries over `audit_logs`."""

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        """Append entries in order. Part of the caller's transaction, when it holds one."""
        if not entries:
            return
        async with self._connections.writing() as connection:
            await _append(connection, entries)

    async def of_resource(self, resource: str, resource_id: str) -> list[AuditEntry]:
        """The entries about one thing, oldest first."""
        table = audit_logs.c
        query = (
            sa.select(audit_logs)
            .where(table.resource == resource, table.resource_id == resource_id)
            .order_by(table.seq)
        )
        async with self._connections.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            AuditEntry(
                action=row["action"],
                resource=row["resource"],
                resource_id=row["resource_id"],
                user_id=row["user_id"],
                severity=row["severity"],
                details=msgspec.json.decode(row["metadata"]),
            )
            for row in rows
        ]

    async def first_broken(self) -> int | None:
        """The number of the first entry that was changed, or whose predecessor is gone; None when all are whole.

        What retention has removed from the beginning is not missed.
        """
        last, previous = -1, None
        async with self._connections.reading() as connection:
            while True:
                query = (
                    sa.select(audit_logs)
                    .where(audit_logs.c.seq > last)
                    .order_by(audit_logs.c.seq)
                    .limit(_ROWS_PER_READ)
                )
                rows = (await connection.execute(query)).mappings().all()
                if not rows:
                    return None
                for row in rows:
                    if row["hash"] != _seal(dict(row)) or previous not in (None, row["previous_hash"]):
                        return int(row["seq"])
                    last, previous = row["seq"], row["hash"]

    async def count_before(self, moment: dt.datetime) -> int:
        """How many entries `prune` would remove."""
        query = sa.select(sa.func.count()).select_from(audit_logs).where(self._old(moment))
        async with self._connections.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def prune(self, before: dt.datetime) -> int:
        """Remove entries from before a moment; the newest entry stays, so that the next one has one to seal."""
        async with self._connections.writing() as connection:
            return (await connection.execute(sa.delete(audit_logs).where(self._old(before)))).rowcount

    def _old(self, moment: dt.datetime) -> sa.ColumnElement[bool]:
        newest = sa.select(sa.func.max(audit_logs.c.seq)).scalar_subquery()
        return sa.and_(audit_logs.c.timestamp < moment, audit_logs.c.seq < newest)


async def _append(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
    query = sa.select(audit_logs.c.seq, audit_logs.c.hash).order_by(audit_logs.c.seq.desc()).limit(1)
    newest = (await connection.execute(query)).one_or_none()
    seq, previous = (0, "") if newest is None else newest
    now = utc_now()
    rows = []
    for entry in entries:
        seq += 1
        row = {
            "seq": seq,
            "id": str(uuid.uuid4()),
            "user_id": entry.user_id,
            "action": entry.action,
            "resource": entry.resource,
            "resource_id": entry.resource_id,
            "metadata": msgspec.json.encode(entry.details, order="sorted").decode(),
            "severity": entry.severity,
            "timestamp": now,
            "previous_hash": previous,
        }
        previous = _seal(row)
        rows.append({**row, "hash": previous})
    await connection.execute(sa.insert(audit_logs), rows)


def _seal(row: Mapping[str, Any]) -> str:
    names = ("seq", "id", "user_id", "action", "resource", "resource_id", "metadata", "severity", "previous_hash")
    sealed = [row[name] for name in names] + [row["timestamp"].isoformat()]
    return hashlib.sha256(msgspec.json.encode(sealed)).hexdigest()
