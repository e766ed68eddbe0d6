"""Insert-or-change of whole rows by primary key; a column that a row leaves out keeps what the store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dhanam_jobs.handlers.store.columns import utc_now

Row = Mapping[str, Any]

_ROWS_PER_READ = 1000


def insert_for(connection: AsyncConnection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """The dialect's INSERT, which both databases extend by ON CONFLICT in the same words."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


async def upsert(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Row], *, defaults: Row, stamped: bool = True
) -> tuple[int, int]:
    """Write rows keyed by the table's primary key; give (how many were new, how many were there).

    A new row takes `defaults` for what it leaves out; `stamped` tables get created_at and updated_at.
    Keys must not repeat within `rows`.
    """
    if not rows:
        return (0, 0)
    keys = [column.name for column in table.primary_key]
    kept = await _read(connection, table, keys, rows)
    now = utc_now()
    stamps = {"created_at": now} if stamped or "created_at" in table.c else {}
    merged = []
    for row in rows:
        known = kept.get(tuple(row[key] for key in keys))
        full = {**defaults, **stamps, **row} if known is None else {**known, **row}
        if stamped:
            full["updated_at"] = now
        merged.append(full)
    # Rows that leave a nullable column out must still have the same columns as their neighbours.
    columns = [c.name for c in table.c if any(c.name in row for row in merged)]
    parameters = [{name: row.get(name) for name in columns} for row in merged]
    statement = insert_for(connection, table)
    changed = {name: statement.excluded[name] for name in columns if name not in keys}
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), parameters)
    return (len(rows) - len(kept), len(kept))


async def _read(
    connection: AsyncConnection, table: sa.Table, keys: list[str], rows: Sequence[Row]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for start in range(0, len(rows), _ROWS_PER_READ):
        wanted = [tuple(row[key] for key in keys) for row in rows[start : start + _ROWS_PER_READ]]
        if len(keys) == 1:
            condition = table.c[keys[0]].in_([key for (key,) in wanted])
        else:
            condition = sa.tuple_(*(table.c[key] for key in keys)).in_(wanted)
        # FOR UPDATE holds the rows against a concurrent change until we have written (SQLite holds them all).
        result = await connection.execute(sa.select(table).where(condition).with_for_update())
        for row in result.mappings():
            found[tuple(row[key] for key in keys)] = dict(row)
    return found
