"""Jobs that are written with an application's own rows: stored after the commit, once, in order, or not at all."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Engine,
    InvalidPayload,
    OutboxRelay,
    OutboxRow,
    Retention,
    SyncEngine,
    Unique,
    Worker,
    outbox_row,
    requests_by_queue,
)
from tests.conftest import WaitUntil

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "outbox.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The documentation's program, as a module."""
    spec = importlib.util.spec_from_file_location("outbox_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(example: ModuleType) -> Iterator[sqlite3.Connection]:
    """The example's tables."""
    connection = sqlite3.connect(":memory:")
    example.create_tables(connection)
    yield connection
    connection.close()


@pytest.fixture
async def mail(redis: Any, redis_url: str, example: ModuleType) -> AsyncIterator[Engine]:
    """An engine with the example's registry."""
    async with Engine.connect(redis_url, registry=example.registry) as engine:
        yield engine


def rows_of(database: sqlite3.Connection) -> list[OutboxRow]:
    """What the outbox holds."""
    return [OutboxRow(*row) for row in database.execute("SELECT id, body FROM outbox ORDER BY place")]


async def test_the_example_runs(
    example: ModuleType, redis: Any, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page shows what works."""
    await example.main(redis_url)
    assert capsys.readouterr().out == "order 1 confirmed\n"


async def test_a_job_is_stored_when_its_transaction_was_and_only_then(
    mail: Engine, database: sqlite3.Connection, example: ModuleType
) -> None:
    """What was rolled back leaves no row, and no job."""
    numbers = [example.place_order(database, item) for item in ("tea", "milk")]
    with pytest.raises(ValueError, match="order of nothing"):
        example.place_order(database, "")
    assert await example.relay(mail, database).run_once() == 2
    assert rows_of(database) == []
    assert (await mail.queue("mail").counts()).levels == {2: 2}
    async with Worker(mail.queue("mail")):
        job = await mail.enqueue(example.Confirm(0))
        await job.result(timeout=10)
    records = [msgspec.json.decode(text) for text in (await mail.redis.hgetall("jobs:{mail}:ended")).values()]
    assert sorted(record["payload"]["order"] for record in records) == [0, *numbers]


async def test_a_row_delivered_again_is_no_second_job_even_when_its_record_is_gone(
    mail: Engine, database: sqlite3.Connection, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the relay dies between storing and forgetting."""
    example.registry.queue("mail", retention=Retention(completed=0))
    example.place_order(database, "tea")
    rows = rows_of(database)
    relay = example.relay(mail, database)
    await relay.run_once()
    queue = mail.queue("mail")
    async with Worker(queue):
        job = await queue.enqueue(example.Confirm(9))
        await job.result(timeout=10)
    with database:
        database.executemany("INSERT INTO outbox (id, body) VALUES (?, ?)", [(row.id, row.body) for row in rows])
    await relay.run_once()
    counts = await queue.counts()
    assert (counts.added, counts.completed, counts.retained_completed, counts.waiting) == (2, 2, 0, 0)
    example.registry.queue("mail")


async def test_a_job_with_a_key_of_its_own_is_known_by_its_row_s_id(mail: Engine, example: ModuleType) -> None:
    """Its key goes on to do its own work."""
    rows = [outbox_row(example.registry, example.Confirm(n), unique=Unique("k", "keep_last")) for n in (1, 2)]
    queue = mail.queue("mail")
    for _ in range(2):
        for name, requests in requests_by_queue(rows).items():
            jobs = await mail.queue(name).store(requests)
    assert [(job.id, job.created) for job in jobs] == [(f"outbox:{row.id}", False) for row in rows]
    assert (await queue.counts()).blocked == 1
    async with Worker(queue):
        assert await jobs[1].result(timeout=10) == "order 2 confirmed"


async def test_a_row_is_checked_where_it_is_written(example: ModuleType) -> None:
    """What the queue would refuse never reaches the table."""
    with pytest.raises(InvalidPayload):
        outbox_row(example.registry, "confirm-order", {"order": "first"}, queue="mail")
    with pytest.raises(ConfigurationError, match="priority"):
        outbox_row(example.registry, example.Confirm(1), priority=99)
    with pytest.raises(ConfigurationError, match="without a queue"):
        outbox_row(example.registry, "confirm-order", {"order": 1})
    with pytest.raises(ConfigurationError, match="'x' can't be read"):
        requests_by_queue([OutboxRow("x", "{}")])


async def test_options_survive_the_way_through_the_table(mail: Engine, example: ModuleType) -> None:
    """Id, level, delay and owner are the job's own at the end."""
    row = outbox_row(
        example.registry, example.Confirm(1), id="mine", priority=1, delay=3600, owner="ana", meta={"n": 1}
    )
    ((_, requests),) = requests_by_queue([row]).items()
    (job,) = await mail.queue("mail").store(requests)
    info = await job.info()
    assert info is not None
    assert (info.id, info.priority, info.state, info.owners) == ("mine", 1, "delayed", ["ana"])
    assert info.meta == {"n": 1, "owners": ["ana"]}


async def test_a_relay_goes_on_after_errors_and_is_woken_by_a_commit(
    mail: Engine,
    database: sqlite3.Connection,
    example: ModuleType,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A table that can't be read costs time only; with an hour between two looks, `wake` is what delivers."""
    failures = [OSError("no table"), OSError("still none")]
    looked = asyncio.Event()

    async def read(limit: int) -> list[OutboxRow]:
        if failures:
            raise failures.pop()
        looked.set()
        return rows_of(database)[:limit]

    async def forget(ids: list[str]) -> None:
        with database:
            database.executemany("DELETE FROM outbox WHERE id = ?", [(row_id,) for row_id in ids])

    relay = OutboxRelay(mail, read=read, forget=forget, interval=3600, limit=2)
    with caplog.at_level(logging.ERROR):
        running = asyncio.create_task(relay.run())
        await looked.wait()
        for item in ("tea", "milk", "bread"):
            example.place_order(database, item)
        relay.wake()
        await wait_until(lambda: not rows_of(database), "all rows are delivered")
        running.cancel()
        await asyncio.wait([running])
    assert (await mail.queue("mail").counts()).added == 3


async def test_a_blocking_relay_stores_the_same_jobs(
    mail: Engine, database: sqlite3.Connection, example: ModuleType, redis_url: str
) -> None:
    """As a management command does."""
    example.place_order(database, "tea")
    with SyncEngine.connect(redis_url) as engine:
        for queue, requests in requests_by_queue(rows_of(database)).items():
            jobs = await asyncio.to_thread(engine.queue(queue).store, requests)
    async with Worker(mail.queue("mail")):
        assert await asyncio.to_thread(jobs[0].result, 10) == "order 1 confirmed"
