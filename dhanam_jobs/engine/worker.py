"""A worker: claims jobs of one queue up to its free slots, runs them, and settles what ended in the same trip.

One job's way: the pump's trip brings claims; a slot (`slots.py`) takes one, runs its handler and leaves an outcome; the
pump's next trip settles all outcomes there are and brings the next claims. Nothing else talks to Redis for a job that
tells nothing of itself. Waiting for work is the bell's part (`bell.py`), what others tell this worker the inbox's.

A worker used alone brings a heart and a sweeper; a Supervisor shares one of each among its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec
from redis.exceptions import ResponseError

from . import defaults, scripts
from .bell import Bell
from .context import Workplace
from .errors import EngineUnavailable
from .executor import Clock, Executor
from .failures import FailureHooks
from .heart import Heart, Row, heart_of
from .inbox import Inbox, Mark, Message
from .invocation import Invoker
from .job import Claim, Outcome
from .link import Backoff, Unreachable, sleep_or
from .manual_clock import LEASES_UNTIL_MS
from .meter import Meter
from .queue import Queue
from .registry import QueueConfig, check_concurrency, check_prefetch
from .resources import ResourceScope
from .slots import Slots
from .sweeper import Sweeper

log = logging.getLogger(__name__)
_SETTLE_AT_MOST = 1000
_TWIN_FROM = 32
"""Slots from which on a worker has a twin: below, smaller trips cost more than the overlap gains."""


def new_worker_name() -> str:
    """A name that no process has had: host, pid and eight random hex digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Worker:
    """Works one queue: `async with Worker(engine.queue("hello"), concurrency=5): …`.

    `concurrency` (1 to 1000; default: the queue's row) jobs run at once. `resources` is opened before the first job,
    handed to every handler as `ctx.resources`, and closed after the last (`ResourceScope` says what may be given).
    Leaving the block stops claiming, gives running jobs `drain_timeout` seconds, and releases the rest.

    `prefetch` (0 to 1000; default: the queue's row, 0) jobs more than there are free slots are claimed, and held until
    one is free; they go back to the front when the worker or the queue is paused, or the worker stops.

    `on_drain` is called when an operator tells this worker to drain; without it, the worker stops claiming. `heart` and
    `sweeper` are a Supervisor's to share; alone, a worker brings its own: it is dead when it has not beaten for
    `lease_ms`, and sweeps every `sweep_ms`. Raises ConfigurationError; entering raises EngineUnavailable where Redis
    doesn't answer, and what opening the resources raises.

    Attributes: `name` (a new one where it was declared dead and came back), `queue`, `config` (the queue's row),
    `concurrency`, `prefetch`, `paused`.

    From 32 slots on, half of them are worked by a twin, a second worker in the same process with a row, claims and
    trips of its own: while Redis answers the one, the other runs jobs.
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
        on_drain: Callable[[], None] | None = None,
        prefetch: int | None = None,
    ) -> None:
        self.queue = queue
        self.config: QueueConfig = queue.engine.registry.row_of(queue.name)
        self.concurrency = check_concurrency(self.config.concurrency if concurrency is None else concurrency)
        self.prefetch = check_prefetch(self.config.prefetch if prefetch is None else prefetch)
        self.paused = False
        self.name = new_worker_name()
        self.fetched = 0.0
        self._engine = queue.engine
        self._drain_timeout = drain_timeout
        self._own_heart = heart is None
        self._heart = heart or heart_of(self._engine, lease_ms)
        self._own_sweeper = sweeper is None
        self._sweeper = sweeper or Sweeper([queue], interval_ms=sweep_ms, lease_ms=lease_ms)
        self._clock: Clock = self._engine.clock or Clock()
        self._on_drain = on_drain
        self._resources = resources if isinstance(resources, ResourceScope) else ResourceScope(resources)
        self._place = Workplace(queue, None)
        registry = self._engine.registry
        jobs = {job.name: job for job in registry.jobs_of(queue.name)}
        self._executor = Executor(self.name, self.config.retry, self._clock)
        self._invoker = Invoker(registry.middleware)
        self._calls = {name: (job, self._invoker.call_of(job)) for name, job in jobs.items()}
        self._hooks = FailureHooks(self._place, jobs, registry.middleware)
        self.meter = Meter(queue, lambda: self.name)
        self._link = self._engine.link(queue.name)
        self._bell = Bell(queue, self._wants_work, self._heard)
        self._inbox = Inbox(queue, self._told, self._missed)
        self._call = 0
        self._brought: list[Any] = []
        self._held: dict[tuple[str, bytes], Claim] = {}
        self._outcomes: list[Outcome] = []
        self._wake = asyncio.Event()
        self._slots = Slots(
            self._place, self._executor, self._clock, self._calls, self._outcomes, self._wake, self._heard
        )
        self._look = True
        self._claiming = True
        self._closing = False
        self._dead = False
        self._debt = 0.0
        self._share = self.concurrency
        self._ahead = self.prefetch
        self._twin: Worker | None = None
        self._is_twin = False
        self._pumping: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._over = asyncio.Event()

    # -- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Registers and starts claiming. A second call does nothing. Raises EngineUnavailable where Redis doesn't
        answer, and what opening the resources raises: then nothing was started."""
        if self._pumping is not None:
            return
        loop = asyncio.get_running_loop()
        if self._own_half():
            self._share = self.concurrency // 2
            self._ahead = self.prefetch // 2
            self._twin = self._make_twin(self.concurrency - self._share)
        await self._begin(loop)
        self._slots.start(self._share)
        if self._hooks:
            self._sweeper.listen(self.queue.name, self._hooks.swept)
        if self._own_heart:
            self._heart.start()
        if self._own_sweeper:
            self._sweeper.start()
        self._bell.start()
        self._engine.wakers.add(self._heard)
        self._pumping = loop.create_task(self._pump(), name=f"pump {self.queue.name}")
        if self._twin is not None:
            try:
                await self._twin.start()
            except BaseException:
                await self.stop(0)
                raise

    async def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Opens the resources and registers; what was parked for want of this worker comes back."""
        self._place.loop = loop
        await self._announce()
        self._place.resources = await self._resources.open()
        try:
            await self._register()
            await self._hooks.note()
            if self._calls:
                await self._engine.run(scripts.UNPARK, self.queue.root, defaults.PROMOTE_BATCH, *self._calls)
        except BaseException:
            await self._inbox.stop()
            await self._resources.close()
            raise

    def _own_half(self) -> bool:
        return self._twin is None and not self._is_twin and self.concurrency >= _TWIN_FROM

    def _make_twin(self, concurrency: int) -> Worker:
        twin = Worker(
            self.queue,
            concurrency=concurrency,
            resources=self._resources,
            drain_timeout=self._drain_timeout,
            heart=self._heart,
            sweeper=self._sweeper,
            on_drain=self._on_drain,
            prefetch=self.prefetch - self._ahead,
        )
        twin._is_twin = True
        twin.paused = self.paused
        twin._claiming = self._claiming
        return twin

    def stop_claiming(self) -> None:
        """Takes no more jobs; what runs goes on."""
        self._claiming = False
        self._release_held()
        if self._twin is not None:
            self._twin.stop_claiming()

    def pause(self) -> None:
        """This worker alone takes no more jobs until `resume`; what runs goes on."""
        self.paused = True
        self._release_held()
        if self._twin is not None:
            self._twin.pause()

    def resume(self) -> None:
        """Ends a `pause`."""
        self.paused = False
        self._heard()
        if self._twin is not None:
            self._twin.resume()

    def set_concurrency(self, concurrency: int) -> None:
        """From now on so many jobs (1 to 1000) run at once; what runs beyond that ends by itself. Raises
        ConfigurationError."""
        self.concurrency = check_concurrency(concurrency)
        self._share = concurrency
        if self._twin is not None:
            theirs = concurrency // 2
            self._share = concurrency - theirs
            if theirs:
                self._twin.set_concurrency(theirs)
            if theirs and not self.paused:
                self._twin.resume()
            else:
                self._twin.pause()
        if self._pumping is not None:
            self._slots.resize(self._share)
        self._heard()

    async def stop(self, timeout: float | None = None) -> None:
        """Stops claiming, waits `timeout` seconds (default: the worker's drain_timeout) for running jobs, releases the
        rest to the front of the queue, and leaves. May be called twice."""
        if self._pumping is None:
            return
        self.stop_claiming()
        self._closing = True
        self._wake.set()
        twin = None if self._twin is None else asyncio.ensure_future(self._twin.stop(timeout))
        await sleep_or(self._over, self._drain_timeout if timeout is None else timeout)
        if not self._empty.is_set():
            self._release_running()
            if not await sleep_or(self._empty, defaults.CALL_TIMEOUT):
                log.warning("queue %s: %d jobs could not be released", self.queue.name, len(self._held))
        if twin is not None:
            await twin  # it beats with this worker's heart
        await self._end()

    async def _end(self) -> None:
        self._slots.ended = True
        tasks = [task for task in (self._pumping, *self._slots.tasks) if task is not None]
        for task in tasks:
            task.cancel()
        _, stubborn = await asyncio.wait(tasks, timeout=defaults.CALL_TIMEOUT)
        if stubborn:
            log.warning("queue %s: %d handlers go on after a cancellation", self.queue.name, len(stubborn))
        self._pumping = None
        await self._leave()

    async def _leave(self) -> None:
        self._engine.wakers.discard(self._heard)
        self._slots.close()
        await self._bell.stop()
        await self._inbox.stop()
        self._sweeper.forget(self.queue.name, self._hooks.swept)
        await self._hooks.close(defaults.CALL_TIMEOUT)
        await self.meter.close()
        self._heart.remove(self.queue.root, self.name)
        if self._own_sweeper:
            await self._sweeper.stop()
        if self._own_heart:
            await asyncio.get_running_loop().run_in_executor(None, self._heart.stop)
        try:
            await self._engine.run(scripts.LEAVE, self.queue.root, self.name)
        except (EngineUnavailable, ResponseError) as error:
            log.warning("queue %s: worker %s could not leave: %s", self.queue.name, self.name, error)
        await self._invoker.close()
        await self._link.close()
        await self._resources.close()

    def hurry(self) -> None:
        """Ends a `stop` that is waiting for running jobs: they are released now."""
        self._release_running()
        self._over.set()
        if self._twin is not None:
            self._twin.hurry()

    def _release_held(self) -> None:
        # What was claimed beyond the free slots and has not begun; without prefetch, all that is claimed begins.
        if self._ahead:
            self._hand_out()
            self._slots.release_ready()
        self._wake.set()

    def _release_running(self) -> None:
        self._slots.release()

    def _in_claim_order(self) -> None:
        # Handlers end in any order, and what is released keeps the order of the queue.
        order = {id(claim): position for position, claim in enumerate(self._held.values())}
        self._outcomes.sort(key=lambda outcome: order.get(id(outcome.claim), -1))

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return self._slots.running + (0 if self._twin is None else self._twin.running)

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
        where = {"host": socket.gethostname(), "pid": os.getpid()}
        about = msgspec.json.encode({**where, "concurrency": self._share, "prefetch": self._ahead})
        backoff = Backoff()
        while True:
            self.name = new_worker_name()
            try:
                taken = await self._engine.run(scripts.REGISTER, self.queue.root, self.name, about)
                if self._engine.clock is not None:
                    row = (self.queue.root, LEASES_UNTIL_MS, self.name, b"{}")
                    await self._engine.servers.run(scripts.BEAT, *row)
            except Exception as error:
                if self._pumping is None:
                    raise
                log.warning("queue %s: can't register: %s", self.queue.name, error)
                await asyncio.sleep(backoff.next(random.random()))
                continue
            if taken:
                break
        self._executor.worker_name = self._place.worker_name = self.name
        self._inbox.start(self.name)
        self._call = 0
        self._dead = False
        self._heart.add(Row(self.queue.root, self.name, self._doing, self._declared_dead))

    def _doing(self) -> dict[str, Any]:
        # Read by the heart's thread, while the loop goes on.
        doing = {**self._slots.doing(), "concurrency": self._share, "paused": self.paused}
        return {**doing, "held": self._slots.held()} if self._ahead else doing

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
        self._brought = []
        self._held.clear()
        self._slots.lose()
        await self._register()
        with contextlib.suppress(EngineUnavailable):
            await self._announce()  # the registry may be gone with the rest
            await self._hooks.note()
        self._look = True

    # -- pump -----------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        backoff = Backoff()
        while True:
            if self._dead:
                await self._come_back()
            if self._slots.releasing:
                self._in_claim_order()
            outcomes = self._outcomes[:_SETTLE_AT_MOST]
            if not outcomes:
                self._hand_out()
            claims = self._claiming and not self.paused
            free = self._share - self._occupied() if claims else -self._ahead
            # Who has no slot free asks for more only on a trip that is made anyway: others may have one.
            want = free + self._ahead if outcomes or (self._look and free > 0) else 0
            if free > 0 and want == 0:
                self._bell.free.set()
            else:
                self._bell.free.clear()
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
        brought = sum(map(len, self._brought[1::2])) if self._brought else 0
        return len(self._held) + brought - len(self._outcomes) + self._slots.haunted

    async def _trip(self, outcomes: list[Outcome], want: int) -> None:
        fair = int(self._debt)
        head = (self.queue.root, self._engine.time_override, self.name, self._call, max(0, want), fair)
        retention = self.config.retention
        if outcomes:
            arguments: list[bytes | str | int] = [
                *head,
                "" if retention.completed is None else retention.completed,
                "" if retention.failed is None else retention.failed,
                "" if retention.cancelled is None else retention.cancelled,
            ]
            for outcome in outcomes:
                claim = outcome.claim
                arguments += (claim.place, claim.entry, claim.id, outcome.kind, outcome.body)
            script = scripts.SETTLE
        else:
            arguments = [*head, "" if retention.failed is None else retention.failed]
            script = scripts.CLAIM
        try:
            reply = await self._link.run(script, *arguments, meanwhile=self._hand_out)
        finally:
            self._hand_out()  # where the call was never sent
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
            self._release_held()
            return
        self._settled(outcomes, reply[2])
        if reply[3] == b"paused":
            self._release_held()
            return
        self._debt -= fair
        if len(reply) > 5 and reply[-2] == b"late":
            self.meter.expired(name.decode() for name in reply[-1][1::2] if name.decode() in self._calls)
            del reply[-2:]
        self._brought = reply[4:]
        taken = sum(map(len, self._brought[1::2]))
        self._debt = min(self._debt + taken / defaults.STARVATION_SHARE, float(self._share))
        if taken >= want > 0:
            self._look = True
        self._watch(int(float(reply[3])) if reply[3] else None)

    def _watch(self, due_ms: int | None) -> None:
        """Sees to it that this worker looks again when a job is due, or a limit ends."""
        if due_ms is not None:
            self._bell.watch((due_ms - self._clock.now_ms()) / 1000)

    def _settled(self, outcomes: list[Outcome], verdicts: bytes) -> None:
        for outcome, verdict in zip(outcomes, verdicts, strict=True):
            claim = outcome.claim
            self._held.pop((claim.place, claim.entry), None)
            if verdict != 0x31:
                log.warning("job %s: the claim was lost, its outcome does not count", claim.id)
            elif self._hooks and outcome.kind.startswith(("failed", "-failed")):
                self._hooks.tell(claim, outcome.body)
        self.meter.count(outcomes, verdicts)

    def _hand_out(self) -> None:
        """Hands what the last trip brought to the slots. Where there is something to settle, that happens once the next
        trip is on its way, so that Redis doesn't wait while the claims are read."""
        brought, self._brought = self._brought, []
        if brought:
            self._take(brought)

    def _take(self, brought: list[Any]) -> None:
        """Hands claims to the slots: place, entries, place, …"""
        ready, early = self._slots.ready, self._slots.early
        for place, entries in zip(brought[::2], brought[1::2], strict=True):
            where = place.decode()
            level = int(where[-1])
            for entry, fields in entries:
                if (where, entry) in self._held:
                    continue
                claim = Claim(where, level, entry, fields)
                self._held[where, entry] = claim
                if early and (reason := early.pop((where, entry.decode()), None)) is not None:
                    self._outcomes.append(self._executor.cancelled(claim, reason[0]))
                else:
                    ready.append(claim)
        if self._ahead and not (self._claiming and not self.paused):
            self._slots.release_ready()
        if ready:
            self._slots.pass_on()

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
            self._take(reply[4:])
            self._look = True
            return

    # -- being told -----------------------------------------------------------------------------------------------

    def _wants_work(self) -> bool:
        return self._claiming and not self.paused and self._occupied() < self._share

    def _heard(self) -> None:
        self._look = True
        self._wake.set()

    def _told(self, message: Message) -> None:
        if message.cancel is not None:
            self._slots.cancel(message.place, message.entry, message.reason)
        if message.pause is not None:
            (self.pause if message.pause else self.resume)()
        if message.concurrency is not None:
            self.set_concurrency(message.concurrency)
        if message.release:
            self._release_held()
        if message.deliver:
            self.queue.courier.wake()
        if message.drain:
            (self._on_drain or self.stop_claiming)()

    def _missed(self, marks: dict[str, Mark]) -> None:
        self._slots.cancel_by_id({job_id: mark.reason for job_id, mark in marks.items()})
