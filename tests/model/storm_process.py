"""Workers of the storm in a process of its own: `python storm_process.py '{"url": …, "lease_ms": …, "sweep_ms": …}'`.

Each run of a handler is noted in the file `log` before it does anything: `<job id> <what>`. A file is left alone by
whatever befalls Redis. What a job does is in its payload: end, fail for good, fail twice, snooze by chance, take its
time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

import uvloop

from dhanam_jobs.engine import Discard, Engine, JobContext, Registry, Retention, RetryPolicy, Snooze, Supervisor


def registry_of(log: int) -> Registry:
    """The storm's queue and its one job; every run is noted in the file of that descriptor."""
    registry = Registry()
    registry.queue(
        "storm", concurrency=20, retention=Retention(completed=None, failed=None, cancelled=None), max_stalls=1000
    )

    @registry.job("blow", queue="storm", retry=RetryPolicy(attempts=3, base=0.05), timeout=60)
    async def blow(ctx: JobContext, payload: dict[str, Any]) -> int:
        what = payload["what"]
        os.write(log, f"{ctx.job.id} {what}\n".encode())
        if what == "discard":
            raise Discard("as asked")
        if what == "retry" and ctx.attempt < 3:
            raise RuntimeError("not yet")
        if what == "exhaust":
            raise RuntimeError("never")
        if what == "snooze" and random.random() < 0.5:
            raise Snooze(0.05)
        if what == "hold":
            await asyncio.sleep(0.2)
        return int(payload["number"])

    return registry


async def run(options: dict[str, Any]) -> None:
    log = os.open(options["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with Engine.connect(options["url"], registry=registry_of(log)) as engine:
        supervisor = Supervisor(engine, drain_timeout=5.0, lease_ms=options["lease_ms"], sweep_ms=options["sweep_ms"])
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
        await supervisor.start()
        await asked.wait()
        await supervisor.drain()


if __name__ == "__main__":
    uvloop.run(run(json.loads(sys.argv[1])))
