"""Proves how jobs travel into a queue: together, in order, and all or none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dhanam_jobs.engine import ConfigurationError, Engine, EngineUnavailable, JobState, UnknownJobName
from tests.engine.conftest import Keys


async def script_calls(keys: Keys) -> int:
    """Scripts that the server has run since its statistics were reset."""
    stats = await keys.client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))


async def test_concurrent_single_enqueues_travel_together_in_order(engine: Engine, keys: Keys) -> None:
    """Three hundred callers of one loop turn cost a handful of calls, and each gets its own job."""
    queue = engine.queue("many")
    await queue.enqueue("note", "first")
    await keys.command("CONFIG", "RESETSTAT")
    jobs = await asyncio.gather(*(queue.enqueue("note", n) for n in range(300)))
    assert 1 <= await script_calls(keys) <= 3
    entries = await keys.command("XRANGE", f"{queue.root}:waiting:5", "-", "+")
    assert [int(fields[b"payload"]) for _, fields in entries[1:]] == list(range(300))
    assert [job.id for job in jobs] == [f"5-{entry.decode()}" for entry, _ in entries[1:]]


async def test_a_bulk_of_1200_is_stored_in_order_in_three_calls(engine: Engine, keys: Keys) -> None:
    """Chunks of 500; the jobs come back in the order in which they were given."""
    queue = engine.queue("many")
    await queue.enqueue("note", "first")
    await keys.command("CONFIG", "RESETSTAT")
    jobs = await queue.enqueue_many([("note", n) for n in range(1200)], priority=2)
    assert await script_calls(keys) == 3
    entries = await keys.command("XRANGE", f"{queue.root}:waiting:2", "-", "+")
    assert [int(fields[b"payload"]) for _, fields in entries] == list(range(1200))
    assert [job.id for job in jobs] == [f"2-{entry.decode()}" for entry, _ in entries]
    assert all(job.created for job in jobs)


async def test_a_chunk_that_redis_refuses_stores_nothing_and_every_caller_is_told(engine: Engine, damage: Keys) -> None:
    """A spoilt key refuses the whole call, for callers that only travel along too."""
    queue = engine.queue("many")
    await damage.command("SET", f"{queue.root}:events", "planted")
    outcomes = await asyncio.gather(
        queue.enqueue("note", 1), queue.enqueue("note", 2, delay=5), queue.enqueue("note", 3), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [EngineUnavailable] * 3
    assert "nothing was stored" in str(outcomes[0])
    with pytest.raises(EngineUnavailable):
        await queue.enqueue_many([("note", n) for n in range(20)])
    assert await damage.names(f"{queue.root}:*") == {f"{queue.root}:events"}


async def test_a_moment_counts_in_whatever_zone_it_is_given(engine: Engine) -> None:
    """A moment that has passed makes the job waiting; one without a zone is refused."""
    queue = engine.queue("times")
    moment = datetime.now(UTC) + timedelta(hours=1)
    mexico = moment.astimezone(timezone(timedelta(hours=-6)))
    dues = []
    for run_at in (moment, mexico):
        info = await (await queue.enqueue("note", 1, run_at=run_at)).info()
        assert info is not None
        dues.append(info.due_ms)
    assert dues == [round(moment.timestamp() * 1000)] * 2
    past = await (await queue.enqueue("note", 1, run_at=datetime(2020, 1, 1, tzinfo=UTC))).info()
    assert past is not None
    assert past.state is JobState.WAITING
    with pytest.raises(ConfigurationError, match="wanted a datetime with a time zone"):
        await queue.enqueue("note", 1, run_at=datetime(2030, 1, 1))
    with pytest.raises(ConfigurationError, match="both delay and run_at"):
        await queue.enqueue("note", 1, run_at=moment, delay=5)
    assert (await queue.counts()).added == 3


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "a\n"])
async def test_a_name_that_no_handler_could_have_is_refused(engine: Engine, name: str) -> None:
    """Also where this process knows no names at all."""
    with pytest.raises(UnknownJobName, match="wanted 1 to 128"):
        await engine.queue("names").enqueue(name, 1)


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a{b}", "x" * 65])
async def test_an_illegal_queue_name_is_refused(engine: Engine, name: str) -> None:
    """It would be part of every key."""
    with pytest.raises(ConfigurationError, match="queue name"):
        engine.queue(name)
