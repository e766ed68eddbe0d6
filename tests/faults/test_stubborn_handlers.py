"""Handlers and entries that do what they should not: no slot, no worker and no job is lost to them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import JobContext, JobFailed, JobFilter, RetryLater, RetryPolicy, Snooze, inspect_queue

if TYPE_CHECKING:
    from tests.conftest import RedisServer
    from tests.faults.conftest import Connect, DeclareDead, Handlers, MakeWorker, Problems


class UnspeakableError(Exception):
    """An error whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


async def cancel_oneself(ctx: JobContext, payload: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def raise_unspeakable(ctx: JobContext, payload: Any) -> None:
    raise UnspeakableError


async def snooze_for_ever(ctx: JobContext, payload: Any) -> None:
    raise Snooze(float("inf"))


async def retry_at_no_time(ctx: JobContext, payload: Any) -> None:
    raise RetryLater(float("nan"))


@pytest.mark.parametrize("handler", [cancel_oneself, raise_unspeakable, snooze_for_ever, retry_at_no_time])
async def test_an_ending_that_makes_no_sense_fails_the_job_and_costs_no_slot(
    handler: Any,
    server: RedisServer,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    problems: Problems,
) -> None:
    """With one slot, the job fails by its policy and the next one runs."""
    handlers.registry.job("odd", queue="work", retry=RetryPolicy(attempts=2, base=0.0))(handler)
    queue = await connect(server.url)
    async with make_worker(queue, concurrency=1):
        odd = await queue.enqueue("odd", None)
        with pytest.raises(JobFailed):
            await odd.result(timeout=10)
        assert await (await queue.enqueue("echo", 1)).result(timeout=10) == 1
    assert await problems(queue) == []


async def test_an_entry_written_by_hand_with_nonsense_in_it_does_not_stop_the_worker(
    server: RedisServer, client: redis_async.Redis, handlers: Handlers, connect: Connect, make_worker: MakeWorker
) -> None:
    """Numbers that are none and JSON that is none are read as absent; the job runs, fails, retries and ends."""
    queue = await connect(server.url)
    first = await queue.enqueue("echo", 1)
    nonsense: Any = {
        "attempt": "x",
        "stalls": "-",
        "snoozes": "",
        "created": "now",
        "meta": "{",
        "errors": "[1",
        "options": "7",
    }
    entry: Any = await client.xadd("jobs:{work}:waiting:5", {"name": "flaky", "payload": "2", **nonsense})
    async with make_worker(queue):
        assert await first.result(timeout=10) == 1
        info = await queue.get(f"5-{entry.decode()}")
        assert info is not None
        assert await (await queue.enqueue("echo", 3)).result(timeout=10) == 3
    assert handlers.runs == {1: 1, 2: 2, 3: 1}
    assert (await queue.counts()).completed == 3


async def test_a_handler_that_goes_on_after_its_claim_was_lost_keeps_its_slot(
    server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker, declare_dead: DeclareDead
) -> None:
    """Its worker claims nothing for a slot that isn't free, and takes the job again when it is."""
    finish, begun, told = asyncio.Event(), asyncio.Event(), asyncio.Event()
    runs = []

    @handlers.registry.job("stubborn", queue="work")
    async def stubborn(ctx: JobContext, payload: None) -> str:
        runs.append(ctx)
        begun.set()
        while not finish.is_set():
            try:
                await finish.wait()
            except asyncio.CancelledError:
                told.set()
        return "done"

    queue = await connect(server.url)
    async with make_worker(queue, concurrency=1) as worker:
        job = await queue.enqueue("stubborn", None)
        await begun.wait()
        old_name = worker.name
        await declare_dead(worker)
        await told.wait()
        other = await queue.enqueue("echo", 1)
        counts = await queue.counts()
        assert (counts.active, counts.waiting) == (0, 2)
        assert worker.running == 1
        finish.set()
        assert await job.result(timeout=10) == "done"
        assert await other.result(timeout=10) == 1
        assert worker.name != old_name
    assert [ctx.claim_lost for ctx in runs] == [True, False]


@pytest.mark.long
async def test_a_hurried_stop_ends_although_a_handler_ignores_its_cancellation(
    server: RedisServer,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The job of the deaf handler is left to the sweep; the others are released."""
    finish, begun = asyncio.Event(), asyncio.Event()

    @handlers.registry.job("deaf", queue="work")
    async def deaf(ctx: JobContext, payload: None) -> None:
        begun.set()
        while not finish.is_set():
            try:
                await finish.wait()
            except asyncio.CancelledError:
                continue

    queue = await connect(server.url)
    worker = make_worker(queue, drain_timeout=600.0)
    await worker.start()
    await queue.enqueue("deaf", None)
    await begun.wait()
    gate = await queue.enqueue("gate", 1)
    await handlers.all_begun(1)
    stopping = asyncio.ensure_future(worker.stop())
    await asyncio.sleep(0)
    worker.hurry()
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(30):
            await stopping
    assert "1 jobs could not be released" in caplog.text
    info = await gate.info()
    assert info is not None
    assert (info.state, info.attempt, info.stalls) == ("waiting", 0, 0)
    finish.set()


RUBBISH: dict[str, list[Any]] = {
    "no name": ["a", "b"],
    "two other fields": ["a", "b", "c", "d"],
    "payload before name": ["payload", "2", "name", "echo"],
    "a name that is no UTF-8": ["name", b"\xff\xfe", "payload", "2"],
    "an id that is no UTF-8": ["name", "echo", "payload", "2", "id", b"\xff"],
    "a payload that is no UTF-8": ["name", "echo", "payload", b"\xff{"],
    "an endless number": ["name", "echo", "payload", "2", "attempt", "9" * 5000],
    "a bottomless payload": ["name", "echo", "payload", "[" * 100_000 + "]" * 100_000],
    "bottomless metadata": ["name", "echo", "payload", "2", "meta", '{"a":' + "[" * 5000 + "]" * 5000 + "}"],
    "bottomless options": ["name", "echo", "payload", "2", "options", '{"a":' + "[" * 5000 + "]" * 5000 + "}"],
    "history that is none": ["name", "echo", "payload", "2", "errors", "{}", "meta", "[1]"],
}


@pytest.mark.parametrize("what", RUBBISH)
async def test_rubbish_in_a_stream_stops_neither_a_worker_nor_a_listing(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    what: str,
) -> None:
    """One slot takes it and then the jobs behind it; who lists, looks it up, searches or inspects gets an answer."""
    queue = await connect(server.url)
    first = await queue.enqueue("echo", 1)
    await client.execute_command("XADD", "jobs:{work}:waiting:5", "*", *RUBBISH[what])  # type: ignore[no-untyped-call]
    last = await queue.enqueue("echo", 3)
    page = await queue.operations.page("waiting")
    assert len(page.jobs) == 3
    msgspec.json.decode(msgspec.json.encode(page.jobs))  # what is shown can be shown
    for job in page.jobs:
        await queue.get(job.id)
        await queue.operations.explain(job.id)
    await queue.operations.page("waiting", where=JobFilter(text="nowhere"))
    await inspect_queue(queue)
    async with make_worker(queue, concurrency=1):
        assert await first.result(timeout=10) == 1
        assert await last.result(timeout=10) == 3
    counts = await queue.counts()
    assert counts.active == counts.waiting == 0
    for state in ("parked", "completed", "failed"):
        await queue.operations.page(state)
    await inspect_queue(queue)
