"""Makes the SQLAlchemy engine for a database URL: drivers, pools, pragmas and the begin of each transaction.

What stands in the database is schema.py's; who holds a transaction is store.py's.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dhanam_jobs.handlers.store.columns import money_from_steps, money_to_steps
from dhanam_jobs.handlers.store.errors import StoreError

BUSY_TIMEOUT_S = 10.0
"""How long a connection waits for another process's write lock on SQLite."""

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse_url(target: str | Path) -> URL:
    """Read `sqlite:///PATH`, `postgresql://...` (or `postgres://`) or a bare path; the drivers are ours.

    Of a PostgreSQL URL's parameters, `sslmode` and `application_name` are understood.
    Raises StoreError for anything else; the message holds no password.
    """
    if isinstance(target, Path) or "://" not in target:
        return URL.create("sqlite+aiosqlite", database=str(Path(target).absolute()))
    try:
        url = make_url(target)
    except (ArgumentError, ValueError):
        raise StoreError("DATABASE_URL: found text that is no URL, wanted sqlite:///PATH or postgresql://...") from None
    family = url.drivername.split("+")[0]
    if family == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StoreError("DATABASE_URL: found SQLite without a file, wanted sqlite:///PATH")
        return URL.create("sqlite+aiosqlite", database=str(Path(url.database).absolute()))
    if family in ("postgresql", "postgres"):
        return _postgresql(url)
    raise StoreError(f"DATABASE_URL: found scheme {family!r}, wanted sqlite or postgresql")


def _postgresql(url: URL) -> URL:
    query: dict[str, Any] = dict(url.query)
    mode = query.pop("sslmode", None)
    query.pop("application_name", None)
    if query:
        names = ", ".join(sorted(query))
        raise StoreError(f"DATABASE_URL: found parameters {names}, wanted only sslmode and application_name")
    if mode is not None and mode not in _SSL_MODES:
        raise StoreError(f"DATABASE_URL: found sslmode={mode}, wanted one of {', '.join(_SSL_MODES)}")
    return url.set(drivername="postgresql+asyncpg", query={"ssl": mode} if mode else {})


def connect(target: str | Path) -> AsyncEngine:
    """Make the engine. Nothing is contacted yet, but SQLite's file and folder are made, for their owner."""
    url = parse_url(target)
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url)
    name = "dhanam-jobs"
    if "://" in str(target):
        name = str(make_url(str(target)).query.get("application_name", name))
    return create_async_engine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=True,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S, "server_settings": {"application_name": name}},
    )


def _connect_sqlite(url: URL) -> AsyncEngine:
    path = Path(str(url.database))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = create_async_engine(
        url,
        connect_args={"factory": _SqliteConnection, "timeout": BUSY_TIMEOUT_S, "isolation_level": None},
    )

    # The driver's own BEGIN comes only before a write, so two read-then-write transactions lose an update
    # without an error; ours comes first and takes the write lock unless the caller only reads.
    @sa.event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


class _MoneySum:
    """SQL aggregate: the exact sum of money texts, NULL for no rows."""

    def __init__(self) -> None:
        self.steps: int | None = None

    def step(self, text: str | None, /) -> None:
        if text is not None:
            self.steps = (self.steps or 0) + money_to_steps(text)

    def finalize(self) -> str | None:
        return None if self.steps is None else money_from_steps(self.steps)


def _compare_money(left: str, right: str) -> int:
    a, b = money_to_steps(left), money_to_steps(right)
    return (a > b) - (a < b)


class _SqliteConnection(sqlite3.Connection):
    """A connection that knows money and our pragmas; made on the driver's own thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.create_collation("money", _compare_money)
        # The stub knows aggregates of int only.
        self.create_aggregate("money_sum", 1, cast(Any, _MoneySum))
        self.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
        self._enter_wal()
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("PRAGMA foreign_keys = ON")

    def _enter_wal(self) -> None:
        # Entering WAL doesn't wait for the busy timeout when another connection enters it at the same time.
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
