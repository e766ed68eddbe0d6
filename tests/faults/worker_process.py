"""A supervisor in a process of its own, for tests that kill it: `python worker_process.py '{"url": …, …}'`.

Its handlers leave their traces in Redis, where the test reads them: `count` adds one to field `<number>` of hash
`runs`, `gate` also appends `<number> <pid>` to list `begun` and waits for a push to `gate:<number>`, `hold` appends its
job's id to `held` and never ends. `family` adds up what twenty children `part` on queue `far`, which keeps no records,
return; they count themselves in hash `parts`. `doomed` fails; its hook appends `<id> <pid>` to list `told` and waits
for a push to `go on`. SIGTERM drains, a second one hurries. With `sweep_only` it only sweeps.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import redis.asyncio as redis_async
import uvloop

from dhanam_jobs.engine import Child, Engine, JobContext, Record, Registry, Retention, RetryPolicy, Supervisor
from dhanam_jobs.engine.sweeper import Sweeper


async def run(options: dict[str, Any]) -> None:
    registry = Registry()
    registry.queue(
        "work",
        concurrency=options.get("concurrency", 10),
        retention=Retention(completed=None, failed=None),
        max_stalls=options.get("max_stalls", 3),
    )
    registry.queue("far", concurrency=options.get("concurrency", 10), retention=Retention(completed=0), max_stalls=10)
    traces = redis_async.Redis.from_url(options["url"], protocol=2, socket_timeout=None)

    @registry.job("count", queue="work")
    async def count(ctx: JobContext, number: int) -> int:
        await traces.hincrby("runs", str(number), 1)
        return number

    @registry.job("gate", queue="work")
    async def gate(ctx: JobContext, number: int) -> int:
        await traces.hincrby("runs", str(number), 1)
        await traces.rpush("begun", f"{number} {os.getpid()}")
        await traces.blpop([f"gate:{number}"], timeout=0)
        return number

    @registry.job("hold", queue="work")
    async def hold(ctx: JobContext, payload: Any) -> None:
        await traces.rpush("held", ctx.job.id)
        await asyncio.Event().wait()

    async def told(ctx: JobContext, record: Record) -> None:
        await traces.rpush("told", f"{record.id} {os.getpid()}")
        await traces.blpop(["go on"], timeout=0)

    @registry.job("doomed", queue="work", retry=RetryPolicy(attempts=1), on_failure=told)
    async def doomed(ctx: JobContext, payload: Any) -> None:
        raise ValueError("as it must")

    @registry.job("part", queue="far")
    async def part(ctx: JobContext, number: int) -> int:
        await traces.hincrby("parts", str(number), 1)
        return number

    @registry.job("family", queue="work")
    async def family(ctx: JobContext, number: int) -> int:
        numbers = range(number * 20, number * 20 + 20)
        await ctx.add_children(Child(f"n{each}", "part", each, queue="far") for each in numbers)
        return sum(int(end.result) for end in await ctx.wait_children())

    async with Engine.connect(options["url"], registry=registry) as engine:
        supervisor = Supervisor(
            engine,
            drain_timeout=options.get("drain_timeout", 30.0),
            lease_ms=options["lease_ms"],
            sweep_ms=options["sweep_ms"],
        )
        asked = asyncio.Event()
        if options.get("sweep_only"):
            lease_ms, sweep_ms = options["lease_ms"], options["sweep_ms"]
            Sweeper([engine.queue("work")], interval_ms=sweep_ms, lease_ms=lease_ms).start()
            await asked.wait()

        def stop() -> None:
            if asked.is_set():
                supervisor.hurry()
            asked.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        await supervisor.start()
        await traces.rpush("started", os.getpid())
        await asked.wait()
        await traces.rpush("draining", os.getpid())
        await supervisor.drain()
    await traces.aclose()


if __name__ == "__main__":
    uvloop.run(run(json.loads(sys.argv[1])))
