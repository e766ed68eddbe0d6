"""Brings a database to this release's schema at start, once, however many processes start at the same time.

The scripts are Alembic's, under migrations/; they run in one transaction together with the lock that keeps
the others waiting: on PostgreSQL an advisory lock, on SQLite the write lock. A database that is up to date
is only read.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import PooledConnections
from dhanam_jobs.handlers.store.errors import StoreMismatch
from dhanam_jobs.handlers.store.schema import REVISION, store_info

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK_KEY = 0x0D_4A_4E_41_4D  # any number, the same in every process


async def bring_up_to_date(engine: AsyncEngine) -> str:
    """Migrate to `schema.REVISION` and give the store's id.

    Raises StoreUnavailable when the database doesn't answer, StoreMismatch when its revision is not ours.
    """
    connections = PooledConnections(engine)
    async with connections.reading() as connection:
        revision = await connection.run_sync(_revision)
        if revision == REVISION:
            return str((await connection.execute(sa.select(store_info.c.store_id))).scalar_one())
    async with connections.writing() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        await connection.run_sync(_upgrade)
        found = (await connection.execute(sa.select(store_info.c.store_id))).scalar_one_or_none()
        if found is not None:
            return str(found)
        store_id = str(uuid.uuid4())
        row = {"singleton": 1, "store_id": store_id, "created_at": utc_now()}
        await connection.execute(sa.insert(store_info).values(row))
        return store_id


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgrade(connection: sa.Connection) -> None:
    # Alembic is slow to import and not needed by a start that finds everything up to date.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    found = _revision(connection)
    if found is not None and found not in known:
        raise StoreMismatch(f"store: found schema revision {found!r}, wanted at most {REVISION!r}: use a newer release")
    command.upgrade(config, "head")
