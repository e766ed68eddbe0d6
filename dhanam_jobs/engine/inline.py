"""Runs what a queue holds in a test's own task: claimed, run and settled as a worker does it, one job after the other.

What it leaves out of a worker are the pump, the bell and the sweep, so that a test says when something happens, and
nothing happens behind its back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from .context import JobContext
from .engine import Engine
from .errors import ClaimLost, ConfigurationError, EngineUnavailable, WaitForChildren
from .job import JobError, Outcome
from .lane import Lane
from .link import Unreachable
from .middleware import Run
from .queue import Queue
from .registry import JobType
from .resources import ResourceScope
from .scheduler import Scheduler
from .slots import Slot
from .worker import Worker

MOST_RUNS = 10_000
"""Runs after which `run_waiting` takes it that they will never end."""


class Ran(msgspec.Struct):
    """One run of a job by `run_waiting`.

    `outcome`: "completed", "failed" (for good), "delayed" (a retry or a snooze), "cancelled", "limited", "released",
    "parked" (no handler), or "waits" (for its children). `attempt` counts executions from 1; `payload` is what the
    handler was given (None where it was not called); `result` what it returned, decoded from JSON; `error` what it
    raised, with the traceback, None where it raised nothing; `reason` says in words why it did not complete.
    """

    id: str
    queue: str
    name: str
    attempt: int
    outcome: str
    payload: Any = None
    result: Any = None
    error: BaseException | None = None
    reason: str | None = None


async def run_waiting(
    engine: Engine,
    *queues: str,
    resources: Any = None,
    through_delays: bool = False,
    at_most: int = MOST_RUNS,
) -> list[Ran]:
    """Fires the schedules that are due and runs the jobs that may run, until there is nothing to run; returns what ran,
    in order.

    `queues`: names, by default all of the engine's registry, taken one after the other; a job runs as by a worker:
    middleware, resources (`ResourceScope`), time limit, retries, hooks, records, events and families are the real ones.
    What is delayed (a retry too) stays so until it is due; what has expired is failed without a run, and its hooks are
    told. `through_delays`: moves the engine's ManualClock on to
    each next time at which a job of these queues may run, until none is left.

    What handlers raise is in the result, not raised here. Raises AssertionError after `at_most` runs, EngineUnavailable
    where Redis doesn't answer, ClaimLost where a sweep took a run for dead, and ConfigurationError for
    `through_delays` without a ManualClock.
    """
    if through_delays and engine.clock is None:
        raise ConfigurationError("through_delays: wanted an engine with a ManualClock")
    names = queues or tuple(row.name for row in engine.registry.queues)
    scope = ResourceScope(resources)
    ran: list[Ran] = []
    workers: list[Inline] = []
    scheduler = Scheduler(engine, [engine.queue(name) for name in names])
    try:
        for name in names:
            workers.append(await Inline(engine.queue(name), resources=scope).__aenter__())
        while True:
            await scheduler.run_once()
            await _carry(workers)
            before = len(ran)
            for worker in workers:
                while (one := await worker.hand.run_one()) is not None:
                    ran.append(one)
                    if len(ran) >= at_most:
                        raise AssertionError(f"{at_most} jobs ran and there are more; the last was {one!r}")
            told = sum([await worker.tell_failures() for worker in workers])
            if len(ran) == before and not told and not (through_delays and _move_on(engine, workers)):
                return ran
    finally:
        for worker in workers:
            await worker.__aexit__(None, None, None)


async def _carry(workers: Sequence[Inline]) -> None:
    """Returns when parents and children know of each other what there is to know."""
    couriers = [worker.queue.courier for worker in workers]
    while sum([await courier.run() for courier in couriers]) or any(courier.busy for courier in couriers):
        pass


def _move_on(engine: Engine, workers: Sequence[Inline]) -> bool:
    """Moves the clock to the next time at which a job may run; False where there is none."""
    times = [worker.hand.next_ms for worker in workers if worker.hand.next_ms is not None]
    if not times or engine.clock is None:
        return False
    engine.clock.advance(max(0, min(times) - engine.clock.now_ms()) / 1000)
    return True


class Hand(Lane):
    """A lane of one slot that runs a job in the task that tells it to."""

    def __init__(
        self, queue: Queue, size: int, ahead: int, *, calls: Mapping[str, tuple[JobType, Run]], **shared: Any
    ) -> None:
        watched = {name: (job_type, self._watched(call)) for name, (job_type, call) in calls.items()}
        super().__init__(queue, size, ahead, calls=watched, **shared)
        self.next_ms: int | None = None
        self._slot = Slot()
        self._slots.table.append(self._slot)
        self._slots.borrowed = True
        self._payload: Any = None
        self._error: BaseException | None = None

    async def run_one(self) -> Ran | None:
        """Claims a job, runs and settles it; None where none may run now, and then `next_ms` is when one may (ms), as
        far as that is known."""
        self.next_ms = None
        await self._trip_now([], 1)
        self._hand_out()
        cancelled, self._outcomes[:] = list(self._outcomes), []
        for outcome in cancelled:
            await self._trip_now([outcome], 0)
            return self._ran(outcome)
        if not self._slots.ready:
            return None
        claim = self._slots.ready.popleft()
        self._payload = self._error = None
        self._slot.task = asyncio.current_task()
        try:
            outcome_or_lost = await self._slots.run(self._slot, claim)
        except asyncio.CancelledError:
            await self._trip_now([self._executor.released(claim)], 0)
            raise
        finally:
            self._slot.task = None
        if outcome_or_lost is None:
            raise ClaimLost(f"the claim on job {claim.id} was lost while it ran inline")
        await self._trip_now([outcome_or_lost], 0)
        return self._ran(outcome_or_lost)

    async def _trip_now(self, outcomes: list[Outcome], want: int) -> None:
        self._call += 1
        try:
            await self._trip(outcomes, want)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer: {error}") from error
        if self._dead:
            raise ClaimLost(f"queue {self._queue.name!r}: a sweep took what runs inline for dead")

    def _watch(self, due_ms: int | None) -> None:
        self.next_ms = due_ms

    def _watched(self, call: Run) -> Run:
        async def run(context: JobContext, payload: Any) -> Any:
            self._payload = payload
            try:
                return await call(context, payload)
            except Exception as error:
                self._error = error
                raise

        return run

    def _ran(self, outcome: Outcome) -> Ran:
        claim, kind = outcome.claim, outcome.kind.lstrip("-").split(" ")[0]
        ran = Ran(claim.id, self._queue.name, claim.name, claim.attempt, kind, self._payload)
        body: dict[str, Any] = msgspec.json.decode(outcome.body)
        if kind == "completed":
            ran.result = body.get("result")
        elif "error" in body:
            ran.reason = _said(msgspec.convert(body["error"], JobError))
        elif self._error is not None and not isinstance(self._error, WaitForChildren):
            ran.reason = f"{type(self._error).__name__}: {self._error}"
        elif "errors" in body["set"]:
            last = msgspec.json.decode(body["set"]["errors"])[-1]
            ran.reason = f"{last['type']}: {last['message']}"
        if not isinstance(self._error, WaitForChildren):
            ran.error = self._error
        return ran


class Inline(Worker):
    """A worker of one slot that runs a job when it is told to."""

    lane_type = Hand

    def __init__(self, queue: Queue, *, resources: ResourceScope) -> None:
        super().__init__(queue, concurrency=1, prefetch=0, resources=resources)

    async def __aenter__(self) -> Self:
        await self._begin()
        self._heart.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave()

    @property
    def hand(self) -> Hand:
        """Its lane."""
        (hand,) = self.lanes
        assert isinstance(hand, Hand)
        return hand

    async def tell_failures(self) -> int:
        """Returns when the hooks of this queue were told of all failures, also of those outside of runs; and of how
        many that is."""
        return await self._hooks.catch_up()


def _said(error: JobError) -> str:
    return f"{error.type}: {error.message}"
