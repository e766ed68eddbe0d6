"""Proves that claim.lua and settle.lua hand out no job that had to be started by a moment that has passed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from dhanam_jobs.engine.job import Record
from tests.engine.conftest import Keys
from tests.engine.lua.ground import Ground, claims_of, id_of, outcome
from tests.engine.lua.hooks_ground import MONTH_MS


async def record(ground: Ground, job_id: str) -> Record:
    """The record of a job that has ended."""
    reply = await ground.run(scripts.FIND, job_id)
    return msgspec.json.decode(reply[1], type=Record)


async def trip(ground: Ground, how: str, want: int = 10, keep: Any = "") -> Any:
    """The reply of a call that claims: alone, or with a settlement."""
    if how == "claim":
        return await ground.run(scripts.CLAIM, "ana", ground.call(), want, 0, keep)
    return await ground.settle(want=want, keep=keep)


@pytest.mark.parametrize("how", ["claim", "settle"])
async def test_an_expired_job_is_failed_and_its_slot_goes_to_the_next(ground: Ground, how: str) -> None:
    """Counted, told, and named to who counts by name; its creation stays; jobs with time left are handed out."""
    await ground.register()
    late = [await ground.enqueue("late", expires=100), await ground.enqueue("late", id="own", expires=100)]
    in_time = await ground.enqueue("early", expires=5_000)
    plain = await ground.enqueue()
    rest = await ground.enqueue()
    ground.now += 100
    reply = await trip(ground, how, want=2)
    assert [id_of(claim) for claim in claims_of(reply)] == [in_time, plain]
    assert reply[-2] == b"late"
    assert [text.decode() for text in reply[-1]] == [late[0], "late", late[1], "late"]
    for job_id in late:
        ended = await record(ground, job_id)
        assert (ended.state, ended.attempt, ended.started_ms, ended.finished_ms) == ("failed", 0, 0, ground.now)
        assert ended.error is not None
        assert (ended.error.type, ended.error.message) == ("Expired", "it had to be started 0.000 s earlier")
        assert ended.created_ms > 0
    assert await ground.command("HGET", ground.key("meta"), "failed") == b"2"
    assert ("failed", " ".join(late)) in await ground.events()
    assert await ground.find(rest) == "waiting"
    assert await ground.command("XPENDING", ground.key("waiting:5"), "workers") != [0, None, None, None]
    await ground.run_dry()


@pytest.mark.parametrize("mark", ["attempt", "stalls", "snoozes", "waits"])
async def test_a_job_that_was_started_before_does_not_expire(ground: Ground, mark: str) -> None:
    """It goes on to its retries."""
    await ground.register()
    job_id = await ground.enqueue(expires=100, fields=[mark, "1"])
    ground.now += 1_000
    assert [id_of(claim) for claim in await ground.claim()] == [job_id]
    await ground.run_dry()


async def test_an_expired_job_gives_its_unique_key_to_the_next(ground: Ground) -> None:
    """Which is waiting then, and is told."""
    await ground.register()
    first = await ground.enqueue(payload="1", unique="k", expires=100)
    second = await ground.enqueue(payload="2", unique="k")
    ground.now += 100
    assert await ground.claim() == []
    assert await ground.find(first) == "ended"
    assert [id_of(claim) for claim in await ground.claim()] == [second]
    await ground.run_dry()


async def test_an_expired_job_takes_no_share_of_its_limit_key_or_of_its_queue(ground: Ground) -> None:
    """The next one of its key starts in the same call, although only one may run, and only one start is counted."""
    await ground.register()
    await ground.run(scripts.LIMIT, "keys", "", 1, 0, 0)
    await ground.run(scripts.LIMIT, "queue", "", 0, 1, 60_000)
    late = await ground.enqueue(fields=["key", "ada"], expires=100)
    following = await ground.enqueue(fields=["key", "ada"])
    ground.now += 100
    assert [id_of(claim) for claim in await ground.claim()] == [following]
    assert await ground.find(late) == "ended"
    assert await ground.command("HGETALL", ground.key("running")) == {b"ada": b"1"}
    assert await ground.command("LLEN", ground.key("starts")) == 1
    assert (await ground.run(scripts.INSPECT, "running", "0"))[1:] == []
    await ground.run_dry()


async def test_the_parent_of_an_expired_job_is_told_by_way_of_the_workers_inbox(ground: Ground) -> None:
    """Its end is to be handed over."""
    await ground.register()
    await ground.enqueue(id="kid", parent="up mum a", expires=100)
    ground.now += 100
    assert await ground.claim() == []
    assert await ground.command("HKEYS", ground.key("handover")) == [b"up mum a"]
    assert await ground.command("LRANGE", ground.key("inbox:ana"), 0, -1) == [b'{"deliver":true}']
    await ground.run(scripts.SENT, "handover", "up mum a", "")
    await ground.run(scripts.LEAVE, "ana")


async def test_the_hook_of_an_expired_job_is_to_be_told(ground: Ground) -> None:
    """By any worker, at once."""
    await ground.register()
    await ground.run(scripts.HOOKS, MONTH_MS, "greet")
    job_id = await ground.enqueue(expires=100)
    ground.now += 100
    await ground.claim()
    member = f"{ground.now} {job_id}"
    assert await ground.run(scripts.UNTOLD, 1, 1, "greet") != []
    assert await ground.run(scripts.TOLD, "greet", member) == 1
    await ground.run(scripts.LEAVE, "ana")


async def test_of_very_many_expired_jobs_one_call_ends_two_hundred(ground: Ground) -> None:
    """The others are handed out, and ended by the worker, so that no call holds Redis for long."""
    await ground.register()
    for _ in range(250):
        await ground.enqueue(expires=1)
    ground.now += 10
    reply = await trip(ground, "claim", want=20, keep=5)
    assert len(claims_of(reply)) == 20
    assert len(reply[-1]) == 2 * 200
    assert await ground.command("ZCARD", ground.key("failed")) == 5
    await ground.run_dry()


async def test_expired_jobs_are_handed_out_where_they_could_not_be_ended(ground: Ground, damage: Keys) -> None:
    """A key of a wrong type is found before anything was done, and costs the claim nothing."""
    await ground.register()
    job_id = await ground.enqueue(expires=100)
    ground.now += 100
    await ground.plant("waited")
    (claim,) = await ground.claim()
    assert id_of(claim) == job_id
    await ground.command("DEL", ground.key("waited"))
    await ground.settle(outcome(claim))
