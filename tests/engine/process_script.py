"""A program whose own handler runs in a process: `python process_script.py <url>`. Prints that process's pid."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from dhanam_jobs.engine import Engine, ProcessContext, Registry, Worker

registry = Registry()


@registry.job("compute", queue="script", process=True)
def compute(ctx: ProcessContext, payload: None) -> None:
    """Computes for ever."""
    print(os.getpid(), flush=True)
    while True:
        time.monotonic()


async def main() -> None:
    """Runs it, once."""
    async with Engine.connect(sys.argv[1], registry=registry) as engine, Worker(engine.queue("script")):
        await (await engine.queue("script").enqueue("compute")).result()


if __name__ == "__main__":
    asyncio.run(main())
