"""Measures what a key and limits cost: jobs with 10, 1,000 and 100,000 keys against plain ones, in turn, in one run.

Run as `python -m benchmarks.keys`; medians go to the screen and every single run to a file in results/.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop

from benchmarks.machine import machine
from benchmarks.noise import NoiseMeter
from benchmarks.pinning import Pinning
from benchmarks.server import RedisServer, ServerFigures
from dhanam_jobs.engine import Engine, JobContext, JobRequest, Limit, Registry, Worker

RESULTS: Final = Path(__file__).with_name("results")
CHUNK: Final = 1000
CONCURRENCY: Final = 100


class Case(msgspec.Struct, frozen=True):
    """`keys`: how many take turns, 0 for plain jobs; `others`: so many further keys have a job waiting all the time, at
    the least urgent level; `limited`: each may run 50 at once; `beside`: another queue has limits, and jobs with keys
    that wait."""

    name: str
    keys: int = 0
    others: int = 0
    limited: bool = False
    beside: bool = False


CASES: Final = (
    Case("plain"),
    Case("plain, limits on another queue", beside=True),
    Case("10 keys", keys=10),
    Case("10 keys, 100,000 others wait", keys=10, others=100_000),
    Case("1,000 keys", keys=1_000),
    Case("100,000 keys", keys=100_000),
    Case("1,000 keys, limited", keys=1_000, limited=True),
)


class Payload(msgspec.Struct):
    """100 bytes as JSON."""

    number: int
    user: str = "user-00000123"
    space: str = "space-00000456"
    note: str = "a payload of 100 bytes, more or less"


class Cost(msgspec.Struct, frozen=True):
    """Per job: CPU µs of Redis and of this process, and commands (those of scripts included)."""

    redis_us: float
    client_us: float
    commands: float


class Run(msgspec.Struct, frozen=True):
    """One run of one case; `foreign` is the share of a core that others took."""

    case: str
    round: int
    enqueue: Cost
    drain: Cost
    foreign: float | None


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cost(before: ServerFigures, after: ServerFigures, client_s: float, jobs: int) -> Cost:
    return Cost(
        redis_us=round((after.cpu_s - before.cpu_s) / jobs * 1e6, 2),
        client_us=round(client_s / jobs * 1e6, 2),
        commands=round(sum(after.commands.values()) / jobs, 3),
    )


async def measure(server: RedisServer, case: Case, number: int, jobs: int) -> Run:
    """Fills a queue with that many jobs, or one for each key where that is more, and drains that many of them."""
    registry, ended, done = Registry(), 0, asyncio.Event()
    limit = Limit(concurrency=50) if case.limited else None
    registry.queue("bench", concurrency=CONCURRENCY, key_limit=limit)
    registry.queue("other", limit=Limit(concurrency=1), key_limit=Limit(starts=1, period=60))

    @registry.job("noop", queue="bench")
    async def noop(ctx: JobContext, payload: Payload) -> None:
        nonlocal ended
        ended += 1
        if ended == jobs:
            done.set()

    @registry.job("idle", queue="other")
    async def idle(ctx: JobContext, payload: int) -> None:
        """Never run."""

    server.flush()
    meter, begun = NoiseMeter(), server.figures()
    async with Engine.connect(f"redis://127.0.0.1:{server.port}/0", registry=registry) as engine:
        queue = engine.queue("bench")
        if case.beside:
            await engine.queue("other").limits.set_key("someone", Limit(concurrency=1))
            for key in range(100):
                await engine.queue("other").enqueue("idle", key, key=f"k{key}")
        for first in range(0, case.others, CHUNK):
            numbers = range(first, first + CHUNK)
            await queue.enqueue_many([JobRequest(Payload(one), key=f"other-{one}", priority=9) for one in numbers])
        stored = max(jobs, case.keys)
        server.reset()
        before, cpu_s = server.figures(), _cpu_s()
        for first in range(0, stored, CHUNK):
            chunk = [Payload(one) for one in range(first, first + CHUNK)]
            if case.keys:
                rows = [JobRequest(one, key=f"tenant-{one.number % case.keys}") for one in chunk]
                await queue.enqueue_many(rows)
            else:
                await queue.enqueue_many(chunk)
        enqueue = _cost(before, server.figures(), _cpu_s() - cpu_s, stored)
        server.reset()
        before, cpu_s = server.figures(), _cpu_s()
        async with Worker(queue):
            await done.wait()
            drain = _cost(before, server.figures(), _cpu_s() - cpu_s, jobs)
    return Run(case.name, number, enqueue, drain, meter.read(server.figures().cpu_s - begun.cpu_s).foreign)


def table(runs: list[Run]) -> str:
    """Medians, as a table in Markdown."""
    lines = [
        "| jobs | enqueue: Redis µs | client µs | cmds | drain: Redis µs | client µs | cmds | Redis µs in all |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for case in CASES:
        mine = [run for run in runs if run.case == case.name]
        cells = [
            f"{statistics.median(getattr(getattr(run, what), figure) for run in mine):.1f}"
            for what in ("enqueue", "drain")
            for figure in ("redis_us", "client_us", "commands")
        ]
        total = statistics.median(run.enqueue.redis_us + run.drain.redis_us for run in mine)
        lines.append(f"| {case.name} | {' | '.join(cells)} | {total:.1f} |")
    return "\n".join(lines)


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--jobs", default=20_000, show_default=True)
def main(rounds: int, jobs: int) -> None:
    """Run all cases in turn, ROUNDS times; another one begins each round."""
    runs: list[Run] = []
    pinning = Pinning.detect()
    if pinning.client_core is not None:
        os.sched_setaffinity(0, {pinning.client_core})
    with RedisServer(pinning) as server:
        for number in range(rounds):
            first = number % len(CASES)
            for case in (*CASES[first:], *CASES[:first]):
                runs.append(uvloop.run(measure(server, case, number, jobs)))
        report: dict[str, Any] = {
            "machine": msgspec.to_builtins(machine(server.version)),
            "jobs": jobs,
            "runs": msgspec.to_builtins(runs),
        }
    click.echo(table(runs))
    place = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-keys.json"
    place.write_text(json.dumps(report, indent=1) + "\n")
    click.echo(f"every run: {place}")


if __name__ == "__main__":
    main()
