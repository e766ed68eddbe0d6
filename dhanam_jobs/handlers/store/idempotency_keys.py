"""Which requests came under an idempotency key, what jobs they made and how they were answered, for 24 hours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type, json_type, utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import metadata
from dhanam_jobs.handlers.store.upsert import insert_for

LIFE: Final = dt.timedelta(hours=24)
"""How long a key is known."""
TAKE_OVER: Final = dt.timedelta(minutes=1)
"""A request that has not noted its jobs for so long has died; the next one with its key takes its place."""
MAX_KEYS: Final = 5_000
"""Keys of one user within `LIFE`."""

# `request` is a hash of what was asked; `jobs` is [[queue, id], ...] from when they are enqueued.
idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("user_id", id_type(), sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", id_type(), primary_key=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("jobs", json_type()),
    sa.Column("answer", sa.Text),
    sa.Column("begun_at", UtcMoment(), nullable=False, index=True),
)


class TooManyKeys(Exception):
    """Raised by `begin`; the text is fit for the client."""


class KeptRequest(msgspec.Struct, frozen=True):
    """A request that came before: the hash of what it asked, its jobs (queue, id) once enqueued, its last answer."""

    request: str
    jobs: list[tuple[str, str]] | None
    answer: str | None


class IdempotencyKeys(TableQueries):
    """Queries over `idempotency_keys`."""

    async def begin(self, user_id: str, key: str, request: str) -> KeptRequest | None:
        """Note a request under a key; None where it is the first, or takes the place of one that died.

        Else gives the request that came before, and changes nothing. Drops keys that are over. Raises TooManyKeys.
        """
        now = utc_now()
        table = idempotency_keys.c
        async with self._connections.writing() as connection:
            await connection.execute(sa.delete(idempotency_keys).where(table.begun_at <= now - LIFE))
            values = {"user_id": user_id, "key": key, "request": request, "begun_at": now}
            adding = insert_for(connection, idempotency_keys).values(values).on_conflict_do_nothing()
            if (await connection.execute(adding)).rowcount == 1:
                counting = sa.select(sa.func.count()).where(table.user_id == user_id)
                if (await connection.execute(counting)).scalar_one() > MAX_KEYS:
                    raise TooManyKeys(f"Idempotency-Key: found {MAX_KEYS} keys within 24 hours, which is the most")
                return None
            ours = sa.and_(table.user_id == user_id, table.key == key)
            taking = sa.update(idempotency_keys).where(
                ours, table.jobs.is_(None), table.begun_at <= now - TAKE_OVER, table.request == request
            )
            if (await connection.execute(taking.values(begun_at=now))).rowcount == 1:
                return None
            row = (await connection.execute(sa.select(table.request, table.jobs, table.answer).where(ours))).one()
        jobs = None if row.jobs is None else [(queue, job_id) for queue, job_id in row.jobs]
        return KeptRequest(row.request, jobs, row.answer)

    async def note_jobs(self, user_id: str, key: str, jobs: Sequence[tuple[str, str]]) -> None:
        """Note the jobs that a request enqueued, each by queue and id."""
        await self._change(user_id, key, jobs=[list(each) for each in jobs])

    async def note_answer(self, user_id: str, key: str, answer: str) -> None:
        """Note how a request was answered; the last one stands."""
        await self._change(user_id, key, answer=answer)

    async def forget(self, user_id: str, key: str) -> None:
        """Take back a request that enqueued nothing."""
        table = idempotency_keys.c
        statement = sa.delete(idempotency_keys).where(table.user_id == user_id, table.key == key, table.jobs.is_(None))
        async with self._connections.writing() as connection:
            await connection.execute(statement)

    async def _change(self, user_id: str, key: str, **values: object) -> None:
        table = idempotency_keys.c
        statement = sa.update(idempotency_keys).where(table.user_id == user_id, table.key == key).values(**values)
        async with self._connections.writing() as connection:
            await connection.execute(statement)
