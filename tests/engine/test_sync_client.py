"""The blocking client, used from threads as Django and Flask use it, against workers in the test's loop."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    ConfigurationError,
    Discard,
    Engine,
    EngineUnavailable,
    InvalidPayload,
    JobContext,
    JobFailed,
    JobNotFound,
    JobRequest,
    QueueFull,
    Registry,
    ResultTimeout,
    ServerUnsuitable,
    SyncEngine,
    Unique,
    UnknownQueue,
    Worker,
    defaults,
)
from tests.conftest import StartRedis, WaitUntil
from tests.engine.conftest import Keys

ResultT = TypeVar("ResultT")


class Square(msgspec.Struct):
    """A payload."""

    number: int


@pytest.fixture
def squares(registry: Registry) -> Registry:
    """A queue `q` with one job."""

    @registry.job("square", queue="q")
    async def square(ctx: JobContext, payload: Square) -> int:
        if payload.number < 0:
            raise Discard("no negative numbers")
        return payload.number**2

    return registry


@pytest.fixture
async def sync_engine(engine: Engine, squares: Registry, redis_url: str) -> AsyncIterator[SyncEngine]:
    """A blocking client of the test's server."""
    with SyncEngine.connect(redis_url, registry=squares) as sync_engine:
        yield sync_engine


async def blocking(call: Callable[[], ResultT]) -> ResultT:
    """Runs blocking code beside the loop."""
    return await asyncio.to_thread(call)


async def test_a_blocking_caller_enqueues_and_waits_for_the_result(engine: Engine, sync_engine: SyncEngine) -> None:
    """The same job as anybody's: found by its id, run by a worker, its result decoded."""
    async with Worker(engine.queue("q")):
        job = await blocking(lambda: sync_engine.enqueue(Square(7), owner="ana"))
        assert await blocking(lambda: job.result(timeout=10)) == 49
        info = await blocking(job.info)
        assert info is not None
        assert (info.state, info.owners, job.queue, job.created) == ("completed", ["ana"], "q", True)
        again = await engine.queue("q").enqueue("square", {"number": 3}, id="mine")
        same = await blocking(lambda: sync_engine.queue("q").enqueue("square", {"number": 3}, id="mine"))
        assert (same.id, same.created) == (again.id, False)
        assert await blocking(lambda: same.result(timeout=10)) == 9


async def test_a_caller_that_waits_first_is_told_when_the_job_ends(
    engine: Engine, sync_engine: SyncEngine, redis: redis_async.Redis, wait_until: WaitUntil
) -> None:
    """The wait begins before any worker is there, and outlives a connection that is cut."""
    job = await blocking(lambda: sync_engine.enqueue(Square(5)))
    waiting = asyncio.create_task(blocking(lambda: job.result(timeout=20)))
    await wait_until(lambda: redis.zscore("jobs:{q}:waited", job.id), "the caller waits")
    async with Worker(engine.queue("q")):
        assert await waiting == 25


async def test_every_end_has_its_own_answer(engine: Engine, sync_engine: SyncEngine) -> None:
    """Failed, unknown and not in time are told apart."""
    queue = sync_engine.queue("q")
    slow = await blocking(lambda: queue.enqueue("square", {"number": 1}, delay=3600, id="slow"))
    with pytest.raises(ResultTimeout, match="slow"):
        await blocking(lambda: slow.result(timeout=0.05))
    with pytest.raises(JobNotFound, match="5-1-0"):
        await blocking(lambda: queue.wait("5-1-0", 1))
    assert await blocking(lambda: queue.get("5-1-0")) is None
    async with Worker(engine.queue("q")):
        failed = await blocking(lambda: queue.enqueue(Square(-1)))
        with pytest.raises(JobFailed, match="no negative numbers"):
            await blocking(lambda: failed.result(timeout=10))


async def test_a_bulk_keeps_order_and_options_and_tells_duplicates(
    engine: Engine, sync_engine: SyncEngine, keys: Keys
) -> None:
    """As the asynchronous queue does."""
    jobs: list[Any] = [("square", {"number": n}) for n in range(1_100)]
    jobs += [JobRequest(Square(1), id="a"), JobRequest(Square(1), id="a", priority=0)]
    stored = await blocking(lambda: sync_engine.queue("q").enqueue_many(jobs))
    assert [job.created for job in stored[-2:]] == [True, False]
    entries = await keys.command("XRANGE", "jobs:{q}:waiting:5", "-", "+")
    assert [job.id for job in stored[:1_100]] == [f"5-{entry.decode()}" for entry, _ in entries[:1_100]]
    async with Worker(engine.queue("q"), concurrency=50):
        assert await blocking(lambda: stored[-1].result(timeout=20)) == 1


async def test_a_full_queue_makes_a_blocking_caller_wait_or_fail(engine: Engine, sync_engine: SyncEngine) -> None:
    """Room that a worker makes is found; none within the time is told."""
    await engine.queue("q").limit_length(2)
    queue = sync_engine.queue("q")
    await blocking(lambda: queue.enqueue_many([Square(1), Square(2)]))
    with pytest.raises(QueueFull, match="2 of at most 2"):
        await blocking(lambda: queue.enqueue(Square(3), room_timeout=0.05))
    waiting = asyncio.create_task(blocking(lambda: queue.enqueue(Square(3), room_timeout=20)))
    async with Worker(engine.queue("q")):
        job = await waiting
        assert await blocking(lambda: job.result(timeout=10)) == 9


async def test_a_key_can_be_freed_by_blocking_code(engine: Engine, sync_engine: SyncEngine) -> None:
    """As `Queue.free_key`."""
    queue = sync_engine.queue("q")
    key = Unique("t", "throttle", period=3600)
    first = await blocking(lambda: queue.enqueue(Square(1), unique=key))
    assert (await blocking(lambda: queue.enqueue(Square(2), unique=key))).id == first.id
    assert await blocking(lambda: queue.free_key("t")) == first.id
    second = await blocking(lambda: queue.enqueue(Square(2), unique=key))
    assert second.created
    async with Worker(engine.queue("q")):
        assert await blocking(lambda: second.result(timeout=10)) == 4


async def test_threads_share_one_client(engine: Engine, sync_engine: SyncEngine) -> None:
    """Each caller gets its own job's result."""

    def one(number: int) -> int:
        return int(sync_engine.enqueue(Square(number)).result(timeout=20))

    with ThreadPoolExecutor(16) as threads:
        async with Worker(engine.queue("q"), concurrency=20):
            loop = asyncio.get_running_loop()
            results = await asyncio.gather(*(loop.run_in_executor(threads, one, n) for n in range(200)))
    assert results == [n**2 for n in range(200)]


async def test_a_forked_process_connects_anew(engine: Engine, sync_engine: SyncEngine) -> None:
    """As a web server's children do: replies never cross between parent and child."""
    await blocking(lambda: sync_engine.enqueue(Square(1)))
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # From 3.12 on Python warns of forks beside threads; that is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        status = 1
        try:
            os.write(writing, sync_engine.enqueue(Square(2)).id.encode())
            status = 0
        finally:
            os._exit(status)
    _, status = await blocking(lambda: os.waitpid(child, 0))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        job_id = pipe.read().decode()
    assert status == 0
    third = await blocking(lambda: sync_engine.enqueue(Square(3)))
    async with Worker(engine.queue("q")):
        assert await blocking(lambda: sync_engine.queue("q").wait(job_id, 10)) is not None
        assert await blocking(lambda: third.result(timeout=10)) == 9


async def test_what_is_illegal_is_refused_as_in_the_asynchronous_queue(sync_engine: SyncEngine) -> None:
    """The checks are the same code."""
    with pytest.raises(InvalidPayload):
        sync_engine.queue("q").enqueue("square", {"number": "seven"})
    with pytest.raises(ConfigurationError):
        sync_engine.enqueue(Square(1), priority=10)
    with pytest.raises(UnknownQueue, match="there are: q"):
        sync_engine.queue("other")
    with pytest.raises(ConfigurationError, match="Redis URL"):
        SyncEngine.connect("gopher://nowhere")


async def test_an_absent_server_and_another_layout_are_told_at_the_start(
    start_redis: StartRedis, redis: redis_async.Redis, redis_url: str
) -> None:
    """And a server that goes away is EngineUnavailable, never redis-py's own error."""
    server = start_redis()
    with SyncEngine.connect(server.url) as gone:
        queue = gone.queue("q")
        job = await blocking(lambda: queue.enqueue("anything"))
        server.kill()
        for call in (lambda: queue.enqueue("anything"), lambda: job.result(timeout=1), job.info):
            with pytest.raises(EngineUnavailable):
                await blocking(call)
    with pytest.raises(EngineUnavailable), SyncEngine.connect(server.url):
        pass
    await redis.hset("jobs:registry", "layout", defaults.LAYOUT_VERSION + 1)
    with pytest.raises(ServerUnsuitable, match="layout"), SyncEngine.connect(redis_url):
        pass
    await redis.flushall()


async def test_scripts_flushed_from_the_server_are_given_again(engine: Engine, sync_engine: SyncEngine) -> None:
    """A restart of the server is no event for a blocking caller."""
    await blocking(lambda: sync_engine.enqueue(Square(2)))
    await engine.redis.script_flush()
    job = await blocking(lambda: sync_engine.enqueue(Square(3)))
    async with Worker(engine.queue("q")):
        assert await blocking(lambda: job.result(timeout=10)) == 9
