"""What one connection does when the other end falls silent, hangs up or is demoted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as redis_async
from redis.exceptions import ReadOnlyError

from dhanam_jobs.engine.link import Link, Unreachable

if TYPE_CHECKING:
    from tests.conftest import RedisServer, WaitUntil
    from tests.faults.conftest import Proxy


async def test_a_late_reply_is_not_mistaken_for_the_answer_to_the_next_call(proxy: Proxy) -> None:
    """A call that ran into its time-out takes its connection with it, and so its reply."""
    link = Link(proxy.url, name="test")
    swallowed = proxy.swallow("first")
    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        await link.call("ECHO", "first", timeout=0.2)
    assert swallowed.reply.endswith(b"first\r\n")
    assert await link.call("ECHO", "second") == b"second"
    await link.close()


async def test_a_connection_that_is_accepted_but_never_answered_is_given_up(proxy: Proxy) -> None:
    """The time-out of a call covers the greeting of a new connection too."""
    link = Link(proxy.url, name="test")
    proxy.mute()
    with pytest.raises(Unreachable, match="no answer within"):
        await link.call("ECHO", "first", timeout=0.2)
    proxy.mend()
    assert await link.call("ECHO", "second") == b"second"
    await link.close()


async def test_a_call_after_the_server_hung_up_between_calls_succeeds(
    server: RedisServer, client: redis_async.Redis, wait_until: WaitUntil
) -> None:
    """Nothing was sent over the dead connection, so a new one serves the call."""
    link = Link(server.url, name="test")
    for _ in range(3):
        number = await link.call("CLIENT", "ID")
        await client.client_kill_filter(_id=number)
        await asyncio.sleep(0)  # the loop reads the end of the stream in its next turn
        await client.ping()
        assert await link.call("ECHO", "again") == b"again"
    await link.close()


async def test_a_demoted_server_costs_the_connection(server: RedisServer, client: redis_async.Redis) -> None:
    """After READONLY the next call connects anew, since the address may lead to another server."""
    link = Link(server.url, name="test")
    before = await link.call("CLIENT", "ID")
    await client.replicaof("127.0.0.1", 1)
    with pytest.raises(ReadOnlyError):
        await link.call("SET", "key", "value")
    assert await link.call("CLIENT", "ID") != before
    await link.close()
