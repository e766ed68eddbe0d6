"""What administrators do, as the audit log names it, and the entry that each deed leaves there.

A deed that went wrong half way leaves its entry too; one that was refused changed nothing, and leaves none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from dhanam_jobs.engine import EngineError, EngineUnavailable
from dhanam_jobs.handlers.redaction import redact
from dhanam_jobs.handlers.service.base import ServiceBase
from dhanam_jobs.handlers.store.audit import AuditEntry, AuditLog


class Deed(msgspec.Struct, frozen=True):
    """A kind of deed: its `action` in the log, the kind of thing it is done to, and its severity (low, medium, high or
    critical)."""

    action: str
    resource: str
    severity: str


VIEW_QUEUES: Final = Deed("admin.view_queue_stats", "Queue", "low")
VIEW_FAILED: Final = Deed("admin.queue_view_failed", "Queue", "medium")
PAUSE_QUEUE: Final = Deed("admin.queue_pause", "Queue", "high")
RESUME_QUEUE: Final = Deed("admin.queue_resume", "Queue", "high")
RETRY_FAILED: Final = Deed("admin.queue_retry_failed", "Queue", "high")
CLEAR_FAILED: Final = Deed("admin.queue_clear_failed", "Queue", "high")
CLEAR_QUEUE: Final = Deed("admin.queue_clear", "Queue", "high")
RETRY_MATCHING: Final = Deed("admin.queue_retry", "Queue", "high")
PROMOTE_MATCHING: Final = Deed("admin.queue_promote", "Queue", "medium")
EMPTY_QUEUE: Final = Deed("admin.queue_empty", "Queue", "high")
CLEAN_QUEUE: Final = Deed("admin.queue_clean", "Queue", "high")
RETRY_JOB: Final = Deed("admin.job_retry", "Job", "medium")
PROMOTE_JOB: Final = Deed("admin.job_promote", "Job", "medium")
CANCEL_JOB: Final = Deed("admin.job_cancel", "Job", "high")
REMOVE_JOB: Final = Deed("admin.job_remove", "Job", "high")
EDIT_JOB: Final = Deed("admin.job_edit", "Job", "high")
CLONE_JOB: Final = Deed("admin.job_clone", "Job", "medium")
SAVE_SCHEDULE: Final = Deed("admin.schedule_save", "Schedule", "high")
REMOVE_SCHEDULE: Final = Deed("admin.schedule_remove", "Schedule", "high")
PAUSE_SCHEDULE: Final = Deed("admin.schedule_pause", "Schedule", "high")
RESUME_SCHEDULE: Final = Deed("admin.schedule_resume", "Schedule", "medium")
RUN_SCHEDULE: Final = Deed("admin.schedule_run", "Schedule", "medium")
PAUSE_WORKER: Final = Deed("admin.worker_pause", "Worker", "medium")
RESUME_WORKER: Final = Deed("admin.worker_resume", "Worker", "medium")
SET_CONCURRENCY: Final = Deed("admin.worker_set_concurrency", "Worker", "medium")
DRAIN_SUPERVISOR: Final = Deed("admin.supervisor_drain", "Supervisor", "high")
RETRY_DEAD_LETTER: Final = Deed("admin.dead_letter_retry", "DeadLetter", "medium")
RETRY_DEAD_LETTERS: Final = Deed("admin.dead_letters_retry", "DeadLetter", "high")
PRUNE_DEAD_LETTERS: Final = Deed("admin.dead_letters_prune", "DeadLetter", "high")
CLEAR_DEAD_LETTERS: Final = Deed("admin.dead_letters_clear", "DeadLetter", "high")
SYNC_PORTFOLIOS: Final = Deed("admin.portfolio_sync_all", "Job", "medium")

BEGUN: Final = ".begun"
"""Behind the action of a lengthy deed, in the entry that is made before it."""


MAX_THING: Final = 512
"""Characters of a thing's name that are kept."""


class Act:
    """One deed under way. What is said of it is redacted before it is kept."""

    def __init__(self, log: AuditLog, deed: Deed, thing: str | None, user_id: str, request_id: str | None) -> None:
        self._log = log
        self._deed = deed
        # A path may hold what PostgreSQL can't keep, and as much as it likes.
        self._thing = None if thing is None else thing[:MAX_THING].replace("\0", "\N{REPLACEMENT CHARACTER}")
        self._user_id = user_id
        self._about: dict[str, Any] = {} if request_id is None else {"requestId": request_id}
        self._touched = False

    def note(self, **facts: object) -> None:
        """Say what has been changed. A deed of which nothing is noted has changed nothing."""
        self._touched = True
        self._about.update(facts)

    async def begin(self, **facts: object) -> None:
        """Say what is about to be done by a lengthy deed, so that the log knows of it even if this process is killed
        before its end."""
        self.note(**facts)
        await self._append(self._deed.action + BEGUN, self._about)

    async def end(self, error: BaseException | None = None, refusals: tuple[type[BaseException], ...] = ()) -> None:
        """Append the entry of how it ended: its `outcome` is done or failed."""
        if error is None:
            if self._touched:
                await self._append(self._deed.action, {**self._about, "outcome": "done"})
        elif self._touched or (_unsure(error) and not isinstance(error, refusals)):
            outcome = {"outcome": "failed", "error": type(error).__name__}
            await self._append(self._deed.action, {**self._about, **outcome})

    async def _append(self, action: str, about: dict[str, Any]) -> None:
        details = redact(msgspec.to_builtins(about))
        assert isinstance(details, dict)
        entry = AuditEntry(
            action=action,
            resource=self._deed.resource,
            resource_id=self._thing,
            user_id=self._user_id,
            severity=self._deed.severity,
            details=details,
        )
        await asyncio.shield(self._log.record([entry]))


def _unsure(error: BaseException) -> bool:
    """Whether something may have been changed although this was raised: the engine's refusals come before a change."""
    return not isinstance(error, EngineError) or isinstance(error, EngineUnavailable)


class Auditing(ServiceBase):
    """The way to do something and leave an entry of it."""

    @asynccontextmanager
    async def acting(
        self,
        deed: Deed,
        thing: str | None,
        *,
        user_id: str,
        request_id: str | None = None,
        refusals: tuple[type[BaseException], ...] = (),
    ) -> AsyncIterator[Act]:
        """Within the block a user does the deed to `thing`; at its end the log has it. `refusals` are what the caller
        raises there, besides the engine's own refusals, before anything is changed.

        Raises UnknownQueue where the thing is a queue that there isn't, and what the store raises where the entry
        can't be kept.
        """
        if deed.resource == "Queue" and thing is not None:
            self._queue(thing)
        act = Act(self._books().audit_log, deed, thing, user_id, request_id)
        try:
            yield act
        except BaseException as error:
            await act.end(error, refusals)
            raise
        await act.end()
