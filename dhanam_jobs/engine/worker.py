"""A worker: claims jobs of one queue up to its free slots, runs them, and settles what ended in the same trip.

One job's way: the pump's trip brings claims; a slot takes one, runs its handler and leaves an outcome; the pump's next
trip settles all outcomes there are and brings the next claims. Nothing else talks to Redis for a job.

A worker used alone brings a heart and a sweeper; a Supervisor shares one of each among its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import random
import secrets
import socket
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

import msgspec
from redis.exceptions import ResponseError

from . import defaults, scripts
from .context import JobContext
from .errors import EngineUnavailable
from .executor import Cause, Clock, Executor, Interrupted
from .heart import Heart, Row
from .job import Claim, Outcome
from .link import Backoff, Link, Unreachable, sleep_or
from .queue import Queue
from .registry import JobType, QueueConfig, check_concurrency
from .sweeper import Sweeper, _config

log = logging.getLogger(__name__)
_NEVER = float("inf")
_SETTLE_AT_MOST = 1000
_OVERLAP_FROM = 32  # below, a trip costs more than the overlap gains


def new_worker_name() -> str:
    """A name that no process has had: host, pid and eight random hex digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class _Slot:
    """Room for one running job: its task, and while one runs, the claim, its deadline and why it was cancelled."""

    __slots__ = ("cause", "claim", "context", "deadline", "idle", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.idle: asyncio.Future[None] | None = None
        self.claim: Claim | None = None
        self.context: JobContext | None = None
        self.deadline = _NEVER
        self.cause: Cause | None = None


class Worker:
    """Works one queue: `async with Worker(engine.queue("hello"), concurrency=5): …`.

    `concurrency` (1 to 1000; default: the queue's row) jobs run at once. `resources` is handed to every handler as
    `ctx.resources`. Leaving the block stops claiming, gives running jobs `drain_timeout` seconds, and
    releases the rest.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        concurrency: int | None = None,
        resources: Any = None,
        drain_timeout: float = defaults.DRAIN_TIMEOUT,
        heart: Heart | None = None,
        sweeper: Sweeper | None = None,
        lease_ms: int = defaults.LEASE_MS,
        sweep_ms: int = defaults.SWEEP_MS,
    ) -> None:
        self.queue = queue
        self.config: QueueConfig = _config(queue)
        self.concurrency = check_concurrency(self.config.concurrency if concurrency is None else concurrency)
        self.resources = resources
        self.name = new_worker_name()
        self.fetched = 0.0
        self._engine = queue.engine
        self._drain_timeout = drain_timeout
        self._own_heart = heart is None
        self._heart = heart or Heart(self._engine.url, name=self._engine.client_name, lease_ms=lease_ms)
        self._own_sweeper = sweeper is None
        self._sweeper = sweeper or Sweeper([queue], interval_ms=sweep_ms, lease_ms=lease_ms)
        self._clock = Clock()
        self._executor = Executor(self.name, self.config.retry, self._clock, self.concurrency)
        self._jobs: dict[str, JobType] = {job.name: job for job in self._engine.registry.jobs_of(queue.name)}
        self._link = Link(self._engine.url, name=f"{self._engine.client_name}:{queue.name}")
        self._bell_link = Link(self._engine.url, name=f"{self._engine.client_name}:{queue.name}:bell")
        self._call = 0
        self._held: dict[tuple[str, bytes], Claim] = {}
        self._ready: deque[Claim] = deque()
        self._outcomes: list[Outcome] = []
        self._unsettled = 0
        self._slots: list[_Slot] = []
        self._idle: list[_Slot] = []
        self._woken = False
        self._travelling = False
        self._burst = self.concurrency // 2 if self.concurrency >= _OVERLAP_FROM else self.concurrency
        self._wake = asyncio.Event()
        self._look = True
        self._claiming = True
        self._closing = False
        self._releasing = False
        self._ended = False
        self._dead = False
        self._haunted = 0
        self._debt = 0.0
        self._pumping: asyncio.Task[None] | None = None
        self._ringing: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._deadline_at = _NEVER
        self._clean_context = contextvars.copy_context()
        self._empty = asyncio.Event()
        self._over = asyncio.Event()
        self._free = asyncio.Event()

    # -- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Registers and starts claiming. A second call does nothing."""
        if self._pumping is not None:
            return
        loop = asyncio.get_running_loop()
        await self._announce()
        await self._register()
        names = list(self._jobs)
        if names:
            await self._engine.run(scripts.UNPARK, self.queue.root, defaults.PROMOTE_BATCH, *names)
        self._clean_context = contextvars.copy_context()
        for _ in range(self.concurrency):
            slot = _Slot()
            self._slots.append(slot)
            self._start_slot(slot)
        if self._own_heart:
            self._heart.start()
        if self._own_sweeper:
            self._sweeper.start()
        self._ringing = loop.create_task(self._answer_bell(), name=f"bell {self.queue.name}")
        self._pumping = loop.create_task(self._pump(), name=f"pump {self.queue.name}")

    def stop_claiming(self) -> None:
        """Takes no more jobs; what runs goes on."""
        self._claiming = False
        self._wake.set()

    async def stop(self, timeout: float | None = None) -> None:
        """Stops claiming, waits `timeout` seconds (default: the worker's drain_timeout) for running jobs, releases the
        rest to the front of the queue, and leaves. May be called twice."""
        if self._pumping is None:
            return
        self.stop_claiming()
        self._closing = True
        self._wake.set()
        await sleep_or(self._over, self._drain_timeout if timeout is None else timeout)
        if not self._empty.is_set():
            self._release_running()
            if not await sleep_or(self._empty, defaults.CALL_TIMEOUT):
                log.warning("queue %s: %d jobs could not be released", self.queue.name, len(self._held))
        await self._end()

    async def _end(self) -> None:
        self._ended = True
        tasks = [task for task in (self._pumping, self._ringing, *(s.task for s in self._slots)) if task]
        for task in tasks:
            task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=defaults.CALL_TIMEOUT)
            if stubborn:
                log.warning("queue %s: %d handlers go on after a cancellation", self.queue.name, len(stubborn))
        self._pumping = self._ringing = None
        for timer in (self._due, self._deadline_timer):
            if timer is not None:
                timer.cancel()
        self._heart.remove(self.queue.root, self.name)
        if self._own_sweeper:
            await self._sweeper.stop()
        if self._own_heart:
            await asyncio.get_running_loop().run_in_executor(None, self._heart.stop)
        try:
            await self._engine.run(scripts.LEAVE, self.queue.root, self.name)
        except (EngineUnavailable, ResponseError) as error:
            log.warning("queue %s: worker %s could not leave: %s", self.queue.name, self.name, error)
        self._executor.close()
        await self._link.close()
        await self._bell_link.close()

    def hurry(self) -> None:
        """Ends a `stop` that is waiting for running jobs: they are released now."""
        self._release_running()
        self._over.set()

    def _release_running(self) -> None:
        self._releasing = True
        while self._ready:
            self._outcomes.append(self._executor.released(self._ready.popleft()))
        for slot in self._slots:
            self._interrupt(slot, Cause.RELEASED)
        self._wake.set()

    def _in_claim_order(self) -> None:
        # Handlers end in any order, and what is released keeps the order of the queue.
        order = {id(claim): position for position, claim in enumerate(self._held.values())}
        self._outcomes.sort(key=lambda outcome: order.get(id(outcome.claim), -1))

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return sum(slot.claim is not None for slot in self._slots)

    # -- lease ----------------------------------------------------------------------------------------------------

    async def _announce(self) -> None:
        try:
            await self._engine.announce_queue(self.queue.name)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer: {error}") from error
        except ResponseError as error:
            # A full Redis refuses it, and is emptied by workers that start all the same.
            log.warning("queue %s could not be noted in the registry: %s", self.queue.name, error)

    async def _register(self) -> None:
        about = msgspec.json.encode({"host": socket.gethostname(), "pid": os.getpid(), "concurrency": self.concurrency})
        backoff = Backoff()
        while True:
            self.name = new_worker_name()
            try:
                taken = await self._engine.run(scripts.REGISTER, self.queue.root, self.name, about)
            except Exception as error:
                if self._pumping is None:
                    raise
                log.warning("queue %s: can't register: %s", self.queue.name, error)
                await asyncio.sleep(backoff.next(random.random()))
                continue
            if taken:
                break
        self._executor.worker_name = self.name
        self._call = 0
        self._dead = False
        self._heart.add(Row(self.queue.root, self.name, self._doing, self._declared_dead))

    def _doing(self) -> dict[str, Any]:
        # Read by the heart's thread, while the loop goes on.
        return {"running": [claim.id for slot in self._slots if (claim := slot.claim) is not None]}

    def _declared_dead(self, name: str) -> None:
        if name == self.name:
            self._dead = True
            self._wake.set()

    async def _come_back(self) -> None:
        """Every claim of the old name is lost: tells the handlers, and registers anew."""
        lost = len(self._held)
        log.error("queue %s: worker %s was declared dead, %d claims are lost", self.queue.name, self.name, lost)
        self._heart.remove(self.queue.root, self.name)
        self._outcomes.clear()
        self._ready.clear()
        self._held.clear()
        for slot in self._slots:
            if slot.context is not None and not slot.context.claim_lost:
                slot.context.claim_lost = True
                self._haunted += 1
            self._interrupt(slot, Cause.LOST)
        await self._register()
        with contextlib.suppress(EngineUnavailable):
            await self._announce()  # the registry may be gone with the rest
        self._look = True

    # -- pump -----------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        backoff = Backoff()
        while True:
            self._travelling = False
            if self._dead:
                await self._come_back()
            if self._releasing:
                self._in_claim_order()
            outcomes = self._outcomes[:_SETTLE_AT_MOST]
            free = self.concurrency - self._occupied() if self._claiming else 0
            want = free if outcomes or self._look else 0
            if free > 0 and want == 0:
                self._free.set()
            else:
                self._free.clear()
            if not outcomes and want <= 0:
                if self._closing and not self._held:
                    self._empty.set()
                    self._over.set()
                self._wake.clear()
                if self._outcomes or self._dead:
                    continue
                await self._wake.wait()
                continue
            del self._outcomes[: len(outcomes)]
            self._look = False
            self._call += 1
            self._travelling = True
            try:
                await self._trip(outcomes, want)
                backoff.reset()
            except Unreachable as error:
                log.warning("queue %s: a trip got no answer: %s", self.queue.name, error)
                await self._recover(outcomes, self._call)
            except ResponseError as error:
                # The script refused before it wrote anything.
                log.error("queue %s: a trip was refused: %s", self.queue.name, error)
                self._outcomes[:0] = outcomes
                self._look = True
                await asyncio.sleep(backoff.next(random.random()))
            except Exception:
                # Nothing may stop the pump: a worker that silently takes no jobs is the worst kind.
                log.exception("queue %s: a trip failed here", self.queue.name)
                await self._recover([o for o in outcomes if (o.claim.place, o.claim.entry) in self._held], -1)

    def _occupied(self) -> int:
        # A claim whose outcome waits to be settled no longer holds its slot; a handler that goes on after its claim was
        # lost still does.
        return len(self._held) - len(self._outcomes) + self._haunted

    async def _trip(self, outcomes: list[Outcome], want: int) -> None:
        fair = int(self._debt)
        head = (self.queue.root, self._engine.time_override, self.name, self._call, max(0, want), fair)
        if outcomes:
            retention = self.config.retention
            arguments: list[bytes | str | int] = [
                *head,
                "" if retention.completed is None else retention.completed,
                "" if retention.failed is None else retention.failed,
            ]
            for outcome in outcomes:
                claim = outcome.claim
                arguments += (claim.place, claim.entry, claim.id, outcome.kind, outcome.body)
            reply = await self._link.run(scripts.SETTLE, *arguments)
        else:
            reply = await self._link.run(scripts.CLAIM, *head)
        status = reply[0]
        self._clock.set(reply[1])
        self.fetched = asyncio.get_running_loop().time()
        if status == b"dead":
            self._dead = True
            return
        if status == b"stale":
            await self._recover(outcomes, self._call)
            return
        if status == b"paused":
            return
        self._settled(outcomes, reply[2])
        if reply[3] == b"paused":
            return
        self._debt -= fair
        taken = self._take(reply, 4)
        self._debt = min(self._debt + taken / defaults.STARVATION_SHARE, float(self.concurrency))
        if taken >= want > 0:
            self._look = True
        if reply[3]:
            self._watch(int(float(reply[3])))

    def _settled(self, outcomes: list[Outcome], verdicts: bytes) -> None:
        for outcome, verdict in zip(outcomes, verdicts, strict=True):
            claim = outcome.claim
            self._held.pop((claim.place, claim.entry), None)
            if verdict != 0x31:
                log.warning("job %s: the claim was lost, its outcome does not count", claim.id)

    def _take(self, reply: list[Any], start: int) -> int:
        """Hands the claims of a reply to the slots; returns how many there were."""
        taken = 0
        for place, entries in zip(reply[start::2], reply[start + 1 :: 2], strict=True):
            where = place.decode()
            level = int(where[-1])
            for entry, fields in entries:
                if (where, entry) in self._held:
                    continue
                claim = Claim(where, level, entry, fields)
                self._held[where, entry] = claim
                self._ready.append(claim)
                taken += 1
        if self._ready:
            self._pass_on()
        return taken

    async def _recover(self, outcomes: list[Outcome], call: int) -> None:
        """After a call without an answer: learns what it did, repeats what it did not, adopts what it brought."""
        backoff = Backoff()
        while not self._dead:
            await asyncio.sleep(backoff.next(random.random()))
            self._call += 1
            try:
                reply = await self._link.run(
                    scripts.RECOVER, self.queue.root, self._engine.time_override, self.name, self._call
                )
            except Exception as error:
                log.warning("queue %s: still no answer: %s", self.queue.name, error)
                continue
            if reply[0] == b"dead":
                self._dead = True
                return
            if reply[0] == b"stale":
                continue
            self._clock.set(reply[1])
            if reply[3] == call:
                self._settled(outcomes, reply[2])
            else:
                self._outcomes[:0] = outcomes
            self._take(reply, 4)
            self._look = True
            return

    # -- waiting for work -----------------------------------------------------------------------------------------

    async def _answer_bell(self) -> None:
        backoff = Backoff()
        key = f"{self.queue.root}:bell"
        while True:
            # Only a worker with a free slot answers: a token that it can't use would be missed by one that can.
            await self._free.wait()
            try:
                rung = await self._bell_link.call(
                    "BZPOPMIN",
                    key,
                    str(defaults.BELL_WAIT),
                    timeout=defaults.BELL_WAIT + defaults.CALL_TIMEOUT,
                )
                if rung is not None and not (self._claiming and self._occupied() < self.concurrency):
                    await self._bell_link.run(scripts.RING, self.queue.root, self._engine.time_override)
                    continue
                backoff.reset()
            except Exception as error:
                log.warning("queue %s: the bell can't be heard: %s", self.queue.name, error)
                await asyncio.sleep(backoff.next(random.random()))
            # Rung or not: after a while of silence one look heals whatever ring was lost.
            self._look = True
            self._wake.set()

    def _watch(self, due_ms: int) -> None:
        """Wakes this worker when the next delayed job is due."""
        if self._due is not None:
            self._due.cancel()
        wait = max(0.0, (due_ms - self._clock.now_ms()) / 1000)
        self._due = asyncio.get_running_loop().call_later(min(wait, 3600.0), self._is_due)

    def _is_due(self) -> None:
        self._due = None
        self._look = True
        self._wake.set()

    # -- slots ----------------------------------------------------------------------------------------------------

    def _start_slot(self, slot: _Slot) -> None:
        slot.task = asyncio.get_running_loop().create_task(
            self._work(slot), name=f"slot {self.queue.name}", context=self._clean_context.copy()
        )

    def _pass_on(self) -> None:
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

    async def _work(self, slot: _Slot) -> None:
        loop = asyncio.get_running_loop()
        ready = self._ready
        while True:
            if not ready:
                slot.idle = loop.create_future()
                self._idle.append(slot)
                await slot.idle
                self._woken = False
                continue
            if len(self._outcomes) >= self._burst and not self._travelling:
                # Half of the jobs of a trip have ended without waiting for anything: the pump settles them while the
                # other half runs, so that Redis and this process work at the same time.
                await asyncio.sleep(0)
                continue
            claim = ready.popleft()
            if ready:
                self._pass_on()
            outcome = await self._run(slot, claim)
            if outcome is not None:
                self._outcomes.append(outcome)
                self._wake.set()
            if contextvars.copy_context() != self._clean_context:
                # The handler set context variables; the next job must not see them.
                self._start_slot(slot)
                return

    async def _run(self, slot: _Slot, claim: Claim) -> Outcome | None:
        if self._releasing:
            return self._executor.released(claim)
        job_type = self._jobs.get(claim.name)
        if job_type is None:
            log.warning("job %s: no handler for %r here, parked", claim.id, claim.name)
            return self._executor.parked(claim)
        claim.started_ms = self._clock.now_ms()
        context = JobContext(claim, self.queue, self.resources)
        slot.claim, slot.context, slot.cause = claim, context, None
        self._set_deadline(slot, job_type.timeout)
        try:
            try:
                payload = job_type.decode(claim.payload)
            except msgspec.DecodeError as error:
                return self._executor.unfit(claim, error)
            if job_type.is_async:
                value = await job_type.handler(context, payload)
            else:
                value = await self._executor.call_in_thread(
                    job_type, context, payload, lambda: slot.cause is Cause.RELEASED
                )
            outcome = self._executor.completed(claim, job_type, value)
        except asyncio.CancelledError as error:
            cause = slot.cause
            if cause is None:
                if self._ended:
                    raise
                if slot.task is not None:
                    while slot.task.cancelling():
                        slot.task.uncancel()
                outcome = self._executor.raised(claim, job_type, error)  # the handler cancelled itself
            else:
                outcome = self._executor.raised(claim, job_type, Interrupted(cause))
        except Exception as error:
            try:
                outcome = self._executor.raised(claim, job_type, error)
            except Exception as defect:  # an error whose own text fails, a delay that is no number
                outcome = self._executor.raised(claim, job_type, defect)
        finally:
            if slot.cause is not None and slot.task is not None:
                slot.task.uncancel()
            lost = context.claim_lost
            if lost:
                self._haunted -= 1
                self._look = True
                self._wake.set()
            slot.claim = slot.context = None
            slot.deadline = _NEVER
        return None if lost else outcome

    def _interrupt(self, slot: _Slot, cause: Cause) -> None:
        if slot.claim is not None and slot.task is not None and slot.cause is None:
            slot.cause = cause
            slot.task.cancel()

    # -- deadlines: one table, one timer --------------------------------------------------------------------------

    def _set_deadline(self, slot: _Slot, timeout: float) -> None:
        slot.deadline = deadline = time.monotonic() + timeout
        if deadline < self._deadline_at:
            if self._deadline_timer is not None:
                self._deadline_timer.cancel()
            self._deadline_at = deadline
            self._deadline_timer = asyncio.get_running_loop().call_later(timeout, self._check_deadlines)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        following = _NEVER
        for slot in self._slots:
            if slot.deadline <= now:
                slot.deadline = _NEVER
                self._interrupt(slot, Cause.TIMEOUT)
            elif slot.deadline < following:
                following = slot.deadline
        self._deadline_at = following
        self._deadline_timer = None
        if following < _NEVER:
            wait = max(0.001, following - now)
            self._deadline_timer = asyncio.get_running_loop().call_later(wait, self._check_deadlines)
