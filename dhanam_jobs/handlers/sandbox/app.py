"""The sandbox as one application: every provider under its own path, and what it is told and tells about itself.

`GET /_sandbox/asked` lists the requests that came, `POST /_sandbox/faults` says what is to go wrong (world.py's Fault),
`POST /_sandbox/reset` forgets both. What the providers answer is in their own files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dhanam_jobs.handlers.sandbox import belvo, bitso, chains, esg, plaid, rates
from dhanam_jobs.handlers.sandbox.wire import answer, world_of
from dhanam_jobs.handlers.sandbox.world import Asked, Fault, World, hang

_SHOWN_HEADERS = (b"authorization", b"plaid-client-id")


def create_sandbox(world: World, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The application over a world; `more` are routes of providers that stand elsewhere."""
    app = Starlette(
        routes=[
            *bitso.ROUTES,
            *belvo.ROUTES,
            *plaid.ROUTES,
            *chains.ROUTES,
            *esg.ROUTES,
            *rates.ROUTES,
            *more,
            Route("/_sandbox/asked", _asked),
            Route("/_sandbox/faults", _faults, methods=["POST"]),
            Route("/_sandbox/reset", _reset, methods=["POST"]),
        ]
    )
    app.state.world = world
    app.add_middleware(_Recorder, world=world)
    return app


class _Recorder:
    """Notes each request with its body, and lets the faults happen."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode(
            "latin-1"
        )
        self._world.note(Asked(scope["method"], target, _who(scope), _json(bytes(body))))

        async def replay() -> Message:
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        fault = self._world.fault_for(target)
        if fault is None:
            await self._app(scope, replay, send)
        else:
            await _happen(fault, scope, replay, send)


async def _happen(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    if fault.hang:
        await hang(fault.hang)
    if fault.cut:
        # Promises more than it sends; the server then ends the connection.
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"success": tr', "more_body": True})
        raise ConnectionResetError("cut off half way, as asked")
    body = fault.body.encode() if isinstance(fault.body, str) else msgspec.json.encode(fault.body)
    await Response(body, fault.status, fault.headers, "application/json")(scope, receive, send)


def _who(scope: Scope) -> str | None:
    """Whom the credentials name, without what proves it."""
    for name, value in scope["headers"]:
        if name in _SHOWN_HEADERS:
            text: str = value.decode("latin-1")
            return text.split(":")[0].removeprefix("Bitso ") if name != b"authorization" or "Bitso" in text else "Basic"
    return None


def _json(body: bytes) -> Any:
    try:
        found = msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return {**found, "access_token": "…"} if isinstance(found, dict) and "access_token" in found else found


async def _asked(request: Request) -> Response:
    path = request.query_params.get("path", "")
    return answer(world_of(request).asked_of(path))


async def _faults(request: Request) -> Response:
    try:
        fault = msgspec.json.decode(await request.body(), type=Fault)
    except msgspec.ValidationError as error:
        return answer({"error": str(error)}, 400)
    world_of(request).faults.append(fault)
    return answer(fault, 201)


async def _reset(request: Request) -> Response:
    world = world_of(request)
    world.faults.clear()
    world.asked.clear()
    return answer({"reset": True})
