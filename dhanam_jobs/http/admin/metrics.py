"""The endpoint `/admin/metrics`: what jobs came to by name, minute by minute. Counting is the engine's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.engine import JobMetrics
from dhanam_jobs.http.admin.bodies import Name, QueueName, given
from dhanam_jobs.http.admin.row import row
from dhanam_jobs.http.codec import NoFields, iso_time
from dhanam_jobs.http.endpoint import Call

TAG: Final = "Administration: queues"

Histogram = Annotated[
    dict[str, int], Meta(description="A bound in ms to the attempts below it, and not below half of it.")
]


class MetricsQuery(msgspec.Struct):
    """Which jobs, and how far back."""

    queue: QueueName | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    per: Annotated[Literal["minute", "hour"], Meta(description="Kept for a day, and for 30 days.")] = "minute"
    last: Annotated[
        int, Meta(description="So many of them, this one included: up to 1440 minutes or 720 hours.", ge=1, le=1440)
    ] = 60


class MetricsRow(msgspec.Struct, rename="camel", kw_only=True):
    """What the jobs of one name came to in one span. Sums and histograms are over attempts; `p50` and `p95` are the
    histograms' bounds in seconds, which may be twice too much, and are missing where nothing was attempted."""

    queue: str
    name: str
    start: str
    span_s: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    attempts: int
    duration_ms: int
    wait_ms: int
    duration: Histogram
    wait: Histogram
    duration_p50_s: float | UnsetType = UNSET
    duration_p95_s: float | UnsetType = UNSET
    wait_p50_s: float | UnsetType = UNSET
    wait_p95_s: float | UnsetType = UNSET


class Metrics(msgspec.Struct):
    """Spans in which something ended, the oldest first."""

    metrics: list[MetricsRow]


async def job_metrics(call: Call[MetricsQuery, NoFields]) -> Metrics:
    """Per minute or hour, by job name."""
    query = call.query
    found = await call.context.jobs.get_job_metrics(
        given(query.queue), name=given(query.name), per=query.per, last=query.last
    )
    return Metrics([_shown(each) for each in found])


def _shown(metrics: JobMetrics) -> MetricsRow:
    counts = metrics.counts
    return MetricsRow(
        queue=metrics.queue,
        name=metrics.name,
        start=iso_time(metrics.start_ms),
        span_s=metrics.span,
        completed=counts.completed,
        failed=counts.failed,
        retried=counts.retried,
        cancelled=counts.cancelled,
        attempts=counts.attempts,
        duration_ms=counts.duration_ms,
        wait_ms=counts.wait_ms,
        duration={str(bound): number for bound, number in sorted(counts.duration.items())},
        wait={str(bound): number for bound, number in sorted(counts.wait.items())},
        duration_p50_s=_or_unset(counts.duration_quantile(0.5)),
        duration_p95_s=_or_unset(counts.duration_quantile(0.95)),
        wait_p50_s=_or_unset(counts.wait_quantile(0.5)),
        wait_p95_s=_or_unset(counts.wait_quantile(0.95)),
    )


def _or_unset(seconds: float | None) -> float | UnsetType:
    return UNSET if seconds is None else seconds


_row = partial(row, TAG)
ROWS: Final = (
    _row("GET", "/metrics", job_metrics, "Show what jobs came to by name, per minute or hour", Metrics, 404),
)
