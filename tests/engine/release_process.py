"""A worker of another release in a process of its own: `python release_process.py URL`.

Its scripts have other texts and so other hashes, and its registry knows the job `old` alone. It notes each run in the
list `ran` (`old <payload> <pid>`), is ready once `ready` holds its pid, and drains at SIGTERM.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys

import redis.asyncio as redis_async
import uvloop

from dhanam_jobs.engine import Engine, JobContext, Registry, Retention, Supervisor, scripts
from dhanam_jobs.engine.scripts import Script


def rewrite_scripts() -> None:
    """Makes every script another release's: the same verb, another text."""
    for script in vars(scripts).values():
        if isinstance(script, Script):
            script.text += "\n-- another release\n"
            script.sha = hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()


async def run(url: str) -> None:
    """Works until SIGTERM."""
    registry = Registry()
    registry.queue("q", concurrency=3, retention=Retention(completed=None))
    traces = redis_async.Redis.from_url(url, protocol=2)

    @registry.job("old", queue="q")
    async def old(ctx: JobContext, payload: int) -> int:
        await traces.rpush("ran", f"old {payload} {os.getpid()}")
        return payload

    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    async with Engine.connect(url, registry=registry) as engine, Supervisor(engine):
        await traces.rpush("ready", os.getpid())
        await asked.wait()
    await traces.aclose()


if __name__ == "__main__":
    rewrite_scripts()
    uvloop.run(run(sys.argv[1]))
