"""Spaces and who belongs to them: roles for the guards, lists for fan-out, writing for load and demo."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import spaces, user_preferences, user_spaces
from dhanam_jobs.handlers.store.upsert import Row, upsert


class SpaceRole(enum.StrEnum):
    """What a member may do, from most to least; `rank` orders them."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    @property
    def rank(self) -> int:
        """4 for an owner down to 1 for a viewer."""
        return {"owner": 4, "admin": 3, "member": 2, "viewer": 1}[self.value]


class Space(msgspec.Struct, frozen=True):
    """A household's or a firm's books."""

    id: str
    name: str
    type: str
    currency: str
    timezone: str
    is_demo: bool
    deleted: bool


class Membership(msgspec.Struct, frozen=True):
    """One user's place in one space."""

    space_id: str
    role: SpaceRole


SPACE_DEFAULTS: Row = {
    "type": "personal",
    "currency": "MXN",
    "timezone": "America/Mexico_City",
    "is_demo": False,
}

_SPACE = [
    *(spaces.c[name] for name in Space.__struct_fields__ if name != "deleted"),
    spaces.c.deleted_at.is_not(None),
]


class Spaces(TableQueries):
    """Queries over `spaces` and `user_spaces`."""

    async def get(self, space_id: str) -> Space | None:
        """The space of that id, deleted or not."""
        async with self._connections.reading() as connection:
            row = (await connection.execute(sa.select(*_SPACE).where(spaces.c.id == space_id))).one_or_none()
        return None if row is None else Space(*row)

    async def role_of(self, user_id: str, space_id: str) -> SpaceRole | None:
        """The user's role in that space; None for no member, no space or a deleted space."""
        query = (
            sa.select(user_spaces.c.role)
            .join(spaces, spaces.c.id == user_spaces.c.space_id)
            .where(
                user_spaces.c.user_id == user_id,
                user_spaces.c.space_id == space_id,
                spaces.c.deleted_at.is_(None),
            )
        )
        async with self._connections.reading() as connection:
            role = (await connection.execute(query)).scalar_one_or_none()
        return None if role is None else SpaceRole(role)

    async def of_user(self, user_id: str) -> list[Membership]:
        """The live spaces that the user belongs to, by space id."""
        query = (
            sa.select(user_spaces.c.space_id, user_spaces.c.role)
            .join(spaces, spaces.c.id == user_spaces.c.space_id)
            .where(user_spaces.c.user_id == user_id, spaces.c.deleted_at.is_(None))
            .order_by(user_spaces.c.space_id)
        )
        async with self._connections.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [Membership(space_id, SpaceRole(role)) for space_id, role in rows]

    async def live_ids(self, *, with_demo: bool) -> list[str]:
        """Ids of all live spaces in order; schedules leave the demo's out."""
        query = sa.select(spaces.c.id).where(spaces.c.deleted_at.is_(None)).order_by(spaces.c.id)
        if not with_demo:
            query = query.where(spaces.c.is_demo.is_(False))
        async with self._connections.reading() as connection:
            return list((await connection.execute(query)).scalars())

    async def owner_declined_categorization(self, space_id: str) -> bool:
        """Whether an owner of the space has switched auto_categorize_txns off."""
        query = (
            sa.select(user_spaces.c.user_id)
            .join(user_preferences, user_preferences.c.user_id == user_spaces.c.user_id)
            .where(
                user_spaces.c.space_id == space_id,
                user_spaces.c.role == SpaceRole.OWNER.value,
                user_preferences.c.auto_categorize_txns.is_(False),
            )
            .limit(1)
        )
        async with self._connections.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def existing_ids(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are spaces, deleted or not."""
        return {row.id for row in await self._where_in(sa.select(spaces.c.id), spaces.c.id, ids)}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write spaces by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, spaces, rows, defaults=SPACE_DEFAULTS)

    async def upsert_members(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write memberships (user_id, space_id, role); gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, user_spaces, rows, defaults={}, stamped=False)

    async def erase(self, ids: Sequence[str]) -> int:
        """Delete spaces for good, with all that belongs to them; gives how many there were."""
        async with self._connections.writing() as connection:
            return (await connection.execute(sa.delete(spaces).where(spaces.c.id.in_(ids)))).rowcount
