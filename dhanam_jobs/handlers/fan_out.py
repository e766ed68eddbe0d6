"""Fan-out: one job enqueues children, waits for all of them without keeping its slot, and goes on with their ends.

This is the only place that knows how it is done: children get ids made from their parent's id, the parent looks at
them and snoozes while any still runs, and finds the same children again when it comes back. What the children do, and
how their results are summed, is the callers'.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from dhanam_jobs.engine import Job, JobContext, JobFailed, JobNotFound, ResultTimeout, Snooze

_PATIENCE_S = 0.25
_SHORTEST_S = 0.2
_LONGEST_S = 30.0
_LONGEST_ID = 256


class Child(msgspec.Struct, frozen=True):
    """One child: `key` tells it from its siblings (a space's id, say); `payload` is typed, and names job and queue."""

    key: str
    payload: Any
    priority: int | None = None


class Ended(msgspec.Struct, frozen=True):
    """How a child ended: with `result`, or with `error`, a text; exactly one of the two has a meaning."""

    key: str
    result: Any = None
    error: str | None = None


async def fan_out(ctx: JobContext, children: Iterable[Child]) -> list[Ended]:
    """Run the children and give how each ended, in their order; one that fails leaves the others alone.

    A child may be joined by, or be, a job that somebody else has enqueued under the same unique key. Call it with the
    same children whenever the parent runs; children that are no longer named are not waited for.

    Raises Snooze while any child has not ended: let it through.
    """
    wanted = list(children)
    jobs = [await _enqueue(ctx, child) for child in wanted]
    ended: list[Ended] = []
    deadline = time.monotonic() + _PATIENCE_S
    running = False
    for child, job in zip(wanted, jobs, strict=True):
        # Also those behind one that runs are asked for: it makes the engine keep their results beyond retention.
        try:
            result = await job.result(timeout=max(0.01, deadline - time.monotonic()))
        except ResultTimeout:
            running = True
        except (JobFailed, JobNotFound) as error:
            ended.append(Ended(child.key, error=_reason(error)))
        else:
            ended.append(Ended(child.key, result=result))
    if running:
        # The longer it takes, the less often it is looked at.
        age = time.time() - ctx.job.created_ms / 1000
        raise Snooze(min(max(age / 10, _SHORTEST_S), _LONGEST_S))
    return ended


async def _enqueue(ctx: JobContext, child: Child) -> Job:
    # The id makes a second run of the parent find this child instead of making another.
    child_id = f"{ctx.job.id}.{child.key}"
    if len(child_id) > _LONGEST_ID:
        child_id = hashlib.sha256(child_id.encode()).hexdigest()
    return await ctx.enqueue(child.payload, id=child_id, priority=child.priority)


def _reason(error: JobFailed | JobNotFound) -> str:
    return f"{error.error_type}: {error.reason}" if isinstance(error, JobFailed) else str(error)
