"""Calls whose reply is lost, late, or of a worker that was declared dead: no job is stuck, none counts twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import scripts

if TYPE_CHECKING:
    from tests.conftest import RedisServer, WaitUntil
    from tests.faults.conftest import Connect, DeclareDead, Handlers, MakeWorker, Problems, Proxy


async def test_a_claim_whose_reply_is_lost_is_adopted_and_run_once(
    proxy: Proxy, server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker, problems: Problems
) -> None:
    """The worker asks what it holds, and runs that."""
    queue = await connect(server.url)
    jobs = await queue.enqueue_many(("echo", number) for number in range(5))
    lost = proxy.lose_reply(scripts.CLAIM.sha)
    async with make_worker(await connect(proxy.url)):
        assert [await job.result(timeout=10) for job in jobs] == [0, 1, 2, 3, 4]
    assert lost.reply.count(b"payload") == 5
    assert handlers.runs == dict.fromkeys(range(5), 1)
    assert [info.stalls for job in jobs if (info := await job.info())] == [0] * 5
    assert await problems(queue) == []


async def test_a_settle_whose_reply_is_lost_counts_once_and_its_verdict_is_recovered(
    proxy: Proxy,
    server: RedisServer,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    problems: Problems,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The worker learns that its outcome counted, also where the recovering call's reply is lost too."""
    queue = await connect(server.url)
    job = await queue.enqueue("echo", 1)
    lost = proxy.lose_reply(scripts.SETTLE.sha)
    lost_too = proxy.lose_reply(scripts.RECOVER.sha)
    with caplog.at_level(logging.WARNING):
        async with make_worker(await connect(proxy.url)):
            assert await job.result(timeout=10) == 1
            assert await (await queue.enqueue("echo", 2)).result(timeout=10) == 2
    assert lost.seen.is_set()
    assert lost_too.seen.is_set()
    assert handlers.runs == {1: 1, 2: 1}
    assert (await queue.counts()).completed == 2
    assert "does not count" not in caplog.text
    assert await problems(queue) == []


async def test_jobs_run_once_while_replies_of_all_calls_are_lost_and_retries_are_in_flight(
    proxy: Proxy, server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker, problems: Problems
) -> None:
    """Every third reply or so is lost: each job runs as often as its policy says."""
    queue = await connect(server.url)
    jobs = await queue.enqueue_many(("flaky" if number % 3 == 0 else "echo", number) for number in range(120))
    lost = [proxy.lose_reply(scripts.CLAIM.sha) for _ in range(2)]
    lost += [proxy.lose_reply(scripts.SETTLE.sha) for _ in range(8)]
    lost += [proxy.lose_reply(scripts.RECOVER.sha) for _ in range(3)]
    async with make_worker(await connect(proxy.url)):
        for number, job in enumerate(jobs):
            assert await job.result(timeout=20) == number
    assert all(intercept.seen.is_set() for intercept in lost[2:])
    assert handlers.runs == {number: 2 if number % 3 == 0 else 1 for number in range(120)}
    counts = await queue.counts()
    assert (counts.completed, counts.failed, counts.waiting, counts.active, counts.delayed) == (120, 0, 0, 0, 0)
    assert await problems(queue) == []


async def test_a_late_settle_of_a_client_that_has_given_up_changes_nothing(
    proxy: Proxy, server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker, problems: Problems
) -> None:
    """The worker recovers and settles anew; what arrives after that is stale."""
    queue = await connect(server.url)
    job = await queue.enqueue("flaky", 1)
    held = proxy.hold(scripts.SETTLE.sha)
    async with make_worker(await connect(proxy.url)):
        await held.seen.wait()
        held.hang_up()
        assert await job.result(timeout=10) == 1
        before = await queue.counts()
        assert b"stale" in await held.deliver()
        assert await queue.counts() == before
    assert handlers.runs == {1: 2}
    assert before.completed == 1
    assert await problems(queue) == []


async def test_a_late_claim_of_a_client_that_has_given_up_takes_nothing(
    proxy: Proxy, server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker, problems: Problems
) -> None:
    """A job that waits is not given to a call that nobody waits for."""
    queue = await connect(server.url)
    jobs = await queue.enqueue_many(("gate", number) for number in range(2))
    held = proxy.hold(scripts.CLAIM.sha)
    async with make_worker(await connect(proxy.url), concurrency=1):
        await held.seen.wait()
        held.hang_up()
        await handlers.all_begun(1)
        assert b"stale" in await held.deliver()
        counts = await queue.counts()
        assert (counts.active, counts.waiting) == (1, 1)
        handlers.open_gate(0, 1)
        assert [await job.result(timeout=10) for job in jobs] == [0, 1]
    assert handlers.runs == {0: 1, 1: 1}
    assert await problems(queue) == []


async def test_a_settle_by_a_worker_declared_dead_changes_nothing_and_says_so(
    proxy: Proxy,
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    declare_dead: DeclareDead,
    problems: Problems,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another worker ends the job; the late outcome is refused, and its worker works on under a new name."""
    queue = await connect(server.url)
    held = proxy.hold(scripts.SETTLE.sha)
    worker = make_worker(await connect(proxy.url))
    job = await queue.enqueue("echo", 1)
    async with worker:
        old_name = worker.name
        await held.seen.wait()
        await declare_dead(worker)
        async with make_worker(queue) as other:
            assert await job.result(timeout=10) == 1
            other_name = other.name
        record = await job.info()
        before = await queue.counts()
        with caplog.at_level(logging.ERROR):
            assert (await held.deliver()).startswith(b"*2\r\n$4\r\ndead\r\n")
            held.hang_up()
            later = await queue.enqueue("echo", 2)
            assert await later.result(timeout=10) == 2
        assert await job.info() == record
        assert f"worker {old_name} was declared dead" in caplog.text
        assert worker.name != old_name
        info = await later.info()
        assert info is not None
        assert info.worker == worker.name
    assert record is not None
    assert (record.stalls, record.attempt) == (1, 1)
    assert record.worker in (other_name, worker.name)
    assert before.completed == 1
    assert await problems(queue) == []


async def test_a_handler_is_told_that_its_claim_was_lost(
    server: RedisServer,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    declare_dead: DeclareDead,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """It is cancelled with `claim_lost` set, and the job runs again under the worker's new name."""
    queue = await connect(server.url)
    job = await queue.enqueue("gate", 1)
    async with make_worker(queue) as worker:
        first = (await handlers.all_begun(1))[1]
        assert not first.claim_lost
        old_name = worker.name
        await declare_dead(worker)
        second = (await handlers.all_begun(1))[1]
        assert handlers.interrupted == [first]
        assert first.claim_lost
        assert not second.claim_lost
        assert worker.name != old_name
        handlers.open_gate(1)
        assert await job.result(timeout=10) == 1
        info = await job.info()
    assert info is not None
    assert (info.attempt, info.stalls, info.worker) == (1, 1, worker.name)
    assert await problems(queue) == []
