"""E-mails: who is behind an address and what they want to get; which messages were handed over, and when."""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import UtcMoment, utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import metadata, user_preferences, users
from dhanam_jobs.handlers.store.upsert import insert_for

WINDOW: Final = dt.timedelta(hours=1)
"""The time over which a recipient's messages are counted."""

# A message that was begun and perhaps sent. `recipient` is the address in lower case.
email_deliveries = sa.Table(
    "email_deliveries",
    metadata,
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Column("begun_at", UtcMoment(), nullable=False, index=True),
    sa.Column("sent_at", UtcMoment()),
    sa.Index("ix_email_deliveries_recipient_begun_at", "recipient", "begun_at"),
)


class Recipient(msgspec.Struct, frozen=True):
    """The user behind an address. A deleted user is not active."""

    id: str
    locale: str
    timezone: str
    is_active: bool
    email_notifications: bool
    weekly_reports: bool
    monthly_reports: bool


class Begun(msgspec.Struct, frozen=True):
    """Whether a message may be sent: not when it was sent before, and not for `wait_s` seconds when that is set."""

    sent_before: bool = False
    wait_s: float | None = None


class Emails(TableQueries):
    """Queries over `email_deliveries`, and over users by address."""

    async def recipient(self, address: str) -> Recipient | None:
        """The user of that address (in these capitals, or in none); None when it is nobody's."""
        query = (
            sa.select(
                users.c.id,
                users.c.locale,
                users.c.timezone,
                sa.and_(users.c.is_active, users.c.deleted_at.is_(None)),
                sa.func.coalesce(user_preferences.c.email_notifications, sa.true()),
                sa.func.coalesce(user_preferences.c.weekly_reports, sa.true()),
                sa.func.coalesce(user_preferences.c.monthly_reports, sa.true()),
            )
            .join(user_preferences, user_preferences.c.user_id == users.c.id, isouter=True)
            .where(users.c.email.in_({address, address.lower()}))
            .order_by(users.c.deleted_at.is_not(None), users.c.id)
            .limit(1)
        )
        async with self._connections.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Recipient(*row[:3], *(bool(value) for value in row[3:]))

    async def begin(self, message_id: str, recipient: str, template: str, *, urgent: bool, limit: int) -> Begun:
        """Note that a message is about to be sent, unless it was sent or its recipient has had `limit` in an hour.

        Urgent messages are counted by themselves. Two that begin at once for one recipient count each other.
        """
        async with self._connections.writing() as connection:
            if connection.dialect.name == "postgresql":
                lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"mail:{recipient}", 0))
                await connection.execute(sa.select(lock))
            known = sa.select(email_deliveries.c.sent_at).where(email_deliveries.c.message_id == message_id)
            row = (await connection.execute(known)).one_or_none()
            if row is not None and row.sent_at is not None:
                return Begun(sent_before=True)
            now = utc_now()
            recent = (
                sa.select(email_deliveries.c.begun_at)
                .where(
                    email_deliveries.c.recipient == recipient,
                    email_deliveries.c.urgent.is_(urgent),
                    email_deliveries.c.begun_at > now - WINDOW,
                    email_deliveries.c.message_id != message_id,
                )
                .order_by(email_deliveries.c.begun_at.desc())
                .limit(limit)
            )
            begun = list((await connection.execute(recent)).scalars())
            if len(begun) >= limit:
                return Begun(wait_s=max(1.0, (begun[-1] + WINDOW - now).total_seconds()))
            values = {"recipient": recipient, "template": template, "urgent": urgent, "begun_at": now}
            await connection.execute(
                insert_for(connection, email_deliveries)
                .values(message_id=message_id, **values)
                .on_conflict_do_update(index_elements=["message_id"], set_=values)
            )
        return Begun()

    async def finish(self, message_id: str) -> None:
        """Note that a message was handed over."""
        statement = sa.update(email_deliveries).where(email_deliveries.c.message_id == message_id)
        async with self._connections.writing() as connection:
            await connection.execute(statement.values(sent_at=utc_now()))

    async def forget(self, message_id: str) -> None:
        """Take back that a message was begun; one that was sent stays."""
        statement = sa.delete(email_deliveries).where(
            email_deliveries.c.message_id == message_id, email_deliveries.c.sent_at.is_(None)
        )
        async with self._connections.writing() as connection:
            await connection.execute(statement)

    async def prune(self, before: dt.datetime) -> int:
        """Drop deliveries begun before a moment; gives how many. What is dropped is no longer known as sent."""
        statement = sa.delete(email_deliveries).where(email_deliveries.c.begun_at < before)
        async with self._connections.writing() as connection:
            return (await connection.execute(statement)).rowcount
