"""Proves that inspection finds each kind of damage, done by hand, and nothing on a sound queue."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    Discard,
    Engine,
    JobContext,
    Queue,
    QueueDamaged,
    Registry,
    RetryLater,
    Snooze,
    Worker,
    scripts,
)
from dhanam_jobs.engine.inspection import inspect_queue
from tests.engine.conftest import Keys

if TYPE_CHECKING:
    from tests.conftest import WaitUntil

ROOT = "jobs:{busy}"


class Spoilt:
    """A queue with a job in every state, its ids by state, and commands that spoil it."""

    def __init__(self, queue: Queue, damage: Keys, ids: dict[str, str]) -> None:
        self.queue = queue
        self.ids = ids
        self._damage = damage

    async def do(self, command: str, key: str, *words: Any) -> Any:
        """Runs a command on one of the queue's keys."""
        return await self._damage.command(command, f"{ROOT}:{key}", *words)

    async def problems(self) -> list[str]:
        """What inspection says now."""
        return await inspect_queue(self.queue)


@pytest.fixture
async def spoilt(engine: Engine, damage: Keys) -> Spoilt:
    """A sound queue, about to be spoilt."""
    queue = engine.queue("busy")
    await queue.engine.run(scripts.REGISTER, ROOT, "ana", "{}")

    async def add(state: str, **options: Any) -> str:
        job = await queue.enqueue("note", state, **options)
        return job.id

    async def end(state: str) -> str:
        ids = await add(state, id=state)
        calls["number"] += 1
        reply = await queue.engine.run(scripts.CLAIM, ROOT, "ana", calls["number"], 1, 0)
        calls["number"] += 1
        record = f'{{"id":"{ids}","state":"{state}"}}' if state != "parked" else '{"set":{}}'
        entry = reply[5][0][0]
        await queue.engine.run(
            scripts.SETTLE, ROOT, "ana", calls["number"], 0, 0, 9, 9, 9, reply[4], entry, ids, state, record
        )
        return ids

    calls = {"number": 0}
    ids = {state: await end(state) for state in ("completed", "failed", "parked")}
    ids["active"] = await add("active", id="active")
    calls["number"] += 1
    await queue.engine.run(scripts.CLAIM, ROOT, "ana", calls["number"], 1, 0)
    ids["waiting"] = await add("waiting", id="waiting")
    ids["plain"] = await add("plain")
    ids["delayed"] = await add("delayed", delay=1000)
    ids["owner"] = await add("owner", unique="k")
    ids["blocked"] = await add("blocked", unique="k", id="blocked")
    assert await inspect_queue(queue) == []
    return Spoilt(queue, damage, ids)


def said(problems: list[str], *words: str) -> bool:
    """Whether one sentence holds all the words."""
    return any(all(word in problem for word in words) for problem in problems)


async def test_a_job_that_vanished_unbalances_the_counts(spoilt: Spoilt) -> None:
    """A plain job has no other trace."""
    place, _, entry = spoilt.ids["plain"].partition("-")
    await spoilt.do("XDEL", f"waiting:{place}", entry)
    assert said(await spoilt.problems(), "9 jobs were added", "8 are accounted for")


async def test_a_record_without_its_list_is_found(spoilt: Spoilt) -> None:
    """Retention would never take it."""
    await spoilt.do("ZREM", "completed", "completed")
    problems = await spoilt.problems()
    assert said(problems, "ended completed", "no list of ended jobs")
    assert said(problems, "2 records, but 1 ids")


async def test_a_list_without_its_record_is_found(spoilt: Spoilt) -> None:
    """The job was kept, and what is left of it is its id."""
    await spoilt.do("HDEL", "ended", "failed")
    assert said(await spoilt.problems(), "failed failed", "its record is gone")


@pytest.mark.parametrize("state", ["waiting", "active"])
async def test_an_indexed_entry_that_is_gone_is_found(spoilt: Spoilt, state: str) -> None:
    """The id leads nowhere."""
    (where,) = await spoilt.do("HMGET", "index", state)
    await spoilt.do("XDEL", where.split()[0].decode(), where.split()[1])
    problems = await spoilt.problems()
    assert said(problems, f"index {state}", "leads nowhere")
    assert said(problems, "but the entry is gone") == (state == "active")


async def test_an_entry_that_the_index_does_not_know_is_found(spoilt: Spoilt) -> None:
    """The job could not be found by its id."""
    await spoilt.do("HDEL", "index", "waiting")
    assert said(await spoilt.problems(), "job waiting is not where the index says")


async def test_an_entry_without_name_or_payload_is_found(spoilt: Spoilt) -> None:
    """Written by hand, it is one too many as well."""
    await spoilt.do("XADD", "waiting:5", "*", "x", "y")
    problems = await spoilt.problems()
    assert said(problems, "an entry without name or payload")
    assert said(problems, "9 jobs were added", "10 are accounted for")


async def test_a_claim_of_no_live_worker_is_found(spoilt: Spoilt) -> None:
    """Its lease is gone and no sweep has come."""
    await spoilt.do("ZREM", "workers", "ana")
    problems = await spoilt.problems()
    assert said(problems, "claimed by ana, which is no live worker")
    assert said(problems, "worker:ana", "without a lease")


async def test_a_stream_without_its_group_is_found(spoilt: Spoilt) -> None:
    """Its claims are forgotten."""
    await spoilt.queue.engine.redis.xgroup_destroy(f"{ROOT}:waiting:5", "workers")
    assert said(await spoilt.problems(), "waiting:5: its group of workers is gone")


async def test_a_stream_that_no_worker_reads_is_found(spoilt: Spoilt) -> None:
    """The list of places forgot it."""
    await spoilt.do("HSET", "meta", "places", "waiting:4")
    assert said(await spoilt.problems(), "waiting:5: a stream that no worker reads")


@pytest.mark.parametrize("state", ["delayed", "blocked", "parked"])
async def test_a_kept_job_without_its_body_is_found(spoilt: Spoilt, state: str) -> None:
    """What it was can't be told any more."""
    await spoilt.do("DEL", f"job:{spoilt.ids[state]}")
    problems = await spoilt.problems()
    assert said(problems, f"{state} {spoilt.ids[state]}", "its body is gone")
    assert said(problems, f"index {spoilt.ids[state]}", "leads nowhere")


@pytest.mark.parametrize("state", ["delayed", "blocked", "parked"])
async def test_a_kept_job_that_its_list_forgot_is_found(spoilt: Spoilt, state: str) -> None:
    """It would never run."""
    await spoilt.do("DEL", state)
    assert said(await spoilt.problems(), f"index {spoilt.ids[state]}", f"not among the {state}")


@pytest.mark.parametrize("state", ["delayed", "blocked", "parked"])
async def test_a_kept_job_that_the_index_forgot_is_found(spoilt: Spoilt, state: str) -> None:
    """Both its list and its body say so."""
    await spoilt.do("HDEL", "index", spoilt.ids[state])
    problems = await spoilt.problems()
    assert said(problems, f"{state} {spoilt.ids[state]}", "the index says otherwise")
    assert said(problems, f"job:{spoilt.ids[state]}", 'the index says ""')


async def test_a_job_that_is_both_ended_and_alive_is_found(spoilt: Spoilt) -> None:
    """It would be in two states."""
    await spoilt.do("HSET", "ended", "waiting", '{"state":"completed"}')
    assert said(await spoilt.problems(), "job waiting: both ended and")


async def test_a_unique_key_held_by_no_live_job_is_found(spoilt: Spoilt) -> None:
    """Whoever waits for it waits for ever."""
    await spoilt.do("HSET", "unique", "lost", "0" * 40 + " completed")
    await spoilt.do("HSET", "unique", "gone", "0" * 40 + " nobody")
    problems = await spoilt.problems()
    assert said(problems, "unique key lost", "no live job")
    assert said(problems, "unique key gone", "no live job")


async def test_a_blocked_job_that_nobody_will_wake_is_found(spoilt: Spoilt) -> None:
    """The list of its key does not name it."""
    await spoilt.do("DEL", "held:k")
    assert said(await spoilt.problems(), "blocked blocked", "waits for key k", "does not name it")


async def test_a_list_of_a_key_that_nobody_holds_is_found(spoilt: Spoilt) -> None:
    """Its first job should have been woken."""
    await spoilt.do("HDEL", "unique", "k")
    assert said(await spoilt.problems(), "held:k", "nobody holds")


async def test_a_list_of_a_key_that_names_a_stranger_is_found(spoilt: Spoilt) -> None:
    """That job is not blocked."""
    await spoilt.do("RPUSH", "held:k", "0" * 40 + " waiting")
    assert said(await spoilt.problems(), "held:k: names waiting")


async def test_orphaned_bodies_rows_owners_and_results_are_found(spoilt: Spoilt) -> None:
    """Keys that outlived what they belonged to."""
    await spoilt.do("HSET", "job:ghost", "name", "x")
    await spoilt.do("HSET", "worker:ghost", "call", 1)
    await spoilt.do("HSET", "joined", "nobody", '["ana"]')
    await spoilt.do("SET", "result:ghost", "{}")
    await spoilt.do("SET", "throttled:k", "1 ghost")
    await spoilt.do("HSET", "metrics:minute:greet", "0", "{}")
    problems = await spoilt.problems()
    assert said(problems, "job:ghost", 'the index says ""')
    assert said(problems, "worker:ghost", "without a lease")
    assert said(problems, "joined nobody", "owners of no job")
    assert said(problems, "result:ghost", "kept without an end")
    assert said(problems, "throttled:k", "kept without an end")
    assert said(problems, "metrics:minute:greet", "kept without an end")


@pytest.mark.parametrize("key", ["meta", "index", "ended", "delayed", "waiting:5", "held:k", "unique"])
async def test_a_key_of_a_wrong_type_is_a_problem_and_not_an_end(spoilt: Spoilt, key: str) -> None:
    """The rest is looked at all the same."""
    await spoilt.do("DEL", key)
    await spoilt.do("SET", key, "planted")
    assert said(await spoilt.problems(), "WRONGTYPE")


async def test_a_queue_after_a_busy_run_is_sound(
    engine: Engine, registry: Registry, redis: redis_async.Redis, wait_until: WaitUntil
) -> None:
    """Retries, snoozes, failures, delays, levels, unique chains, unknown names and retention: nothing is left over."""
    registry.queue("busy", concurrency=20)

    @registry.job("work", queue="busy")
    async def work(ctx: JobContext, payload: int) -> int:
        if payload % 5 == 1 and ctx.attempt == 1:
            raise RetryLater(0.001)
        if payload % 7 == 2 and ctx.attempt == 1:
            raise Discard("no")
        if payload % 11 == 3 and payload not in snoozed:
            snoozed.add(payload)
            raise Snooze(0.001)
        return payload

    snoozed: set[int] = set()
    queue = engine.queue("busy")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(Worker(queue))
        for n in range(600):
            options: dict[str, Any] = {"priority": n % 10}
            if n % 3 == 0:
                options["unique"] = f"k{n % 9}"
            if n % 4 == 0:
                options["delay"] = 0.002
            if n % 6 == 0:
                options["id"] = f"mine-{n}"
            await queue.enqueue("work", n, **options)
            if n % 100 == 50:
                problems = await inspect_queue(queue)
                assert problems == []

        async def ended() -> bool:
            counts = await queue.counts()
            return counts.completed + counts.failed == 600

        await wait_until(ended, "600 jobs ended", timeout=30)
        assert await inspect_queue(queue) == []
    assert await inspect_queue(queue) == []
    counts = await queue.counts()
    assert counts.failed == len([n for n in range(600) if n % 7 == 2 and n % 5 != 1])
    assert counts.retained_completed == 100
    assert counts.retained_failed == 50


async def test_a_dead_letter_without_record_and_a_record_without_letter_are_found(spoilt: Spoilt) -> None:
    """Each by its id, and by the counts."""
    await spoilt.do("ZADD", "dead", 1, "lost")
    assert said(await spoilt.problems(), "dead lost", "record is gone")
    assert said(await spoilt.problems(), "1 dead letters, but 0 records")
    await spoilt.do("ZREM", "dead", "lost")
    await spoilt.do("HSET", "buried", "stray", "{}")
    assert said(await spoilt.problems(), "buried stray", "does not hold")


async def test_an_entry_that_was_handed_out_and_is_held_by_nobody_is_found(spoilt: Spoilt) -> None:
    """An XACK by hand, without the XDEL: no worker would ever see it again."""
    place, entry = (await spoilt.do("HGET", "index", "active")).decode().split(" ")
    await spoilt.do("XACK", place, "workers", entry)
    assert said(await spoilt.problems(), place, entry, "nobody holds it")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("notes", "of no job"),
        ("cancelling", "does not run"),
        ("runs", "waits for a job that is gone"),
    ],
)
async def test_what_is_noted_of_no_job_is_found(spoilt: Spoilt, key: str, words: str) -> None:
    """Notes, cancellations under way, runs of schedules."""
    await spoilt.do("HSET", key, "nobody", "daily")
    assert said(await spoilt.problems(), key, "nobody", words)


@pytest.mark.parametrize(("key", "words"), [("inbox:nobody", "worker that is gone"), ("log:nobody", "has no notes")])
async def test_lists_that_outlived_what_they_belong_to_are_found(spoilt: Spoilt, key: str, words: str) -> None:
    """An inbox, and a log."""
    await spoilt.do("RPUSH", key, "line")
    assert said(await spoilt.problems(), key, words)


async def test_what_clear_threw_away_is_no_problem(spoilt: Spoilt) -> None:
    """Bodies and log lines go with the trash, a moment later."""
    await spoilt.queue.engine.run(scripts.CLEAR, ROOT, 1, 100)
    assert await spoilt.do("EXISTS", f"job:{spoilt.ids['delayed']}") == 1
    assert await spoilt.problems() == []
    await spoilt.queue.operations.tidy()
    assert await spoilt.do("EXISTS", f"job:{spoilt.ids['delayed']}") == 0


@pytest.mark.parametrize("key", ["meta", "delayed", "waiting:5", "workers"])
async def test_a_verb_that_meets_a_key_of_a_wrong_type_says_so_and_changes_nothing(spoilt: Spoilt, key: str) -> None:
    """The engine's own error names the queue and who says which key; starting a worker says the same."""
    await spoilt.do("DEL", key)
    await spoilt.do("SET", key, "planted")
    worker = Worker(spoilt.queue)
    verbs = (spoilt.queue.counts(), spoilt.queue.operations.workers(), worker.start())
    said_by = await asyncio.gather(*verbs, return_exceptions=True)
    await worker.stop(0)
    refused = [error for error in said_by if isinstance(error, QueueDamaged)]
    assert refused
    assert all("is of a wrong type, inspect says which" in str(error) for error in refused)
    assert not [error for error in said_by if isinstance(error, Exception) and error not in refused]
    assert await spoilt.do("GET", key) == b"planted"
