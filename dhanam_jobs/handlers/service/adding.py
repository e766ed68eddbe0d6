"""Methods that enqueue one job each, and make recurring ones; how urgent each is unless the caller says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dhanam_jobs.engine import Job, Schedule, ScheduleInfo, ScheduleNotFound
from dhanam_jobs.handlers import categorize_transactions, sync_transactions
from dhanam_jobs.handlers.categorize_transactions import CategorizeTransactions
from dhanam_jobs.handlers.service.base import ServiceBase, typed
from dhanam_jobs.handlers.sync_transactions import SyncTransactions

if TYPE_CHECKING:
    from dhanam_jobs.handlers.send_email import SendEmail
    from dhanam_jobs.handlers.snapshot_valuations import ValuationSnapshot
    from dhanam_jobs.handlers.update_esg import EsgUpdate

SYNC: Final = 4
EMAIL: Final = 5
CATEGORIZE: Final = 6
ESG: Final = 7
SNAPSHOT: Final = 8


class Adding(ServiceBase):
    """The `add_…_job` methods, and recurring jobs.

    A payload is the job's type, or a mapping as on the wire, with or without the envelope `{type, payload}`.
    `priority` is a level, 0 (first) to 9. `job_id`: a job of that id is returned as it is, whatever its state; without
    one, equal work that waits or runs is joined (`job.created` False). `owner` is noted on the job.

    All raise InvalidPayload, ConfigurationError, Draining where this process is shutting down, and EngineUnavailable.
    """

    async def add_sync_transactions_job(
        self,
        payload: SyncTransactions | Mapping[str, Any],
        priority: int = SYNC,
        delay_ms: int = 0,
        job_id: str | None = None,
        *,
        owner: str | None = None,
    ) -> Job:
        """Enqueue the sync of one connection, to begin `delay_ms` from now."""
        wanted = typed(SyncTransactions, sync_transactions.JOB_NAME, payload)
        delay = delay_ms / 1000 if delay_ms else None
        return await self._queue("sync-transactions").enqueue(
            wanted, priority=priority, delay=delay, id=job_id, owner=owner
        )

    async def add_categorize_transactions_job(
        self,
        payload: CategorizeTransactions | Mapping[str, Any],
        priority: int = CATEGORIZE,
        job_id: str | None = None,
        *,
        owner: str | None = None,
    ) -> Job:
        """Enqueue the categorisation of a space, or of some of its transactions."""
        wanted = typed(CategorizeTransactions, categorize_transactions.JOB_NAME, payload)
        return await self._queue("categorize-transactions").enqueue(wanted, priority=priority, id=job_id, owner=owner)

    async def add_esg_update_job(
        self,
        payload: EsgUpdate | Mapping[str, Any],
        priority: int = ESG,
        job_id: str | None = None,
        *,
        owner: str | None = None,
    ) -> Job:
        """Enqueue the refresh of symbols' scores."""
        return await self._queue("esg-updates").enqueue(
            "esg-update", payload, priority=priority, id=job_id, owner=owner
        )

    async def add_valuation_snapshot_job(
        self,
        payload: ValuationSnapshot | Mapping[str, Any],
        priority: int = SNAPSHOT,
        *,
        owner: str | None = None,
    ) -> Job:
        """Enqueue a space's snapshot of a day."""
        return await self._queue("valuation-snapshots").enqueue(
            "valuation-snapshot", payload, priority=priority, owner=owner
        )

    async def add_email_job(
        self, payload: SendEmail | Mapping[str, Any], priority: int | None = None, *, owner: str | None = None
    ) -> Job:
        """Enqueue a letter, as urgent as it says or its template is; `priority` is for those that are neither urgent
        nor unimportant (default: 5)."""
        from dhanam_jobs.handlers import send_email
        from dhanam_jobs.handlers.mail.catalog import Urgency

        wanted = typed(send_email.SendEmail, send_email.JOB_NAME, payload)
        level = wanted.urgency.level
        if wanted.urgency is Urgency.NORMAL and priority is not None:
            level = priority
        return await self._queue("email-notifications").enqueue(wanted, priority=level, owner=owner)

    async def schedule_recurring_job(
        self, queue: str, job_name: str, data: Any, cron_pattern: str, *, tz: str = "UTC", priority: int | None = None
    ) -> ScheduleInfo:
        """Make or change the schedule `recurring-<job_name>`, and give it as it is kept. It lasts until it is removed.

        Raises UnknownQueue, CronError for times that can't be, and ScheduleOwned where the service itself declares a
        schedule of that name.
        """
        self._queue(queue)
        name = _recurring(job_name)
        schedule = Schedule(
            name=name, job=job_name, queue=queue, cron=cron_pattern, tz=tz, payload=data, priority=priority
        )
        await self._engine.schedules.upsert(schedule)
        info = await self._engine.schedules.get(name)
        if info is None:
            raise ScheduleNotFound(f"schedule {name!r} was removed in the moment in which it was made")
        return info

    async def remove_recurring_job(
        self, queue: str, job_name: str, cron_pattern: str | None = None, job_id: str | None = None
    ) -> bool:
        """Remove a schedule of that queue and job, of the times `cron_pattern` where they are given; True where there
        was one. `job_id` is the schedule's name, by default `recurring-<job_name>`.

        Raises UnknownQueue.
        """
        self._queue(queue)
        name = _recurring(job_name) if job_id is None else job_id
        info = await self._engine.schedules.get(name)
        if info is None or info.queue != queue or info.schedule.job != job_name:
            return False
        if cron_pattern is not None and " ".join(cron_pattern.split()) != info.schedule.expression:
            return False
        return await self._engine.schedules.remove(name)


def _recurring(job_name: str) -> str:
    return f"recurring-{job_name}"
