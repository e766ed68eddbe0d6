"""What `/metrics` tells of the whole fleet: read from Redis, the same from whichever process is asked.

States, workers and lifetime counts are Redis's own. Per job name, Redis keeps counts by the minute, which leave after a
day; here what was added since this process first looked is summed, so a counter never falls while the process lives.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from dhanam_jobs.engine import Counts, Engine, LimitState, ProcessInfo, QueueCounts, ScheduleInfo, processes
from dhanam_jobs.engine.queue import Backlog

BOUNDS_MS: Final = tuple(1 << bits for bits in range(22))
"""Upper bounds of the histograms' buckets, 1 ms to 35 min, those of the engine."""

_MOST_MINUTES: Final = 1440
_OUTCOMES: Final = ("completed", "failed", "retried", "cancelled")
_STATES: Final = ("waiting", "active", "delayed", "blocked", "parked")


class QueueLook(msgspec.Struct, frozen=True):
    """One queue at the moment of the look."""

    counts: QueueCounts
    backlog: Backlog
    limit: LimitState


class Look(msgspec.Struct, frozen=True):
    """What was read at once."""

    queues: list[QueueLook]
    processes: list[ProcessInfo]
    schedules: list[ScheduleInfo]
    now_ms: int


class FleetMetrics:
    """Reads the fleet's numbers and gives them as metric families.

    Args:
        engine: connected; the queues are its registry's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._look: Look | None = None
        self._totals: dict[tuple[str, str], Counts] = {}
        self._seen: dict[tuple[str, str, int], Counts] = {}
        self._looked_s: float | None = None

    async def read(self) -> None:
        """Look anew. Raises EngineUnavailable."""
        names = [row.name for row in self._engine.registry.queues]
        queues = await asyncio.gather(*(self._read_queue(name) for name in names))
        await self._count(names)
        schedules = await self._engine.schedules.list(upcoming=1)
        self._look = Look(list(queues), await processes(self._engine), schedules, time.time_ns() // 1_000_000)

    def forget(self) -> None:
        """Tell nothing of the last look any more, but for the counters."""
        self._look = None

    async def _read_queue(self, name: str) -> QueueLook:
        queue = self._engine.queue(name)
        return QueueLook(await queue.counts(), await queue.backlog(), await queue.limits.of_queue())

    async def _count(self, names: Iterable[str]) -> None:
        """Adds what the workers have counted since the last look."""
        first = self._looked_s is None
        now_s = time.monotonic()
        # Two more than passed: workers add what they counted a second later, and clocks differ.
        minutes = 3 if first else min(_MOST_MINUTES, math.ceil((now_s - (self._looked_s or now_s)) / 60) + 2)
        rows = await self._engine.metrics(*names, per="minute", last=minutes)
        self._looked_s = now_s
        seen = {}
        for row in rows:
            key = (row.queue, row.name, row.start_ms)
            seen[key] = row.counts
            total = self._totals.setdefault((row.queue, row.name), Counts(duration={}, wait={}))
            before = self._seen.get(key)
            if before is not None and before.attempts > row.counts.attempts:
                before = None  # Redis was emptied: this minute began anew
            if before is not None:
                _add_difference(total, row.counts, before)
            elif not first:
                total.add(row.counts)
        self._seen = seen

    def families(self) -> Iterator[Metric]:
        """The metrics as of the last look; none of Redis's where that failed."""
        yield from self._of_names()
        if self._look is not None:
            yield from _of_queues(self._look)
            yield from _of_fleet(self._look)

    def _of_names(self) -> Iterator[Metric]:
        labels = ("queue", "name")
        attempts = CounterMetricFamily(
            "dhanam_jobs_attempts", "Attempts that ended, by how.", labels=(*labels, "outcome")
        )
        runs = HistogramMetricFamily("dhanam_jobs_run_seconds", "How long attempts ran.", labels=labels)
        waits = HistogramMetricFamily(
            "dhanam_jobs_wait_seconds", "How long attempts waited from when they could run.", labels=labels
        )
        for (queue, name), counts in self._totals.items():
            for outcome in _OUTCOMES:
                attempts.add_metric((queue, name, outcome), getattr(counts, outcome))
            runs.add_metric((queue, name), _buckets(counts.duration), counts.duration_ms / 1000)
            waits.add_metric((queue, name), _buckets(counts.wait), counts.wait_ms / 1000)
        yield from (attempts, runs, waits)


def _add_difference(total: Counts, now: Counts, before: Counts) -> None:
    for name in (*_OUTCOMES, "duration_ms", "wait_ms"):
        setattr(total, name, getattr(total, name) + getattr(now, name) - getattr(before, name))
    for mine, bins, old in ((total.duration, now.duration, before.duration), (total.wait, now.wait, before.wait)):
        for bound, number in bins.items():
            mine[bound] = mine.get(bound, 0) + number - old.get(bound, 0)


def _buckets(bins: Mapping[int, int]) -> list[tuple[str, float]]:
    """Cumulative buckets with bounds in seconds; a bin's bound is above all that it holds."""
    buckets: list[tuple[str, float]] = []
    for bound in BOUNDS_MS:
        buckets.append((f"{bound / 1000:g}", sum(number for below, number in bins.items() if below <= bound)))
    buckets.append(("+Inf", sum(bins.values())))
    return buckets


def _gauge(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"dhanam_jobs_{name}", text, labels=(label,))
    for of, value in values:
        family.add_metric((of,), value)
    return family


def _of_queues(look: Look) -> Iterator[Metric]:
    states = GaugeMetricFamily("dhanam_jobs_jobs", "Jobs that have not ended, by state.", labels=("queue", "state"))
    ended = CounterMetricFamily("dhanam_jobs_ended", "Endings of jobs, by state.", labels=("queue", "state"))
    added = CounterMetricFamily("dhanam_jobs_added", "Jobs that were stored.", labels=("queue",))
    stalls = CounterMetricFamily("dhanam_jobs_stalls", "Claims that lost their worker.", labels=("queue",))
    for one in look.queues:
        counts = one.counts
        for state in _STATES:
            states.add_metric((counts.name, state), getattr(counts, state))
        for state in ("completed", "failed", "cancelled"):
            ended.add_metric((counts.name, state), getattr(counts, state))
        added.add_metric((counts.name,), counts.added)
        stalls.add_metric((counts.name,), one.backlog.stalled)
    yield from (states, ended, added, stalls)

    def each(value_of: str, text: str, values: Iterable[float]) -> Metric:
        names = (one.counts.name for one in look.queues)
        return _gauge(value_of, text, "queue", zip(names, values, strict=True))

    rows = look.queues
    yield each("oldest_waiting_seconds", "How long the oldest waiting job waits.", (r.backlog.oldest for r in rows))
    yield each("dead_letters", "Failures that left the failed records.", (r.counts.dead for r in rows))
    yield each("paused", "1 where the queue is paused.", (r.counts.paused_ms is not None for r in rows))
    limited = ((r.limit.limit.concurrency if r.limit.limit else None) or math.inf for r in rows)
    yield each("limit_concurrency", "Jobs of the queue that may run at once over the fleet.", limited)
    opens = (math.nan if r.limit.free_in is None else r.limit.free_in for r in rows)
    yield each("limit_opens_seconds", "Until a limit lets the next job start; NaN until one ends.", opens)


def _of_fleet(look: Look) -> Iterator[Metric]:
    names = [one.counts.name for one in look.queues]
    workers, slots = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for process in look.processes:
        for worker in process.workers:
            workers[worker.queue] = workers.get(worker.queue, 0) + 1
            slots[worker.queue] = slots.get(worker.queue, 0) + worker.concurrency
    yield _gauge("workers", "Workers alive.", "queue", workers.items())
    yield _gauge("slots", "Jobs that the living workers can run at once.", "queue", slots.items())
    yield GaugeMetricFamily("dhanam_jobs_processes", "Processes with living workers.", value=len(look.processes))
    lags = [process.loop_lag_ms for process in look.processes if process.loop_lag_ms is not None]
    yield GaugeMetricFamily(
        "dhanam_jobs_fleet_event_loop_lag_seconds",
        "How late the slowest process's event loop turned at its last beat.",
        value=max(lags, default=0.0) / 1000,
    )
    yield GaugeMetricFamily(
        "dhanam_jobs_schedule_overdue_seconds",
        "How long the schedule that is most overdue should have fired.",
        value=overdue_s(look.schedules, look.now_ms),
    )


def overdue_s(schedules: Iterable[ScheduleInfo], now_ms: int) -> float:
    """Seconds by which the most overdue schedule is late, 0 where none is."""
    dues = [info.next_ms[0] for info in schedules if info.next_ms and info.paused_ms is None]
    return max((max(0, now_ms - due) / 1000 for due in dues), default=0.0)
