"""Proves that docs/operations.md names the least rights with which everything works."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as redis_async
from redis.exceptions import NoPermissionError

from dhanam_jobs.engine import (
    Discard,
    Engine,
    JobContext,
    Registry,
    RetryLater,
    Schedule,
    Supervisor,
    SyncEngine,
    Unique,
    inspect_queue,
    scripts,
)
from dhanam_jobs.engine.scripts import Script

if TYPE_CHECKING:
    from tests.conftest import RedisServer, StartRedis, WaitUntil

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
ENGINE = Path(scripts.__file__).parent
#: What Python sends by itself, beside the scripts.
SENT = {
    *(
        "blpop",
        "bzpopmin",
        "client|setname",
        "eval",
        "evalsha",
        "exists",
        "hdel",
        "hexists",
        "hget",
        "hgetall",
        "hmget",
    ),
    *("hscan", "hset", "hsetnx", "info", "ping", "scan", "select", "unlink", "xinfo|stream", "xrange", "xread"),
    *("xrevrange", "zcard"),
}


def acl_line() -> list[str]:
    """The words of the command in the docs."""
    (line,) = re.findall(r"^ACL SETUSER dhanam .*$", DOCS.read_text("utf-8"), re.MULTILINE)
    return str(line).replace("PASSWORD", "secret").split()


async def commands_of_scripts(client: redis_async.Redis) -> set[str]:
    """Every command that a script's text names, as ACL rules write it."""
    known = {name.decode() for name in await client.execute_command("COMMAND LIST")}  # type: ignore[no-untyped-call]
    named = set()
    for script in vars(scripts).values():
        if isinstance(script, Script):
            # A command is named at the head of a call, before ` <key>` in a text, or chosen among two.
            named |= set(re.findall(r"(?<=')([A-Z]{3,}(?:', '[A-Z]+)?)\b", script.text))
    found = set()
    for text in named:
        command, _, sub = text.lower().partition("', '")
        if command in ("xgroup", "xinfo"):
            found.add(f"{command}|{sub}")
        elif command in known:
            found.add(command)
    return found


async def test_the_rights_are_those_that_scripts_and_python_use_and_no_others(redis: redis_async.Redis) -> None:
    """A script that calls one more command fails here before it fails for a user."""
    granted = {word[1:] for word in acl_line() if word.startswith("+")}
    assert granted == await commands_of_scripts(redis) | SENT


@pytest.fixture
async def guarded(start_redis: StartRedis) -> RedisServer:
    """A server with such a user, whose default user has no rights."""
    server = start_redis(tcp=True)
    async with redis_async.Redis.from_url(server.url, protocol=2) as client:
        await client.execute_command(*acl_line())  # type: ignore[no-untyped-call]
        await client.execute_command("ACL", "SETUSER", "default", "resetpass", ">else")  # type: ignore[no-untyped-call]
    return server


async def test_a_user_with_these_rights_can_do_all_that_the_engine_does(
    guarded: RedisServer, wait_until: WaitUntil
) -> None:
    """Enqueue, work, retry, cancel, park, schedule, wait, listen, count, look, clear and obliterate."""
    url = f"redis://dhanam:secret@127.0.0.1:{guarded.port}/0"
    registry = Registry()
    registry.queue("q", concurrency=5)

    @registry.job("work", queue="q")
    async def work(ctx: JobContext, payload: Any) -> Any:
        ctx.log("begun")
        await ctx.progress(1)
        if payload == "again" and ctx.attempt == 1:
            raise RetryLater(0)
        if payload == "bad":
            raise Discard("no")
        if payload == "long":
            await asyncio.Event().wait()
        return payload

    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("q")
        async with (
            engine.events("q") as events,
            Supervisor(engine, schedules=[Schedule(name="often", job="work", every=1, payload=3)], owner="app"),
        ):
            jobs = await queue.enqueue_many([("work", payload) for payload in (1, "again")])
            jobs.append(await queue.enqueue("work", 2, delay=0.01, unique="k"))
            jobs.append(await queue.enqueue("work", 3, unique=Unique("d", "debounce", period=0.1), id="mine"))
            assert [await job.result(timeout=20) for job in jobs] == [1, "again", 2, 3]
            assert (await anext(events)).kind == "waiting"
            bad = await queue.enqueue("work", "bad")
            long = await queue.enqueue("work", "long")

            async def runs() -> bool:
                info = await queue.get(long.id)
                return info is not None and info.state == "active"

            await wait_until(runs, "it runs")
            await queue.cancel(long.id)
            with SyncEngine.connect(url) as blocking:
                plain = blocking.queue("q").enqueue("work", 4)
                assert await asyncio.to_thread(plain.result, 20) == 4

            async def fired() -> bool:
                return any(row.count for row in await engine.schedules.list())

            await wait_until(fired, "a schedule fired")
            await queue.pause()
            assert [row.host for row in await queue.operations.workers()]
            await queue.enqueue("work", 5, unique="held")
            await queue.enqueue("work", 6, unique="held")
        assert await inspect_queue(queue) == []
        assert (await engine.metrics("q"))[0].counts.completed >= 4
        assert (await queue.operations.page("failed")).jobs[0].id == bad.id
        await queue.operations.retry(bad.id)
        await queue.operations.clear()
        await queue.operations.obliterate()


async def test_such_a_user_can_do_nothing_else(guarded: RedisServer) -> None:
    """No other key, no other command."""
    url = f"redis://dhanam:secret@127.0.0.1:{guarded.port}/0"
    async with redis_async.Redis.from_url(url, protocol=2) as client:
        for words in (("GET", "other"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "SET", "save", ""), ("ACL", "LIST")):
            with pytest.raises(NoPermissionError):
                await client.execute_command(*words)  # type: ignore[no-untyped-call]
    with pytest.raises(NoPermissionError):
        await Engine.connect(url, prefix="others").__aenter__()
