"""Where a query gets its connection: a new transaction each, or the one transaction that a caller holds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dhanam_jobs.handlers.store.errors import StoreConflict, StoreError, StoreUnavailable

VALUES_PER_QUERY = 5000
"""Values in one IN list; both drivers stop at some 32,000 parameters."""


class Connections(Protocol):
    """Gives connections inside a transaction; leaving the context commits, an exception rolls back."""

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that only reads; on SQLite it waits for no writer."""
        ...

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that may write: on SQLite it holds the one write lock from the start."""
        ...


class PooledConnections:
    """A transaction of its own for each call.

    Raises StoreUnavailable when the database doesn't answer.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single_writer = engine.dialect.name == "sqlite"
        # SQLite's own waiting is a poll without an order; within this process writers queue up instead.
        self._write_lock = asyncio.Lock()
        self._writer: asyncio.Task[object] | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._connected() as connection:
            await connection.execution_options(read_only=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        if not self._single_writer:
            async with self._connected() as connection, connection.begin():
                yield connection
            return
        if self._writer is not None and self._writer is asyncio.current_task():
            raise StoreError("store: found a write inside an open transaction, wanted the transaction's own queries")
        async with self._write_lock:
            self._writer = asyncio.current_task()
            try:
                async with self._connected() as connection, connection.begin():
                    yield connection
            finally:
                self._writer = None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            stack.enter_context(_NamedErrors())
            try:
                connection = await stack.enter_async_context(self._engine.connect())
            except OSError as error:
                # Only here: later, an OSError is the caller's own.
                raise StoreUnavailable(f"store: {type(error).__name__}: {error}") from error
            yield connection


class HeldConnection:
    """Gives the one connection of an open transaction, whatever is asked for."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        yield self._connection

    writing = reading


class _NamedErrors:
    """Turns the drivers' many signs of an outage into StoreUnavailable; lets our own errors through bare."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StatementError) and isinstance(error.orig, StoreError):
            raise error.orig from None
        if isinstance(error, IntegrityError):
            raise StoreConflict(f"store: {_plain(error)}") from error
        if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)) or (
            isinstance(error, DBAPIError) and error.connection_invalidated
        ):
            cause = getattr(error, "orig", None) or error
            raise StoreUnavailable(f"store: {type(cause).__name__}: {cause}") from error


class TableQueries:
    """Base of the query groups: a method is one transaction, or part of the one that a caller holds."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def _where_in(
        self, query: sa.Select[Any], column: sa.ColumnElement[Any], values: Iterable[Any]
    ) -> list[sa.Row[*tuple[Any, ...]]]:
        """The query's rows whose column is among the values, however many those are."""
        unique = sorted(set(values))
        rows: list[sa.Row[*tuple[Any, ...]]] = []
        async with self._connections.reading() as connection:
            for start in range(0, len(unique), VALUES_PER_QUERY):
                chunk = unique[start : start + VALUES_PER_QUERY]
                rows += (await connection.execute(query.where(column.in_(chunk)))).all()
        return rows


def _plain(error: DBAPIError) -> str:
    # asyncpg's adapter puts the class before the message.
    return re.sub(r"^<class '[^']*'>: ", "", str(error.orig)).replace("\n", "; ")
