"""One measured stretch of our engine: enqueues, drains or times lone jobs, and prints one JSON line.

Starting Redis, flushing it and reading its counters is left to measure.py.

Usage: python -m benchmarks.ours MODE OPTIONS
  MODE     enqueue-single | enqueue-bulk | drain | latency-worker | latency-producer
  OPTIONS  JSON object: host, port, jobs; in_flight (enqueue-single); chunk (enqueue-bulk);
           concurrency (drain, latency-worker); prefetch (drain); interval_ms (latency-producer)
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import uvloop

from dhanam_jobs.engine import Engine, JobContext, Queue, Registry, Worker

QUEUE = "bench"


class Options(msgspec.Struct, frozen=True):
    """What the harness asks for; which fields count depends on the mode."""

    host: str
    port: int
    jobs: int
    in_flight: int = 100
    chunk: int = 1000
    concurrency: int = 100
    prefetch: int = 0
    interval_ms: int = 5


class NoOp(msgspec.Struct):
    """A payload of 100 bytes as JSON; `sent_us`: the monotonic clock in microseconds, or a number as long."""

    sent_us: int
    user: str = "user-00000123"
    space: str = "space-00000456"
    note: str = "a payload of 100 B"


class Tally:
    """Counts handlers and keeps the clocks of the first start and the last finish of `wanted` jobs."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.started = 0
        self.finished = 0
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.latencies_us: list[int] = []
        self.ended = asyncio.Event()
        self._start_s = 0.0
        self._start_cpu_s = 0.0

    def start(self) -> None:
        """Called in a handler's first line."""
        if self.started == 0:
            self._start_s, self._start_cpu_s = time.monotonic(), time.process_time()
        self.started += 1

    def finish(self) -> None:
        """Called in a handler's last line."""
        self.finished += 1
        if self.finished == self.wanted:
            self.wall_s = time.monotonic() - self._start_s
            self.cpu_s = time.process_time() - self._start_cpu_s
            self.ended.set()


@asynccontextmanager
async def connected(options: Options, handler: Callable[[JobContext, NoOp], Awaitable[None]]) -> AsyncIterator[Queue]:
    """The queue of an engine that knows one job, with the engine's defaults."""
    registry = Registry()
    registry.queue(QUEUE)
    registry.job("noop", queue=QUEUE)(handler)
    async with Engine.connect(f"redis://{options.host}:{options.port}", registry=registry) as engine:
        yield engine.queue(QUEUE)


async def unused(ctx: JobContext, payload: NoOp) -> None:
    """Stands for the handler in processes that only enqueue."""


async def enqueue_single(options: Options) -> None:
    indexes = iter(range(options.jobs))
    async with connected(options, unused) as queue:

        async def producer() -> None:
            for index in indexes:
                await queue.enqueue(numbered(index))

        start_s, start_cpu_s = time.monotonic(), time.process_time()
        await asyncio.gather(*(producer() for _ in range(options.in_flight)))
        write_filled(options, start_s, start_cpu_s)


async def enqueue_bulk(options: Options) -> None:
    async with connected(options, unused) as queue:
        start_s, start_cpu_s = time.monotonic(), time.process_time()
        for start in range(0, options.jobs, options.chunk):
            end = min(start + options.chunk, options.jobs)
            await queue.enqueue_many([numbered(index) for index in range(start, end)])
        write_filled(options, start_s, start_cpu_s)


async def drain(options: Options) -> None:
    tally = Tally(options.jobs)

    async def noop(ctx: JobContext, payload: NoOp) -> None:
        tally.start()
        tally.finish()

    async with connected(options, noop) as queue:
        async with Worker(queue, concurrency=options.concurrency, prefetch=options.prefetch):
            await tally.ended.wait()
        stats = await queue.stats()
    write(
        {
            "jobs": tally.finished,
            "wall_s": tally.wall_s,
            "cpu_s": tally.cpu_s,
            "left": stats.waiting + stats.active + stats.delayed + stats.failed,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


async def latency_worker(options: Options) -> None:
    tally = Tally(options.jobs)

    async def noop(ctx: JobContext, payload: NoOp) -> None:
        tally.latencies_us.append(monotonic_us() - payload.sent_us)
        tally.finish()

    async with connected(options, noop) as queue, Worker(queue, concurrency=options.concurrency):
        write({"ready": True})
        await tally.ended.wait()
    write({"jobs": tally.finished, "latencies_us": tally.latencies_us})


async def latency_producer(options: Options) -> None:
    async with connected(options, unused) as queue:
        start_us = monotonic_us()
        for index in range(options.jobs):
            wait_us = start_us + index * options.interval_ms * 1000 - monotonic_us()
            if wait_us > 0:
                await asyncio.sleep(wait_us / 1e6)
            await queue.enqueue(NoOp(monotonic_us()))
    write({"jobs": options.jobs})


def numbered(index: int) -> NoOp:
    """Twelve digits, like the clock of the latency cases, so that every case carries payloads of one size."""
    return NoOp(100_000_000_000 + index)


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def write(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


def write_filled(options: Options, start_s: float, start_cpu_s: float) -> None:
    wall_s, cpu_s = time.monotonic() - start_s, time.process_time() - start_cpu_s
    write({"jobs": options.jobs, "wall_s": wall_s, "cpu_s": cpu_s})


MODES: dict[str, Callable[[Options], Awaitable[None]]] = {
    "enqueue-single": enqueue_single,
    "enqueue-bulk": enqueue_bulk,
    "drain": drain,
    "latency-worker": latency_worker,
    "latency-producer": latency_producer,
}


async def _run(mode: str, options: Options) -> None:
    await MODES[mode](options)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODES:
        sys.exit(f"benchmarks.ours: arguments {sys.argv[1:]}, wanted one of {', '.join(MODES)} and a JSON object")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Options)))
