"""The one way from a request to an endpoint's function: guard, limit, query, body, function, answer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dhanam_jobs.http.auth import Caller
from dhanam_jobs.http.codec import json_response, read_json, read_query
from dhanam_jobs.http.context import Context, context_of
from dhanam_jobs.http.endpoint import Answer, Call, Endpoint, Guard
from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.idempotency import Once, Replay, key_from, request_hash

READ_ONLY: Final = "A demo token may look, and change nothing"


def routes_of(endpoints: Iterable[Endpoint], prefix: str) -> list[Route]:
    """Return the routes of the table under `prefix`, in its order: the rows of one path are one route."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for row in endpoints:
        by_path.setdefault(row.path, {})[row.method] = row
    return [Route(prefix + path, partial(_serve, rows), methods=list(rows)) for path, rows in by_path.items()]


async def _serve(by_method: dict[str, Endpoint], request: Request) -> Response:
    endpoint = by_method["GET" if request.method == "HEAD" else request.method]
    context = context_of(request)
    try:
        caller = await _admit(context, endpoint, request)
    except ApiError:
        # Who is refused is counted too: guessing tokens or spaces is limited as everything else is.
        await _count(context, endpoint, request)
        raise
    await _count(context, endpoint, request)
    key = key_from(request) if endpoint.idempotent else None
    query = read_query(request, endpoint.query)
    body = await read_json(request, endpoint.body) if endpoint.changes else endpoint.body()
    if endpoint.stream and request.method == "HEAD":
        return Response(media_type=endpoint.answers[200])
    once = _once(context, endpoint, request, caller, key, (query, body))
    try:
        answer = await endpoint.run(Call(context, request, query, body, once, caller))
    except Replay as replay:
        return json_response(msgspec.Raw(replay.answer), replay.status)
    except ApiError as refused:
        await once.keep_error(refused)
        raise
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, Answer):
        answer = Answer(answer)
    assert answer.status in endpoint.answers, f"{endpoint} answered {answer.status}, which its row doesn't declare"
    assert once.used or not endpoint.idempotent, f"{endpoint} enqueued without call.once"
    response = json_response(answer.value, answer.status, answer.headers)
    await once.keep(answer.status, bytes(response.body))
    return response


async def _admit(context: Context, endpoint: Endpoint, request: Request) -> Caller | None:
    """Return who calls, if the endpoint's guard lets them in; raises ApiError 401 or 403."""
    guards, space_id = context.guards, request.path_params.get("spaceId", "")
    match endpoint.guard:
        case Guard.PUBLIC:
            return None
        case Guard.CALLER:
            caller = await guards.caller(request)
        case Guard.VIEWER:
            caller = await guards.look_in_space(request, space_id)
        case Guard.MEMBER:
            caller = await guards.trigger_in_space(request, space_id)
        case Guard.ADMIN:
            caller = await guards.admin(request)
    if endpoint.changes and caller.read_only:
        raise ApiError(403, READ_ONLY)
    return caller


async def _count(context: Context, endpoint: Endpoint, request: Request) -> None:
    if context.limiter is not None and endpoint.rate_limited and not endpoint.stream:
        await context.limiter.count(request)


def _once(
    context: Context, endpoint: Endpoint, request: Request, caller: Caller | None, key: str | None, read: object
) -> Once:
    said = ""
    if key is not None:
        said = request_hash(endpoint.method, endpoint.path.format_map(request.path_params), read)
    return Once(context.keys, context.jobs, caller.id if caller else "", key, said)
