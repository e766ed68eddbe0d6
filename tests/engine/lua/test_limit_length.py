"""Proves how limit_length.lua limits a queue, and which chunks enqueue.lua then refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, outcome


async def enqueue(ground: Ground, *extras: dict[str, Any]) -> Any:
    """The script's reply for one chunk."""
    parts = [
        part for n, extra in enumerate(extras) for part in (5, msgspec.json.encode(extra) if extra else b"", "greet", n)
    ]
    return await ground.run(scripts.ENQUEUE, *parts)


async def test_a_limit_is_set_changed_and_ended(ground: Ground) -> None:
    """Each time the one before comes back."""
    assert await ground.run(scripts.LIMIT_LENGTH, 5) == b""
    assert await ground.run(scripts.LIMIT_LENGTH, 7) == b"5"
    assert await ground.run(scripts.LIMIT_LENGTH, "") == b"7"
    assert await ground.run(scripts.LIMIT_LENGTH, "") == b""


async def test_a_chunk_without_room_is_refused_whole(ground: Ground) -> None:
    """Length, limit and the number wanted are told; what fits exactly is stored."""
    await ground.run(scripts.LIMIT_LENGTH, 3)
    await enqueue(ground, {})
    assert await enqueue(ground, {}, {}, {}) == [b"full", 1, 3, 3]
    assert len(await ground.entries("waiting:5")) == 1
    assert len((await enqueue(ground, {}, {}))[0]) == 2
    assert await enqueue(ground, {}) == [b"full", 3, 3, 1]
    await ground.run_dry()


async def test_waiting_delayed_blocked_and_parked_jobs_count_and_active_ones_do_not(ground: Ground) -> None:
    """What has started has left the queue."""
    await ground.register()
    await ground.run(scripts.LIMIT_LENGTH, 4)
    await enqueue(ground, {}, {"unique": "k"})
    (parked, running) = await ground.claim(2)
    await ground.settle(outcome(parked, "parked"))
    await enqueue(ground, {"unique": "k"}, {"delay": 9_000}, {})
    assert (await enqueue(ground, {}))[:3] == [b"full", 4, 4]
    await ground.settle(outcome(running, "completed k"))
    assert (await enqueue(ground, {}))[:3] == [b"full", 4, 4], "the one that waited for the key waits for a worker now"
    (one, two) = await ground.claim()
    assert len((await enqueue(ground, {}, {}))[0]) == 2
    await ground.settle(outcome(one), outcome(two, "completed k"))
    await ground.run(scripts.UNPARK, 10, "greet")
    await ground.run_dry()


@pytest.mark.parametrize(
    "extra",
    [
        {"id": "mine"},
        {"unique": "k"},
        {"unique": "t", "unique_mode": "throttle", "period": 9_000},
        {"unique": "d", "unique_mode": "debounce", "period": 9_000},
    ],
    ids=["id", "key", "throttle", "debounce"],
)
async def test_a_full_queue_still_hands_back_what_it_holds(ground: Ground, extra: dict[str, Any]) -> None:
    """A duplicate needs no room."""
    first = (await enqueue(ground, extra))[0]
    await ground.run(scripts.LIMIT_LENGTH, 1)
    assert await enqueue(ground, extra) == [first, [1]]
    assert (await enqueue(ground, extra, {}))[0] == b"full"
    await ground.run_dry()


async def test_a_rerun_of_an_ended_job_needs_room(ground: Ground) -> None:
    """And without room its record stays."""
    await ground.register()
    await enqueue(ground, {"id": "mine"})
    await ground.settle(*[outcome(claim) for claim in await ground.claim()])
    await enqueue(ground, {})
    await ground.run(scripts.LIMIT_LENGTH, 1)
    assert await enqueue(ground, {"id": "mine", "mode": "rerun_finished"}) == [b"full", 1, 1, 1]
    assert await ground.find("mine") == "ended"
    await ground.run_dry()


async def test_jobs_that_come_back_are_never_refused(ground: Ground) -> None:
    """A retry finds its place in a full queue."""
    await ground.register()
    await enqueue(ground, {})
    (claim,) = await ground.claim()
    await ground.run(scripts.LIMIT_LENGTH, 1)
    await enqueue(ground, {})
    reply = await ground.settle(outcome(claim, "delayed", '{"delay":0,"set":{"attempt":"1"}}'))
    assert reply[2] == b"1"
    assert len(await ground.claim()) == 2
    await ground.run_dry()


async def test_a_lower_limit_leaves_the_jobs_that_are_there(ground: Ground) -> None:
    """Only what comes is refused."""
    await enqueue(ground, {}, {}, {})
    await ground.run(scripts.LIMIT_LENGTH, 1)
    assert len(await ground.entries("waiting:5")) == 3
    assert await enqueue(ground, {}) == [b"full", 3, 1, 1]
    await ground.run_dry()
