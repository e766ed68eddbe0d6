"""An answer that goes on: server-sent events (WHATWG HTML, "Server-sent events"), as one ASGI response.

It begins at once, shows that it lives by comments, stops for a client that has gone or takes nothing, for a caller who
may no longer listen, and when the server is about to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = structlog.get_logger("dhanam_jobs.http")

MEDIA_TYPE: Final = "text/event-stream"
STALLED_S: Final = 30.0
"""How long a client may take nothing."""
RETRY_MS: Final = 2_000
"""When a client should come back after the end."""


def frame(data: bytes, *, event: str | None = None, id: str | None = None) -> bytes:
    """Return one event; `data` is one line, as JSON is."""
    name = f"event: {event}\n" if event else ""
    place = f"id: {id}\n" if id else ""
    return f"{place}{name}".encode() + b"data: " + data + b"\n\n"


def place_frame(id: str) -> bytes:
    """Return what tells a client where it is, and nothing else."""
    return f"id: {id}\n\n".encode()


class _Stalled(Exception):
    """The client takes nothing."""


class EventStream(Response):
    """The response.

    Args:
        frames: what is sent, piece by piece; it is closed at the end.
        close: gives back what the frames come from, also where none was asked for.
        closing: set when the server is about to end.
        allowed: raises where the caller may no longer listen.
        heartbeat_s: longest silence, in seconds.
        recheck_s: seconds between two calls of `allowed`.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        *,
        close: Callable[[], Awaitable[object]],
        closing: asyncio.Event,
        allowed: Callable[[], Awaitable[object]],
        heartbeat_s: float,
        recheck_s: float,
    ) -> None:
        # Proxies would keep it until it is whole.
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._close = close
        self._closing = closing
        self._allowed = allowed
        self._heartbeat_s = heartbeat_s
        self._recheck_s = recheck_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def put(piece: bytes, *, more: bool = True) -> None:
            try:
                async with asyncio.timeout(STALLED_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
            except TimeoutError:
                raise _Stalled from None

        gone = asyncio.create_task(_gone(receive))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await put(f"retry: {RETRY_MS}\n\n".encode())
            await self._send_all(put, gone, closing)
            if not gone.done():
                await put(b"", more=False)
        except _Stalled:
            log.info("stalled_client_cut_off", path=scope["path"])
        finally:
            for task in (gone, closing):
                await _cancel(task)
            await self._frames.aclose()
            await self._close()

    async def _send_all(
        self, put: Callable[[bytes], Awaitable[None]], gone: asyncio.Task[None], closing: asyncio.Task[bool]
    ) -> None:
        loop = asyncio.get_running_loop()
        check_at = loop.time() + self._recheck_s
        coming: asyncio.Task[bytes | None] | None = None
        try:
            while True:
                coming = coming or asyncio.create_task(_next(self._frames))
                waited = {coming, gone, closing}
                await asyncio.wait(waited, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if coming.done():
                    piece, coming = coming.result(), None
                    if piece is None:
                        return
                    await put(piece)
                elif closing.done():
                    return
                else:
                    await put(b":\n\n")
                if loop.time() >= check_at:
                    await self._allowed()
                    check_at = loop.time() + self._recheck_s
        except _Stalled:
            raise
        except Exception as error:
            # The status is sent; the client comes back to where it was, and hears then what is wrong.
            log.info("stream_ended_early", error=type(error).__name__, reason=str(error)[:500])
        finally:
            if coming is not None:
                await _cancel(coming)


async def _next(frames: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(frames, None)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
