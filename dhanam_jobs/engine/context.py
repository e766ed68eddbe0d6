"""What a handler is given besides its payload: the job, what it may tell of itself, and whether it should end.

Carrying notes to Redis is the part of `notes.py`; who interrupts a handler, and why, is the worker's.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from . import defaults, scripts
from .children import Child, ChildEnd, circle, plan, read_counts, read_family
from .errors import CircularWait, ClaimLost, WaitForChildren
from .job import Claim
from .notes import Notes

if TYPE_CHECKING:
    from .queue import Queue
    from .results import Job


class Cause(enum.Enum):
    """Why the worker interrupted a running handler."""

    TIMEOUT = "timeout"
    RELEASED = "released"
    LOST = "lost"
    CANCELLED = "cancelled"


class JobView(msgspec.Struct, frozen=True):
    """The running job as its handler sees it. `priority` is 0 (most urgent) to 9; `created_ms` is Redis's time; `meta`
    what was given with it, or None."""

    id: str
    name: str
    queue: str
    priority: int
    created_ms: int
    meta: dict[str, Any] | None


class Workplace:
    """What all jobs of a worker share: its queue and name, the resources that it opened, and its event loop."""

    __slots__ = ("loop", "queue", "resources", "worker_name")

    def __init__(self, queue: Queue, resources: Any) -> None:
        self.queue = queue
        self.resources = resources
        self.worker_name = ""
        self.loop: asyncio.AbstractEventLoop | None = None


class JobContext:
    """The first argument of a handler.

    `attempt` counts executions from 1; `resources` is what the worker opened; `claim_lost` turns True when the worker
    was declared dead, and with it the right to finish this job. A handler that is interrupted (time limit,
    cancellation, a worker that stops) gets `asyncio.CancelledError` at its next await; a plain `def` in a thread gets
    nothing, and may look at `interrupted` and `cancelled`.

    Attributes: `claim_lost`; `reason`, what was said by who cancelled the job, else ''.
    """

    __slots__ = ("_claim", "_place", "_view", "cause", "claim_lost", "notes", "reason", "setbacks")

    def __init__(self, claim: Claim, place: Workplace) -> None:
        self._claim = claim
        self._place = place
        self._view: JobView | None = None
        self.notes: Notes | None = None
        self.cause: Cause | None = None
        self.reason = ""
        self.claim_lost = False
        self.setbacks = 0

    @property
    def job(self) -> JobView:
        """The job: id, name, queue, priority, when it was created, metadata."""
        if self._view is None:
            claim, queue = self._claim, self._place.queue.name
            self._view = JobView(claim.id, claim.name, queue, claim.priority, claim.created_ms, claim.meta)
        return self._view

    @property
    def attempt(self) -> int:
        """Which execution this is, from 1."""
        return self._claim.attempt

    @property
    def resources(self) -> Any:
        """What the worker was given as `resources`, opened; None where it was given nothing."""
        return self._place.resources

    @property
    def interrupted(self) -> bool:
        """True once the worker wants the handler to end, for whatever reason."""
        return self.cause is not None

    @property
    def cancelled(self) -> bool:
        """True once somebody cancelled the job; `reason` is what they said."""
        return self.cause is Cause.CANCELLED

    def log(self, line: str) -> None:
        """Keeps a line with the job, of which the last 1,000 stay, each at most 4,096 characters. Returns at once, from
        the loop or a thread; what was logged is stored before the job ends, but for an outage of Redis."""
        self._own_notes().log(line)

    async def progress(self, value: Any) -> None:
        """Keeps how far the job is, a number or anything that JSON can hold up to 10,000 bytes, and tells it to whoever
        reads the events. Where calls come faster than Redis takes them, only the newest is kept. Raises
        ConfigurationError for a value that can't be encoded; an outage of Redis is logged and doesn't fail the job."""
        await self._own_notes().progress(value)

    def progress_sync(self, value: Any) -> None:
        """`progress` for a plain `def` in a thread: waits until it is stored. Raises as `progress`."""
        asyncio.run_coroutine_threadsafe(self.progress(value), self._loop()).result()

    async def enqueue(self, job: Any, payload: Any = None, *, queue: str | None = None, **options: Any) -> Job:
        """Stores another job, on this job's queue unless `queue` or a typed payload says otherwise; also while the
        process drains. Options and errors as `Queue.enqueue`."""
        own = self._place.queue
        engine = own.engine
        if queue is None and not isinstance(job, str):
            queue = engine.registry.taking(type(job)).queue
        target = own if queue is None else engine.queue(queue)
        return await target.enqueue_while_draining(job, payload, **options)

    def enqueue_sync(self, job: Any, payload: Any = None, *, queue: str | None = None, **options: Any) -> str:
        """`enqueue` for a plain `def` in a thread: waits until the job is stored and returns its id. Raises as
        `enqueue`."""
        stored = asyncio.run_coroutine_threadsafe(self.enqueue(job, payload, queue=queue, **options), self._loop())
        return stored.result().id

    async def enqueue_parent(
        self, job: Any, payload: Any = None, *, children: Sequence[Child], queue: str | None = None, **options: Any
    ) -> Job:
        """Stores another job that waits for its children first, as `Queue.enqueue_parent`; queue as `enqueue`, also
        while the process drains. Raises as `enqueue`, and CircularWait."""
        own = self._place.queue
        if queue is None and not isinstance(job, str):
            queue = own.engine.registry.taking(type(job)).queue
        target = own if queue is None else own.engine.queue(queue)
        return await target.enqueue_parent_while_draining(job, payload, children=children, **options)

    def enqueue_parent_sync(
        self, job: Any, payload: Any = None, *, children: Sequence[Child], queue: str | None = None, **options: Any
    ) -> str:
        """`enqueue_parent` for a plain `def` in a thread: waits until it is stored and returns its id."""
        stored = self.enqueue_parent(job, payload, children=children, queue=queue, **options)
        return asyncio.run_coroutine_threadsafe(stored, self._loop()).result().id

    async def add_children(self, children: Iterable[Child]) -> int:
        """Gives this job children, and returns how many are new: a key that it has already changes nothing, so a
        handler that is run again may add them again. They are stored in their queues also where this process dies.
        Raises as enqueue does, ClaimLost, and CircularWait where a child waits for this job, or for one that does."""
        claim, queue = self._claim, self._place.queue
        flat = plan(queue.engine.registry, queue.name, claim.id, children, claim.line)
        new = 0
        for first in range(0, len(flat), 3 * defaults.BULK):
            step = flat[first : first + 3 * defaults.BULK]
            where = (self._place.worker_name, claim.place, claim.entry, claim.id)
            added: int | bytes = await queue.engine.run(scripts.ADD_CHILDREN, queue.root, *where, *step)
            if isinstance(added, bytes):
                raise CircularWait(f"job {claim.id}: {circle(added.decode().split(chr(10)))}")
            if added < 0:
                raise ClaimLost(f"the claim on job {claim.id} was lost, its children were not added")
            new += added
        if new:
            queue.courier.wake()
        return new

    async def wait_children(self) -> list[ChildEnd]:
        """How this job's children ended, in the order in which they were added, once all have; an empty list where it
        has none. Until then it ends this run of the handler (by raising WaitForChildren: let it through), and the
        handler is run again from its beginning; that costs no attempt, and no slot meanwhile.

        Where a child has failed whose policy is "continue", returns at once how those ended that have; to wait for the
        others then, raise WaitForChildren."""
        queue = self._place.queue
        counts = await read_counts(queue, self._claim.id)
        self.setbacks = counts.setbacks
        if counts.failed or (counts.ended < counts.children and not counts.setbacks):
            raise WaitForChildren
        return (await read_family(queue, self._claim.id)).ended

    def add_children_sync(self, children: Iterable[Child]) -> int:
        """`add_children` for a plain `def` in a thread. Raises as `add_children`."""
        return asyncio.run_coroutine_threadsafe(self.add_children(children), self._loop()).result()

    def wait_children_sync(self) -> list[ChildEnd]:
        """`wait_children` for a plain `def` in a thread. Raises as `wait_children`."""
        return asyncio.run_coroutine_threadsafe(self.wait_children(), self._loop()).result()

    def check_claim(self) -> None:
        """Raises ClaimLost where another worker has this job by now."""
        if self.claim_lost:
            raise ClaimLost(f"the claim on job {self._claim.id} was lost")

    async def flush(self) -> None:
        """Returns when what was logged so far is stored, or could not be."""
        if self.notes is not None:
            await self.notes.flush()

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._place.loop
        assert loop is not None, "the worker was not started"
        return loop

    def _own_notes(self) -> Notes:
        if self.notes is None:
            self.notes = Notes(self._claim, self._place)
        return self.notes
