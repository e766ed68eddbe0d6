"""What goes round every request: its id, the body limit, security headers, the error envelope, one log line.

Everything else, guards included, happens inside.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final, TypeAlias
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dhanam_jobs.http.errors import ApiError, as_api_error, error_response

log = structlog.get_logger("dhanam_jobs.http")

SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Set on every answer that doesn't set them itself. No CORS header is ever among them."""

_FIT_FOR_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET_PATHS = ("/healthz", "/readyz", "/metrics")


Count: TypeAlias = Callable[[Scope, int, float], None]


class Frame:
    """The outermost ASGI layer of the application.

    Args:
        app: what it goes round.
        max_body_bytes: longest request body that is read.
        body_s: seconds that a request's body may take to come in, from when it is first read.
        count: told of each answer: the scope, its status, and how many seconds it took.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, body_s: float, count: Count) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"] = _id_from(headers, "x-request-id") or uuid4().hex
        state["correlation_id"] = _id_from(headers, "x-correlation-id") or state["request_id"]
        status: int | None = None

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                for name, value in {**SECURITY_HEADERS, **state.get("answer_headers", {})}.items():
                    answer.setdefault(name, value)
                answer["X-Request-Id"] = state["request_id"]
            await send(message)

        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=state["request_id"]):
            try:
                limited = _limit_body(receive, headers, self._max_body_bytes, self._body_s)
                await self._app(scope, limited, send_framed)
            except ClientDisconnect:
                # Gone in the middle of its own body: nobody is there to answer, and nothing went wrong here.
                pass
            except Exception as error:
                answer = as_api_error(error)
                if answer.status == 500:
                    log.error("request_failed", exc_info=error, method=scope["method"], path=scope["path"])
                if status is not None:
                    raise
                await error_response(scope, answer)(scope, receive, send_framed)
            finally:
                seconds = time.monotonic() - began
                _write_line(scope, status, seconds)
                if status is not None:
                    self._count(scope, status, seconds)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer what Starlette's router raises (404, 405); OPTIONS on a known path tells the methods instead."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405 and error.headers:
        methods = sorted({*error.headers["Allow"].split(", "), "OPTIONS"})
        allow = {"Allow": ", ".join(methods)}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        message = f"{request.method} is not answered here, but {', '.join(methods)}"
        return error_response(request.scope, ApiError(405, message, headers=allow))
    if error.status_code == 404:
        return error_response(request.scope, ApiError(404, "There is nothing at this address"))
    return error_response(request.scope, as_api_error(error))


def _limit_body(receive: Receive, headers: Headers, limit: int, body_s: float) -> Receive:
    """Return a `receive` that refuses bodies over `limit` bytes, announced or not, and those that take too long."""
    declared = headers.get("content-length", "0")
    # Longer than 18 digits is too long whatever they say, and spares int() a hostile number.
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise _too_large(limit)
    read = 0
    due: float | None = None
    whole = False

    async def limited() -> Message:
        nonlocal read, due, whole
        if whole:
            # What still comes is that the client has gone, whenever it does.
            return await receive()
        now = asyncio.get_running_loop().time()
        due = now + body_s if due is None else due
        try:
            async with asyncio.timeout(due - now):
                message = await receive()
        except TimeoutError:
            raise _too_slow(body_s) from None
        whole = not message.get("more_body", False)
        read += len(message.get("body", b""))
        if read > limit:
            raise _too_large(limit)
        return message

    return limited


def _too_large(limit: int) -> ApiError:
    # The rest of the body is not read, so the connection can't carry another request.
    return ApiError(413, f"The body is longer than the {limit} bytes that are read", headers={"Connection": "close"})


def _too_slow(body_s: float) -> ApiError:
    return ApiError(408, f"The body was not whole after {body_s:g} seconds", headers={"Connection": "close"})


def _id_from(headers: Headers, name: str) -> str | None:
    value = headers.get(name)
    return value if value is not None and _FIT_FOR_REQUEST_ID.fullmatch(value) else None


def _write_line(scope: Scope, status: int | None, seconds: float) -> None:
    # Neither the query nor a header is logged: both may hold secrets.
    write = log.debug if scope["path"].endswith(_QUIET_PATHS) else log.info
    write(
        "request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        duration_ms=round(seconds * 1000, 1),
        user_id=scope["state"].get("user_id"),
    )
