"""A queue as producers and operators see it: enqueue, look up, stats, pause and resume.

Working its jobs is the worker's part. Enqueues of one loop turn travel together: while one call is on its way, what
comes in is collected for the next, which keeps their order and costs a fraction of a trip each.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import msgspec
import redis.exceptions

from . import checks, defaults, keys, scripts
from .cancellation import RemoteWorker, Verdict, cancel_jobs
from .children import Child, Family, ParentOf, has_children, parent_request, read_family, read_parents
from .courier import Courier
from .errors import QueueFull
from .family_tree import Tree, mark_tree
from .found import job_info
from .job import JobInfo
from .limits import Limits
from .link import Backoff
from .notes import JobNotes, read_notes
from .operations import Operations
from .options import EnqueueOptions
from .passage import Passage, passes
from .registry import check_max_length
from .request import (
    Batch,
    Encoder,
    JobRequest,
    Request,
    batches_of,
    explained,
    fills,
    pack,
    partly,
    parts_of,
    unpack,
)
from .results import Job

if TYPE_CHECKING:
    from .engine import Engine


class QueueStats(msgspec.Struct):
    """The five counts that people look at first. `completed` and `failed` are lifetime counts of endings; `waiting`
    counts everything runnable, of all levels."""

    name: str
    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int


class QueueCounts(msgspec.Struct):
    """All counts of one moment, of jobs unless it says otherwise.

    `waiting` (runnable, of all levels), `active`, `delayed`, `blocked` and `parked` are in that state now. `completed`,
    `failed` and `cancelled` are lifetime counts of endings, `added` of jobs that were stored; `retained_*` are the
    records kept. `paused_ms` is when the queue was paused, or None; `workers` are alive; `levels` maps each level in
    use to its waiting jobs, `active_levels` to its active ones; `dead` counts dead letters.
    """

    name: str
    waiting: int
    active: int
    delayed: int
    blocked: int
    parked: int
    completed: int
    failed: int
    cancelled: int
    retained_completed: int
    retained_failed: int
    retained_cancelled: int
    added: int
    paused_ms: int | None
    workers: int
    levels: dict[int, int]
    active_levels: dict[int, int] = {}
    dead: int = 0


class Backlog(msgspec.Struct, frozen=True):
    """`oldest`: seconds since the oldest waiting job could run (since its creation, where it has a limit key), 0 where
    nothing waits. `stalled`: claims that lost their worker, over the queue's lifetime."""

    oldest: float
    stalled: int


class Queue:
    """One queue. Made by `Engine.queue(name)`, which hands out the same object for the same name.

    Attributes: `name`, `engine`, `root` (what its keys begin with), `operations` (see `Operations`), `limits` (see
    `Limits`).
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = keys.check_queue_name(name)
        self.engine = engine
        self.root = keys.root(engine.prefix, name)
        self._link = engine.link("enqueue")
        self._encoder = Encoder(engine.registry, name)
        self._collected: deque[Batch] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._announced = False
        self.courier = Courier(self)
        self.operations = Operations(self)
        self.limits = Limits(self)

    async def enqueue(
        self, job: str | Any, payload: Any = None, *, room_timeout: float = 0, **options: Unpack[EnqueueOptions]
    ) -> Job:
        """Stores one job and returns it.

        `job` is a job's name, with its `payload`, or a typed payload alone (its type names the job). The payload is
        anything that msgspec encodes to JSON; it is checked against the job's type where this process knows the job.
        Options: `id`, `priority`, `delay`, `run_at`, `expires`, `unique`, `if_exists`, `retry`, `timeout`, `retention`,
        `meta`, `key`, `owner`, as `EnqueueOptions` describes them; what is not given is what the job's name asks for,
        and then its queue. `job.created` is False where the job existed already, by its id or by its unique key.

        `room_timeout`: seconds to wait for room in a queue whose length is limited; by default not at all.

        Raises InvalidPayload, UnknownJobName, ConfigurationError (an illegal option), Draining, QueueFull, and
        EngineUnavailable when Redis does not answer: then the job may or may not have been stored.
        """
        if passes(self.engine.registry.middleware):
            return (await self._carry([JobRequest(job, payload, **options)], room_timeout, draining=False))[0]
        request = self._encoder.encode(job, payload, options)
        self.engine.check_accepting()
        return await self._store_one(request, room_timeout)

    async def enqueue_many(
        self,
        jobs: Iterable[Any | tuple[str, Any] | JobRequest],
        *,
        room_timeout: float = 0,
        **options: Unpack[EnqueueOptions],
    ) -> list[Job]:
        """Stores jobs in order and returns them in order: typed payloads, pairs of name and payload, or JobRequests
        with options of their own; `options` are for all that don't say otherwise.

        Chunks of 500, or of 8 MB, are stored whole or not at all. Raises as `enqueue`; nothing is stored when a payload
        or an option is refused, and where Redis fails or the queue is full in between, the error says which of the jobs
        it speaks of.
        """
        if passes(self.engine.registry.middleware):
            requests_given = [JobRequest(job, payload, **own) for job, payload, own in parts_of(jobs, options)]
            return await self._carry(requests_given, room_timeout, draining=False)
        requests = self._encoder.encode_many(jobs, options)
        self.engine.check_accepting()
        return await self._store_many(requests, room_timeout)

    async def enqueue_while_draining(
        self, job: str | Any, payload: Any = None, *, room_timeout: float = 0, **options: Unpack[EnqueueOptions]
    ) -> Job:
        """`enqueue` for running jobs: what they enqueue is accepted to the end, so it never raises Draining."""
        if passes(self.engine.registry.middleware):
            return (await self._carry([JobRequest(job, payload, **options)], room_timeout, draining=True))[0]
        return await self._store_one(self._encoder.encode(job, payload, options), room_timeout)

    async def enqueue_parent(
        self, job: str | Any, payload: Any = None, *, children: Sequence[Child], **options: Unpack[EnqueueOptions]
    ) -> Job:
        """Stores a job that is blocked until its children have ended, and its children, in whatever queues: it is run
        with their results (`ctx.wait_children`), the callback of a batch. All or none is stored; what the children's
        queues have not been told when this process dies, others tell them.

        Options as `enqueue`, but no unique key, delay or expiry; without an `id` it gets one. A job of that id that
        exists is returned as it is. Middleware around enqueue is passed by. Raises as `enqueue`.
        """
        request = parent_request(self.engine.registry, self.name, job, payload, children, options)
        self.engine.check_accepting()
        return await self._store_parent(request)

    async def enqueue_parent_while_draining(
        self, job: str | Any, payload: Any = None, *, children: Sequence[Child], **options: Unpack[EnqueueOptions]
    ) -> Job:
        """`enqueue_parent` for running jobs: what they enqueue is accepted to the end. Raises as it, not Draining."""
        return await self._store_parent(
            parent_request(self.engine.registry, self.name, job, payload, children, options)
        )

    async def _store_parent(self, request: Request) -> Job:
        stored = await self._store_one(request, 0)
        self.courier.wake()
        return stored

    async def family(self, job_id: str) -> Family:
        """The children of a job, and how those ended that have; empty where it has none, or has ended. Raises
        EngineUnavailable."""
        return await read_family(self, job_id)

    async def parents(self, job_id: str) -> list[ParentOf]:
        """The jobs that wait for this one; empty where there are none, or it has ended. Raises EngineUnavailable."""
        return await read_parents(self, job_id)

    async def store(self, requests: Sequence[Request], *, room_timeout: float = 0) -> list[Job]:
        """Stores requests that were encoded before, as an outbox keeps them; order, chunks and errors as
        `enqueue_many`."""
        self.engine.check_accepting()
        stored = await self._store_many(requests, room_timeout)
        if any(has_children(request) for request in requests):
            self.courier.wake()
        return stored

    async def _carry(self, jobs: Sequence[JobRequest], room_timeout: float, *, draining: bool) -> list[Job]:
        async def store(passed: Sequence[JobRequest]) -> list[Job]:
            requests = self._encoder.encode_many(passed, {})
            if not draining:
                self.engine.check_accepting()
            return await self._store_many(requests, room_timeout)

        return await Passage(self.engine.registry.middleware, store).carry(jobs)

    def _request(self, job: str | Any, payload: Any = None, **options: Unpack[EnqueueOptions]) -> Request:
        return self._encoder.encode(job, payload, options)

    async def _store_one(self, request: Request, room_timeout: float) -> Job:
        batch = Batch((request,), len(request.payload) + len(request.extra))
        if room_timeout != 0 and checks.wait("room_timeout", room_timeout):
            await self._with_room([batch], room_timeout)
        else:
            self._collect((batch,))
        assert batch.future is not None
        ((job_id, created),) = await batch.future
        return Job(self, job_id, request.name, created)

    async def _store_many(self, requests: Sequence[Request], room_timeout: float) -> list[Job]:
        batches = list(batches_of(requests))
        if room_timeout != 0 and checks.wait("room_timeout", room_timeout):
            await self._with_room(batches, room_timeout)
        else:
            self._collect(batches)
        outcomes = await asyncio.gather(*(b.future for b in batches if b.future), return_exceptions=True)
        if error := partly(batches, outcomes):
            raise error
        stored: list[Job] = []
        for batch, outcome in zip(batches, outcomes, strict=True):
            assert not isinstance(outcome, BaseException)
            for request, (job_id, created) in zip(batch.requests, outcome, strict=True):
                stored.append(Job(self, job_id, request.name, created))
        return stored

    async def _with_room(self, batches: Sequence[Batch], timeout: float) -> None:
        """Sends what found no room again, until all is stored, another error came, or the time is over. Room is asked
        for, not told of: a full queue that emptied fast would pay for the telling with every job."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        backoff = Backoff(first=0.02, most=0.5)
        left = list(batches)
        while True:
            for batch in left:
                batch.turned_away = None
            self._collect(left)
            outcomes = await asyncio.gather(*(b.future for b in left if b.future), return_exceptions=True)
            waiting = [batch for batch, outcome in zip(left, outcomes, strict=True) if isinstance(outcome, QueueFull)]
            if len(waiting) < len(left):
                backoff.reset()
            never = any(batch.turned_away and len(batch.requests) > batch.turned_away.limit for batch in waiting)
            remaining = deadline - loop.time()
            if not waiting or never or remaining <= 0:
                return
            left = waiting
            await asyncio.sleep(min(remaining, backoff.next(random.random())))

    def _collect(self, batches: Sequence[Batch]) -> None:
        loop = asyncio.get_running_loop()
        for batch in batches:
            batch.future = loop.create_future()
        self._collected.extend(batches)
        if batches and self._sender is None:
            self._sender = loop.create_task(self._send_collected(), name=f"enqueue {self.name}")

    async def _send_collected(self) -> None:
        try:
            if not self._announced:
                await self._announce()
            while self._collected:
                await self._send(self._next_chunk())
        except BaseException as error:
            collected = list(self._collected)
            self._collected.clear()
            _fail(collected, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._sender = None

    async def _announce(self) -> None:
        await self.engine.announce_queue(self.name)
        registry = self.engine.registry
        row = registry.queue_config(self.name) if registry.has_queue(self.name) else None
        if row is not None and row.max_length is not None:
            await self.limit_length(row.max_length)
        if row is not None and row.limit is not None:
            await self.limits.set_queue(row.limit)
        if row is not None and row.key_limit is not None:
            await self.limits.set_keys(row.key_limit)
        self._announced = True

    def _next_chunk(self) -> list[Batch]:
        """What one call carries: whole batches, so that none is split."""
        collected = self._collected
        chunk = [collected.popleft()]
        count, size = len(chunk[0].requests), chunk[0].size
        while collected:
            following = collected[0]
            count += len(following.requests)
            size += following.size
            if count > defaults.ENQUEUE_CHUNK or fills(size):
                break
            chunk.append(collected.popleft())
        return chunk

    async def _send(self, chunk: list[Batch]) -> None:
        refused = False
        for batch in chunk:
            before = batch.before
            if before is not None and before.turned_away is not None:
                batch.turned_away = before.turned_away
                _fail([batch], before.turned_away)
                refused = True
        if refused:
            chunk = [batch for batch in chunk if batch.turned_away is None]
        if not chunk:
            return
        try:
            reply = await self._link.run(scripts.ENQUEUE, self.root, *pack(self.engine.time_override, chunk))
            stored = unpack(self.name, reply)
        except QueueFull as error:
            if len(chunk) == 1:
                chunk[0].turned_away = error
                _fail(chunk, error)
            else:
                # No room for all together; each caller's own may fit.
                for batch in chunk:
                    await self._send([batch])
            return
        except BaseException as error:
            if isinstance(error, redis.exceptions.TimeoutError):
                # Who was collected meanwhile has waited as long, and would wait once more for each chunk before.
                chunk = [*chunk, *self._collected]
                self._collected.clear()
            _fail(chunk, error)
            if not isinstance(error, Exception):
                raise
            return
        first = 0
        for batch in chunk:
            following = first + len(batch.requests)
            if batch.future is not None and not batch.future.done():
                batch.future.set_result(stored[first:following])
            first = following

    def job(self, job_id: str, name: str = "") -> Job:
        """A handle of a job that somebody enqueued before, to wait for its result. Asks nothing: whether there is such
        a job is found when it is waited for."""
        return Job(self, job_id, name, created=False)

    async def get(self, job_id: str) -> JobInfo | None:
        """The job of that id in whatever state; None where it was never enqueued, was removed, or evicted. Raises
        EngineUnavailable."""
        return job_info(self.name, job_id, await self.engine.run(scripts.FIND, self.root, job_id))

    async def free_key(self, key: str) -> str | None:
        """Frees a unique key by hand, a throttle's too, and returns the id of the job that held it, or None. That job
        goes on; the first one that waits for the key holds it now and may run beside it. Raises ConfigurationError for
        an illegal key, and EngineUnavailable."""
        reply: bytes = await self.engine.run(scripts.FREE_KEY, self.root, keys.check_unique_key(key))
        return reply.decode() or None

    async def limit_length(self, jobs: int | None) -> int | None:
        """From now on enqueue refuses what would make more than that many jobs wait, be delayed, blocked or parked, by
        whatever process; None ends the limit. Returns the limit before. Jobs that are there, retries and jobs that come
        back are never refused. Raises ConfigurationError for anything but a whole number of at least 1, or None."""
        limit: str | int = "" if jobs is None else check_max_length(jobs)
        before = await self.engine.run(scripts.LIMIT_LENGTH, self.root, limit)
        return int(before) if before else None

    async def stats(self) -> QueueStats:
        """The five counts that people look at first. Raises EngineUnavailable."""
        counts = await self.counts()
        return QueueStats(
            name=self.name,
            waiting=counts.waiting,
            active=counts.active,
            completed=counts.completed,
            failed=counts.failed,
            delayed=counts.delayed,
        )

    async def counts(self) -> QueueCounts:
        """All counts, of one moment. Raises EngineUnavailable."""
        reply: list[Any] = await self.engine.run(scripts.STATS, self.root)
        levels: dict[int, int] = {}
        active_levels: dict[int, int] = {}
        for place, waiting, active in zip(reply[15::3], reply[16::3], reply[17::3], strict=True):
            level = int(place[-1:])
            levels[level] = levels.get(level, 0) + waiting
            active_levels[level] = active_levels.get(level, 0) + active
        names = QueueCounts.__struct_fields__[1:13]
        counts = dict(zip(names, reply, strict=False))
        return QueueCounts(
            name=self.name,
            **counts,
            paused_ms=reply[12] or None,
            workers=reply[13],
            dead=reply[14],
            levels=levels,
            active_levels=active_levels,
        )

    async def backlog(self) -> Backlog:
        """How long the oldest waiting job has waited, and how many claims lost their worker. Raises
        EngineUnavailable."""
        now_ms, since_ms, stalled = await self.engine.run(scripts.BACKLOG, self.root)
        return Backlog(max(0, now_ms - since_ms) / 1000 if since_ms else 0.0, stalled)

    async def notes(self, job_id: str, start: int = 0, count: int = defaults.LOG_LINES) -> JobNotes:
        """What a job, running or ended, has told of itself: its progress, and `count` lines of its log from `start`
        (from 0; negative: from the end). Empty for a job that told nothing, or that there isn't. Raises
        EngineUnavailable."""
        return await read_notes(self, job_id, start, count)

    async def cancel(self, job_id: str, *, reason: str = "cancelled by its caller", tree: Tree = "leave") -> Verdict:
        """Cancels a job: one that does not run yet ends now, one that runs is interrupted within a second. Returns
        CANCELLED; ACTIVE where it runs and was told; the state of one that has ended before; None where there is none.
        `tree` says what becomes of its children: `"leave"` them alone, `"take"` them along, or `"take_idle"`, which
        raises WrongState, and does nothing, while one of them runs. The first 1,000 characters of `reason` are kept.
        Raises EngineUnavailable."""
        await mark_tree(self, job_id, "cancel", tree)
        (verdict,) = await cancel_jobs(self, [job_id], reason)
        self.courier.wake()
        return verdict

    async def cancel_many(self, job_ids: Iterable[str], *, reason: str = "cancelled by its caller") -> list[Verdict]:
        """`cancel` for many, in bounded steps; what became of each, in order. Their children are left alone. Raises
        EngineUnavailable: those before the step that failed are cancelled."""
        verdicts = await cancel_jobs(self, job_ids, reason)
        self.courier.wake()
        return verdicts

    def worker(self, name: str) -> RemoteWorker:
        """One worker of this queue, in whatever process, to pause, resume, drain, or change its concurrency."""
        return RemoteWorker(self, name)

    async def pause(self) -> bool:
        """From now on nothing of this queue starts, on any worker, until `resume`; running jobs end. False where it
        was paused already. Raises EngineUnavailable."""
        return bool(await self.engine.run(scripts.PAUSE, self.root))

    async def resume(self) -> bool:
        """Ends a pause. False where there was none. Raises EngineUnavailable."""
        return bool(await self.engine.run(scripts.RESUME, self.root))

    async def is_paused(self) -> bool:
        """True while the queue is paused. Raises EngineUnavailable."""
        return (await self.counts()).paused_ms is not None

    def forget_announced(self) -> None:
        """The queue was taken out of the registry in Redis: the next enqueue writes it there again."""
        self._announced = False

    async def close(self) -> None:
        """Sends what was collected, then closes the connection."""
        await self.courier.close()
        if self._sender is not None:
            await asyncio.wait([self._sender])
        await self._link.close()


def _fail(batches: Iterable[Batch], error: BaseException) -> None:
    for batch in batches:
        if batch.future is not None and not batch.future.done():
            batch.future.set_exception(explained(error))
