"""Processes that are killed, stopped and drained while others go on: nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import JobFailed, JobState, Record, Retention
from dhanam_jobs.engine.sweeper import Sweeper

if TYPE_CHECKING:
    from tests.conftest import RedisServer, WaitUntil
    from tests.faults.conftest import Connect, Handlers, MakeWorker, Problems, StartWorkerProcess

LEASE_MS, SWEEP_MS = 1_500, 150  # as in conftest.py


async def begun(client: redis_async.Redis, count: int) -> list[tuple[int, int]]:
    """The next `count` gates that began in any process: number and process id."""
    found: list[tuple[int, int]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            reply: Any = await client.blpop(["begun"], timeout=0)
            number, pid = reply[1].split()
            found.append((int(number), int(pid)))
    return found


async def open_gates(client: redis_async.Redis, *numbers: int) -> None:
    for number in numbers:
        await client.rpush(f"gate:{number}", "open")


async def runs_of(client: redis_async.Redis) -> dict[int, int]:
    found: Any = await client.hgetall("runs")
    return {int(number): int(count) for number, count in found.items()}


async def test_ten_thousand_jobs_end_exactly_once_although_their_process_is_killed(
    server: RedisServer,
    client: redis_async.Redis,
    connect: Connect,
    start_worker_process: StartWorkerProcess,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """SIGKILL twice in the middle: all complete, and only what was in flight ran again."""
    count = 10_000
    queue = await connect(server.url)
    jobs = await queue.enqueue_many(("count", number) for number in range(count))
    for share in (2_000, 5_000):
        process = start_worker_process(server.url, concurrency=20)

        async def reached(share: int = share) -> bool:
            return int(await client.hlen("runs")) >= share

        await wait_until(reached, f"{share} jobs ran", timeout=60)
        process.kill()
        assert await client.hlen("runs") < count
    start_worker_process(server.url, concurrency=20)

    async def done() -> bool:
        return (await queue.counts()).completed >= count

    await wait_until(done, "all jobs completed", timeout=60)
    counts = await queue.counts()
    assert (counts.completed, counts.failed) == (count, 0)
    assert (counts.waiting, counts.active, counts.delayed, counts.parked, counts.blocked) == (0, 0, 0, 0, 0)
    ended: Any = await client.hgetall("jobs:{work}:ended")
    records = [msgspec.json.decode(text, type=Record) for text in ended.values()]
    assert {record.id for record in records} == {job.id for job in jobs}
    assert {record.state for record in records} == {"completed"}
    runs = await runs_of(client)
    results = {int(record.result): record.stalls for record in map(as_numbers, records)}
    assert set(runs) == set(results) == set(range(count))
    assert all(1 <= runs[number] <= 1 + stalls for number, stalls in results.items())
    assert sum(results.values()) <= 2 * 20
    assert await problems(queue) == []


def as_numbers(record: Record) -> Any:
    record.result = msgspec.json.decode(record.result)
    return record


async def test_jobs_of_a_killed_worker_come_back_to_the_front_in_order(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    start_worker_process: StartWorkerProcess,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """Before those that waited behind them, with one stall and no attempt counted; on a queue where nothing moves."""
    queue = await connect(server.url)
    process = start_worker_process(server.url, concurrency=4)
    jobs = await queue.enqueue_many(("gate", number) for number in range(8))
    assert sorted(number for number, _ in await begun(client, 4)) == [0, 1, 2, 3]
    process.kill()
    sweeper = Sweeper([queue], interval_ms=SWEEP_MS, lease_ms=LEASE_MS)
    sweeper.start()

    async def reclaimed() -> bool:
        return (await queue.counts()).active == 0

    await wait_until(reclaimed, "the sweep takes the jobs back", timeout=20)
    await sweeper.stop()
    found = [await job.info() for job in jobs]
    assert [(info.state, info.stalls, info.attempt) for info in found if info] == [
        *[(JobState.WAITING, 1, 0)] * 4,
        *[(JobState.WAITING, 0, 0)] * 4,
    ]
    handlers.open_gate(*range(8))
    async with make_worker(queue, concurrency=1):
        assert [await job.result(timeout=20) for job in jobs] == list(range(8))
    order = [handlers.begun.get_nowait()[0] for _ in range(8)]
    assert order == list(range(8))
    assert await problems(queue) == []


async def test_a_job_that_loses_its_worker_too_often_fails_with_that_reason(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    start_worker_process: StartWorkerProcess,
    problems: Problems,
) -> None:
    """With one stall allowed the second kill fails it; its record has the payload as it came; its waiter is told."""
    handlers.registry.queue("work", retention=Retention(completed=None, failed=None), max_stalls=1)
    payload = {"none": {}, "list": [], "long": 12345678901234567, "part": "0.1234", "é\u0000😀": None}
    queue = await connect(server.url)
    job = await queue.enqueue("hold", payload, unique="once", meta={"owners": ["ana"]})
    waiting = asyncio.ensure_future(job.result(timeout=60))
    for _ in range(2):
        process = start_worker_process(server.url, max_stalls=1)
        held: Any = await client.blpop(["held"], timeout=30)
        assert held[1].decode() == job.id
        process.kill()
    start_worker_process(server.url, max_stalls=1)
    with pytest.raises(JobFailed, match=r"Stalled: lost its worker 2 times, at most 1 are allowed"):
        await waiting
    info = await job.info()
    assert info is not None
    assert (info.state, info.stalls, info.attempt, info.owners) == (JobState.FAILED, 2, 1, ["ana"])
    assert bytes(info.payload) == msgspec.json.encode(payload)
    again = await queue.enqueue("hold", payload, unique="once")
    assert again.id != job.id
    assert (await queue.counts()).failed == 1
    assert await problems(queue) == []


async def test_two_supervisors_share_the_work_and_one_takes_over_when_the_other_is_killed(
    server: RedisServer,
    client: redis_async.Redis,
    connect: Connect,
    start_worker_process: StartWorkerProcess,
    problems: Problems,
) -> None:
    """Each runs as many as it has slots; the jobs of the dead one run on the other, the rest ran once."""
    queue = await connect(server.url)
    one, two = (start_worker_process(server.url, concurrency=3) for _ in range(2))
    jobs = await queue.enqueue_many(("gate", number) for number in range(8))
    first = await begun(client, 6)
    assert Counter(pid for _, pid in first) == {one.pid: 3, two.pid: 3}
    one.kill()
    lost = {number for number, pid in first if pid == one.pid}
    await open_gates(client, *(number for number, pid in first if pid == two.pid))
    second = await begun(client, 3)
    assert {pid for _, pid in second} == {two.pid}
    await open_gates(client, *range(8))  # a second push for those that have ended waits for nobody
    third = await begun(client, 2)
    assert {number for number, _ in second + third} == lost | {6, 7}
    assert [await job.result(timeout=20) for job in jobs] == list(range(8))
    assert await runs_of(client) == {number: 2 if number in lost else 1 for number in range(8)}
    assert await problems(queue) == []


async def test_a_supervisor_drains_on_sigterm_while_the_other_goes_on(
    server: RedisServer,
    client: redis_async.Redis,
    connect: Connect,
    start_worker_process: StartWorkerProcess,
    problems: Problems,
) -> None:
    """It ends what it runs, claims nothing more and exits 0; the queue is never paused."""
    queue = await connect(server.url)
    one = start_worker_process(server.url, concurrency=2)
    await client.blpop(["started"], timeout=30)
    jobs = await queue.enqueue_many(("gate", number) for number in range(2))
    await begun(client, 2)
    two = start_worker_process(server.url, concurrency=2)
    await client.blpop(["started"], timeout=30)
    one.signal(signal.SIGTERM)
    await client.blpop(["draining"], timeout=30)
    jobs += await queue.enqueue_many(("gate", number) for number in range(2, 6))
    assert {pid for _, pid in await begun(client, 2)} == {two.pid}
    await open_gates(client, *range(6))
    assert await one.ended() == 0
    assert {pid for _, pid in await begun(client, 2)} == {two.pid}
    assert [await job.result(timeout=20) for job in jobs] == list(range(6))
    assert not await queue.is_paused()
    assert await runs_of(client) == dict.fromkeys(range(6), 1)
    assert (await queue.counts()).workers == 1
    assert await problems(queue) == []


async def test_a_second_signal_releases_what_runs(
    server: RedisServer,
    client: redis_async.Redis,
    connect: Connect,
    start_worker_process: StartWorkerProcess,
    problems: Problems,
) -> None:
    """The running jobs are back at the front at once, in order, with neither an attempt nor a stall counted."""
    queue = await connect(server.url)
    one = start_worker_process(server.url, concurrency=2, drain_timeout=600.0)
    jobs = await queue.enqueue_many(("gate", number) for number in range(3))
    await begun(client, 2)
    one.signal(signal.SIGTERM)
    await client.blpop(["draining"], timeout=30)
    assert (await queue.counts()).active == 2
    one.signal(signal.SIGTERM)
    assert await one.ended() == 0
    counts = await queue.counts()
    assert (counts.active, counts.waiting, counts.workers) == (0, 3, 0)
    found = [await job.info() for job in jobs]
    assert [(info.stalls, info.attempt) for info in found if info] == [(0, 0)] * 3
    start_worker_process(server.url, concurrency=1)
    await open_gates(client, 0, 1, 2)
    assert [number for number, _ in await begun(client, 3)] == [0, 1, 2]
    assert [await job.result(timeout=20) for job in jobs] == [0, 1, 2]
    assert await problems(queue) == []
