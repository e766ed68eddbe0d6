"""Proves that every transition is told as a typed event, in order, from any offset, and that what is lost is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    ConfigurationError,
    Engine,
    EngineUnavailable,
    Event,
    EventReader,
    Gap,
    JobContext,
    JobEvent,
    Queue,
    Registry,
    RetryLater,
    Unique,
    Worker,
    events,
)
from dhanam_jobs.engine.events import events_of
from tests.engine.conftest import Hands, Keys

if TYPE_CHECKING:
    from tests.conftest import StartRedis


@pytest.fixture
def queue(engine: Engine, registry: Registry) -> Queue:
    """A queue whose job tells its progress, fails once where it is told to, and ends."""
    registry.queue("q", concurrency=3)

    @registry.job("work", queue="q")
    async def work(ctx: JobContext, payload: Any) -> None:
        if payload == "again" and ctx.attempt == 1:
            raise RetryLater(0.01)
        if payload == "telling":
            await ctx.progress({"done": 1})

    return engine.queue("q")


async def take(reader: EventReader, count: int) -> list[Event]:
    """The next events of a reader."""
    async with asyncio.timeout(10):
        return [await anext(reader) for _ in range(count)]


def words(told: list[Event]) -> list[str]:
    """The names of events, as they are on the wire."""
    return [event.kind for event in told]


async def test_a_job_is_told_from_its_birth_to_its_end(queue: Queue, engine: Engine) -> None:
    """With the worker that has it, and what it tells of itself."""
    async with engine.events("q") as reader:
        job = await queue.enqueue("work", "telling")
        async with Worker(queue) as worker:
            told = await take(reader, 4)
    assert [type(event) for event in told] == [events.Waiting, events.Active, events.Progressed, events.Completed]
    assert {event.job_id for event in told if isinstance(event, JobEvent)} == {job.id}
    assert isinstance(told[1], events.Active)
    assert told[1].worker == worker.name
    assert isinstance(told[2], events.Progressed)
    assert told[2].value == {"done": 1}
    assert all(event.queue == "q" and event.at_ms == int(event.offset.partition("-")[0]) for event in told)
    assert msgspec.json.decode(msgspec.json.encode(told[1])) == {
        "event": "active",
        "queue": "q",
        "offset": told[1].offset,
        "at_ms": told[1].at_ms,
        "job_id": job.id,
        "worker": worker.name,
    }


async def test_every_verb_is_told_in_a_word_that_this_release_has(queue: Queue, engine: Engine, hands: Hands) -> None:
    """Nothing is `Other`."""
    reader = engine.events("q")
    await reader.open()
    held = await queue.enqueue("work", 1, unique="k")
    blocked = await queue.enqueue("work", 2, unique="k")
    await queue.enqueue("work", 1, unique=Unique("d", "debounce", period=5))
    await queue.enqueue("work", 2, unique=Unique("d", "debounce", period=5))
    await hands.claim(queue)
    await hands.die(queue)
    await queue.pause()
    await queue.resume()
    await queue.operations.edit(held.id, 3)
    await queue.cancel(held.id)
    await queue.operations.remove(blocked.id)
    async with Engine.connect(engine.url) as newer:
        await newer.queue("q").enqueue("unknown", 1)
    async with Worker(queue):
        told = await take(reader, 17)
    await queue.operations.clear(force=True)
    told += await take(reader, 1)
    assert words(told) == [
        *("waiting", "blocked", "delayed", "replaced", "active", "dead", "stalled", "waiting", "paused", "resumed"),
        *("edited", "cancelled", "waiting", "removed", "waiting", "active", "parked", "cleared"),
    ]


async def test_the_events_of_each_job_come_in_the_order_of_its_life(queue: Queue, engine: Engine) -> None:
    """Of 300 jobs on two workers, some of which fail once."""
    async with engine.events("q") as reader, Worker(queue), Worker(queue):
        jobs = await queue.enqueue_many([("work", "again" if n % 3 == 0 else n) for n in range(300)])
        lives: dict[str, list[str]] = defaultdict(list)
        ended = 0
        while ended < len(jobs):
            (event,) = await take(reader, 1)
            assert isinstance(event, JobEvent)
            lives[event.job_id] += words([event])
            ended += isinstance(event, events.Completed)
    straight = ["waiting", "active", "completed"]
    again = ["waiting", "active", "delayed", "waiting", "active", "completed"]
    assert [lives[job.id] for job in jobs] == [again if n % 3 == 0 else straight for n in range(300)]


async def test_a_reader_goes_on_behind_any_event_also_in_the_middle_of_a_batch(queue: Queue, engine: Engine) -> None:
    """No event comes twice, none is missed, and "0" begins with the oldest."""
    await queue.enqueue_many([("work", n) for n in range(5)])
    await queue.enqueue("work", 5)
    async with engine.events("q", since="0") as reader:
        whole = await take(reader, 6)
    assert len({event.offset for event in whole}) == 6
    for number, event in enumerate(whole[:-1], 1):
        async with engine.events("q", since=event.offset) as reader:
            assert reader.offsets == {"q": event.offset}
            assert await take(reader, 6 - number) == whole[number:]
            assert reader.offsets == {"q": whole[-1].offset}
    await queue.operations.clear()


async def test_a_reader_may_begin_at_a_moment(queue: Queue, engine: Engine) -> None:
    """Before the first event, that is the beginning."""
    await queue.enqueue("work", 1)
    async with engine.events("q", since="0") as reader:
        (first,) = await take(reader, 1)
    moment = datetime.fromtimestamp(first.at_ms / 1000, UTC)
    for since in (moment, moment - timedelta(days=1)):
        async with engine.events("q", since=since) as reader:
            assert await take(reader, 1) == [first]
    async with engine.events("q", since=moment + timedelta(milliseconds=1)) as reader:
        await queue.pause()
        assert words(await take(reader, 1)) == ["paused"]
    await queue.operations.clear()


async def test_several_queues_are_read_together_and_resumed_each_at_its_place(engine: Engine, queue: Queue) -> None:
    """One reader, one connection."""
    async with Engine.connect(engine.url) as elsewhere:
        other = elsewhere.queue("other")
        async with elsewhere.events("q", "other") as reader:
            await queue.pause()
            await other.pause()
            told = await take(reader, 2)
            assert {(event.queue, *words([event])) for event in told} == {("q", "paused"), ("other", "paused")}
            offsets = reader.offsets
            await queue.resume()
            (resumed,) = await take(reader, 1)
        assert offsets == {event.queue: event.offset for event in told}
        async with elsewhere.events("q", "other", since=offsets) as again:
            assert await take(again, 1) == [resumed]
            await other.resume()
            assert [event.queue for event in await take(again, 1)] == ["other"]


async def test_the_newest_events_can_be_looked_at(engine: Engine, queue: Queue) -> None:
    """Of one queue or of several, the oldest first; part of a batch too."""
    await queue.enqueue_many([("work", n) for n in range(3)])
    async with engine.events("q", since="0") as reader:
        whole = await take(reader, 3)
    await queue.pause()
    recent = await engine.recent_events("q", limit=3)
    assert recent[:2] == whole[1:]
    assert words(recent) == ["waiting", "waiting", "paused"]
    assert await engine.recent_events() == whole + recent[2:]
    assert await engine.recent_events(limit=0) == []
    await queue.operations.clear()


async def test_a_reader_that_fell_behind_is_told_of_the_gap(queue: Queue, engine: Engine, damage: Keys) -> None:
    """Whether it was reading all the time, or comes back with an offset or a moment; one that asks for the oldest that
    is kept misses nothing."""
    await queue.pause()
    async with engine.events("q", since="0") as reader:
        (first,) = await take(reader, 1)
        await queue.resume()
        await queue.pause()
        await damage.command("XTRIM", f"{queue.root}:events", "MAXLEN", 1)
        gap, last = await take(reader, 2)
    assert isinstance(gap, Gap)
    assert (gap.queue, gap.offset, gap.oldest) == ("q", first.offset, last.offset)
    assert isinstance(last, events.Paused)
    for since in (first.offset, f"{first.offset}:0", datetime.fromtimestamp(first.at_ms / 1000, UTC)):
        async with engine.events("q", since=since) as reader:
            assert words(await take(reader, 2))[0] == "gap"
    async with engine.events("q", since="0") as reader:
        assert await take(reader, 1) == [last]


async def test_a_stream_that_was_deleted_is_a_gap_for_who_was_reading_it(
    queue: Queue, engine: Engine, damage: Keys
) -> None:
    """What it held is not known any more."""
    await queue.pause()
    async with engine.events("q") as reader:
        await damage.command("DEL", f"{queue.root}:events")
        await queue.resume()
        assert words(await take(reader, 2)) == ["gap", "resumed"]


async def test_a_reader_begins_now_unless_told_otherwise_and_misses_nothing(queue: Queue, engine: Engine) -> None:
    """Also where nothing has happened yet."""
    async with engine.events() as early:
        await queue.pause()
        async with engine.events("q") as late:
            await queue.resume()
            assert words(await take(late, 1)) == ["resumed"]
        assert words(await take(early, 2)) == ["paused", "resumed"]


async def test_an_outage_takes_only_time(start_redis: StartRedis) -> None:
    """The reader goes on where it was."""
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    async with Engine.connect(server.url) as engine:
        queue = engine.queue("q")
        async with engine.events("q") as reader:
            await queue.pause()
            assert words(await take(reader, 1)) == ["paused"]
            waiting = asyncio.create_task(take(reader, 2))
            await asyncio.sleep(0)
            server.kill()
            server.start()
            async with Engine.connect(server.url) as afresh:
                await afresh.queue("q").resume()
                await afresh.queue("q").pause()
            assert words(await waiting) == ["resumed", "paused"]


async def test_closing_ends_the_iteration_where_it_waits(queue: Queue, engine: Engine, redis_url: str) -> None:
    """By the reader, and by the engine."""

    async def read_all(reader: EventReader, began: asyncio.Event) -> list[Event]:
        await reader.open()
        began.set()
        return [event async for event in reader]

    async with Engine.connect(redis_url) as other:
        readers = [engine.events("q"), other.events("q")]
        began = [asyncio.Event() for _ in readers]
        reading = [asyncio.create_task(read_all(*pair)) for pair in zip(readers, began, strict=True)]
        for one in began:
            await one.wait()
        await readers[0].aclose()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*reading) == [[], []]
    assert [event async for event in readers[0]] == []


async def test_what_can_not_be_an_offset_is_refused(engine: Engine) -> None:
    """By name; so are events of no queue, and a server that isn't there."""
    for since in ("yesterday", "1", "1-2:", datetime(2026, 1, 1)):
        with pytest.raises(ConfigurationError, match=r"events since .*: wanted an"):
            engine.events("q", since=since)
    with pytest.raises(ConfigurationError, match="no queue"):
        engine.events()
    with pytest.raises(EngineUnavailable):
        await anext(Engine("unix:///nowhere.sock").events("q"))


def test_a_word_of_a_newer_release_is_handed_on() -> None:
    """Its reader decides what to make of it."""
    told = events_of("q", "7-0", [b"limited", b"5-1-0 5-2-0", b"waiting", b"5-3-0"])
    assert told == [events.Other("q", "7-0:1", 7, "limited", "5-1-0 5-2-0"), events.Waiting("q", "7-0", 7, "5-3-0")]


@pytest.mark.parametrize("value", [None, b"{"])
def test_progress_without_a_value_that_can_be_read_is_none(value: bytes | None) -> None:
    """It is too large, or written by hand."""
    fields = [b"progress", b"5-1-0"] + ([] if value is None else [b"value", value])
    assert events_of("q", "7-0", fields) == [events.Progressed("q", "7-0", 7, "5-1-0", None)]


async def test_a_reader_writes_nothing(queue: Queue, engine: Engine, keys: Keys, redis: redis_async.Redis) -> None:
    """It may use a replica, or a user who may only read."""
    await queue.pause()
    before = await keys.contents()
    async with engine.events("q", since="0") as reader:
        await take(reader, 1)
    assert await keys.contents() == before


async def test_a_reader_that_does_not_follow_ends_where_nothing_more_has_happened(queue: Queue, engine: Engine) -> None:
    """With all that was there, in however many reads, and its place is where another goes on."""
    jobs = await queue.enqueue_many([("work", n) for n in range(450)])
    for job in jobs:
        await queue.cancel(job.id)
    async with asyncio.timeout(20), engine.events("q", since="0", follow=False) as reader:
        told = [event async for event in reader]
        assert words(told) == ["waiting"] * 450 + ["cancelled"] * 450
        await queue.enqueue("work", 1)
        async with engine.events("q", since=reader.offsets, follow=False) as other:
            assert words([event async for event in other]) == ["waiting"]
        async with engine.events("q", follow=False) as now:
            assert [event async for event in now] == []
