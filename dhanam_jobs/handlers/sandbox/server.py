"""Runs the sandbox on a loopback port of this process, and says where its providers are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

import uvicorn
from starlette.routing import BaseRoute

from dhanam_jobs.handlers.providers import Endpoints
from dhanam_jobs.handlers.sandbox.app import create_sandbox
from dhanam_jobs.handlers.sandbox.world import World

log = logging.getLogger("dhanam_jobs.sandbox")


class _Server(uvicorn.Server):
    """Leaves the signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running_sandbox(
    world: World, *, host: str = "127.0.0.1", port: int = 0, more: Sequence[BaseRoute] = ()
) -> AsyncIterator[str]:
    """Serve the world for the length of the block; gives its URL. Port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    config = uvicorn.Config(
        create_sandbox(world, more),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="sandbox")
    try:
        while not server.started:
            if serving.done():
                serving.result()
                raise OSError("the sandbox ended while it was starting")
            await asyncio.sleep(0.005)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
        listener.close()


def endpoints_at(url: str, world: World) -> Endpoints:
    """Where a sandbox's providers are, with the keys that it takes."""
    return Endpoints(
        bitso=f"{url}/bitso/v3",
        belvo=f"{url}/belvo",
        plaid=f"{url}/plaid",
        ethereum=f"{url}/ethereum",
        bitcoin=f"{url}/bitcoin",
        prices=f"{url}/prices",
        esg=f"{url}/dhanam",
        rates=f"{url}/rates",
        belvo_secret_key_id=world.belvo_secret[0],
        belvo_secret_key_password=world.belvo_secret[1],
        plaid_client_id=world.plaid_secret[0],
        plaid_secret=world.plaid_secret[1],
    )
