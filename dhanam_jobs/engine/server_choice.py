"""Decides which Redis to use; connecting to it, or starting one of our own, is left to others."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final

import msgspec

from dhanam_jobs.engine.server_binary import MINIMUM_VERSION

DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = 6379


class ServerChoice(msgspec.Struct, frozen=True):
    """Where Redis is: `url` is None where a server of our own is wanted; `reason` says why, for a person."""

    url: str | None
    reason: str


async def choose_server(
    url: str | None, *, embedded: bool = False, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT
) -> ServerChoice:
    """The given address; else the default one, if a usable server answers there; else our own.

    `embedded` skips the question. A server that wants a password or is older than 7.0 is not usable without
    being named. Takes 1 s at most.
    """
    if embedded:
        return ServerChoice(None, "asked for the embedded server")
    if url is not None:
        return ServerChoice(url, "the given address")
    place = f"{host}:{port}"
    flaw = await asyncio.to_thread(_flaw, host, port)
    if flaw is None:
        return ServerChoice(f"redis://{place}", f"a server answers on {place}")
    return ServerChoice(None, f"{flaw} on {place}")


def _flaw(host: str, port: int) -> str | None:
    """What keeps us from using the server at this place; None where nothing does."""
    try:
        with socket.create_connection((host, port), timeout=0.5) as client:
            client.sendall(b"INFO server\r\n")
            with client.makefile("rb") as answer:
                line = answer.readline(200).strip()
                if line.startswith(b"-"):
                    return f"a server that refuses us ({line[1:60].decode(errors='replace')})"
                # A stranger's number must not make us read for ever.
                info = answer.read(min(int(line[1:]), 65_536)) if line.startswith(b"$") else b""
    except (OSError, ValueError):
        return "no server answers"
    match = re.search(rb"\bredis_version:(\d+)\.(\d+)", info)
    if match is None:
        return "something that is no Redis"
    if (int(match[1]), int(match[2])) < MINIMUM_VERSION:
        return f"a server of version {match[1].decode()}.{match[2].decode()}, too old,"
    return None
