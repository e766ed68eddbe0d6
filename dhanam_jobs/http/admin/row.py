"""Makes the rows of administrators' endpoints, which all have one guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from dhanam_jobs.http.endpoint import Call, Endpoint, Guard, Shape
from dhanam_jobs.http.jobs import JobAccepted

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


def row(
    tag: str,
    method: Method,
    path: str,
    run: Callable[[Call[Any, Any]], Awaitable[object]],
    summary: str,
    answer: Shape,
    *errors: int,
) -> Endpoint:
    """An endpoint under /admin that answers 200."""
    return Endpoint(method, f"/admin{path}", run, Guard.ADMIN, summary, tag=tag, answers={200: answer}, errors=errors)


def enqueuing_row(
    tag: str, path: str, run: Callable[[Call[Any, Any]], Awaitable[object]], summary: str, *errors: int
) -> Endpoint:
    """An endpoint under /admin that enqueues a job, waits for nothing, and honours an `Idempotency-Key`."""
    return Endpoint(
        "POST",
        f"/admin{path}",
        run,
        Guard.ADMIN,
        summary,
        tag=tag,
        answers={202: JobAccepted},
        errors=errors,
        idempotent=True,
    )
