"""The schedules of the service: one row each, which job, when and how urgent. Firing them is the engine's.

Each only enqueues; the jobs take `{}` for everything but the demo's spaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from dhanam_jobs.engine import Schedule

OWNER: Final = "dhanam-jobs"
"""Whose these schedules are, in Redis: a release that no longer has one removes it."""


class ScheduleRow(msgspec.Struct, frozen=True):
    """One schedule. `zone` None is the service's own; `priority` None is the job's own level."""

    name: str
    cron: str
    queue: str
    job: str
    priority: int | None = None
    zone: str | None = None


SCHEDULES: Final = (
    ScheduleRow("categorize-new-transactions", "0 * * * *", "categorize-transactions", "categorize-all", 6),
    ScheduleRow("sync-crypto-portfolios", "0 */4 * * *", "sync-transactions", "sync-portfolio", 4),
    ScheduleRow("sync-blockchain-wallets", "0 */6 * * *", "sync-transactions", "sync-wallets", 4),
    ScheduleRow("cleanup-expired-sessions", "0 2 * * *", "system-maintenance", "cleanup-expired-sessions"),
    ScheduleRow("generate-valuation-snapshots", "0 3 * * *", "valuation-snapshots", "snapshot-all", 7),
    ScheduleRow("refresh-esg-scores", "0 6,18 * * *", "esg-updates", "esg-update-all", 7),
    ScheduleRow("refresh-exchange-rates", "30 1 * * *", "system-maintenance", "refresh-exchange-rates"),
    ScheduleRow("cleanup-demo-accounts", "30 3 * * *", "system-maintenance", "cleanup-demo-accounts"),
    ScheduleRow("apply-retention", "0 4 * * *", "system-maintenance", "apply-retention"),
    # Morning in Mexico, where most readers are, whatever the service's zone.
    ScheduleRow("send-weekly-summaries", "0 14 * * 1", "email-notifications", "send-weekly-summaries", 8, "UTC"),
    ScheduleRow("send-monthly-reports", "0 14 1 * *", "email-notifications", "send-monthly-reports", 8, "UTC"),
)


def service_schedules(tz: str = "UTC") -> list[Schedule]:
    """Give the schedules as the engine takes them, in the zone `tz`.

    A tick that falls due while an earlier run goes on is dropped: that run does its work. One run makes up for
    however many were missed.

    Raises:
        CronError: `tz` is no time zone.
    """
    from dhanam_jobs.engine import Schedule

    return [
        Schedule(
            name=row.name,
            job=row.job,
            queue=row.queue,
            cron=row.cron,
            tz=row.zone or tz,
            misfire="once",
            overlap="skip",
            priority=row.priority,
        )
        for row in SCHEDULES
    ]
