"""Redis gone for a while, restarted, full, read-only or wiped: what was acknowledged is run, once, when it's over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as redis_async
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NoConnection

from dhanam_jobs.engine import EngineUnavailable, Job, JobNotFound

if TYPE_CHECKING:
    from tests.conftest import RedisServer, StartRedis, WaitUntil
    from tests.faults.conftest import Connect, Handlers, MakeWorker, Problems, Proxy

LEASE_MS, SWEEP_MS = 1_500, 150  # as in conftest.py


async def results_of(jobs: list[Job], timeout: float = 20) -> list[Any]:
    return await asyncio.gather(*(job.result(timeout=timeout) for job in jobs))


async def begin_to_wait(jobs: list[Job], client: redis_async.Redis, wait_until: WaitUntil) -> asyncio.Future[list[Any]]:
    """The results of jobs that run, once Redis knows that they are waited for."""

    async def known() -> bool:
        return bool(await client.zcard("jobs:{work}:waited") >= len(jobs))

    waiting = asyncio.ensure_future(results_of(jobs))
    await wait_until(known, "Redis knows who waits")
    return waiting


async def events_of(client: redis_async.Redis) -> set[bytes]:
    entries: Any = await client.xrange("jobs:{work}:events")
    return {field for _, fields in entries for field in fields}


@pytest.mark.parametrize("how", [pytest.param("frozen", marks=pytest.mark.long), "cut"])
async def test_an_outage_longer_than_the_lease_reclaims_nobody_alive(
    how: str,
    proxy: Proxy,
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """The sweep after the outage grants a lease of grace, in which the living beat; their jobs run once."""
    queue = await connect(proxy.url)
    jobs = await queue.enqueue_many(("gate", number) for number in range(6))
    async with make_worker(queue, concurrency=3) as one, make_worker(await connect(proxy.url), concurrency=3) as two:
        await handlers.all_begun(6)
        names = {one.name, two.name}
        waiting = await begin_to_wait(jobs, client, wait_until)
        before = await wait_until(lambda: client.hget("jobs:{work}:meta", "grace_until_ms"), "the first sweep")
        if how == "frozen":
            server.freeze()
        else:
            proxy.cut()
        await asyncio.sleep(LEASE_MS / 1000 * 1.5)  # the outage itself
        handlers.open_gate(0, 1)  # these end while nobody can be told
        if how == "frozen":
            server.thaw()
        else:
            proxy.mend()

        async def swept_after_grace() -> bool:
            found: list[Any] = await client.hmget("jobs:{work}:meta", ["grace_until_ms", "swept_ms"])
            grace, swept = map(int, found)
            return grace > int(before) and swept > grace

        await wait_until(swept_after_grace, "a sweep that would reclaim from the dead")
        assert {one.name, two.name} == names
        handlers.open_gate(2, 3, 4, 5)
        assert await waiting == [0, 1, 2, 3, 4, 5]
        assert not await events_of(client) & {b"dead", b"stalled"}
    assert handlers.runs == dict.fromkeys(range(6), 1)
    assert await problems(queue) == []


async def test_what_was_acknowledged_survives_a_killed_redis_and_waiting_calls_answer(
    start_redis: StartRedis,
    handlers: Handlers,
    make_worker: MakeWorker,
    problems: Problems,
    connect: Connect,
    wait_until: WaitUntil,
) -> None:
    """With an append-only file, a restart after SIGKILL loses no job; workers and waiting callers go on."""
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    queue = await connect(server.url)
    async with make_worker(queue, concurrency=3):
        jobs = await queue.enqueue_many([("gate", 0), ("gate", 1), ("gate", 2), *(("echo", n) for n in range(3, 60))])
        jobs.append(await queue.enqueue("flaky", 60))
        await handlers.all_begun(3)
        probe = redis_async.Redis.from_url(server.url, protocol=2)
        waiting = await begin_to_wait(jobs[:3], probe, wait_until)
        await probe.aclose()
        server.kill()
        handlers.open_gate(0)  # ends while Redis is away
        with pytest.raises(EngineUnavailable):
            await queue.enqueue("echo", -1)
        await asyncio.to_thread(server.start)
        handlers.open_gate(1, 2)
        assert await waiting == [0, 1, 2]
        assert await results_of(jobs) == list(range(61))
        assert await (await queue.enqueue("echo", 61)).result(timeout=10) == 61
    assert handlers.runs == {**dict.fromkeys(range(62), 1), 60: 2}
    counts = await queue.counts()
    assert (counts.completed, counts.failed, counts.waiting, counts.active) == (62, 0, 0, 0)
    assert await problems(queue) == []


@pytest.mark.long
async def test_redis_killed_again_and_again_under_load_loses_and_repeats_nothing_acknowledged(
    start_redis: StartRedis, handlers: Handlers, make_worker: MakeWorker, problems: Problems, connect: Connect
) -> None:
    """A settle that the server wrote but could not answer counts, once."""
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    queue = await connect(server.url)
    jobs = await queue.enqueue_many(("echo", number) for number in range(2_000))
    async with make_worker(queue, concurrency=5):
        for share in (300, 800, 1_300):
            await handlers.ran(share)
            server.kill()
            await asyncio.to_thread(server.start)
        assert await results_of(jobs, timeout=60) == list(range(2_000))
    assert handlers.runs == dict.fromkeys(range(2_000), 1)
    assert (await queue.counts()).completed == 2_000
    assert await problems(queue) == []


async def test_flushed_scripts_and_killed_connections_are_only_an_interruption(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    problems: Problems,
) -> None:
    """SCRIPT FLUSH and CLIENT KILL of every connection in the middle of the work: each job still runs once."""
    queue = await connect(server.url)
    jobs = await queue.enqueue_many(("echo", number) for number in range(1_000))
    waiting = asyncio.ensure_future(results_of(jobs))
    async with make_worker(queue):
        for share in (200, 400, 600, 800):
            await handlers.ran(share)
            await client.script_flush()
            await client.client_kill_filter(_type="normal", skipme=True)
        assert await waiting == list(range(1_000))
    assert handlers.runs == dict.fromkeys(range(1_000), 1)
    assert await problems(queue) == []


@pytest.mark.long
async def test_after_flushall_the_worker_comes_back_under_a_new_name(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """Its handlers learn that their claims are lost, waiting callers that their job is gone; new jobs run."""
    queue = await connect(server.url)
    async with make_worker(queue) as worker:
        job = await queue.enqueue("gate", 1)
        context = (await handlers.all_begun(1))[1]
        waiting = asyncio.ensure_future(job.result(timeout=20))
        await wait_until(lambda: client.exists("jobs:{work}:waited"), "somebody waits for the job")
        old_name = worker.name
        await client.flushall()
        assert await (await queue.enqueue("echo", 2)).result(timeout=10) == 2
        await wait_until(lambda: context.claim_lost, "the handler is told")
        assert worker.name != old_name
        with pytest.raises(JobNotFound):
            await waiting
        assert await client.hexists("jobs:registry", "queue:work")
    assert handlers.interrupted == [context]
    assert await problems(queue) == []


@pytest.mark.parametrize("what", ["stream", "group"])
async def test_a_stream_or_group_deleted_by_hand_is_made_anew(
    what: str,
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    wait_until: WaitUntil,
) -> None:
    """What was in it is gone or delivered once more; the worker goes on with what comes."""
    queue = await connect(server.url)
    place = "jobs:{work}:waiting:5"
    async with make_worker(queue, concurrency=2):
        gate = await queue.enqueue("gate", 1)
        await handlers.all_begun(1)

        async def later() -> bool:
            seconds, micros = await client.time()
            return seconds * 1000 + micros // 1000 > int(gate.id.split("-")[1])

        await wait_until(later, "a stream that begins anew gives no id of this millisecond once more")
        if what == "stream":
            await client.delete(place)
        else:
            await client.xgroup_destroy(place, "workers")
        jobs = await queue.enqueue_many(("echo", number) for number in range(10, 30))
        assert await results_of(jobs) == list(range(10, 30))
        handlers.open_gate(1)
        assert await (await queue.enqueue("echo", 30)).result(timeout=10) == 30
    assert [handlers.runs[number] for number in range(10, 31)] == [1] * 21
    counts = await queue.counts()
    assert (counts.waiting, counts.active) == (0, 0)


async def test_a_demoted_server_stops_nobody_for_good(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """While it is a replica it refuses writes; when it is promoted again the work goes on, and ran once."""
    queue = await connect(server.url)
    async with make_worker(queue, concurrency=2):
        jobs = await queue.enqueue_many([("gate", 0), ("gate", 1), ("echo", 2), ("flaky", 3)])
        await handlers.all_begun(2)
        waiting = await begin_to_wait(jobs, client, wait_until)
        await client.replicaof("127.0.0.1", 1)
        handlers.open_gate(0, 1)
        with pytest.raises(EngineUnavailable, match="read only"):
            await queue.enqueue("echo", -1)
        await client.replicaof("NO", "ONE")
        assert await waiting == [0, 1, 2, 3]
    assert handlers.runs == {0: 1, 1: 1, 2: 1, 3: 2}
    assert await problems(queue) == []


async def test_a_server_that_loads_its_data_is_waited_for(
    start_redis: StartRedis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """LOADING is an outage like any other: enqueue says so, the worker goes on afterwards."""
    slow = ("--key-load-delay", "400", "--loading-process-events-interval-bytes", "1024")
    server = start_redis("--appendonly", "yes", "--appendfsync", "always", *slow)
    queue = await connect(server.url)
    probe = redis_async.Redis.from_url(server.url, protocol=2, retry=Retry(NoBackoff(), 0))
    await probe.mset({f"other:{number}": number for number in range(4_000)})  # something to load, one by one
    async with make_worker(queue):
        job = await queue.enqueue("gate", 0)
        await handlers.all_begun(1)
        waiting = await begin_to_wait([job], probe, wait_until)
        await probe.bgrewriteaof()

        async def rewritten() -> bool:
            return not (await probe.info("persistence"))["aof_rewrite_in_progress"]

        await wait_until(rewritten, "the file is rewritten")
        server.kill()
        handlers.open_gate(0)
        starting = asyncio.ensure_future(asyncio.to_thread(server.start))

        async def loading() -> bool:
            try:
                await probe.get("key")
            except BusyLoadingError:
                return True
            except NoConnection:
                return False
            pytest.fail("the server had loaded its data before anybody saw it loading")

        await wait_until(loading, "the server loads its data")
        with pytest.raises(EngineUnavailable, match="loading"):
            await queue.enqueue("echo", -1)
        await starting
        assert await waiting == [0]
        assert await (await queue.enqueue("echo", 1)).result(timeout=10) == 1
    assert handlers.runs == {0: 1, 1: 1}
    await probe.aclose()
    assert await problems(queue) == []


async def test_a_full_redis_is_emptied_by_workers_that_run_and_by_one_that_starts(
    server: RedisServer,
    client: redis_async.Redis,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    wait_until: WaitUntil,
    problems: Problems,
) -> None:
    """Enqueue is refused with nothing stored; claims, retries, beats and the end of workers are not."""
    queue = await connect(server.url)
    jobs = await queue.enqueue_many([("gate", 0), *(("flaky", n) for n in range(1, 20)), ("gate", 20), ("flaky", 21)])
    async with make_worker(queue, concurrency=1) as worker:
        await handlers.all_begun(1)
        old_name = worker.name
        await client.config_set("maxmemory", 1)
        with pytest.raises(EngineUnavailable, match=r"refused.*nothing was stored"):
            await queue.enqueue("echo", -1)
        waiting = asyncio.ensure_future(results_of(jobs))
        handlers.open_gate(0)
        await handlers.all_begun(1)

        async def beaten_anew() -> bool:
            started = float(await client.hget(f"jobs:{{work}}:worker:{old_name}", "started_ms") or 0)
            return float(await client.zscore("jobs:{work}:workers", old_name) or 0) > started

        await wait_until(beaten_anew, "a beat on a full server")
        async with make_worker(await connect(server.url)):
            handlers.open_gate(20)
            assert await waiting == list(range(22))
        assert worker.name == old_name
    assert handlers.runs == {n: 1 if n in (0, 20) else 2 for n in range(22)}
    counts = await queue.counts()
    assert (counts.waiting, counts.active, counts.delayed, counts.workers) == (0, 0, 0, 0)
    await client.config_set("maxmemory", 0)
    assert await problems(queue) == []


async def test_enqueue_fails_in_bounded_time_and_answers_every_caller(
    server: RedisServer, connect: Connect, handlers: Handlers, make_worker: MakeWorker
) -> None:
    """Frozen or gone: all of 2,000 callers, in more than one chunk, get EngineUnavailable; afterwards all is well."""
    queue = await connect(server.url)
    assert (await queue.enqueue("echo", 0)).created
    server.freeze()
    try:
        async with asyncio.timeout(15):
            calls = (queue.enqueue("echo", number) for number in range(2_000))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        server.thaw()
    assert {type(outcome) for outcome in outcomes} == {EngineUnavailable}
    server.kill()
    async with asyncio.timeout(15):
        calls = (queue.enqueue("echo", number) for number in range(2_000))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {EngineUnavailable}
        with pytest.raises(EngineUnavailable):
            await queue.enqueue_many(("echo", number) for number in range(1_200))
        with pytest.raises(EngineUnavailable):
            await queue.counts()
    await asyncio.to_thread(server.start)
    async with make_worker(queue):
        assert await (await queue.enqueue("echo", 7)).result(timeout=10) == 7
