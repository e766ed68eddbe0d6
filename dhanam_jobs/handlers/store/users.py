"""Users and their preferences: reading one, writing many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import user_preferences, users
from dhanam_jobs.handlers.store.upsert import Row, upsert


class User(msgspec.Struct, frozen=True):
    """A person as guards and handlers need them; a deleted user is none."""

    id: str
    email: str
    name: str
    locale: str
    timezone: str
    is_active: bool
    is_admin: bool
    subscription_tier: str


USER_DEFAULTS: Row = {
    "locale": "es",
    "timezone": "America/Mexico_City",
    "is_active": True,
    "is_admin": False,
    "subscription_tier": "community",
}
PREFERENCE_DEFAULTS: Row = {
    "email_notifications": True,
    "push_notifications": True,
    "weekly_reports": True,
    "monthly_reports": True,
    "auto_categorize_txns": True,
    "export_format": "csv",
    "default_currency": "MXN",
}

_COLUMNS = [users.c[name] for name in User.__struct_fields__]


class Users(TableQueries):
    """Queries over `users` and `user_preferences`."""

    async def get(self, user_id: str) -> User | None:
        """The user of that id, active or not; None when there is none or it is deleted."""
        query = sa.select(*_COLUMNS).where(users.c.id == user_id, users.c.deleted_at.is_(None))
        async with self._connections.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else User(*row)

    async def existing_ids(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are live users."""
        query = sa.select(users.c.id).where(users.c.deleted_at.is_(None))
        return {row.id for row in await self._where_in(query, users.c.id, ids)}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write users by id; gives (new, known). New ones get the default preferences as well."""
        async with self._connections.writing() as connection:
            counts = await upsert(connection, users, rows, defaults=USER_DEFAULTS)
            preferences = [{"user_id": row["id"]} for row in rows]
            await upsert(connection, user_preferences, preferences, defaults=PREFERENCE_DEFAULTS)
        return counts

    async def upsert_preferences(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write preferences by user_id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, user_preferences, rows, defaults=PREFERENCE_DEFAULTS)
