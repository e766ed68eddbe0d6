"""The letters that other jobs have to send: each function enqueues `send-email` for whom it concerns.

A notice never fails the job that has it to say: where it can't be enqueued, that is logged. Each has a key, so that a
job that runs again, or fails every hour, doesn't repeat itself; see each function for how often it speaks.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from dhanam_jobs.engine import EngineError, JobContext
from dhanam_jobs.handlers.mail.letters import (
    AccountHealth,
    ConnectionHealthAlert,
    Letter,
    MonthlyReport,
    SyncFailed,
    WeeklySummary,
)
from dhanam_jobs.handlers.send_email import SendEmail

if TYPE_CHECKING:
    from dhanam_jobs.handlers.send_email import Resources
    from dhanam_jobs.handlers.store.reports import SpaceReader

log = logging.getLogger(__name__)

PROVIDER_NAMES: Final = {
    "belvo": "Belvo",
    "bitso": "Bitso",
    "plaid": "Plaid",
    "blockchain": "Blockchain",
    "mx": "MX",
    "finicity": "Finicity",
}


async def sync_failed(
    ctx: JobContext,
    *,
    user_id: str,
    connection_id: str,
    provider: str,
    error: str,
    needs_reauth: bool = False,
    failed_at: dt.datetime | None = None,
) -> bool:
    """Tell a connection's owner that its sync failed for good: at most once a day for each connection.

    `needs_reauth` asks them to authorise again: at most once a week. `error` is shown to the person: no secrets, no
    traces. Gives whether a letter was enqueued.
    """
    resources: Resources = ctx.resources
    user = await resources.store.users.get(user_id)
    if user is None or not user.is_active:
        return False
    moment = failed_at or dt.datetime.now(dt.UTC)
    letter = SyncFailed(
        name=user.name[:200],
        provider=PROVIDER_NAMES.get(provider, provider),
        error=error[:500],
        failed_at=moment.isoformat(),
        needs_reauth=needs_reauth,
        action_url=f"{resources.mailer.letterhead.app_url.rstrip('/')}/accounts",
    )
    when = f"{moment:%G-W%V}" if needs_reauth else f"{moment:%Y-%m-%d}"
    subject = "reauth" if needs_reauth else "sync-failed"
    return await _enqueue(ctx, "sync-failed", letter, user.email, user.locale, f"{subject}/{connection_id}/{when}")


async def connection_health(
    ctx: JobContext, *, space_id: str, accounts: Sequence[AccountHealth], summary: str | None = None
) -> int:
    """Tell a space's members which accounts need attention: at most once a day for the same accounts and troubles.

    `summary` replaces the letter's own words on what is wrong; give none where members read different languages. Gives
    the number of letters enqueued.
    """
    resources: Resources = ctx.resources
    space = await resources.store.spaces.get(space_id)
    if space is None or space.deleted or not accounts:
        return 0
    rows = list(accounts)[:200]
    told = sorted(f"{row.account_id}:{row.type}" for row in rows)
    what = hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
    count = 0
    for reader in await resources.store.reports.readers(space_id):
        if not reader.email_notifications:
            continue
        letter = ConnectionHealthAlert(
            name=reader.name[:200],
            space_name=space.name[:200],
            summary_message=summary,
            accounts=rows,
            action_url=f"{resources.mailer.letterhead.app_url.rstrip('/')}/accounts",
        )
        key = f"health/{space_id}/{reader.user_id}/{dt.datetime.now(dt.UTC):%Y-%m-%d}/{what}"
        count += await _enqueue(ctx, "connection-health-alert", letter, reader.email, reader.locale, key)
    return count


async def weekly_summary(ctx: JobContext, *, space_id: str, reader: SpaceReader, letter: WeeklySummary) -> bool:
    """Send a space's week to one member: once for each week. Gives whether a letter was enqueued."""
    key = f"weekly/{space_id}/{reader.user_id}/{letter.week_start}"
    named = msgspec.structs.replace(letter, name=reader.name[:200])
    return await _enqueue(ctx, "weekly-summary", named, reader.email, reader.locale, key)


async def monthly_report(ctx: JobContext, *, space_id: str, reader: SpaceReader, letter: MonthlyReport) -> bool:
    """Send a space's month to one member: once for each month. Gives whether a letter was enqueued."""
    key = f"monthly/{space_id}/{reader.user_id}/{letter.year}-{letter.month_number:02}"
    named = msgspec.structs.replace(letter, name=reader.name[:200])
    return await _enqueue(ctx, "monthly-report", named, reader.email, reader.locale, key)


async def _enqueue(ctx: JobContext, template: str, letter: Letter, to: str, locale: str, key: str) -> bool:
    try:
        payload = SendEmail(
            to=to,
            template=template,
            data=msgspec.to_builtins(letter),
            locale=locale,
            # Ids are other people's choice; a key is short and without spaces.
            key=key if len(key) <= 200 and key.isprintable() and " " not in key else _short(key),
        )
        await ctx.enqueue(payload, priority=payload.urgency.level)
    except (EngineError, ValueError):
        log.warning("the letter %s to %s was not enqueued", template, key, exc_info=True)
        return False
    return True


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
