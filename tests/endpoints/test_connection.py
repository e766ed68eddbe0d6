"""Clients that never come to an end of their request hold neither a connection nor memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from dhanam_jobs.http.connection import MAX_HEAD_BYTES
from dhanam_jobs.http.serve import HttpServer, bind
from tests.conftest import WaitUntil
from tests.endpoints.conftest import Service, StartService
from tests.endpoints.test_serve import say_hello


@pytest.fixture
async def hasty() -> AsyncIterator[HttpServer]:
    """A server that gives a head a fifth of a second."""
    server = HttpServer(say_hello, bind("127.0.0.1", 0), closing=asyncio.Event(), head_s=0.2)
    await server.start()
    yield server
    await server.stop()


async def converse(server: HttpServer, *pieces: bytes) -> bytes:
    """All that the server says until it closes the connection; a piece is sent after each of its answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    heard = b""
    for piece in pieces:
        if heard:
            heard += await reader.readuntil(b"hello")
        writer.write(piece)
        heard = heard or b" "
    heard += await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return heard.strip()


def told(answer: bytes) -> dict[str, object]:
    """The envelope's status and code, and whether the connection was said to end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    envelope = json.loads(body)
    assert f"x-request-id: {envelope['meta']['requestId']}" in lines
    assert "x-content-type-options: nosniff" in lines
    assert "connection: close" in lines
    assert envelope["meta"]["status"] == int(head.split()[1])
    return envelope["error"]  # type: ignore[no-any-return]


async def test_a_head_that_is_late_is_408(hasty: HttpServer) -> None:
    """Half a head gets the envelope of all errors, and the connection is closed."""
    error = told(await converse(hasty, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "))
    assert error == {"code": "REQUEST_TIMEOUT", "message": "The request's head was not whole after 0.2 seconds"}


async def test_a_second_head_on_a_connection_is_bounded_as_the_first(hasty: HttpServer) -> None:
    """A good request before it makes no difference."""
    answer = await converse(hasty, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHo")
    first, _, second = answer.partition(b"hello")
    assert first.startswith(b"HTTP/1.1 200")
    assert told(second)["code"] == "REQUEST_TIMEOUT"


async def test_who_says_nothing_is_let_go(hasty: HttpServer) -> None:
    """An empty connection is closed without a word, one that sends empty lines as well."""
    assert await converse(hasty) == b""
    assert await converse(hasty, b"\r\n") != b"hello"


async def test_the_rest_of_a_body_that_nobody_wanted_is_not_waited_for(hasty: HttpServer) -> None:
    """It was answered before its body was whole; whoever drips on is let go."""
    answer = await converse(hasty, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nab", b"c")
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("headers", [1, 40])
async def test_a_head_without_an_end_is_431(hasty: HttpServer, headers: int) -> None:
    """One long header, and many short ones."""
    line = b"x" * (2 * MAX_HEAD_BYTES // headers)
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (number, line) for number in range(headers))
    error = told(await converse(hasty, head + b"\r\n"))
    assert error["code"] == "REQUEST_HEADER_FIELDS_TOO_LARGE"
    assert str(MAX_HEAD_BYTES) in str(error["message"])


async def test_what_is_no_http_is_400_in_the_envelope(hasty: HttpServer) -> None:
    """A handshake of TLS, for instance."""
    error = told(await converse(hasty, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"))
    assert error == {"code": "BAD_REQUEST", "message": "This is no HTTP/1.1 request that can be read"}


async def test_a_body_that_is_late_is_408(start_service: StartService) -> None:
    """Announced and not sent: the answer comes at the end of the time, and ends the connection."""
    service = await start_service(body_s=0.2)
    error = told(await converse(service.server, half_a_body(service)))
    assert error == {"code": "REQUEST_TIMEOUT", "message": "The body was not whole after 0.2 seconds"}


async def test_a_client_that_hangs_up_in_its_body_is_no_error_of_ours(service: Service, wait_until: WaitUntil) -> None:
    """No failure is logged, no 500 is counted: the line of the request has no status."""
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection("127.0.0.1", service.server.port)
        writer.write(half_a_body(service))
        await writer.drain()
        writer.close()
        await wait_until(lambda: any(line["event"] == "request" for line in lines), "the line of the request")
    assert [(line["event"], line["log_level"], line["status"]) for line in lines] == [("request", "info", None)]
    assert 'status="500"' not in (await service.client.get("/metrics")).text


def half_a_body(service: Service) -> bytes:
    """A request that announces more than it sends."""
    token = service.token("olivia")
    return (
        f"POST /jobs/categorize/space-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"a'
    ).encode()
