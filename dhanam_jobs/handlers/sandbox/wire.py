"""What the sandbox's endpoints share: the request as it came, and answers in JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dhanam_jobs.handlers.sandbox.world import World


def world_of(request: Request) -> World:
    """The world that the app was made with."""
    world: World = request.app.state.world
    return world


def target_of(request: Request) -> str:
    """Path and query exactly as they came over the wire."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")


async def json_of(request: Request) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
