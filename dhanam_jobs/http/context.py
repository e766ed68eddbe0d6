"""What the endpoints work with: built once by `create_app`, found on each request. It does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import msgspec
from starlette.requests import Request

from dhanam_jobs.handlers.jobs_service import JobsService
from dhanam_jobs.handlers.rules_service import RulesService
from dhanam_jobs.http.auth import Guards
from dhanam_jobs.http.event_hub import EventHub
from dhanam_jobs.http.idempotency import Keys
from dhanam_jobs.http.metrics import Metrics
from dhanam_jobs.http.rate_limit import RateLimiter

Check: TypeAlias = Callable[[], Awaitable[object]]
"""Returns when a part works and raises when it doesn't; the exception's text goes to the log only."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the HTTP face.

    Attributes:
        prefix: also serve everything under this path, such as `/v1`; empty: only without.
        wait_s: seconds that a trigger waits for its job before it answers 202.
        max_body_bytes: longest request body that is read.
        body_s: seconds that a request's body may take to come in.
        check_s: seconds that one part gets to answer a readiness check.
        heartbeat_s: longest silence of a stream of events, in seconds.
        recheck_s: seconds between two looks at whether whoever follows a stream still may.
    """

    prefix: str = "/v1"
    wait_s: float = 25.0
    max_body_bytes: int = 1_000_000
    body_s: float = 60.0
    check_s: float = 2.0
    heartbeat_s: float = 15.0
    recheck_s: float = 60.0


@dataclass(frozen=True)
class Context:
    """The services behind the endpoints.

    Attributes:
        keys: where idempotency keys are kept.
        document: the OpenAPI document.
        checks: what readiness asks, by the part's name.
        metrics: what `/metrics` tells.
        rules: what people do with their spaces' rules.
        events: where streams of events listen.
        limiter: counts requests; None: they are not limited.
        closing: set when the server is about to end; whatever waits on a job or a stream stops then.
    """

    jobs: JobsService
    guards: Guards
    keys: Keys
    document: Mapping[str, Any]
    options: HttpOptions
    checks: Mapping[str, Check]
    closing: asyncio.Event
    metrics: Metrics
    rules: RulesService
    events: EventHub
    limiter: RateLimiter | None = None


def context_of(request: Request) -> Context:
    """Return the context that `create_app` gave the application."""
    return cast(Context, request.app.state.context)
