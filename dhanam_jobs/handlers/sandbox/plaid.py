"""Plaid's wire format: keys in headers, JSON by POST, changes since a cursor in pages, its errors."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dhanam_jobs.handlers.sandbox.wire import answer, json_of, world_of
from dhanam_jobs.handlers.sandbox.world import PlaidItem


def problem(code: str, kind: str = "ITEM_ERROR", message: str = "") -> dict[str, Any]:
    """An error as Plaid words it."""
    return {
        "error_type": kind,
        "error_code": code,
        "error_message": message or code.lower(),
        "display_message": None,
        "request_id": "sandbox",
    }


async def _item(request: Request) -> tuple[PlaidItem, dict[str, Any]] | Response:
    world = world_of(request)
    given = (request.headers.get("plaid-client-id"), request.headers.get("plaid-secret"))
    if given != world.plaid_secret:
        return answer(problem("INVALID_API_KEYS", "INVALID_INPUT"), 400)
    asked = await json_of(request)
    token = asked.get("access_token") if isinstance(asked, dict) else None
    item = world.plaid.get(str(token))
    if item is None:
        return answer(problem("INVALID_ACCESS_TOKEN", "INVALID_INPUT"), 400)
    if world.too_often("plaid", str(token)):
        return answer(problem("RATE_LIMIT_EXCEEDED", "RATE_LIMIT_EXCEEDED"), 429)
    return item, asked


async def accounts(request: Request) -> Response:
    """POST /accounts/get"""
    found = await _item(request)
    if isinstance(found, Response):
        return found
    return answer({"accounts": found[0].accounts, "item": {"error": None}, "request_id": "sandbox"})


async def sync(request: Request) -> Response:
    """POST /transactions/sync: `count` (100, at most 500) events from behind `cursor` ("": from the first)."""
    found = await _item(request)
    if isinstance(found, Response):
        return found
    item, asked = found
    cursor, count = asked.get("cursor", ""), asked.get("count", 100)
    begin = int(cursor.removeprefix("cursor-")) if cursor else 0
    if not 1 <= count <= 500 or begin > len(item.events):
        return answer(problem("INVALID_FIELD", "INVALID_REQUEST"), 400)
    page = item.events[begin : begin + count]
    end = begin + len(page)
    told: dict[str, Any] = {"added": [], "modified": [], "removed": []}
    for kind, entry in page:
        told[kind].append(entry)
    return answer(
        {
            **told,
            "accounts": item.accounts,
            "next_cursor": f"cursor-{end}",
            "has_more": end < len(item.events),
            "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
            "request_id": "sandbox",
        }
    )


async def liabilities(request: Request) -> Response:
    """POST /liabilities/get"""
    found = await _item(request)
    if isinstance(found, Response):
        return found
    item = found[0]
    if item.liabilities is None:
        return answer(problem("NO_LIABILITY_ACCOUNTS"), 400)
    return answer({"accounts": item.accounts, "liabilities": item.liabilities, "request_id": "sandbox"})


ROUTES = [
    Route("/plaid/accounts/get", accounts, methods=["POST"]),
    Route("/plaid/transactions/sync", sync, methods=["POST"]),
    Route("/plaid/liabilities/get", liabilities, methods=["POST"]),
]
