"""What users' own tests need: assertions on what a queue was given, jobs run when the test says so, one handler called
by itself, and a clock that the test moves. On a real server, but for `call`."""

from __future__ import annotations

from typing import Any

import msgspec

from .bare_call import Called, Enqueued, call
from .inline import Ran, run_waiting
from .job import JobInfo
from .listing import STATES, JobFilter
from .manual_clock import ManualClock
from .queue import Queue

__all__ = ["Called", "Enqueued", "ManualClock", "Ran", "assert_enqueued", "call", "enqueued", "run_waiting"]


async def enqueued(queue: Queue, name: str | None = None) -> list[JobInfo]:
    """The queue's jobs of that name (None: of all names), in whatever state, ended ones as long as their records are
    kept; oldest first. Raises EngineUnavailable where Redis doesn't answer."""
    found: dict[str, JobInfo] = {}
    for state in STATES:
        cursor = None
        while True:
            page = await queue.operations.page(state, where=JobFilter(name=name), cursor=cursor)
            found.update((info.id, info) for info in page.jobs)
            cursor = page.cursor
            if cursor is None:
                break
    return sorted(found.values(), key=lambda info: info.created_ms)


async def assert_enqueued(queue: Queue, name: str, payload: Any = msgspec.UNSET, *, times: int = 1) -> list[JobInfo]:
    """Returns the jobs of that name whose payload matches, or raises AssertionError where they are not `times` many.

    An object (dict or Struct) matches payloads that have its fields, with equal values; anything else an equal payload.
    """
    jobs = await enqueued(queue, name)
    wanted = payload if payload is msgspec.UNSET else msgspec.to_builtins(payload)
    matching = [job for job in jobs if _matches(msgspec.json.decode(job.payload), wanted)]
    if len(matching) != times:
        what = "" if wanted is msgspec.UNSET else f" with {wanted!r}"
        seen = ", ".join(bytes(job.payload).decode() for job in jobs[:10]) or "none"
        raise AssertionError(
            f"queue {queue.name!r} has {len(matching)} jobs {name!r}{what}, wanted {times}; its payloads: {seen}"
        )
    return matching


def _matches(payload: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(payload, dict):
        return all(field in payload and payload[field] == value for field, value in wanted.items())
    return wanted is msgspec.UNSET or bool(payload == wanted)
