"""What every answer has in common: envelope, request id, headers, limits, and a log line without secrets."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import httpx2
import pytest
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from dhanam_jobs.http.errors import INTERNAL
from dhanam_jobs.http.frame import Frame
from dhanam_jobs.http.serve import HttpServer, bind

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service, StartService


async def test_the_envelope_has_the_specifications_fields(service: Service) -> None:
    """Names, types and order are those of the specification; what says nothing is left out."""
    answer = await service.ask("GET", "/v1/nowhere", headers={"X-Request-Id": "req-7", "X-Correlation-Id": "c.9"})
    body = answer.json()
    assert list(body) == ["success", "error", "meta"]
    assert body["success"] is False
    assert body["error"] == {"code": "NOT_FOUND", "message": "There is nothing at this address"}
    timestamp = body["meta"].pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
    assert body["meta"] == {
        "status": 404,
        "path": "/v1/nowhere",
        "method": "GET",
        "requestId": "req-7",
        "correlationId": "c.9",
    }
    assert answer.headers["X-Request-Id"] == "req-7"


async def test_a_request_id_that_is_not_fit_is_replaced(service: Service) -> None:
    """What comes from outside goes into logs and headers only if it is harmless."""
    for sent in (b"", b"a b", b"x" * 129, b"<script>", b"\xf1", b"a;b"):
        answer = await service.client.get("/nowhere", headers=[(b"X-Request-Id", sent)])
        given = answer.headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{32}", given), sent
        assert answer.json()["meta"]["requestId"] == given


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/healthz", 405),
        ("GET", "/admin/queues/stats", 401),
    ],
)
async def test_security_headers_stand_on_every_answer(service: Service, method: str, path: str, status: int) -> None:
    """On success and on errors alike; and CORS is off."""
    answer = await service.ask(method, path, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert "Server" not in answer.headers


async def test_a_wrong_method_is_405_with_those_that_work(service: Service) -> None:
    """The envelope comes with it."""
    answer = await service.ask("DELETE", "/healthz")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_options_tells_the_methods_and_opens_nothing(service: Service) -> None:
    """204 with Allow on a known address, 404 on others; a preflight gets no permission."""
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = await service.ask("OPTIONS", "/jobs/categorize/space-1", headers=asked)
    assert (answer.status_code, answer.headers["Allow"], answer.content) == (204, "OPTIONS, POST", b"")
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert (await service.ask("OPTIONS", "/nowhere")).status_code == 404


async def test_head_answers_as_get_without_a_body(service: Service) -> None:
    """Status and headers are GET's."""
    answer = await service.ask("HEAD", "/healthz")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == "15"


async def test_an_address_that_is_almost_right_is_404_not_a_redirect(service: Service) -> None:
    """A redirect would repeat the client's Host header."""
    for path in ("/healthz/", "/jobs/", "//healthz", "/v1", "/v1/", "/v1/v1/healthz", "/"):
        answer = await service.client.get(service.server.url + path)
        assert answer.status_code == 404, path
        assert "Location" not in answer.headers


async def test_a_body_over_the_limit_is_413(start_service: StartService) -> None:
    """Announced or streamed, the body is not read to its end."""
    service = await start_service(max_body_bytes=100)

    async def pieces() -> object:
        for _ in range(20):
            yield b" " * 10

    for content in (b" " * 101, pieces()):
        answer = await service.ask(
            "POST",
            "/jobs/categorize/space-1",
            "olivia",
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "PAYLOAD_TOO_LARGE"
        assert answer.headers["Connection"] == "close"


async def test_a_length_that_is_no_length_is_refused(service: Service) -> None:
    """A number of a thousand digits doesn't get further than the door."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.server.port)
    digits = b"9" * 1000
    writer.write(b"POST /jobs/categorize/x HTTP/1.1\r\nHost: x\r\nContent-Length: " + digits + b"\r\n\r\n")
    line = await reader.readline()
    writer.close()
    assert line.split()[1] in (b"400", b"413")


async def test_an_unforeseen_error_is_500_without_a_trace() -> None:
    """The client learns the request id, the log learns the rest."""
    secret = "canary-5d1e"

    async def break_down(request: Request) -> Response:
        raise KeyError(secret)

    app = Starlette(routes=[Route("/broken", break_down)], middleware=[Middleware(Frame, 1000, 60.0, lambda *_: None)])
    server = HttpServer(app, bind("127.0.0.1", 0), closing=asyncio.Event())
    await server.start()
    with capture_logs() as lines:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"{server.url}/broken", headers={"X-Request-Id": "find-me"})
    await server.stop()
    assert answer.status_code == 500
    assert answer.json()["error"] == {"code": "INTERNAL_SERVER_ERROR", "message": INTERNAL}
    assert answer.json()["meta"]["requestId"] == "find-me"
    assert secret not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    (failure,) = [line for line in lines if line["event"] == "request_failed"]
    assert (failure["log_level"], repr(failure["exc_info"])) == ("error", f"KeyError('{secret}')")


async def test_one_line_is_logged_per_request_and_holds_no_secret(service: Service) -> None:
    """Method, path, status, time and user; neither token nor query."""
    token = service.token("root")
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await service.client.get(
            "/admin/queues/stats?token=canary-q",
            headers={"Authorization": f"Bearer {token}", "Cookie": "canary-c", "X-Request-Id": "r-1"},
        )
        await service.client.get("/healthz")
    (line, health) = [line for line in lines if line["event"] == "request"]
    assert line.pop("duration_ms") > 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/admin/queues/stats",
        "status": 422,
        "user_id": "root",
        "request_id": "r-1",
    }
    assert health["log_level"] == "debug"
    assert "canary" not in str(lines)
    assert token not in str(lines)
