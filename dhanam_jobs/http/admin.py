"""The endpoints of `/admin`, for administrators only. What they show and do is JobsService's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dhanam_jobs.http.codec import json_response
from dhanam_jobs.http.context import context_of


async def queue_stats(request: Request) -> Response:
    """`GET /admin/queues/stats`: the bare list of all queues' counts."""
    context = context_of(request)
    await context.guards.admin(request)
    return json_response(await context.jobs.get_all_queue_stats())
