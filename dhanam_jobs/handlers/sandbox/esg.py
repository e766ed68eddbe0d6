"""Dhanam's ESG API: one asset by its symbol, in lower case."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dhanam_jobs.handlers.sandbox.wire import answer, world_of


async def asset(request: Request) -> Response:
    """GET /esg/assets/{symbol}"""
    found = world_of(request).esg.get(request.path_params["symbol"])
    return answer({"error": "not found"}, 404) if found is None else answer(found)


ROUTES = [Route("/dhanam/esg/assets/{symbol}", asset)]
