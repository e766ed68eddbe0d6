"""The table of endpoints: whatever the service answers stands here, in the order in which paths are tried.

Guards, reading, `/openapi.json`, `/docs` and the table in docs/http.md all come from these rows.
"""

from __future__ import annotations

from typing import Any, Final

from dhanam_jobs.http import admin, document, events, health, jobs, rules, triggers
from dhanam_jobs.http.endpoint import Endpoint, Guard

ENDPOINTS: Final = (
    *triggers.ROWS,
    Endpoint(
        "GET",
        "/jobs/{queue}/{id}",
        jobs.get_job,
        Guard.CALLER,
        "Look at one job, its payload and result redacted",
        tag="Jobs",
        answers={200: jobs.JobView},
        errors=(403, 404),
    ),
    *events.ROWS,
    *rules.ROWS,
    *admin.ROWS,
    Endpoint(
        "GET",
        "/healthz",
        health.healthz,
        Guard.PUBLIC,
        "Whether the process is alive, also while it drains",
        tag="Service",
        answers={200: health.Health},
        rate_limited=False,
    ),
    Endpoint(
        "GET",
        "/readyz",
        health.readyz,
        Guard.PUBLIC,
        "Whether every part works; names those that don't",
        tag="Service",
        answers={200: health.Readiness},
        errors=(503,),
        rate_limited=False,
    ),
    Endpoint(
        "GET",
        "/metrics",
        health.metrics,
        Guard.PUBLIC,
        "What is counted and measured, for Prometheus",
        tag="Service",
        answers={200: "text/plain"},
        rate_limited=False,
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        document.openapi,
        Guard.PUBLIC,
        "This description, as OpenAPI 3.1",
        tag="Service",
        answers={200: dict[str, Any]},
        rate_limited=False,
    ),
    Endpoint(
        "GET",
        "/docs",
        document.page,
        Guard.PUBLIC,
        "This description, as a page",
        tag="Service",
        answers={200: "text/html"},
        rate_limited=False,
    ),
)
