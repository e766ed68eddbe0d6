"""Runs one case of one contestant against a flushed Redis and reads what it cost.

Which cases run in which order is left to __main__.py, medians and tables to report.py.
"""

from enum import StrEnum
from typing import Any

import msgspec

from benchmarks.child import Child
from benchmarks.contestants import (
    CHUNK,
    IN_FLIGHT,
    LATENCY_INTERVAL_MS,
    LATENCY_WARM_UP,
    NARROW_CONCURRENCY,
    WIDE_CONCURRENCY,
    Contestant,
)
from benchmarks.noise import Noise, NoiseMeter
from benchmarks.pinning import Pinning
from benchmarks.server import RedisServer


class Case(StrEnum):
    """What is run in one go: fill and drain at concurrency 100, the same at 5, lone jobs."""

    WIDE = "wide"
    NARROW = "narrow"
    LATENCY = "latency"


class Figure(StrEnum):
    """What one measured stretch tells."""

    SINGLE = "enqueue single"
    BULK = "enqueue bulk"
    WIDE = f"drain at {WIDE_CONCURRENCY}"
    NARROW = f"drain at {NARROW_CONCURRENCY}"
    LATENCY = "latency"


class Run(msgspec.Struct, frozen=True):
    """One measured stretch.

    `per_s` jobs a second; `client_us` and `redis_us` CPU of the contestant's process and of Redis per job in
    microseconds; `commands` and socket `reads` per job, as Redis counts them, calls from scripts included;
    `by_command` the eight most frequent; `bytes_per_job` memory of one waiting job; `p50_ms`, `p99_ms` from
    just before the enqueue to the handler's first line. None where a stretch doesn't tell it.
    """

    contestant: str
    figure: Figure
    round: int
    jobs: int
    wall_s: float
    noise: Noise
    per_s: float | None = None
    client_us: float | None = None
    redis_us: float | None = None
    commands: float | None = None
    reads: float | None = None
    by_command: dict[str, float] = {}
    bytes_per_job: float | None = None
    rss_mb: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


class Bench:
    """Measures on one server; `limit_s` bounds each process."""

    def __init__(self, server: RedisServer, pinning: Pinning, limit_s: float) -> None:
        self._server = server
        self._pinning = pinning
        self._limit_s = limit_s

    def run(self, contestant: Contestant, case: Case, round_: int) -> list[Run]:
        """Runs one case from an empty Redis; raises RuntimeError where jobs are lost or a process fails."""
        if case is Case.LATENCY:
            return [self._latency(contestant, round_)]
        wide = case is Case.WIDE
        jobs = contestant.sizes.wide if wide else contestant.sizes.narrow
        bulk = wide and contestant.bulk
        fill = self._fill(contestant, jobs, bulk, round_)
        # An engine without bulk is filled one by one both times: only the larger fill is told.
        told = [fill] if wide or contestant.bulk else []
        concurrency, figure = (WIDE_CONCURRENCY, Figure.WIDE) if wide else (NARROW_CONCURRENCY, Figure.NARROW)
        return [*told, self._drain(contestant, jobs, concurrency, figure, round_)]

    def _fill(self, contestant: Contestant, jobs: int, bulk: bool, round_: int) -> Run:
        self._server.flush()
        mode, how = ("enqueue-bulk", {"chunk": CHUNK}) if bulk else ("enqueue-single", {"in_flight": IN_FLIGHT})
        figure = Figure.BULK if bulk else Figure.SINGLE
        return self._stretch(contestant, mode, {"jobs": jobs, **how}, figure, round_)

    def _drain(self, contestant: Contestant, jobs: int, concurrency: int, figure: Figure, round_: int) -> Run:
        self._server.reset()
        return self._stretch(contestant, "drain", {"jobs": jobs, "concurrency": concurrency}, figure, round_)

    def _stretch(self, contestant: Contestant, mode: str, options: dict[str, int], figure: Figure, round_: int) -> Run:
        meter, before = NoiseMeter(), self._server.figures()
        with self._child(contestant, mode, options, self._pinning.for_client()) as child:
            told = child.line()
            child.end()
        after = self._server.figures()
        redis_s = after.cpu_s - before.cpu_s
        noise = meter.read(redis_s)
        jobs = _checked(contestant, mode, told, options["jobs"])
        filled = figure in (Figure.SINGLE, Figure.BULK)
        return Run(
            contestant=contestant.name,
            figure=figure,
            round=round_,
            jobs=jobs,
            wall_s=round(told["wall_s"], 4),
            noise=noise,
            per_s=round(jobs / told["wall_s"], 1),
            client_us=round(told["cpu_s"] / jobs * 1e6, 2),
            redis_us=round(redis_s / jobs * 1e6, 2),
            commands=round(sum(after.commands.values()) / jobs, 3),
            reads=round((after.reads - before.reads) / jobs, 3),
            by_command=_most_frequent(after.commands, jobs),
            bytes_per_job=round((after.memory_bytes - before.memory_bytes) / jobs, 1) if filled else None,
            rss_mb=round(told["rss_mb"], 1) if "rss_mb" in told else None,
        )

    def _latency(self, contestant: Contestant, round_: int) -> Run:
        self._server.flush()
        counted = contestant.sizes.latency
        options = {"jobs": counted + LATENCY_WARM_UP}
        worker_options = {**options, "concurrency": WIDE_CONCURRENCY}
        meter, before = NoiseMeter(), self._server.figures()
        with self._child(contestant, "latency-worker", worker_options, self._pinning.for_client()) as worker:
            worker.line()
            pace = {**options, "interval_ms": LATENCY_INTERVAL_MS}
            # The producer shares no core with the worker by order, or its own turns would count as latency.
            with self._child(contestant, "latency-producer", pace, []) as producer:
                producer.line()
                producer.end()
            told = worker.line()
            worker.end()
        noise = meter.read(self._server.figures().cpu_s - before.cpu_s)
        _checked(contestant, "latency-worker", told, options["jobs"])
        latencies_us = sorted(told["latencies_us"][LATENCY_WARM_UP:])
        return Run(
            contestant=contestant.name,
            figure=Figure.LATENCY,
            round=round_,
            jobs=counted,
            wall_s=counted * LATENCY_INTERVAL_MS / 1000,
            noise=noise,
            p50_ms=round(quantile(latencies_us, 0.5) / 1000, 3),
            p99_ms=round(quantile(latencies_us, 0.99) / 1000, 3),
        )

    def _child(self, contestant: Contestant, mode: str, options: dict[str, int], pin: list[str]) -> Child:
        everything = {"host": "127.0.0.1", "port": self._server.port, **contestant.options, **options}
        return Child([*pin, *contestant.command()], mode, everything, self._limit_s)


def quantile(ordered: list[int], share: float) -> int:
    """The value at `share` (0 to 1) of the way up `ordered`, which ascends and isn't empty."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _checked(contestant: Contestant, mode: str, told: dict[str, Any], wanted: int) -> int:
    """The jobs that the process tells of; raises RuntimeError where some are missing or were left behind."""
    if told["jobs"] != wanted or told.get("left", 0) != 0:
        found = f"{told['jobs']} jobs ran, {told.get('left', 0)} left behind"
        raise RuntimeError(f"{contestant.name} {mode}: {found}, wanted {wanted} and none left")
    return wanted


def _most_frequent(commands: dict[str, int], jobs: int) -> dict[str, float]:
    first = sorted(commands.items(), key=lambda item: item[1], reverse=True)[:8]
    return {name: round(calls / jobs, 3) for name, calls in first}
