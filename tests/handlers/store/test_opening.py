"""Opening a store: schema made once, whoever starts; found again; refused where it can't be right."""

from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dhanam_jobs.handlers.store import Store, StoreError, StoreMismatch, StoreUnavailable, migrate
from dhanam_jobs.handlers.store.database import parse_url
from dhanam_jobs.handlers.store.schema import REVISION, metadata

OPEN = """
import asyncio, sys
from dhanam_jobs.handlers.store import Store
async def main():
    async with await Store.open(sys.argv[1]) as store:
        print(store.store_id)
asyncio.run(main())
"""


async def test_stores_opened_at_once_from_empty_are_one_store(database_url: str) -> None:
    """Four opens in this process and three in others: all succeed and read the same id."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OPEN,
            database_url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    stores = await asyncio.gather(*(Store.open(database_url) for _ in range(4)))
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    for store in stores:
        await store.close()

    assert [errors for _, errors in outputs] == [b""] * 3
    assert len({store.store_id for store in stores} | {out.decode().strip() for out, _ in outputs}) == 1


async def test_the_id_stays_when_a_store_is_opened_again(database_url: str) -> None:
    """The second open changes nothing."""
    async with await Store.open(database_url) as first:
        pass
    async with await Store.open(database_url) as second:
        assert first.store_id == second.store_id


async def test_the_migrations_make_the_schema_of_the_code(store: Store) -> None:
    """Alembic finds no difference between a migrated database and schema.py."""
    async with store._connections.reading() as connection:
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )

    assert difference == []


def test_the_revision_of_the_code_is_the_newest_script() -> None:
    """A start that finds REVISION looks no further, so REVISION must be the head."""
    config = Config()
    config.set_main_option("script_location", str(migrate._SCRIPTS))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


async def test_a_store_of_a_newer_release_is_refused(database_url: str) -> None:
    """An unknown revision is named, and the store isn't touched."""
    async with await Store.open(database_url) as store, store._connections.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreMismatch, match=f"found schema revision '9999', wanted at most '{REVISION}'"):
        await Store.open(database_url)


async def test_a_sqlite_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Bank data in a world-readable file would be a leak."""
    path = tmp_path / "deep" / "store.db"
    async with await Store.open(path):
        pass

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    """Port 1 on loopback refuses; the message holds the address, and not the password."""
    with pytest.raises(StoreUnavailable) as caught:
        await Store.open("postgresql://someone:hunter2@127.0.0.1:1/none")

    assert "hunter2" not in str(caught.value)
    assert "the database postgresql" in str(caught.value)
    assert "@127.0.0.1:1/none did not answer: " in str(caught.value)


async def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    """A text file in the store's place is named, not overwritten."""
    path = tmp_path / "store.db"
    path.write_text("this is a shopping list, not a database, and longer than one hundred bytes " * 5)

    with pytest.raises(StoreError, match="not a database"):
        await Store.open(path)
    assert path.read_text().startswith("this is a shopping list")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:hunter2@host/db", "found scheme 'mysql', wanted sqlite or postgresql"),
        ("sqlite://", "found SQLite without a file"),
        ("postgresql://me:hunter2@host:port/db", "no URL"),
        ("postgresql://me:hunter2@host/db?sslmode=maybe", "found sslmode=maybe, wanted one of disable"),
        ("postgresql://me:hunter2@host/db?schema=public", "found parameters schema"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str, message: str) -> None:
    """Each message says what was found and what is wanted."""
    with pytest.raises(StoreError, match=message) as caught:
        parse_url(url)

    assert "hunter2" not in str(caught.value)


def test_a_postgresql_url_as_hosters_write_it_is_understood() -> None:
    """`postgres://` and sslmode become what our driver wants."""
    url = parse_url("postgres://me:pw@db.example:5433/jobs?sslmode=require")

    assert url.render_as_string(False) == "postgresql+asyncpg://me:pw@db.example:5433/jobs?ssl=require"


async def test_a_database_that_is_not_there_is_named(pg_url: str) -> None:
    """As the server says it."""
    with pytest.raises(StoreError, match='database "nowhere" does not exist'):
        await Store.open(pg_url.rsplit("/", 1)[0] + "/nowhere")


async def test_an_outage_is_unavailability_and_the_store_recovers(pg_url: str) -> None:
    """Connections that the server has ended are noticed and replaced."""
    async with await Store.open(pg_url) as store:
        async with store._connections.reading() as connection:
            await connection.execute(sa.text("SELECT 1"))
        admin = await asyncpg.connect(pg_url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
        await admin.close()

        await store.ping()
