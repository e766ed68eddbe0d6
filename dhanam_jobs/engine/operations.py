"""What operators do to the jobs of a queue: remove, retry, promote, edit, clean, clear. Reached as `queue.operations`.

Every verb on many jobs works in bounded steps, so that a queue with a hundred thousand of them stays responsive, and
means the jobs that were there when it was called. Looking is the listing's part, pausing the queue's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import checks, defaults, keys, scripts
from .dead_letters import DeadLetters
from .errors import ConfigurationError, JobNotFound, QueueActive, WrongState
from .explain import Explanation, explain
from .family_tree import Tree, mark_tree
from .fleet import WorkerInfo, workers_of
from .found import job_info
from .job import JobInfo
from .listing import DEAD, STATES, JobFilter, Listing, Page, check_state, wanted_jobs
from .request import Encoder, Request
from .reviving import Source, name_in, revive

if TYPE_CHECKING:
    from .queue import Queue
    from .results import Job

_ENDED = ("completed", "failed", "cancelled")
_RESTING = ("waiting", "delayed", "blocked", "parked")
_TRIES = 5


class Operations:
    """The operators' verbs of one queue: `queue.operations`. `dead_letters` are the queue's `DeadLetters`.

    `state` is one of `JobState`'s words; `where` picks among its jobs, None takes all of them. `priority` is 0 (most
    urgent) to 9. `payload` is typed, or anything that the job's type decodes; left out, the job keeps its own.

    A verb on one job raises JobNotFound, and WrongState where the job is in a state for which the verb has no meaning.
    A verb on many passes such jobs over and returns how many it did change, in steps of 200: an
    error in between leaves the steps before it done. All raise EngineUnavailable where Redis doesn't answer, and
    ConfigurationError for an unknown state or an illegal number.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._listing = Listing(queue)
        self._encoder = Encoder(queue.engine.registry, queue.name)
        self.dead_letters = DeadLetters(queue, self._listing)

    # -- looking --------------------------------------------------------------------------------------------------

    async def page(
        self,
        state: str,
        *,
        where: JobFilter | None = None,
        limit: int = defaults.PAGE,
        cursor: str | None = None,
        search: int = defaults.SEARCH,
    ) -> Page:
        """At most `limit` jobs of a state that match, after at most about `search` were looked at.

        Waiting and active jobs come in the order in which they are claimed, delayed ones by due time, blocked ones
        oldest first, parked ones by name, ended ones newest first. `cursor` is an earlier page's, for what follows it.
        Raises ConfigurationError for a cursor that no page gave, too.
        """
        return await self._listing.page(state, where=where, limit=limit, cursor=cursor, search=search)

    async def explain(self, job_id: str) -> Explanation:
        """Why the job has not run yet: paused, behind others, not due, its key held, nobody knows it, no worker."""
        return await explain(self._queue, job_id)

    async def workers(self) -> list[WorkerInfo]:
        """The living workers of this queue."""
        return await workers_of(self._queue)

    # -- one job --------------------------------------------------------------------------------------------------

    async def remove(self, job_id: str, *, force: bool = False, tree: Tree = "leave") -> None:
        """Removes a job, or the record of one that has ended. An active one only with `force`: its handler may go on,
        but its outcome no longer counts and its unique key is free. `tree` says what becomes of its children, as
        `Queue.cancel` does."""
        await mark_tree(self._queue, job_id, "remove", tree)
        (verdict,) = await self._remove([job_id], (*_RESTING, *_ENDED, *(("active",) if force else ())))
        self._check(job_id, verdict, "removed", "remove", "any state but active, or force")

    async def retry(self, job_id: str, *, payload: Any = msgspec.UNSET) -> None:
        """Runs an ended job (failed, completed or cancelled) or a dead letter once more, under its own id, with all its
        attempts; `payload` takes the place of its own. Where its unique key is held meanwhile, it waits for the holder.
        Raises InvalidPayload too."""
        verdict = "missing"
        for _ in range(_TRIES):
            reply = await self._queue.engine.run(scripts.FIND, self._queue.root, job_id)
            if reply and reply[0] != b"ended":
                verdict = reply[0].decode()
                break
            source: Source = "ended" if reply else DEAD
            record = reply[1] if reply else await self.dead_letters.record(job_id)
            if record is None:
                verdict = "missing"
                break
            body = None if payload is msgspec.UNSET else self._encoder.encode(name_in(record), payload, {}).payload
            (verdict,) = await revive(self._queue, source, [record], body)
            if verdict not in ("changed", "missing"):
                break
        self._check(job_id, "revived" if verdict == "held" else verdict, "revived", "retry", "an ended job")

    async def promote(self, job_id: str) -> None:
        """Makes a delayed job runnable now, before all others of its level."""
        (verdict,) = await self._queue.engine.run(scripts.PROMOTE_NOW, self._queue.root, 0, job_id)
        self._check(job_id, verdict.decode(), "promoted", "promote", "delayed")

    async def reprioritise(self, job_id: str, priority: int) -> bool:
        """Gives a job that isn't running another level; a waiting one goes to the end of it. False where it has that
        level already."""
        level = keys.check_priority(priority)
        (verdict,) = await self._queue.engine.run(scripts.REPRIORITISE, self._queue.root, level, job_id)
        if verdict == b"same":
            return False
        self._check(job_id, verdict.decode(), "moved", "reprioritise", "waiting, delayed, blocked or parked")
        return True

    async def edit(self, job_id: str, payload: Any) -> None:
        """Gives a job that isn't running another payload, checked as enqueue checks it. A waiting job goes to the end
        of its level. Raises InvalidPayload too."""
        verdict = "missing"
        for _ in range(_TRIES):
            info = await self._found(job_id)
            body = self._encoder.encode(info.name, payload, {}).payload
            reply = await self._queue.engine.run(scripts.EDIT, self._queue.root, job_id, info.name, body)
            verdict = reply.decode()
            if verdict != "changed":
                break
        self._check(
            job_id, verdict, "edited", "edit", "waiting, delayed, blocked or parked; or retry it with a payload"
        )

    async def clone(self, job_id: str, *, payload: Any = msgspec.UNSET, priority: int | None = None) -> Job:
        """Enqueues a new job like this one, in whatever state it is: same name, payload, level, options and metadata,
        without its id and unique key. Raises as enqueue does, too."""
        reply = await self._queue.engine.run(scripts.FIND, self._queue.root, job_id)
        info = job_info(self._queue.name, job_id, reply)
        if info is None:
            raise _missing(self._queue, job_id)
        level = info.priority if priority is None else keys.check_priority(priority)
        body = bytes(info.payload)
        if payload is not msgspec.UNSET:
            body = self._encoder.encode(info.name, payload, {}).payload
        extra = {"fields": fields} if (fields := _told_by_caller(reply)) else None
        request = Request(level, msgspec.json.encode(extra) if extra else b"", info.name, body)
        (job,) = await self._queue.store([request])
        return job

    # -- many jobs ------------------------------------------------------------------------------------------------

    async def retry_all(self, state: str = "failed", where: JobFilter | None = None) -> int:
        """Retries all ended jobs of a state (that match), in the order in which they ended."""
        if state not in _ENDED:
            raise ConfigurationError(f"state {state!r}: wanted one of {', '.join(_ENDED)}")
        revived = 0
        async for records in self._listing.records(state, wanted_jobs(where)):
            verdicts = await revive(self._queue, "ended", records)
            revived += sum(verdict in ("revived", "held") for verdict in verdicts)
        return revived

    async def promote_all(self, where: JobFilter | None = None) -> int:
        """Makes all delayed jobs (that match) runnable now, before all others of their levels, in order of due time."""
        promoted = 0
        async for ids in self._listing.ids("delayed", wanted_jobs(where)):
            reply = await self._queue.engine.run(scripts.PROMOTE_NOW, self._queue.root, 0, *ids)
            promoted += sum(verdict == b"promoted" for verdict in reply)
        return promoted

    async def reprioritise_all(self, state: str, priority: int, where: JobFilter | None = None) -> int:
        """Gives all jobs of a state that aren't running (that match) another level."""
        if state not in _RESTING:
            raise ConfigurationError(f"state {state!r}: wanted one of {', '.join(_RESTING)}")
        level = keys.check_priority(priority)
        moved = 0
        async for ids in self._listing.ids(state, wanted_jobs(where)):
            reply = await self._queue.engine.run(scripts.REPRIORITISE, self._queue.root, level, *ids)
            moved += sum(verdict == b"moved" for verdict in reply)
        return moved

    async def clean(
        self, state: str, *, older_than: float = 0, limit: int | None = None, where: JobFilter | None = None
    ) -> int:
        """Removes jobs of a state (not active ones), oldest first: those that were created, or for ended ones ended,
        at least `older_than` seconds ago, at most `limit`, and that match."""
        check_state(state)
        if state in ("active", DEAD):
            raise ConfigurationError(f"state {state!r}: wanted one of {', '.join(s for s in STATES if s != 'active')}")
        if limit is not None:
            checks.whole("limit", limit, 1, "for all")
        wanted = wanted_jobs(where)
        checks.seconds("older_than", older_than, 0, 100 * checks.YEAR_S, "seconds from 0 to a century")
        if older_than:
            wanted = msgspec.structs.replace(wanted, older_than=max(older_than, wanted.older_than or 0))
        removed = 0
        async for ids in self._listing.ids(state, wanted):
            verdicts = await self._remove(ids if limit is None else ids[: limit - removed], (state,))
            removed += sum(verdict == "removed" for verdict in verdicts)
            if limit is not None and removed >= limit:
                break
        return removed

    async def empty(self, *, delayed: bool = False) -> int:
        """Removes all waiting jobs, and with `delayed` the delayed ones."""
        removed = await self.clean("waiting")
        return removed + (await self.clean("delayed") if delayed else 0)

    async def clear(self, *, force: bool = False) -> int:
        """Removes all jobs, records and dead letters at one moment and returns how many. Schedules, the paused flag and
        lifetime counters stay. Raises QueueActive while jobs run, unless `force`: then their outcomes no longer count.
        """
        removed: int = 0
        while True:
            what, count = await self._queue.engine.run(
                scripts.CLEAR, self._queue.root, int(force), defaults.CLEAR_BLOCKED
            )
            if what == b"active":
                raise QueueActive(self._queue.name, "clear", active=count)
            removed += count
            if what != b"more":
                await self.tidy()
            if what == b"cleared":
                await self._queue.courier.run(mend=True)
                return int(removed)

    async def obliterate(self, *, force: bool = False) -> int:
        """Deletes every key of the queue, schedules, counters and events included, and returns how many jobs there
        were. Raises QueueActive while jobs run or workers live, unless `force`: a worker that goes on makes keys anew.
        """
        engine = self._queue.engine
        counts = await self._queue.counts()
        if not force and (counts.active or counts.workers):
            raise QueueActive(self._queue.name, "obliterate", active=counts.active, workers=counts.workers)
        removed = await self.clear(force=force)
        redis = engine.servers.at(self._queue.root)
        names: list[bytes] = []
        async for name in redis.scan_iter(match=f"{self._queue.root}:*", count=1000):
            names.append(name)
            if len(names) == 500:
                await redis.unlink(*names)
                names.clear()
        if names:
            await redis.unlink(*names)
        registry = keys.registry(engine.prefix)
        await engine.servers.command(registry, "HDEL", registry, f"queue:{self._queue.name}")
        self._queue.forget_announced()
        return removed

    async def tidy(self) -> None:
        """Applies retention by age and what `clear` left to be deleted, to the end; the sweep does it by and by."""
        while (await tidy_once(self._queue))[0]:
            pass

    # -- parts ----------------------------------------------------------------------------------------------------

    async def _remove(self, ids: list[str], states: tuple[str, ...]) -> list[str]:
        named = f" {' '.join(states)} "
        reply = await self._queue.engine.run(scripts.REMOVE, self._queue.root, named, *ids)
        self._queue.courier.wake()
        return [verdict.decode() for verdict in reply]

    async def _found(self, job_id: str) -> JobInfo:
        info = await self._queue.get(job_id)
        if info is None:
            raise _missing(self._queue, job_id)
        return info

    def _check(self, job_id: str, verdict: str, good: str, verb: str, wanted: str) -> None:
        if verdict == good:
            return
        if verdict == "missing":
            raise _missing(self._queue, job_id)
        raise WrongState(job_id, "changing all the time" if verdict == "changed" else verdict, verb, wanted)


async def tidy_once(queue: Queue) -> list[int]:
    """One bounded step of `tidy.lua` by the queue's retention; its reply."""
    retention = queue.engine.registry.row_of(queue.name).retention
    reply: list[int] = await queue.engine.run(
        scripts.TIDY,
        queue.root,
        defaults.BULK,
        *(_ms(age) for age in (retention.completed_age, retention.failed_age, retention.cancelled_age)),
        retention.dead,
        _ms(retention.dead_age),
    )
    return reply


def _ms(seconds: float | None) -> int | str:
    return "" if seconds is None else round(seconds * 1000)


def _missing(queue: Queue, job_id: str) -> JobNotFound:
    return JobNotFound(f"job {job_id} is not on queue {queue.name!r}: never enqueued, removed, or evicted by retention")


def _told_by_caller(reply: list[Any]) -> list[str]:
    """Options and metadata of a job as `find.lua` found it, as flat entry fields with their own texts."""
    if reply[0] == b"ended":
        parts = msgspec.json.decode(reply[1], type=dict[str, msgspec.Raw])
        found = {name: bytes(parts[name]) for name in ("options", "meta") if name in parts}
    else:
        fields = dict(zip(reply[4][::2], reply[4][1::2], strict=True))
        found = {name: fields[name.encode()] for name in ("options", "meta") if name.encode() in fields}
    return [text for name, value in found.items() if value != b"null" for text in (name, value.decode())]
