"""A span for each HTTP request, in the trace that its `traceparent` header names; only where traces are kept at all."""

from __future__ import annotations

from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_QUIET_PATHS: Final = ("/healthz", "/readyz", "/metrics")


class Spans:
    """The outermost ASGI layer where traces are kept; what is logged and enqueued inside belongs to the span."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self._app = app
        self._tracer = trace.get_tracer("dhanam_jobs.http", tracer_provider=provider)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith(_QUIET_PATHS):
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.start_as_current_span(
            scope["method"], context=propagate.extract(Headers(scope=scope)), kind=SpanKind.SERVER
        ) as span:
            try:
                await self._app(scope, receive, send_noting)
            finally:
                # https://opentelemetry.io/docs/specs/semconv/http/http-spans/ - neither query nor path, which hold ids
                route = getattr(scope.get("route"), "path", None)
                span.set_attributes({"http.request.method": scope["method"], "http.response.status_code": status})
                if route is not None:
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR, str(status)))
