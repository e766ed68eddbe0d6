"""Connections that stay open and never answer again: each is given up, and no worker goes silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.engine import scripts

if TYPE_CHECKING:
    from tests.conftest import RedisServer
    from tests.faults.conftest import Connect, Handlers, MakeWorker, Problems, Proxy


@pytest.mark.long
@pytest.mark.parametrize(
    "request_text",
    [scripts.CLAIM.sha, scripts.SETTLE.sha, "BZPOPMIN", scripts.BEAT.sha],
    ids=["claim", "settle", "bell", "beat"],
)
async def test_a_worker_whose_connection_falls_silent_works_on(
    request_text: str,
    proxy: Proxy,
    server: RedisServer,
    handlers: Handlers,
    connect: Connect,
    make_worker: MakeWorker,
    problems: Problems,
) -> None:
    """One request of the pump, the bell or the heart is never answered: later jobs run all the same, and once."""
    queue = await connect(server.url)
    silent = proxy.swallow(request_text)
    async with make_worker(await connect(proxy.url)) as worker:
        jobs = [await queue.enqueue("echo", 1)]
        await silent.seen.wait()
        name = worker.name
        for number in range(2, 6):
            jobs.append(await queue.enqueue("echo", number))
            assert await jobs[-1].result(timeout=30) == number
        assert await jobs[0].result(timeout=30) == 1
        assert worker.name == name
    assert handlers.runs == dict.fromkeys(range(1, 6), 1)
    assert await problems(queue) == []


@pytest.mark.long
async def test_a_waiting_call_whose_connection_falls_silent_is_answered(
    proxy: Proxy, server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker
) -> None:
    """The listener gives the connection up and asks for what it has missed."""
    there, here = await connect(server.url), await connect(proxy.url)
    silent = proxy.swallow("XREAD")
    async with make_worker(there):
        job = await here.enqueue("gate", 1)
        waiting = asyncio.ensure_future(job.result(timeout=60))
        await handlers.all_begun(1)
        await here.enqueue("echo", 2)  # an event, so that the reader's request is answered, into nothing
        await silent.seen.wait()
        handlers.open_gate(1)
        assert await waiting == 1


@pytest.mark.long
async def test_a_silent_redis_takes_no_call_with_it(
    proxy: Proxy, server: RedisServer, handlers: Handlers, connect: Connect, make_worker: MakeWorker, problems: Problems
) -> None:
    """Every connection, new ones too, is open and mute for longer than a call may take; then all goes on."""
    queue = await connect(server.url)
    async with make_worker(await connect(proxy.url), lease_ms=30_000) as worker:
        first = await queue.enqueue("gate", 1)
        await handlers.all_begun(1)
        proxy.mute()
        second = await queue.enqueue("echo", 2)
        handlers.open_gate(1)
        await asyncio.sleep(7)  # the outage itself, longer than the 5 s of one call
        proxy.mend()
        assert await first.result(timeout=60) == 1
        assert await second.result(timeout=60) == 2
        assert worker.running == 0
    assert handlers.runs == {1: 1, 2: 1}
    assert await problems(queue) == []
