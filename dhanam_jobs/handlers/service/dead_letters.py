"""Methods for dead letters, the failures that retention took from the failed jobs, over all queues. Keeping them is
the engine's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from dhanam_jobs.engine import JobFilter, JobInfo, JobNotFound, Page, WrongState
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.redaction import redact_json, redact_text, secrets_in_json
from dhanam_jobs.handlers.service.base import ServiceBase, iso
from dhanam_jobs.handlers.service.paging import page_over

_PAGE = 500
_DAY_S = 86_400


class DeadLetter(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A dead letter as people are shown it: secrets hidden, times as ISO 8601 in UTC."""

    id: str
    queue: str
    name: str
    data: Any
    failed_reason: str
    stacktrace: list[str]
    attempts_made: int
    max_attempts: int
    failed_at: str | None
    processed_at: str | None = None


class DeadLetterPage(msgspec.Struct):
    """Some dead letters. `cursor` leads to the next page, and is missing on the last; `searched` of `total` were looked
    at so far, those of earlier pages included."""

    jobs: list[DeadLetter]
    searched: int
    total: int
    cursor: str | UnsetType = UNSET


class DeadLetterStats(msgspec.Struct, rename="camel", frozen=True):
    """How many dead letters there are, in all and by queue, and when the oldest and the newest failed."""

    total: int
    by_queue: dict[str, int]
    oldest_job: str | None
    newest_job: str | None


class Replayed(msgspec.Struct, frozen=True):
    """How many dead letters became jobs again, and how many could not, since their ids were taken."""

    retried: int
    failed: int


class DeadLettering(ServiceBase):
    """Those methods; all raise EngineUnavailable."""

    async def get_dead_letter_jobs(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters of all queues, newest first."""
        wanted = max(1, int(limit))
        found: list[JobInfo] = []
        for name in QUEUE_NAMES:
            page = await self._queue(name).operations.dead_letters.page(limit=wanted)
            found += page.jobs
        found.sort(key=lambda info: info.finished_ms or 0, reverse=True)
        return [self._letter(info) for info in found[:wanted]]

    async def list_dead_letters(
        self,
        queue: str | None = None,
        *,
        where: JobFilter | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeadLetterPage:
        """Return a page of a queue's dead letters, newest first, or of all queues', one queue after the other.

        Raises UnknownQueue, and ConfigurationError for a cursor that no such page gave.
        """
        queues = QUEUE_NAMES if queue is None else (self._queue(queue).name,)

        def page_of(name: str, most: int, within: str | None) -> Awaitable[Page]:
            return self._queue(name).operations.dead_letters.page(where=where, limit=most, cursor=within)

        found, searched, following = await page_over(queues, page_of, limit, cursor)
        total = sum([await self._queue(name).operations.dead_letters.count() for name in queues])
        letters = [self._letter(info) for info in found]
        return DeadLetterPage(letters, searched, total, UNSET if following is None else following)

    async def get_dead_letter_queue_stats(self) -> DeadLetterStats:
        """Count the dead letters."""
        counts: dict[str, int] = {}
        moments: list[int] = []
        for name in QUEUE_NAMES:
            count = await self._queue(name).operations.dead_letters.count()
            if count:
                counts[name] = count
                moments += [info.finished_ms or 0 async for info in self._letters(name)]
        oldest, newest = (min(moments), max(moments)) if moments else (None, None)
        return DeadLetterStats(sum(counts.values()), counts, iso(oldest), iso(newest))

    async def retry_dead_letter_job(self, dlq_job_id: str, queue: str | None = None) -> bool:
        """Run a dead letter once more, under its own id, with all its attempts. False where there is none of that id,
        or a job has taken its id. `queue` says where, if several queues have one of that id.

        Raises UnknownQueue.
        """
        try:
            await self.replay_dead_letter(dlq_job_id, queue)
        except (JobNotFound, WrongState):
            return False
        return True

    async def replay_dead_letter(self, job_id: str, queue: str | None = None) -> str:
        """Do the same, and return its queue.

        Raises UnknownQueue, JobNotFound, and WrongState where a job has taken its id.
        """
        taken: WrongState | None = None
        for name in QUEUE_NAMES if queue is None else (queue,):
            try:
                await self._queue(name).operations.dead_letters.replay(job_id)
            except JobNotFound:
                continue
            except WrongState as error:
                taken = error
                continue
            return name
        where = "any queue" if queue is None else f"queue {queue!r}"
        raise taken or JobNotFound(f"no dead letter {job_id} of {where}: never there, replayed, or pruned")

    async def retry_dead_letter_queue_by_original_queue(self, queue: str) -> Replayed:
        """Run all dead letters of a queue once more.

        Raises UnknownQueue.
        """
        letters = self._queue(queue).operations.dead_letters
        retried = await letters.replay_all()
        return Replayed(retried, await letters.count())

    async def clear_dead_letter_queue(self) -> int:
        """Delete all dead letters, and return how many."""
        return sum([await self._queue(name).operations.dead_letters.prune() for name in QUEUE_NAMES])

    async def prune_dead_letter_queue(self, older_than_days: float = 30) -> int:
        """Delete the dead letters that failed longer ago than that, and return how many."""
        old = JobFilter(older_than=older_than_days * _DAY_S)
        return sum([await self._queue(name).operations.dead_letters.prune(old) for name in QUEUE_NAMES])

    async def _letters(self, queue: str) -> AsyncIterator[JobInfo]:
        cursor: str | None = None
        while True:
            page = await self._queue(queue).operations.dead_letters.page(limit=_PAGE, cursor=cursor)
            for info in page.jobs:
                yield info
            cursor = page.cursor
            if cursor is None:
                return

    def _letter(self, info: JobInfo) -> DeadLetter:
        secrets = secrets_in_json(bytes(info.payload))
        traceback = info.error.traceback if info.error else None
        return DeadLetter(
            id=info.id,
            queue=info.queue,
            name=info.name,
            data=redact_json(bytes(info.payload)),
            failed_reason=redact_text(info.error.message, secrets) if info.error else "",
            stacktrace=redact_text(traceback, secrets).splitlines() if traceback else [],
            attempts_made=info.attempt,
            max_attempts=self._attempts(info),
            failed_at=iso(info.finished_ms),
            processed_at=iso(info.started_ms or None),
        )

    def _attempts(self, info: JobInfo) -> int:
        registry = self._engine.registry
        row = registry.find(info.queue, info.name)
        policy = row.retry if row is not None and row.retry is not None else registry.queue_config(info.queue).retry
        return policy.attempts
