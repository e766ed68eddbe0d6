"""An order and its e-mail in one transaction: both are there, or neither. SQLite here; any SQL database will do."""

from __future__ import annotations

import asyncio
import sqlite3
import sys

import msgspec

from dhanam_jobs.engine import Engine, JobContext, OutboxRelay, OutboxRow, Registry, Worker, outbox_row

registry = Registry()


class Confirm(msgspec.Struct):
    """The payload: which order is confirmed."""

    order: int


@registry.job("confirm-order", queue="mail")
async def confirm(ctx: JobContext, payload: Confirm) -> str:
    """Sends the e-mail."""
    return f"order {payload.order} confirmed"


def create_tables(database: sqlite3.Connection) -> None:
    """The outbox is a table like any other; `place` keeps the order in which rows were written."""
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")
    database.execute("CREATE TABLE outbox (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)")


def place_order(database: sqlite3.Connection, item: str) -> int:
    """Writes the order and the job that follows from it."""
    with database:  # one transaction: committed at the end, rolled back by an error
        cursor = database.execute("INSERT INTO orders (item) VALUES (?)", (item,))
        number = int(cursor.lastrowid or 0)
        row = outbox_row(registry, Confirm(number), id=f"confirm-{number}", priority=2)
        database.execute("INSERT INTO outbox (id, body) VALUES (?, ?)", (row.id, row.body))
        if not item:
            raise ValueError("an order of nothing")
    return number


def relay(engine: Engine, database: sqlite3.Connection) -> OutboxRelay:
    """Carries what was committed to the queue."""

    async def read(limit: int) -> list[OutboxRow]:
        rows = database.execute("SELECT id, body FROM outbox ORDER BY place LIMIT ?", (limit,))
        return [OutboxRow(*row) for row in rows]

    async def forget(ids: list[str]) -> None:
        with database:
            database.executemany("DELETE FROM outbox WHERE id = ?", [(row_id,) for row_id in ids])

    return OutboxRelay(engine, read=read, forget=forget)


async def main(url: str) -> None:
    """Places an order, delivers its job and shows what came of it."""
    database = sqlite3.connect(":memory:")
    create_tables(database)
    number = place_order(database, "tea")
    async with Engine.connect(url, registry=registry) as engine, Worker(engine.queue("mail")):
        await relay(engine, database).run_once()  # a service has a task with `run()`
        print(await engine.queue("mail").job(f"confirm-{number}").result(timeout=10))
    database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"))
