"""One measured stretch of arq: enqueues, drains or times lone jobs, and prints one JSON line.

Starting Redis, flushing it and reading its counters is left to the harness (benchmarks/measure.py).

Usage: python bench.py MODE OPTIONS
  MODE     enqueue-single | drain | latency-worker | latency-producer (arq has no bulk enqueue)
  OPTIONS  JSON object: host, port, jobs; in_flight (enqueue-single); concurrency (drain, latency-worker);
           interval_ms (latency-producer); poll_delay_s (optional, arq's default is 0.5)
"""

import asyncio
import json
import resource
import sys
import time
from typing import Any

import uvloop
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.constants import default_queue_name
from arq.worker import Worker

Options = dict[str, Any]


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def cpu_s() -> float:
    return time.process_time()


def payload(sent_us: int) -> dict[str, Any]:
    return {
        "user": "user-00000123",
        "space": "space-00000456",
        "note": "a payload of 100 B",
        "sent_us": sent_us,
    }


def numbered(index: int) -> dict[str, Any]:
    """Twelve digits, like the clock of the latency cases, so that every case carries payloads of one size."""
    return payload(100_000_000_000 + index)


def settings(options: Options) -> RedisSettings:
    return RedisSettings(host=options["host"], port=options["port"])


def write(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def enqueue_single(options: Options) -> None:
    pool = await create_pool(settings(options))
    indexes = iter(range(options["jobs"]))

    async def producer() -> None:
        for index in indexes:
            await pool.enqueue_job("noop", numbered(index))

    cpu, start = cpu_s(), monotonic_us()
    await asyncio.gather(*(producer() for _ in range(options["in_flight"])))
    write({"jobs": options["jobs"], "wall_s": (monotonic_us() - start) / 1e6, "cpu_s": cpu_s() - cpu})
    await pool.aclose()


def worker(options: Options, handler: Any, on_startup: Any = None) -> Worker:
    tuned = {"poll_delay": options["poll_delay_s"]} if "poll_delay_s" in options else {}
    return Worker(
        functions=[func(handler, name="noop")],
        redis_settings=settings(options),
        max_jobs=options["concurrency"],
        on_startup=on_startup,
        handle_signals=False,
        **tuned,
    )


async def finish(arq: Worker, main: asyncio.Task[None], ended: asyncio.Event) -> None:
    """Waits for the last handler and its record, then stops the worker; raises what ended it early."""
    waiting = asyncio.ensure_future(ended.wait())
    await asyncio.wait({main, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await main
        raise RuntimeError("the worker ended before the last job")
    await asyncio.gather(*arq.tasks.values())
    main.cancel()
    await asyncio.gather(main, return_exceptions=True)


async def drain(options: Options) -> None:
    ended = asyncio.Event()
    counts = {"started": 0, "finished": 0}
    marks: dict[str, float] = {}
    report: dict[str, Any] = {}

    async def noop(ctx: dict[str, Any], data: dict[str, Any]) -> None:
        if counts["started"] == 0:
            marks["start"], marks["cpu"] = monotonic_us(), cpu_s()
        counts["started"] += 1
        counts["finished"] += 1
        if counts["finished"] == options["jobs"]:
            report["jobs"] = counts["finished"]
            report["wall_s"] = (monotonic_us() - marks["start"]) / 1e6
            report["cpu_s"] = cpu_s() - marks["cpu"]
            ended.set()

    arq = worker(options, noop)
    await finish(arq, asyncio.ensure_future(arq.async_run()), ended)
    report["left"] = await arq.pool.zcard(default_queue_name)
    report["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    await arq.close()
    write(report)


async def latency_worker(options: Options) -> None:
    ended = asyncio.Event()
    latencies_us: list[int] = []

    async def noop(ctx: dict[str, Any], data: dict[str, Any]) -> None:
        latencies_us.append(monotonic_us() - data["sent_us"])
        if len(latencies_us) == options["jobs"]:
            ended.set()

    async def ready(ctx: dict[str, Any]) -> None:
        write({"ready": True})

    arq = worker(options, noop, ready)
    await finish(arq, asyncio.ensure_future(arq.async_run()), ended)
    await arq.close()
    write({"jobs": len(latencies_us), "latencies_us": latencies_us})


async def latency_producer(options: Options) -> None:
    pool = await create_pool(settings(options))
    start = monotonic_us()
    for index in range(options["jobs"]):
        wait_us = start + index * options["interval_ms"] * 1000 - monotonic_us()
        if wait_us > 0:
            await asyncio.sleep(wait_us / 1e6)
        await pool.enqueue_job("noop", payload(monotonic_us()))
    await pool.aclose()
    write({"jobs": options["jobs"]})


MODES = {
    "enqueue-single": enqueue_single,
    "drain": drain,
    "latency-worker": latency_worker,
    "latency-producer": latency_producer,
}


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODES:
        sys.exit(f"bench.py: arguments {sys.argv[1:]}, wanted one of {', '.join(MODES)} and a JSON object")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(MODES[sys.argv[1]](json.loads(sys.argv[2])))
