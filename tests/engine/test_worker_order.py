"""Proves in which order jobs start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from dhanam_jobs.engine import Engine, JobContext, Queue, Registry, Worker
from tests.engine.conftest import Hands, Keys


class Line:
    """A queue of concurrency 1 whose handler notes its payloads, and ends the wait of `all` when they have come."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.ran: list[Any] = []
        self.expected = 0
        self.done = asyncio.Event()

    async def handle(self, ctx: JobContext, payload: Any) -> None:
        """The handler."""
        self.ran.append(payload)
        if len(self.ran) == self.expected:
            self.done.set()

    async def all(self, expected: int) -> list[Any]:
        """Works the queue until so many have run, and returns their payloads in order."""
        self.expected = expected
        async with Worker(self.queue, concurrency=1):
            async with asyncio.timeout(20):
                await self.done.wait()
        return self.ran


@pytest.fixture
def line(engine: Engine, registry: Registry) -> Line:
    """An empty line."""
    registry.queue("line", concurrency=1)
    line = Line(engine.queue("line"))

    @registry.job("note", queue="line")
    async def note(ctx: JobContext, payload: Any) -> None:
        await line.handle(ctx, payload)

    return line


async def test_first_in_first_out_within_a_level(line: Line) -> None:
    """Single and bulk enqueues alike."""
    for n in range(20):
        await line.queue.enqueue("note", n)
    await line.queue.enqueue_many([("note", n) for n in range(20, 60)])
    assert await line.all(60) == list(range(60))


async def test_the_more_urgent_level_comes_first(line: Line) -> None:
    """0 before 9, whatever came first."""
    for level in (9, 5, 0, 7, 2):
        await line.queue.enqueue("note", level, priority=level)
    assert await line.all(5) == [0, 2, 5, 7, 9]


async def test_one_claim_in_ten_goes_to_the_oldest_so_that_no_level_starves(line: Line, keys: Keys) -> None:
    """The old job of the last level does not wait for all the urgent ones."""
    await line.queue.enqueue("note", "old", priority=9)
    start = await keys.command("TIME")
    while (await keys.command("TIME"))[1] // 1000 == start[1] // 1000:
        pass
    for n in range(50):
        await line.queue.enqueue("note", n, priority=0)
    ran = await line.all(51)
    assert 9 <= ran.index("old") <= 12
    assert [one for one in ran if one != "old"] == list(range(50))


async def test_reclaimed_jobs_come_before_what_waits(line: Line, hands: Hands) -> None:
    """In the order in which they had been claimed, ahead of their own level only."""
    for n in range(4):
        await line.queue.enqueue("note", n)
    await line.queue.enqueue("note", "urgent", priority=1)
    await hands.claim(line.queue, 3)
    await line.queue.enqueue("note", "next urgent", priority=1)
    await hands.die(line.queue)
    assert await line.all(6) == ["urgent", "next urgent", 0, 1, 2, 3]


async def test_jobs_due_at_the_same_moment_run_in_the_order_of_their_enqueues(line: Line, hands: Hands) -> None:
    """More than ten of them, so that an order of texts would show; earlier ones come first."""
    due = datetime.fromtimestamp(hands.now / 1000 + 60, UTC)
    for n in range(15):
        await line.queue.enqueue("note", n, run_at=due)
    await line.queue.enqueue("note", "earlier", delay=59)
    assert (await line.queue.counts()).delayed == 16
    await hands.advance(line.queue, 60)
    assert await line.all(16) == ["earlier", *range(15)]
