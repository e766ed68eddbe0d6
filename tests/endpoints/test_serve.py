"""The port is claimed before anything else, and the server starts and stops inside a running loop."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from dhanam_jobs.http.serve import HttpServer, PortTakenError, bind


async def say_hello(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers everything alike."""
    await PlainTextResponse("hello")(scope, receive, send)


def test_a_taken_port_is_an_error_that_says_what_to_do() -> None:
    """The second claim of a port fails at once, and names the settings that would help."""
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"HTTP_PORT={port}: another process listens .* --port"):
            bind("127.0.0.1", port)


def test_a_freed_port_can_be_claimed_at_once() -> None:
    """A restart doesn't wait for the last run's connections to be forgotten."""
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            first.accept()[0].close()
    bind("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.1.1.1", "198.51.100.7"])
def test_a_host_that_is_not_ours_is_an_error_that_names_it(host: str) -> None:
    """An address that doesn't belong to this machine is told apart from a taken port."""
    with pytest.raises(OSError, match="HTTP_HOST=" + host) as refused:
        bind(host, 0)
    assert not isinstance(refused.value, PortTakenError)


async def test_it_serves_on_the_socket_that_was_claimed() -> None:
    """After `start` requests are answered on the claimed port, and after `stop` nobody listens there."""
    listener = bind("127.0.0.1", 0)
    server = HttpServer(say_hello, listener, closing=asyncio.Event())
    await server.start()
    await server.start()
    async with httpx2.AsyncClient() as client:
        answer = await client.get(server.url)
        assert (answer.status_code, answer.text) == (200, "hello")
        assert "server" not in answer.headers
    await server.stop()
    await server.stop()
    await server.wait()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


async def test_stop_before_start_frees_the_port() -> None:
    """A start-up that fails elsewhere gives the port back."""
    server = HttpServer(say_hello, bind("127.0.0.1", 0), closing=asyncio.Event())
    await server.stop()
    bind("127.0.0.1", server.port).close()


async def test_signals_stay_with_the_process() -> None:
    """Serving installs no signal handlers and restores none: the supervisor owns them."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = HttpServer(say_hello, bind("127.0.0.1", 0), closing=asyncio.Event())
    await server.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    await server.stop()


async def test_an_open_request_ends_well_when_the_server_stops() -> None:
    """Stopping sets `closing` first, so that a request that waits for it still gets its answer."""
    closing, entered = asyncio.Event(), asyncio.Event()

    async def wait_for_the_end(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await closing.wait()
        answer: Response = PlainTextResponse(f"closed while {Request(scope).method} was open")
        await answer(scope, receive, send)

    server = HttpServer(wait_for_the_end, bind("127.0.0.1", 0), closing=closing)
    await server.start()
    async with httpx2.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.url))
        await entered.wait()
        await server.stop()
        assert (await request).text == "closed while GET was open"
