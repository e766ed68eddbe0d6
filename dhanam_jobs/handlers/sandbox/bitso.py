"""Bitso's wire format: signatures over the exact bytes, a nonce that rises, its envelope, its paging, its limits."""

from __future__ import annotations

import hashlib
import hmac
import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dhanam_jobs.handlers.sandbox.wire import answer, target_of, world_of
from dhanam_jobs.handlers.sandbox.world import BitsoClient, Json

_AUTHORIZATION = re.compile(r"Bitso ([^:]+):([0-9]+):([0-9a-f]{64})\Z")


def _refused(status: int, code: str, message: str) -> Response:
    return answer({"success": False, "error": {"code": code, "message": message}}, status)


async def _client(request: Request) -> BitsoClient | Response:
    """Whose request it is, or the refusal."""
    world = world_of(request)
    match = _AUTHORIZATION.match(request.headers.get("authorization", ""))
    client = world.bitso.get(match[1]) if match else None
    if match is None or client is None:
        return _refused(401, "0201", "Invalid Nonce or Invalid Credentials")
    message = match[2].encode() + request.method.encode() + target_of(request).encode() + await request.body()
    wanted = hmac.new(client.secret.encode(), message, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, match[3]):
        return _refused(401, "0202", "Invalid signature")
    nonce = int(match[2])
    if nonce <= client.last_nonce:
        return _refused(401, "0201", "Invalid Nonce")
    client.last_nonce = nonce
    if world.too_often("bitso", match[1]):
        return _refused(420, "0801", "Rate limit exceeded")
    return client


async def balance(request: Request) -> Response:
    """GET /balance/"""
    client = await _client(request)
    if isinstance(client, Response):
        return client
    return answer({"success": True, "payload": {"balances": client.balances}})


async def user_trades(request: Request) -> Response:
    """GET /user_trades/: 25 or `limit` (at most 100) a page, from behind `marker`."""
    client = await _client(request)
    if isinstance(client, Response):
        return client
    query = request.query_params
    limit = int(query.get("limit", "25"))
    if not 1 <= limit <= 100:
        return _refused(400, "0301", "Unknown limit")
    rising = query.get("sort", "desc") == "asc"
    trades: list[Json] = sorted(client.trades, key=lambda trade: int(trade["tid"]), reverse=not rising)
    if "marker" in query:
        marker = int(query["marker"])
        trades = [trade for trade in trades if (trade["tid"] > marker if rising else trade["tid"] < marker)]
    return answer({"success": True, "payload": trades[:limit]})


async def account_status(request: Request) -> Response:
    """GET /account_status/"""
    client = await _client(request)
    if isinstance(client, Response):
        return client
    return answer({"success": True, "payload": {"client_id": "sandbox", "status": "active"}})


async def ticker(request: Request) -> Response:
    """GET /ticker/: all books, unsigned."""
    return answer({"success": True, "payload": world_of(request).tickers})


ROUTES = [
    Route("/bitso/v3/balance/", balance),
    Route("/bitso/v3/user_trades/", user_trades),
    Route("/bitso/v3/account_status/", account_status),
    Route("/bitso/v3/ticker/", ticker),
]
