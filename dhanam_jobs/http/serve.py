"""Runs the application inside a running event loop: claims the port first, serves until told to stop.

Signals are not touched here: whoever owns the process decides when `HttpServer.stop` is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from dhanam_jobs.http.connection import HEAD_S, Connection

BACKLOG: Final = 2048
"""Connections that wait in the kernel, also between `bind` and the server's start."""
GRACE_S: Final = 5
"""Seconds that open requests get to end once the server was told to stop."""


class PortTakenError(OSError):
    """Raised by `bind`: another process listens there. The text says what to do, and is fit for a person."""


def bind(host: str, port: int) -> socket.socket:
    """Claim the address and return the listening socket; port 0 takes a free one.

    Call it before anything else is started: from here on the port is ours, and whoever connects waits in the
    backlog until the server answers.

    Raises:
        PortTakenError: another process listens on that address.
        OSError: the host has no address here, or the port is not allowed; the text names both settings.
    """
    wanted = f"HTTP_HOST={host} HTTP_PORT={port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f"{wanted}: {host!r} is no address of this machine ({error})") from None
    listener = socket.socket(family, kind, proto)
    try:
        # Lets a restart take the port while the last run's connections linger; on Linux a second listener is
        # refused all the same, which is why listen() follows at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                error.errno,
                f"{wanted}: another process listens on port {port}; end it, or choose another with --port or HTTP_PORT",
            ) from None
        raise OSError(error.errno, f"{wanted}: {os.strerror(error.errno or 0)}") from None
    listener.setblocking(False)
    return listener


class HttpServer:
    """One application on one listening socket, as a task of the running loop.

    Args:
        app: what answers.
        listener: from `bind`; the server owns it from now on.
        closing: set by `stop` before the server ends, so that long answers (waits, streams) can end first.
        head_s: seconds that the head of a request may take.
    """

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, closing: asyncio.Event, head_s: float = HEAD_S
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            http=partial(Connection, head_s=head_s),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            # The header names what we run, and trusting forwarded addresses is the proxy's owner's choice.
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
            backlog=BACKLOG,
        )
        self._server = _Server(config)
        self._listener = listener
        self._closing = closing
        self._serving: asyncio.Task[None] | None = None
        host, self.port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Return when requests are answered; a second call changes nothing.

        Raises:
            RuntimeError: the server ended before it answered; the cause is attached.
        """
        if self._serving is not None:
            return
        self._serving = asyncio.create_task(self._server.serve([self._listener]), name="http-server")
        ready = asyncio.create_task(self._server.ready.wait(), name="http-ready")
        try:
            await asyncio.wait({self._serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._server.ready.is_set():
            cause = None if self._serving.cancelled() else self._serving.exception()
            raise RuntimeError(f"the HTTP server on {self.url} did not start") from cause

    async def wait(self) -> None:
        """Return when the server has ended, for whatever reason; its error is raised.

        Raises:
            RuntimeError: the server was not started.
        """
        if self._serving is None:
            raise RuntimeError("the HTTP server was not started")
        await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Let open requests end within `GRACE_S` seconds and close the port; may be called again."""
        self._closing.set()
        self._server.should_exit = True
        if self._serving is None:
            self._listener.close()
        else:
            await asyncio.shield(self._serving)


class _Server(uvicorn.Server):
    """uvicorn, told when it answers and kept from the process's signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would install its own handlers and raise the signals again at its end.
        yield
