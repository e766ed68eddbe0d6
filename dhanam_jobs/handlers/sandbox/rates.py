"""Exchange rates: the newest of one base, for the currencies that are asked for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dhanam_jobs.handlers.sandbox.wire import answer, world_of


async def latest(request: Request) -> Response:
    """GET /latest?base=USD&symbols=MXN,EUR,CAD"""
    told = world_of(request).rates
    if request.query_params.get("base") != told.get("base"):
        return answer({"message": "not found"}, 404)
    wanted = request.query_params.get("symbols", "").split(",")
    return answer({**told, "rates": {code: told["rates"][code] for code in wanted if code in told["rates"]}})


ROUTES = [Route("/rates/latest", latest)]
