"""Proves that the models notice what they are for: each fault, put into a script or a courier, fails one of their programs.

A fault is a text of the scripts and what takes its place. Where the text is gone, the fault is to be written anew.
"""

# ruff: noqa: E501

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import scripts
from dhanam_jobs.engine.courier import Courier
from dhanam_jobs.engine.scripts import Script
from tests.model.families import FAMILIES
from tests.model.program import QUEUE, Program, Stage, play

if TYPE_CHECKING:
    from tests.conftest import RedisServer, StartRedis

SECONDS = 120.0
LIMITS = {
    "a period ends too early": ("if at + period > now then return left", "if at + period / 10 > now then return left"),
    "a claim that ends keeps the share of its key": (
        "if redis.call('HINCRBY', root .. 'running', key, -count) <= 0",
        "if redis.call('HINCRBY', root .. 'running', key, 0) <= 0",
    ),
    "a key may run one job more than it may": (
        ">= concurrency then return false end",
        "> concurrency then return false end",
    ),
    "a queue forgets what runs": ("want = math.min(want, concurrency - active)", "want = math.min(want, concurrency)"),
    "starts of a key are not noted": (
        "if starts > 0 then log_starts(root .. 'starts:' .. key",
        "if false then log_starts(root .. 'starts:' .. key",
    ),
    "starts of a queue are not noted": ("log_starts(root .. 'starts', starts, period, #ids)", ""),
    "a key keeps its turn": (
        "redis.call('ZADD', root .. 'turns', string.format('%.0f', code * STEP + turn), key)",
        "redis.call('ZADD', root .. 'turns', string.format('%.0f', code * STEP + #key), key)",
    ),
    "the last in the line is the first": (
        "(front and 0 or 1)) * STEP + number)\n  if type",
        "(front and 0 or 1)) * STEP - number + 1e9)\n  if type",
    ),
    "what came back goes to the end": (
        "level * 2 + (front and 0 or 1)) * STEP + number)\n  if type",
        "level * 2 + 1) * STEP + number)\n  if type",
    ),
    "a rest of the queue is forgotten": (
        "'limited_until', string.format('%d', math.max(opens, known))",
        "'limited_until', '0'",
    ),
    "a key that rests is not woken": ("if keyed then wake_rested(200) end", ""),
    "nobody watches for the end of a rest": ("if resting[1] and (not head[1] or", "if false and (not head[1] or"),
    "nobody watches for the end of the queue's limit": ("head = {'limit', string.format('%d', opens)}", ""),
    "a raised limit lets nobody go": ("if what == 'key' then\n    refresh(about)", "if what == 'key' then"),
    "a removed job keeps its share": (
        "give_back(place, {entry})\n    if state == 'active' then ring() end",
        "if state == 'active' then ring() end",
    ),
    "a dead worker's jobs keep their shares": (
        "redis.call('XDEL', root .. place, entry)\n  give_back(place, {entry})",
        "redis.call('XDEL', root .. place, entry)",
    ),
    "a settled job keeps its share": (
        "if string.sub(place, 1, 9) == 'admitted:' then give_back(place, entries) end",
        "",
    ),
    "jobs with a key go before those without": (
        "half = math.floor((left + redis.call('HINCRBY', root .. 'meta', 'turn', 1) % 2) / 2)",
        "half = left",
    ),
    "a key that comes back has no turn": (
        "if redis.call('ZRANK', line, id) == 0 then refresh(key) end",
        "if front then return end\n  if redis.call('ZRANK', line, id) == 0 then refresh(key) end",
    ),
}
TREES = {
    "a tree stays behind": ("if tree and redis.call('HEXISTS', ends", "if false and redis.call('HEXISTS', ends"),
    "an end is not handed over": (
        "redis.call('HSETNX', root .. 'handover', link, records[i])",
        "redis.call('HLEN', root .. 'handover')",
    ),
    "a parent's failing child is ignored": ("if policy == 'fail' then", "if policy == 'never' then"),
    "a failure does not let a parent go on": ("elseif policy == 'continue' then", "elseif policy == 'never' then"),
    "a parent goes on with each end": (
        "if what == 'go' and next_state == 'blocked' then",
        "if next_state == 'blocked' then",
    ),
    "a parent that waits is not looked at": (
        "if kind == 'waits' and not mark then next_state, why = outlook(id, change.seen) end",
        "if kind == 'waits' and not mark then next_state = 'blocked' end",
    ),
    "a parent forgets the failures that it knew": (
        "if word == 'go' and tonumber(rest) > seen then",
        "if word == 'go' then",
    ),
    "a child stored late runs again": (
        "or redis.call('ZSCORE', root .. 'handed', request.parent)) then return",
        "or false) then return",
    ),
    "a child that has ended tells nobody": ("redis.call('HSET', root .. 'handover', parent, text)", ""),
    "only the first parent is told": ("links and links .. '\\n' .. parent or parent)", "links or parent)"),
    "what is told twice counts twice": (
        "elseif redis.call('HSETNX', root .. 'child_ends:' .. id, key, ARGV[i + 4]) == 1 then",
        "elseif redis.call('HSET', root .. 'child_ends:' .. id, key, ARGV[i + 4]) >= 0 then",
    ),
    "a child with other parents is taken along": ("if #left > 0 then", "if false then"),
    "a family outlives its parent": ("redis.call('DEL', children, ends)", ""),
}


#: The seed of a program that shows the fault, so that nobody looks for one each time. Where a change of the programs makes
#: one stale, others are tried behind it; `pytest -s` prints the new one.
FIRST: dict[str, int] = {
    "a period ends too early": 32,
    "a queue forgets what runs": 4,
    "starts of a queue are not noted": 18,
    "a key that rests is not woken": 33,
    "nobody watches for the end of a rest": 1,
    "nobody watches for the end of the queue's limit": 17,
    "a raised limit lets nobody go": 33,
    "a removed job keeps its share": 11,
    "a dead worker's jobs keep their shares": 13,
    "a tree stays behind": 4,
    "a parent's failing child is ignored": 2,
    "a failure does not let a parent go on": 3,
    "a parent goes on with each end": 1,
    "a parent forgets the failures that it knew": 8,
    "a child stored late runs again": 117,
    "a child that has ended tells nobody": 1,
    "only the first parent is told": 1,
    "what is told twice counts twice": 26,
    "a child with other parents is taken along": 1,
    "a courier strikes out before it tells": 12,
}


@pytest.fixture
def server(start_redis: StartRedis) -> RedisServer:
    """A server whose data survives being killed."""
    return start_redis("--appendonly", "yes", "--appendfsync", "no")


@contextmanager
def faulty(text: str, instead: str) -> Iterator[None]:
    """The scripts with that fault."""
    whole = {script: (script.text, script.sha) for script in vars(scripts).values() if isinstance(script, Script)}
    found = [script for script in whole if text in script.text]
    assert found, f"no script holds {text!r} any more: write the fault anew"
    try:
        for script in found:
            script.text = script.text.replace(text, instead)
            script.sha = hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()
        yield
    finally:
        for script, (known, sha) in whole.items():
            script.text, script.sha = known, sha


async def is_caught(server: RedisServer, stage: Stage, fault: str) -> bool:
    """Whether a program fails within the time, beginning with the one that is known to show the fault."""
    seed, deadline = FIRST.get(fault, 0), time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        failure = await play(server, stage, Program.drawn(stage, seed))
        if failure:
            assert failure.error.startswith("Mismatch"), failure.error  # a fault that is no script proves nothing
            print(f"FIRST {fault!r}: {seed}")
            return True
        seed += 1
    return False


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("fault", LIMITS)
async def test_the_model_of_a_queue_catches_a_fault_in_its_limits(server: RedisServer, fault: str) -> None:
    """Most within a second."""
    with faulty(*LIMITS[fault]):
        assert await is_caught(server, QUEUE, fault)


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("fault", TREES)
async def test_the_model_of_families_catches_a_fault_in_them(server: RedisServer, fault: str) -> None:
    """Most within a second."""
    with faulty(*TREES[fault]):
        assert await is_caught(server, FAMILIES, fault)


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 30)
async def test_the_model_of_families_catches_a_courier_that_strikes_out_before_it_tells(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it dies in between, nobody is told."""
    hand_over = Courier._hand_over

    async def hasty(self: Courier, ends: dict[bytes, bytes]) -> int:
        await self._sent("handover", dict.fromkeys(ends, b""))
        return await hand_over(self, ends)

    monkeypatch.setattr(Courier, "_hand_over", hasty)
    assert await is_caught(server, FAMILIES, "a courier strikes out before it tells")


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 30)
async def test_the_model_of_families_catches_a_courier_that_never_strikes_out(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would carry the same for ever."""

    async def forgetful(self: Courier, what: str, names: dict[bytes, Any]) -> int:
        return len(names)

    monkeypatch.setattr(Courier, "_sent", forgetful)
    assert await is_caught(server, FAMILIES, "a courier never strikes out")


def test_every_fault_still_fits_a_script() -> None:
    """Each text is there, once or more; without this, a fault would be noticed missing only in CI."""
    texts = [script.text for script in vars(scripts).values() if isinstance(script, Script)]
    gone = [fault for fault, (text, _) in {**LIMITS, **TREES}.items() if not any(text in one for one in texts)]
    assert not gone, f"write these faults anew: {gone}"
