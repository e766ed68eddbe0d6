"""Proves that a copy of Redis's files, put into another server, is a queue whose jobs go on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, JobContext, Queue, Registry, Retention, Worker, inspect_queue, scripts
from tests.conftest import RedisServer

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil

LEASE_MS = 600


@pytest.fixture
def restored() -> Iterator[list[RedisServer]]:
    """Servers that the test starts on copied files; they end with it."""
    servers: list[RedisServer] = []
    yield servers
    for server in servers:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


def registry_of(ran: Counter[int]) -> Registry:
    """One job that counts its runs by its payload."""
    registry = Registry()
    registry.queue("q", concurrency=10, retention=Retention(completed=None))

    @registry.job("work", queue="q")
    async def work(ctx: JobContext, payload: int) -> int:
        ran[payload] += 1
        return payload

    return registry


async def fill(queue: Queue) -> list[str]:
    """Jobs in every state: 0 to 19 ended, 20 to 59 waiting, of which 20 to 24 are active, 60 delayed, 62 blocked."""
    engine = queue.engine
    async with Worker(queue):
        done = await queue.enqueue_many([("work", n) for n in range(20)])
        for job in done:
            await job.result(timeout=10)
    jobs = await queue.enqueue_many([("work", n) for n in range(20, 60)])
    jobs.append(await queue.enqueue("work", 60, delay=0.1))
    jobs += [await queue.enqueue("work", n, unique="k") for n in (61, 62)]
    await engine.run(scripts.REGISTER, queue.root, "running", "{}")
    reply = await engine.run(scripts.CLAIM, queue.root, "running", 1, 5, 0)
    assert sum(map(len, reply[5::2])) == 5
    return [job.id for job in jobs]


async def test_a_snapshot_restored_into_another_server_goes_on(
    start_redis: StartRedis, restored: list[RedisServer], wait_until: WaitUntil
) -> None:
    """BGSAVE, and a copy of dump.rdb."""
    server = start_redis()
    async with Engine.connect(server.url, registry=registry_of(Counter())) as engine:
        ids = await fill(engine.queue("q"))
        await engine.redis.bgsave()

        async def saved() -> bool:
            about = await engine.redis.info("persistence")
            return not about["rdb_bgsave_in_progress"] and about["rdb_last_bgsave_status"] == "ok"

        await wait_until(saved, "the snapshot is written")
    await goes_on(restored, ids, wait_until, server.directory / "dump.rdb")


async def test_a_copy_of_the_append_only_file_goes_on(
    start_redis: StartRedis, restored: list[RedisServer], wait_until: WaitUntil
) -> None:
    """Taken while the server runs and jobs come in: what came in after it is not in it."""
    server = start_redis("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
    async with Engine.connect(server.url, registry=registry_of(Counter())) as engine:
        queue = engine.queue("q")
        ids = await fill(queue)
        copy = server.directory / "copy"
        shutil.copytree(server.directory / "appendonlydir", copy / "appendonlydir")
        await queue.enqueue("work", 99)
    await goes_on(restored, ids, wait_until, copy / "appendonlydir", "--appendonly", "yes")


def copied(files: Path) -> Path:
    """A new server's directory that holds these files."""
    directory = files.parent / "elsewhere"
    directory.mkdir()
    if files.is_dir():
        shutil.copytree(files, directory / files.name)
    else:
        shutil.copy(files, directory)
    return directory


async def goes_on(
    restored: list[RedisServer], ids: list[str], wait_until: WaitUntil, files: Path, *arguments: str
) -> None:
    """Starts a server on the files, and asserts that every job ends once there."""
    directory = copied(files)
    server = RedisServer(directory, *arguments)
    restored.append(server)
    server.start()
    ran: Counter[int] = Counter()
    async with Engine.connect(server.url, registry=registry_of(ran)) as engine:
        queue = engine.queue("q")
        before = await queue.counts()
        assert (before.waiting, before.active, before.delayed, before.blocked, before.completed) == (36, 5, 1, 1, 20)

        async def all_ended() -> bool:
            return (await queue.counts()).completed == 63

        async with Worker(queue, lease_ms=LEASE_MS, sweep_ms=100):
            await wait_until(all_ended, "every job has ended")
        assert ran == Counter(range(20, 63))
        states: set[Any] = {info.state for info in [await queue.get(job_id) for job_id in ids] if info is not None}
        assert states == {"completed"}
        assert await inspect_queue(queue) == []


async def test_a_server_without_its_scripts_is_given_them_again(redis: redis_async.Redis, redis_url: str) -> None:
    """A restored server knows none, and SCRIPT FLUSH takes them from a running one."""
    ran: Counter[int] = Counter()
    async with Engine.connect(redis_url, registry=registry_of(ran)) as engine:
        queue = engine.queue("q")
        async with Worker(queue):
            for number in range(3):
                await redis.script_flush()
                assert await (await queue.enqueue("work", number)).result(timeout=10) == number
    assert ran == Counter(range(3))
