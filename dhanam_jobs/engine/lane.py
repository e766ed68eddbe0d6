"""A lane of a worker: a row in Redis with claims of its own, the slots that run them, and the trips that carry both.

One job's way: the pump's trip brings claims; a slot (`slots.py`) takes one, runs its handler and leaves an outcome; the
pump's next trip settles all outcomes there are and brings the next claims. Nothing else talks to Redis for a job that
tells nothing of itself. Waiting for work is the bell's part (`bell.py`), what others tell this lane the inbox's; how
many lanes there are, and when they begin and end, is the worker's to say (`worker.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from . import defaults, scripts
from .bell import Bell
from .context import Workplace
from .errors import EngineUnavailable
from .executor import Clock, Executor
from .failures import FailureHooks
from .heart import Heart, Row
from .inbox import Inbox, Mark, Message
from .job import Claim, Outcome
from .link import Backoff, Unreachable, sleep_or
from .manual_clock import LEASES_UNTIL_MS
from .meter import Meter
from .middleware import Run
from .queue import Queue
from .registry import JobType
from .slots import Slots

log = logging.getLogger(__name__)
_SETTLE_AT_MOST = 1000


def new_worker_name() -> str:
    """A name that no process has had: host, pid and eight random hex digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def announce(queue: Queue) -> None:
    """Notes the queue in the registry. Raises EngineUnavailable."""
    try:
        await queue.engine.announce_queue(queue.name)
    except Unreachable as error:
        raise EngineUnavailable(f"Redis did not answer: {error}") from error
    except ResponseError as error:
        # A full Redis refuses it, and is emptied by workers that start all the same.
        log.warning("queue %s could not be noted in the registry: %s", queue.name, error)


class Lane:
    """Runs `size` jobs at once and claims `ahead` more than it has slots free.

    `calls` says what runs a job of which name; `told` gets what the inbox brings. `name` is a new one where the lane
    was declared dead and came back; `fetched` is the event loop's time of the last answer.
    """

    def __init__(
        self,
        queue: Queue,
        size: int,
        ahead: int,
        *,
        calls: Mapping[str, tuple[JobType, Run]],
        heart: Heart,
        hooks: FailureHooks,
        place: Workplace,
        told: Callable[[Message], None],
    ) -> None:
        self.size = size
        self.ahead = ahead
        self.name = new_worker_name()
        self.fetched = 0.0
        self.paused = False
        self.claiming = True
        self.place = place
        self._queue = queue
        self._engine = queue.engine
        self._config = self._engine.registry.row_of(queue.name)
        self._calls = calls
        self._heart = heart
        self._hooks = hooks
        self._clock: Clock = self._engine.clock or Clock()
        self._executor = Executor(self.name, self._config.retry, self._clock)
        self.meter = Meter(queue, lambda: self.name)
        self._link = self._engine.link(queue.name)
        self._bell = Bell(queue, self._wants_work, self.hear)
        self._inbox = Inbox(queue, told, self._missed)
        self._call = 0
        self._brought: list[Any] = []
        self._held: dict[tuple[str, bytes], Claim] = {}
        self._outcomes: list[Outcome] = []
        self._wake = asyncio.Event()
        self._slots = Slots(place, self._executor, self._clock, calls, self._outcomes, self._wake, self.hear)
        self._look = True
        self._closing = False
        self._dead = False
        self._debt = 0.0
        self._pumping: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._over = asyncio.Event()

    # -- life -----------------------------------------------------------------------------------------------------

    async def register(self) -> None:
        """Makes a row under a new name, and reads its inbox. Raises EngineUnavailable before the lane has started;
        later it tries again for ever."""
        where = {"host": socket.gethostname(), "pid": os.getpid()}
        about = msgspec.json.encode({**where, "concurrency": self.size, "prefetch": self.ahead})
        backoff = Backoff()
        while True:
            self.name = new_worker_name()
            try:
                taken = await self._engine.run(scripts.REGISTER, self._queue.root, self.name, about)
                if self._engine.clock is not None:
                    row = (self._queue.root, LEASES_UNTIL_MS, self.name, b"{}")
                    await self._engine.servers.run(scripts.BEAT, *row)
            except Exception as error:
                if self._pumping is None:
                    raise
                log.warning("queue %s: can't register: %s", self._queue.name, error)
                await asyncio.sleep(backoff.next(random.random()))
                continue
            if taken:
                break
        self._executor.worker_name = self.place.worker_name = self.name
        self._inbox.start(self.name)
        self._call = 0
        self._dead = False
        self._heart.add(Row(self._queue.root, self.name, self.doing, self._declared_dead))

    def start(self) -> None:
        """Claims from now on. It is registered."""
        self._slots.start(self.size)
        self._bell.start()
        self._engine.wakers.add(self.hear)
        self._pumping = asyncio.get_running_loop().create_task(self._pump(), name=f"pump {self._queue.name}")

    def stop_claiming(self) -> None:
        """Takes no more jobs; what runs goes on."""
        self.claiming = False
        self.release_held()

    def pause(self) -> None:
        """Takes no more jobs until `resume`; what runs goes on."""
        self.paused = True
        self.release_held()

    def resume(self) -> None:
        """Ends a `pause`."""
        self.paused = False
        self.hear()

    def set_concurrency(self, size: int) -> None:
        """From now on so many jobs (0 to 1000) run at once; what runs beyond that ends by itself."""
        self.size = size
        if self._pumping is not None:
            self._slots.resize(size)
        self.hear()

    async def drain(self, timeout: float) -> None:
        """Stops claiming, waits `timeout` seconds for running jobs, and releases the rest to the front of the queue."""
        self.stop_claiming()
        self._closing = True
        self._wake.set()
        await sleep_or(self._over, timeout)
        if not self._empty.is_set():
            self._slots.release()
            if not await sleep_or(self._empty, defaults.CALL_TIMEOUT):
                log.warning("queue %s: %d jobs could not be released", self._queue.name, len(self._held))

    def hurry(self) -> None:
        """Ends a `drain` that is waiting for running jobs: they are released now."""
        self._slots.release()
        self._over.set()

    async def end(self) -> None:
        """Ends what a `drain` has left: pump, slots, bell and inbox."""
        self._slots.ended = True
        tasks = [task for task in (self._pumping, *self._slots.tasks) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=defaults.CALL_TIMEOUT)
            if stubborn:
                log.warning("queue %s: %d handlers go on after a cancellation", self._queue.name, len(stubborn))
        self._pumping = None
        self._engine.wakers.discard(self.hear)
        self._slots.close()
        await self._bell.stop()
        await self._inbox.stop()

    async def leave(self) -> None:
        """Stores what was counted and takes the row away; the last thing that a lane does."""
        await self.meter.close()
        self._heart.remove(self._queue.root, self.name)
        try:
            await self._engine.run(scripts.LEAVE, self._queue.root, self.name)
        except (EngineUnavailable, ResponseError) as error:
            log.warning("queue %s: worker %s could not leave: %s", self._queue.name, self.name, error)
        await self._link.close()

    def release_held(self) -> None:
        """Lets go what was claimed beyond the free slots and has not begun: nothing without `ahead`."""
        if self.ahead:
            self._hand_out()
            self._slots.release_ready()
        self._wake.set()

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return self._slots.running

    # -- lease ----------------------------------------------------------------------------------------------------

    def doing(self) -> dict[str, Any]:
        """What its row says of it. Asked by the heart's thread, while the loop goes on."""
        doing = {**self._slots.doing(), "concurrency": self.size, "paused": self.paused}
        return {**doing, "held": self._slots.held()} if self.ahead else doing

    def _declared_dead(self, name: str) -> None:
        if name == self.name:
            self._dead = True
            self._wake.set()

    async def _come_back(self) -> None:
        """Every claim of the old name is lost: tells the handlers, and registers anew."""
        lost = len(self._held)
        log.error("queue %s: worker %s was declared dead, %d claims are lost", self._queue.name, self.name, lost)
        self._heart.remove(self._queue.root, self.name)
        self._outcomes.clear()
        self._brought = []
        self._held.clear()
        self._slots.lose()
        await self.register()
        with contextlib.suppress(EngineUnavailable):
            await announce(self._queue)  # the registry may be gone with the rest
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
            free = self.size - self._occupied() if self._claims else -self.ahead
            # Who has no slot free asks for more only on a trip that is made anyway: others may have one.
            want = free + self.ahead if outcomes or (self._look and free > 0) else 0
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
                log.warning("queue %s: a trip got no answer: %s", self._queue.name, error)
                await self._recover(outcomes, self._call)
            except ResponseError as error:
                # The script refused before it wrote anything.
                log.error("queue %s: a trip was refused: %s", self._queue.name, error)
                self._outcomes[:0] = outcomes
                self._look = True
                await asyncio.sleep(backoff.next(random.random()))
            except Exception:
                # Nothing may stop the pump: a worker that silently takes no jobs is the worst kind.
                log.exception("queue %s: a trip failed here", self._queue.name)
                await self._recover([o for o in outcomes if (o.claim.place, o.claim.entry) in self._held], -1)

    def _in_claim_order(self) -> None:
        # Handlers end in any order, and what is released keeps the order of the queue.
        order = {id(claim): position for position, claim in enumerate(self._held.values())}
        self._outcomes.sort(key=lambda outcome: order.get(id(outcome.claim), -1))

    def _occupied(self) -> int:
        # A claim whose outcome waits to be settled no longer holds its slot; a handler that goes on after its claim was
        # lost still does.
        brought = sum(map(len, self._brought[1::2])) if self._brought else 0
        return len(self._held) + brought - len(self._outcomes) + self._slots.haunted

    async def _trip(self, outcomes: list[Outcome], want: int) -> None:
        fair = int(self._debt)
        head = (self._queue.root, self._engine.time_override, self.name, self._call, max(0, want), fair)
        retention = self._config.retention
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
            self.release_held()
            return
        self._settled(outcomes, reply[2])
        if reply[3] == b"paused":
            self.release_held()
            return
        self._debt -= fair
        if len(reply) > 5 and reply[-2] == b"late":
            self.meter.expired(name.decode() for name in reply[-1][1::2] if name.decode() in self._calls)
            del reply[-2:]
        self._brought = reply[4:]
        taken = sum(map(len, self._brought[1::2]))
        self._debt = min(self._debt + taken / defaults.STARVATION_SHARE, float(self.size))
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
        if self.ahead and not self._claims:
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
                    scripts.RECOVER, self._queue.root, self._engine.time_override, self.name, self._call
                )
            except Exception as error:
                log.warning("queue %s: still no answer: %s", self._queue.name, error)
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

    def hear(self) -> None:
        """There may be work."""
        self._look = True
        self._wake.set()

    def cancel(self, message: Message) -> None:
        """Somebody cancelled what runs under this claim."""
        self._slots.cancel(message.place, message.entry, message.reason)

    def _missed(self, marks: dict[str, Mark]) -> None:
        self._slots.cancel_by_id({job_id: mark.reason for job_id, mark in marks.items()})

    @property
    def _claims(self) -> bool:
        return self.claiming and not self.paused and self.size > 0

    def _wants_work(self) -> bool:
        return self._claims and self._occupied() < self.size
