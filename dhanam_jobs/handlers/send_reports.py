"""The jobs `send-weekly-summaries` and `send-monthly-reports`: enqueue one letter per space and member who wants it.

What the letters say is reports/, how they are sent is send_email.py's. A space that fails is counted, and the others
still get theirs; running a job again sends nothing twice.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec

from dhanam_jobs.engine import JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.send_email import QUEUE_NAME

if TYPE_CHECKING:
    from dhanam_jobs.handlers.send_email import Resources
    from dhanam_jobs.handlers.store import Space

log = logging.getLogger(__name__)

WEEKLY: Final = "send-weekly-summaries"
MONTHLY: Final = "send-monthly-reports"
TIMEOUT_S: Final = 1800.0


class ReportsWanted(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which spaces; None: all but the demo's. The time reported is the one before `date`; None: before today, in each
    space's own time zone."""

    space_ids: list[str] | None = None
    date: dt.date | None = None


class SendWeeklySummaries(ReportsWanted):
    """The payload of `send-weekly-summaries`."""


class SendMonthlyReports(ReportsWanted):
    """The payload of `send-monthly-reports`."""


class ReportsSent(msgspec.Struct, rename="camel", frozen=True):
    """How many spaces were looked at, letters enqueued, and spaces whose report failed or that don't exist."""

    spaces: int
    emails: int
    errors: int


class ReportsFailed(Exception):
    """No space's report could be made."""


def register(registry: Registry) -> None:
    """Add both jobs to the registry: one of each at a time."""
    for name, handler in ((WEEKLY, send_weekly_summaries), (MONTHLY, send_monthly_reports)):
        registry.job(
            name,
            queue=QUEUE_NAME,
            unique=lambda payload: type(payload).__name__,
            accept=envelope_of(name),
            timeout=TIMEOUT_S,
        )(handler)


async def send_weekly_summaries(ctx: JobContext, payload: SendWeeklySummaries) -> ReportsSent:
    """Run the weekly job."""
    return await _each_space(ctx, payload, _weekly)


async def send_monthly_reports(ctx: JobContext, payload: SendMonthlyReports) -> ReportsSent:
    """Run the monthly job."""
    return await _each_space(ctx, payload, _monthly)


async def _each_space(
    ctx: JobContext, wanted: ReportsWanted, report: Callable[[JobContext, Space, dt.date], Awaitable[int]]
) -> ReportsSent:
    from dhanam_jobs.handlers.store import StoreUnavailable

    resources: Resources = ctx.resources
    space_ids = wanted.space_ids
    if space_ids is None:
        space_ids = await resources.store.spaces.live_ids(with_demo=False)
    emails = errors = 0
    last: Exception | None = None
    for space_id in space_ids:
        ctx.check_claim()
        try:
            space = await resources.store.spaces.get(space_id)
            if space is None or space.deleted:
                raise LookupError(f"space {space_id!r} {'was deleted' if space else 'does not exist'}")
            day = wanted.date or dt.datetime.now(ZoneInfo(space.timezone)).date()
            emails += await report(ctx, space, day)
        except Exception as error:
            if isinstance(error, StoreUnavailable):
                # No space would fare better now, and the job's next attempt sends nothing twice.
                raise
            errors, last = errors + 1, error
            log.warning("the report of space %s failed", space_id, exc_info=True)
    if last is not None and errors == len(space_ids):
        raise ReportsFailed(f"all {errors} spaces failed, the last with {type(last).__name__}: {last}") from last
    return ReportsSent(len(space_ids), emails, errors)


async def _weekly(ctx: JobContext, space: Space, day: dt.date) -> int:
    from dhanam_jobs.handlers.mail import notices
    from dhanam_jobs.handlers.reports import week_summary

    resources: Resources = ctx.resources
    everyone = await resources.store.reports.readers(space.id)
    readers = [reader for reader in everyone if reader.weekly_reports and reader.email_notifications]
    letter = await week_summary(resources.store, space, day) if readers else None
    if letter is None:
        return 0
    return sum(
        [await notices.weekly_summary(ctx, space_id=space.id, reader=reader, letter=letter) for reader in readers]
    )


async def _monthly(ctx: JobContext, space: Space, day: dt.date) -> int:
    from dhanam_jobs.handlers.mail import notices
    from dhanam_jobs.handlers.reports import month_report

    resources: Resources = ctx.resources
    everyone = await resources.store.reports.readers(space.id)
    readers = [reader for reader in everyone if reader.monthly_reports and reader.email_notifications]
    letter = await month_report(resources.store, space, day) if readers else None
    if letter is None:
        return 0
    return sum(
        [await notices.monthly_report(ctx, space_id=space.id, reader=reader, letter=letter) for reader in readers]
    )
