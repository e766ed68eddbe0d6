"""Builds the application: the table of endpoints, a frame round it, services behind it. No endpoint is here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import Scope

from dhanam_jobs.handlers.jobs_service import JobsService
from dhanam_jobs.handlers.rules_service import RulesService
from dhanam_jobs.http.auth import Guards
from dhanam_jobs.http.context import Check, Context, HttpOptions
from dhanam_jobs.http.dispatch import routes_of
from dhanam_jobs.http.event_hub import EventHub
from dhanam_jobs.http.frame import Count, Frame, answer_http_exception
from dhanam_jobs.http.idempotency import Keys
from dhanam_jobs.http.metrics import Metrics
from dhanam_jobs.http.openapi import build_document
from dhanam_jobs.http.rate_limit import RateLimiter
from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


def create_app(
    service: JobsService,
    guards: Guards,
    checks: Mapping[str, Check],
    keys: Keys,
    *,
    closing: asyncio.Event,
    metrics: Metrics,
    rules: RulesService,
    options: HttpOptions | None = None,
    limiter: RateLimiter | None = None,
    traced: TracerProvider | None = None,
) -> Starlette:
    """Return the ASGI application.

    Args:
        service: what the endpoints ask and tell.
        guards: who may.
        checks: what `/readyz` asks, by the part's name (`redis`, `store`, `health.worker_checks`).
        keys: where idempotency keys are kept, the store's `idempotency_keys`.
        closing: the event that `HttpServer` sets when it is about to end.
        metrics: what `/metrics` tells; requests are counted there.
        rules: what people do with their spaces' rules.
        options: prefix, waits and limits; None: the defaults.
        limiter: counts requests; None: they are not limited.
        traced: where each request has its span; None: it has none.
    """
    options = options or HttpOptions()
    prefixes = dict.fromkeys(("", options.prefix))
    routes = [route for prefix in prefixes for route in routes_of(ENDPOINTS, prefix)]
    layers = [Middleware(Frame, options.max_body_bytes, options.body_s, _counting(metrics, options.prefix))]
    if traced:
        from dhanam_jobs.http.spans import Spans

        layers.insert(0, Middleware(Spans, traced))
    app = Starlette(
        routes=routes,
        middleware=layers,
        exception_handlers={HTTPException: answer_http_exception},
    )
    # A redirect would repeat whatever Host the client sent, and hide a wrong address.
    app.router.redirect_slashes = False
    document, events = build_document(ENDPOINTS), EventHub(service)
    app.state.context = Context(
        service, guards, keys, document, options, checks, closing, metrics, rules, events, limiter
    )
    return app


def _counting(metrics: Metrics, prefix: str) -> Count:
    streams = {row.path for row in ENDPOINTS if row.stream}

    def count(scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        if route is not None and prefix and route.startswith(f"{prefix}/"):
            route = route.removeprefix(prefix)
        if route not in streams:  # how long somebody listens is no measure of the service
            metrics.count(scope["method"], route, status, seconds)

    return count
