"""Why a job has not run yet, in words and in codes that a program can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import scripts
from .errors import JobNotFound
from .job import JobState

if TYPE_CHECKING:
    from .queue import Queue

_COUNT_STEP = 200
_COUNT_STEPS = 50


class Reason(msgspec.Struct, frozen=True):
    """One reason. `code`: paused, behind, delayed, key_held, children, parked, no_worker, queue_limited, key_limited,
    busy, next, running or ended; `text` says it with its numbers."""

    code: str
    text: str


class Explanation(msgspec.Struct, frozen=True):
    """A job's state, and every reason that it waits, the weightiest first.

    `ahead`: jobs that are claimed before it (waiting; counted up to about 10,000 of its own level), or that wait for
    its key before it, or children of it that have not ended (blocked), else None. `due_ms` while delayed; `holder`: the
    id of the job that has its unique key.
    """

    id: str
    state: JobState
    reasons: list[Reason]
    ahead: int | None = None
    due_ms: int | None = None
    holder: str | None = None


async def explain(queue: Queue, job_id: str) -> Explanation:
    """Raises JobNotFound, and EngineUnavailable where Redis doesn't answer."""
    said = await _ask(queue, job_id, "")
    if not said:
        raise JobNotFound(
            f"job {job_id} is not on queue {queue.name!r}: never enqueued, removed, or evicted by retention"
        )
    before, after = int(said.get("before", 0)), said.get("counted")
    for _ in range(_COUNT_STEPS):
        if after is None:
            break
        more = await _ask(queue, job_id, after)
        if more.get("state") != "waiting":
            break  # it was claimed while we counted
        before += int(more["before"])
        after = more.get("counted")
    return _explained(queue, job_id, said, before, counted_all=after is None)


async def _ask(queue: Queue, job_id: str, after: str) -> dict[str, str]:
    flat: list[Any] = await queue.engine.run(scripts.EXPLAIN, queue.root, job_id, after, _COUNT_STEP)
    return {name.decode(): value.decode("utf-8", "replace") for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _explained(queue: Queue, job_id: str, said: dict[str, str], before: int, *, counted_all: bool) -> Explanation:
    state = said["state"]
    if state == "ended":
        state = said["ended"]
        return Explanation(job_id, JobState(state), [Reason("ended", f"it has ended: {state}")])
    reasons: list[Reason] = []
    ahead: int | None = None
    due_ms: int | None = None
    holder: str | None = None
    now_ms = int(said["now_ms"])
    if state == "active":
        seconds = int(said["idle_ms"]) / 1000
        reasons.append(Reason("running", f"worker {said['worker']} has run it for {seconds:.1f} s"))
        return Explanation(job_id, JobState.ACTIVE, reasons)
    if "paused_ms" in said:
        reasons.append(
            Reason("paused", f"queue {queue.name!r} has been paused for {_since(now_ms, said['paused_ms'])}")
        )
    if state == "delayed":
        due_ms = int(said["due_ms"])
        reasons.append(Reason("delayed", f"it is delayed for another {max(0, due_ms - now_ms) / 1000:.1f} s"))
    elif "children" in said:
        ahead = int(said["children"]) - int(said["child_ends"])
        reasons.append(Reason("children", f"{ahead} of its {said['children']} children have not ended"))
    elif state == "blocked":
        holder = said.get("holder")
        ahead = int(said["ahead"]) if "ahead" in said else None
        what = "nobody" if holder is None else f"job {holder} ({said['holder_state']})"
        text = f"its unique key {said.get('key', '?')!r} is held by {what}"
        reasons.append(Reason("key_held", text + (f", and {ahead} jobs wait for it before this one" if ahead else "")))
    elif state == "parked":
        reasons.append(Reason("parked", f"no live worker knows the job name {said.get('name', '?')!r}"))
    workers, busy = int(said["workers"]), int(said["busy"])
    if workers == 0:
        reasons.append(Reason("no_worker", f"no worker of queue {queue.name!r} is alive"))
    if "queue_limited" in said:
        when = _when(now_ms, said.get("queue_opens_ms"))
        reasons.append(Reason("queue_limited", f"queue {queue.name!r} is limited: its next job may start {when}"))
    if state == "waiting" and "limit_key" in said:
        ahead, key, running = int(said["before"]), said["limit_key"], said["key_running"]
        if "key_limited" in said:
            when = _when(now_ms, said.get("key_opens_ms"))
            text = f"key {key!r} is limited: {running} of its jobs run, and its next one may start {when}"
            reasons.append(Reason("key_limited", text))
        if ahead:
            reasons.append(Reason("behind", f"it is behind {ahead} jobs of key {key!r}, which takes turns with others"))
        if busy:
            reasons.append(Reason("busy", f"{workers} workers are running {busy} jobs"))
        if not reasons:
            reasons.append(Reason("next", "nothing holds it: the next free slot takes it in its turn"))
    elif state == "waiting":
        urgent = int(said["urgent"])
        ahead = urgent + before
        if ahead:
            least = "" if counted_all else "at least "
            text = f"it is behind {least}{ahead} jobs: {urgent} in more urgent places and {least}{before} in its own"
            reasons.append(Reason("behind", text))
        if busy:
            reasons.append(Reason("busy", f"{workers} workers are running {busy} jobs"))
        if not reasons:
            reasons.append(Reason("next", "nothing holds it: the next free slot takes it"))
    return Explanation(job_id, JobState(state), reasons, ahead, due_ms, holder)


def _when(now_ms: int, opens_ms: str | None) -> str:
    return "when one that runs has ended" if opens_ms is None else f"in {max(0, int(opens_ms) - now_ms) / 1000:.1f} s"


def _since(now_ms: int, then: str) -> str:
    return f"{max(0, now_ms - int(then)) / 1000:.0f} s"
