"""Belvo's wire format: Basic authentication, retrieval by POST, listings by GET in pages, its errors."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dhanam_jobs.handlers.sandbox.wire import answer, json_of, world_of
from dhanam_jobs.handlers.sandbox.world import BelvoLink, Json


def _refused(status: int, code: str, message: str) -> Response:
    return answer([{"request_id": "sandbox", "code": code, "message": message, "field": None}], status)


def _may(request: Request) -> Response | None:
    """None for our own secret, else the refusal."""
    world = world_of(request)
    kind, _, pair = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(pair, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        given = ""
    if kind != "Basic" or given != ":".join(world.belvo_secret):
        return _refused(401, "authentication_failed", "Authentication failed.")
    if world.too_often("belvo", given):
        return answer({"detail": "Request was throttled."}, 429, {"Retry-After": "30"})
    return None


async def _link(request: Request) -> tuple[str, BelvoLink, dict[str, Any]] | Response:
    if (refusal := _may(request)) is not None:
        return refusal
    asked = dict(request.query_params) if request.method == "GET" else await json_of(request)
    link = asked.get("link") if isinstance(asked, dict) else None
    known = world_of(request).belvo.get(str(link))
    if known is None:
        return _refused(400, "invalid_link", "Link not found")
    return str(link), known, asked


def _told(request: Request, link: str, known: BelvoLink, rows: list[Json], query: str) -> Response:
    if known.page_rows is None:
        return answer(rows, 201)
    number = int(request.query_params.get("page", "1"))
    start = (number - 1) * known.page_rows
    more = start + known.page_rows < len(rows)
    following = f"{request.url.replace(query='')}?link={link}&page={number + 1}{query}" if more else None
    page = rows[start : start + known.page_rows]
    status = 200 if request.method == "GET" else 201
    return answer({"count": len(rows), "next": following, "previous": None, "results": page}, status)


async def accounts(request: Request) -> Response:
    """POST and GET /api/accounts/"""
    found = await _link(request)
    if isinstance(found, Response):
        return found
    link, known, _ = found
    return _told(request, link, known, known.accounts, "")


async def transactions(request: Request) -> Response:
    """POST and GET /api/transactions/, of the days from `date_from` to `date_to`."""
    found = await _link(request)
    if isinstance(found, Response):
        return found
    link, known, asked = found
    first, last = asked.get("date_from"), asked.get("date_to")
    if not isinstance(first, str) or not isinstance(last, str):
        return _refused(400, "required", "date_from and date_to are required")
    rows = [row for row in known.transactions if first <= str(row["value_date"]) <= last]
    return _told(request, link, known, rows, f"&date_from={first}&date_to={last}")


ROUTES = [
    Route("/belvo/api/accounts/", accounts, methods=["GET", "POST"]),
    Route("/belvo/api/transactions/", transactions, methods=["GET", "POST"]),
]
