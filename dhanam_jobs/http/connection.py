"""One client's connection: uvicorn's protocol, with a bound on how long and how large a request's head may be.

Without it whoever sends half a head, or a head without an end, holds a connection and its memory for ever. How long a
body may take is the frame's (frame.py), which can answer like everything else.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dhanam_jobs.http.errors import ApiError, error_response
from dhanam_jobs.http.frame import SECURITY_HEADERS

log = structlog.get_logger("dhanam_jobs.http")

HEAD_S: Final = 15.0
"""Seconds from a connection's start, or from a request's first byte, until its head must be whole."""
MAX_HEAD_BYTES: Final = 65_536
"""Longest head of a request: its first line and its headers."""
LINGER_S: Final = 1.0
"""Seconds in which what still comes after a refusal is dropped: closing at once could lose the answer on its way."""


class Connection(HttpToolsProtocol):
    """Refuses heads that are late (408) or too large (431), and what is no HTTP (400), in the envelope of all errors.

    Args:
        head_s: seconds that a head may take.
        more: what uvicorn hands to a protocol.
    """

    def __init__(self, *, head_s: float = HEAD_S, **more: Any) -> None:
        super().__init__(**more)
        self._head_s = head_s
        self._head_due: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came: the first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came; while a head is not whole they are counted."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._head_due is None and (self.cycle is None or self.cycle.response_complete):
            # The next head has begun, or the rest of a body that nobody wanted still comes.
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole: the request is served, or refused where its head is too large."""
        self._stop_waiting()
        self._in_head, self._head_bytes = False, 0
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            # The parser ends at an exception; `send_400_response` finds the answer given already.
            self._refuse(_too_large())
            raise ValueError("the head is too large")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole: what follows is the next one's head."""
        super().on_message_complete()
        self._in_head = True

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP request."""
        if not self._refused:
            self._refuse(ApiError(400, "This is no HTTP/1.1 request that can be read"))

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(self._head_s, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        self._head_due = None
        if self._head_bytes:
            self._refuse(ApiError(408, f"The request's head was not whole after {self._head_s:g} seconds"))
        else:
            self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        """Answer without the application, which has not seen the request, and close."""
        self._stop_waiting()
        self._refused = True
        scope = {"type": "http", "path": "", "method": "", "state": {"request_id": uuid4().hex}}
        request_id = scope["state"]["request_id"]  # type: ignore[index]
        answer = error_response(scope, error)
        answer.headers.update({**SECURITY_HEADERS, "X-Request-Id": request_id, "Connection": "close"})
        head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(head + lines + b"\r\n" + bytes(answer.body))
        self.transport.write_eof()
        self._head_due = self.loop.call_later(LINGER_S, self.transport.close)
        log.info("request_unread", status=error.status, reason=error.message, request_id=request_id)


def _too_large() -> ApiError:
    return ApiError(431, f"The request's head is longer than the {MAX_HEAD_BYTES} bytes that are read")
