"""Builds the application: a table of routes, a frame round it, services behind it. No endpoint is here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from dhanam_jobs.handlers.jobs_service import JobsService
from dhanam_jobs.http import admin, health, jobs
from dhanam_jobs.http.auth import Guards
from dhanam_jobs.http.context import Check, Context, HttpOptions
from dhanam_jobs.http.frame import Frame, answer_http_exception

ROUTES: Final = (
    ("POST", "/jobs/categorize/{spaceId}", jobs.categorize_space),
    ("GET", "/jobs/{queue}/{id}", jobs.get_job),
    ("GET", "/admin/queues/stats", admin.queue_stats),
    ("GET", "/healthz", health.healthz),
    ("GET", "/readyz", health.readyz),
)
"""Method, path, endpoint; the first that fits answers."""


def create_app(
    service: JobsService,
    guards: Guards,
    checks: Mapping[str, Check],
    *,
    closing: asyncio.Event,
    options: HttpOptions | None = None,
) -> Starlette:
    """Return the ASGI application.

    Args:
        service: what the endpoints ask and tell.
        guards: who may.
        checks: what `/readyz` asks, by the part's name (`redis`, `store`, `health.worker_checks`).
        closing: the event that `HttpServer` sets when it is about to end.
        options: prefix, waits and limits; None: the defaults.
    """
    options = options or HttpOptions()
    routes = [
        Route(f"{prefix}{path}", endpoint, methods=[method])
        for prefix in dict.fromkeys(("", options.prefix))
        for method, path, endpoint in ROUTES
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Frame, options.max_body_bytes)],
        exception_handlers={HTTPException: answer_http_exception},
    )
    # A redirect would repeat whatever Host the client sent, and hide a wrong address.
    app.router.redirect_slashes = False
    app.state.context = Context(service, guards, options, checks, closing)
    return app
