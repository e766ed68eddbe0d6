"""Handlers that run in processes of their own: functions of a module, which another process can import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from dhanam_jobs.engine import Child, Discard, Limited, ProcessContext, RetryLater, Snooze


class Numbers(msgspec.Struct):
    """What `add` adds."""

    first: int
    second: int


def add(ctx: ProcessContext, payload: Numbers) -> dict[str, int]:
    """The sum, and where it was made."""
    return {"sum": payload.first + payload.second, "pid": os.getpid()}


def tell(ctx: ProcessContext, payload: str) -> str:
    """Tells of itself, and enqueues."""
    ctx.log(f"began {ctx.job.name}")
    ctx.progress_sync({"done": 1})
    return ctx.enqueue_sync("add", {"first": ctx.attempt, "second": 2})


class Mute(Exception):
    """An error that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail(ctx: ProcessContext, payload: str) -> None:
    """Ends in the way that it is told."""
    if payload == "exit":
        os._exit(3)
    if payload == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if payload == "limited":
        raise Limited(3600.0)
    if payload == "discard":
        raise Discard("no use")
    if payload == "later":
        raise RetryLater(3600.0, "come again")
    if payload == "snooze":
        raise Snooze(3600.0)
    if payload == "unencodable":
        return object()  # type: ignore[return-value]
    if payload == "mute":
        raise Mute
    if payload == "bytes":
        raise ValueError("caf\udce9.csv")
    raise ValueError(f"bad {payload}")


def compute(ctx: ProcessContext, path: str) -> None:
    """Notes its pid and its own child's in a file, and computes for ever."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    while True:
        time.monotonic()


def gather(ctx: ProcessContext, payload: list[int]) -> int:
    """Sums what its children return, one of which gathers too; it runs twice, in whatever processes."""
    ctx.add_children_sync(Child(f"n{n}", "add", {"first": n, "second": 1}) for n in payload)
    if len(payload) > 1:
        ctx.add_children_sync([Child("deeper", "gather", payload[:1])])
    ends = ctx.wait_children_sync()
    return sum(end.result if end.key == "deeper" else end.result["sum"] for end in ends)


def family(ctx: ProcessContext, payload: str) -> str:
    """Enqueues a parent of another one, or what is refused."""
    if payload == "typed":
        ctx.add_children_sync([Child("a", Numbers(1, 2))])
    if payload == "unknown":
        ctx.add_children_sync([Child("a", "nobody")])
    children = [Child("a", "add", {"first": 1, "second": 2}, children=[Child("b", "add", {"first": 3, "second": 4})])]
    return ctx.enqueue_parent_sync("gather", [], children=children)
