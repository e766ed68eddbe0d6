"""The slots of a worker: as many coroutines as jobs may run at once, each taking a claim, running its handler, and
leaving an outcome.

Claims come from the worker and outcomes go back to it; what an attempt's end means is the executor's to say.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .context import Cause, JobContext, Workplace
from .deadlines import NEVER, Deadlines
from .errors import WaitForChildren
from .executor import Clock, Executor, Interrupted
from .job import Claim, Outcome
from .middleware import Run
from .registry import JobType

log = logging.getLogger(__name__)
_EARLY_S = 10.0
_STUBBORN_S = 5.0
_PASSED_ON = (KeyboardInterrupt, GeneratorExit)
"""What ends the program, or this coroutine, and not the attempt in which it happens to be seen."""


class Slot:
    """Room for one running job: its task, and while one runs, the claim, its context and its deadline."""

    __slots__ = ("claim", "context", "deadline", "idle", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.idle: asyncio.Future[None] | None = None
        self.claim: Claim | None = None
        self.context: JobContext | None = None
        self.deadline = NEVER


class Slots:
    """Runs claims put into `ready` (then `pass_on`); appends outcomes to `outcomes` and sets `wake`.

    `calls` maps a job's name to its row and what runs it. `freed` is called when a slot becomes free whose claim was
    lost.
    """

    def __init__(
        self,
        place: Workplace,
        executor: Executor,
        clock: Clock,
        calls: Mapping[str, tuple[JobType, Run]],
        outcomes: list[Outcome],
        wake: asyncio.Event,
        freed: Callable[[], None],
    ) -> None:
        self.ready: deque[Claim] = deque()
        self.table: list[Slot] = []
        self.haunted = 0
        self.releasing = False
        self.ended = False
        self.borrowed = False  # the slots' tasks are a caller's: who cancels them means the caller
        self.early: dict[tuple[str, str], tuple[str, float]] = {}
        self._place = place
        self._executor = executor
        self._clock = clock
        self._calls = calls
        self._outcomes = outcomes
        self._wake = wake
        self._freed = freed
        self._idle: list[Slot] = []
        self._woken = False
        self._clean_context = contextvars.copy_context()
        self._deadlines = Deadlines(self.table, self._too_late)

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self, concurrency: int) -> None:
        """Opens slots; what context variables are set here, handlers see."""
        self._clean_context = contextvars.copy_context()
        self.resize(concurrency)

    def resize(self, concurrency: int) -> None:
        """Opens the slots that are missing. Surplus ones stay idle, as the worker claims no more than it may run."""
        while len(self.table) < concurrency:
            slot = Slot()
            self.table.append(slot)
            self._start_slot(slot)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The slots' coroutines."""
        return [slot.task for slot in self.table if slot.task is not None]

    def close(self) -> None:
        """Watches no deadlines any more."""
        self._deadlines.close()

    # -- what runs ------------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return sum(slot.claim is not None for slot in self.table)

    def doing(self) -> dict[str, Any]:
        """What runs here: ids, and why those that have not ended yet were interrupted. May be called by a thread."""
        running, interrupted = [], {}
        for slot in list(self.table):
            claim, context = slot.claim, slot.context
            if claim is not None:
                running.append(claim.id)
                if context is not None and context.cause is not None:
                    interrupted[claim.id] = context.cause.value
        return {"running": running, "interrupted": interrupted} if interrupted else {"running": running}

    def pass_on(self) -> None:
        """Wakes one idle slot, unless one is on its way; it wakes the next before it runs its job, as long as jobs
        are left. So jobs that never wait are all run by one slot, and jobs that do wait each get theirs."""
        if self._woken:
            return
        while self._idle:
            slot = self._idle.pop()
            if slot.idle is not None and not slot.idle.done():
                slot.idle.set_result(None)
                self._woken = True
                return

    def held(self) -> list[str]:
        """The claims that wait for a slot, `<place> <entry>`. May be called by a thread."""
        return [f"{claim.place} {claim.entry.decode()}" for claim in self.ready.copy()]

    # -- interruptions --------------------------------------------------------------------------------------------

    def release_ready(self) -> None:
        """What has not begun goes back to the queue, in the order in which it was claimed."""
        while self.ready:
            self._outcomes.append(self._executor.released(self.ready.popleft()))
        self._wake.set()

    def release(self) -> None:
        """Interrupts everything; what had not begun, and what ends by it, goes back to the queue."""
        self.releasing = True
        self.release_ready()
        for slot in self.table:
            self._interrupt(slot, Cause.RELEASED)
        self._wake.set()

    def lose(self) -> None:
        """Every claim was lost: nothing begins, and what runs is told and interrupted."""
        self.ready.clear()
        for slot in self.table:
            if slot.context is not None and not slot.context.claim_lost:
                slot.context.claim_lost = True
                self.haunted += 1
            self._interrupt(slot, Cause.LOST)

    def cancel(self, place: str, entry: str, reason: str) -> None:
        """Cancels a claim: running, about to run, or not known yet, since the message overtook the claim's
        own reply."""
        for slot in self.table:
            claim = slot.claim
            if claim is not None and claim.place == place and claim.entry == entry.encode():
                self._interrupt(slot, Cause.CANCELLED, reason)
                return
        for claim in self.ready:
            if claim.place == place and claim.entry == entry.encode():
                self.ready.remove(claim)
                self._outcomes.append(self._executor.cancelled(claim, reason))
                self._wake.set()
                return
        now = time.monotonic()
        self.early = {key: (why, at) for key, (why, at) in self.early.items() if now - at < _EARLY_S}
        self.early[place, entry] = (reason, now)

    def cancel_by_id(self, reasons: Mapping[str, str]) -> None:
        """Cancels those claims whose jobs are named."""
        for claim in [slot.claim for slot in self.table if slot.claim is not None] + list(self.ready):
            if claim.id in reasons:
                self.cancel(claim.place, claim.entry.decode(), reasons[claim.id])

    def _too_late(self, slot: Slot) -> None:
        self._interrupt(slot, Cause.TIMEOUT)

    def _interrupt(self, slot: Slot, cause: Cause, reason: str = "") -> None:
        claim, context = slot.claim, slot.context
        if claim is not None and context is not None and slot.task is not None and context.cause is None:
            context.reason = reason
            context.cause = cause
            slot.task.cancel()
            asyncio.get_running_loop().call_later(_STUBBORN_S, self._complain, slot, context)

    def _complain(self, slot: Slot, context: JobContext) -> None:
        if slot.context is context and slot.claim is not None and context.cause is not None:
            log.warning(
                "job %s: its handler goes on %g s after it was interrupted (%s)",
                slot.claim.id,
                _STUBBORN_S,
                context.cause.value,
            )

    # -- one slot -------------------------------------------------------------------------------------------------

    def _start_slot(self, slot: Slot) -> None:
        slot.task = asyncio.get_running_loop().create_task(
            self._work(slot), name=f"slot {self._place.queue.name}", context=self._clean_context.copy()
        )

    async def _work(self, slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        ready = self.ready
        while True:
            if not ready:
                slot.idle = loop.create_future()
                self._idle.append(slot)
                await slot.idle
                self._woken = False
                continue
            claim = ready.popleft()
            if ready:
                self.pass_on()
            outcome = await self.run(slot, claim)
            if outcome is not None:
                self._outcomes.append(outcome)
                self._wake.set()
            if contextvars.copy_context() != self._clean_context:
                # The handler set context variables; the next job must not see them.
                self._start_slot(slot)
                return

    async def run(self, slot: Slot, claim: Claim) -> Outcome | None:
        """Runs one claim in the slot's task; None where the claim was lost meanwhile."""
        if self.releasing:
            return self._executor.released(claim)
        row = self._calls.get(claim.name)
        if row is None:
            log.warning("job %s: no handler for %r here, parked", claim.id, claim.name)
            return self._executor.parked(claim)
        job_type, call = row
        claim.started_ms = self._clock.now_ms()
        timeout = job_type.timeout
        if not claim.plain:
            if claim.expired:
                return self._executor.expired(claim, job_type)
            timeout = claim.timeout(timeout)
        context = JobContext(claim, self._place)
        slot.claim, slot.context = claim, context
        self._deadlines.set(slot, timeout)
        payload = None
        try:
            try:
                payload = job_type.decode(claim.payload)
            except (msgspec.DecodeError, RecursionError) as error:
                return self._executor.unfit(claim, job_type, error)
            value = await call(context, payload)
            outcome = self._executor.completed(claim, job_type, value)
        except asyncio.CancelledError as error:
            outcome = self._cancelled(slot, claim, context, job_type, error)
        except WaitForChildren:
            outcome = self._executor.waits(claim, context.setbacks)
        except BaseException as error:
            if not isinstance(error, Exception) and (self.borrowed or isinstance(error, _PASSED_ON)):
                raise
            # A sys.exit() deep in a library ends an attempt and nothing else: a slot that died would hold its job.
            outcome = self._executor.raised(claim, job_type, error, payload)
        finally:
            if context.cause is not None and slot.task is not None:
                slot.task.uncancel()
            lost = context.claim_lost
            if lost:
                self.haunted -= 1
                self._freed()
            slot.claim = slot.context = None
            slot.deadline = NEVER
        if context.notes is not None and not lost:
            await context.flush()
        return None if lost else outcome

    def _cancelled(
        self, slot: Slot, claim: Claim, context: JobContext, job_type: JobType, error: asyncio.CancelledError
    ) -> Outcome:
        cause = context.cause
        if cause is not None:
            return self._executor.raised(claim, job_type, Interrupted(cause, context.reason))
        if self.ended or (self.borrowed and slot.task is not None and slot.task.cancelling()):
            raise error
        if slot.task is not None:
            while slot.task.cancelling():
                slot.task.uncancel()
        return self._executor.raised(claim, job_type, error)  # the handler cancelled itself
