"""`/metrics` in Prometheus's text format: the fleet's numbers (fleet_metrics.py) and this process's own.

It is open to everybody, as `/healthz` is, and so holds counts alone: no id, no address, no text of a job. However many
ask, Redis is read at most once in `FRESH_S` seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as MEDIA_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from dhanam_jobs import __version__
from dhanam_jobs.engine import Engine, EngineError
from dhanam_jobs.http.fleet_metrics import FleetMetrics

__all__ = ["MEDIA_TYPE", "Metrics"]

log = logging.getLogger(__name__)

FRESH_S: Final = 1.0
"""What was read is told again for so long."""
PATIENCE_S: Final = 3.0
"""How long Redis gets to answer; then only this process's own numbers are told."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counts requests, and renders everything.

    Args:
        engine: where the fleet's numbers are read.
        loop_lag_ms: how late this process's event loop last turned.
    """

    def __init__(self, engine: Engine, loop_lag_ms: Callable[[], float] = lambda: 0.0) -> None:
        self._engine = engine
        self._loop_lag_ms = loop_lag_ms
        self._fleet = FleetMetrics(engine)
        self._redis_s: float | None = None
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "dhanam_jobs_http_request_seconds",
            "HTTP requests that this process answered, by route template.",
            ("method", "route", "status"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Collected(self._own))
        self._registry.register(_Collected(self._fleet.families))
        ProcessCollector(namespace="dhanam_jobs", registry=self._registry)
        self._text = b""
        self._rendered_s = -FRESH_S
        self._rendering: asyncio.Task[None] | None = None

    def count(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count an answered request. `route` is the template; None for a path that nothing answers."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route or "unmatched", str(status)).observe(seconds)

    async def render(self) -> bytes:
        """Return everything as text, at most `FRESH_S` old."""
        if time.monotonic() - self._rendered_s >= FRESH_S:
            if self._rendering is None:
                self._rendering = asyncio.get_running_loop().create_task(self._render(), name="metrics")
                self._rendering.add_done_callback(self._rendered)
            # One reading serves all who ask meanwhile, also when the one who asked first has gone.
            await asyncio.wait({self._rendering})
        return self._text

    def _rendered(self, task: asyncio.Task[None]) -> None:
        self._rendering = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("metrics could not be rendered", exc_info=error)

    async def _render(self) -> None:
        self._redis_s = None
        self._fleet.forget()
        try:
            async with asyncio.timeout(PATIENCE_S):
                began = time.perf_counter()
                await self._engine.ping()
                took = time.perf_counter() - began
                await self._fleet.read()
                self._redis_s = took
        except (EngineError, OSError, TimeoutError) as error:
            log.warning("metrics are this process's own alone: %s", str(error) or type(error).__name__)
        self._text = generate_latest(self._registry)
        self._rendered_s = time.monotonic()

    def _own(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("dhanam_jobs_build_info", "The release that runs.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        up = self._redis_s is not None
        yield GaugeMetricFamily("dhanam_jobs_redis_up", "1 where Redis answered just now.", value=up)
        if self._redis_s is not None:
            yield GaugeMetricFamily(
                "dhanam_jobs_redis_latency_seconds", "How long Redis took to answer a PING.", value=self._redis_s
            )
        yield GaugeMetricFamily(
            "dhanam_jobs_event_loop_lag_seconds",
            "How late this process's event loop last turned.",
            value=self._loop_lag_ms() / 1000,
        )
        yield GaugeMetricFamily(
            "dhanam_jobs_accepting", "1 where this process takes jobs, 0 while it drains.", value=self._engine.accepting
        )


class _Collected(Collector):
    """Families that a function gives, as prometheus-client asks for them."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def describe(self) -> Iterable[Metric]:
        return ()  # else `register` would collect, before there is anything to collect
