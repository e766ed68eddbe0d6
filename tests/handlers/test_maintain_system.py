"""Clean-ups remove what is old, spare what is used, can be tried first, and leave a trace that can be checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from dhanam_jobs.engine import Engine, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.maintain_system import DEMO_ACCOUNTS, QUEUE_NAME, RETENTION, SESSIONS
from dhanam_jobs.handlers.store.audit import AuditEntry
from dhanam_jobs.handlers.store.emails import email_deliveries
from dhanam_jobs.handlers.store.maintenance_tables import audit_logs, sessions
from dhanam_jobs.handlers.store.provider_connections import Attempt
from dhanam_jobs.handlers.store.provider_tables import connection_attempts, provider_connections
from dhanam_jobs.handlers.store.schema import accounts, spaces, users
from dhanam_jobs.handlers.sync_connections import SyncConnections
from dhanam_jobs.handlers.sync_portfolio import SyncPortfolio
from dhanam_jobs.handlers.sync_transactions import SyncTransactions

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Store
    from tests.handlers.conftest import Household

NOW = dt.datetime.now(dt.UTC)


def _ago(days: float) -> dt.datetime:
    return NOW - dt.timedelta(days=days)


@dataclass
class _Resources:
    store: Store
    engine: Engine


class Desk:
    """The maintenance queue with a worker; nobody works the syncs."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self.engine = engine
        self.store = store

    async def run(self, name: str, **payload: Any) -> Any:
        return await (await self.engine.queue(QUEUE_NAME).enqueue(name, payload)).result(timeout=20)

    async def write(self, *statements: sa.Executable) -> None:
        async with self.store._connections.writing() as connection:
            for statement in statements:
                await connection.execute(statement)

    async def ids(self, table: sa.Table) -> list[str]:
        async with self.store._connections.reading() as connection:
            return sorted((await connection.execute(sa.select(table.c.id))).scalars())

    async def connect(self, connection_id: str, days: float, provider: str = "belvo", **fields: Any) -> None:
        """A connection that nothing has happened to for so many days."""
        row = {"id": connection_id, "provider_user_id": connection_id, "encrypted_token": "sealed"}
        await self.store.provider_connections.upsert([{**row, "user_id": "ana", "provider": provider, **fields}])
        changed = sa.update(provider_connections).where(provider_connections.c.id == connection_id)
        await self.write(changed.values(updated_at=_ago(days)))

    async def sessions(self, *days: float) -> None:
        """Sessions that expired so many days ago."""
        rows = [
            {
                "id": f"s{number}",
                "user_id": "ana",
                "token_family": f"f{number}",
                "refresh_token_hash": "hash",
                "expires_at": _ago(each),
                "created_at": _ago(60),
                "updated_at": _ago(60),
            }
            for number, each in enumerate(days)
        ]
        await self.write(sa.insert(sessions).values(rows))


@pytest.fixture
async def desk(redis: Redis, redis_url: str, household: Household) -> AsyncIterator[Desk]:
    """Maintenance of the household."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine.connect(redis_url, registry=build_registry()))
        resources = _Resources(household.store, engine)
        await stack.enter_async_context(Worker(engine.queue(QUEUE_NAME), resources=resources))
        yield Desk(engine, household.store)


async def test_stale_connections_and_expired_sessions_are_removed_and_audited(desk: Desk) -> None:
    """B24: the clean-up counted and removed nothing. A dry run still does; the demo's, and used ones, stay."""
    await desk.connect("fresh", 29)
    await desk.connect("stale", 31)
    await desk.connect("synced", 40, last_synced_at=_ago(2))
    await desk.connect("show", 99, metadata={"demo": True})
    await desk.sessions(1, 0.001, -1)
    expected = {
        "activeConnections": 2,
        "staleConnections": 1,
        "busyConnections": 0,
        "removed": 1,
        "sessionsRemoved": 2,
    }

    assert await desk.run(SESSIONS, dryRun=True) == {**expected, "dryRun": True}
    assert len(await desk.ids(provider_connections)) == 4
    assert await desk.run(SESSIONS) == {**expected, "dryRun": False}
    assert await desk.ids(provider_connections) == ["fresh", "show", "synced"]
    assert await desk.ids(sessions) == ["s2"]
    (entry,) = await desk.store.audit_log.of_resource("ProviderConnection", "stale")
    assert (entry.action, entry.user_id, entry.severity) == ("connection.removed_stale", "ana", "medium")
    assert entry.details["provider"] == "belvo"
    assert (await desk.run(SESSIONS))["staleConnections"] == 0


async def test_a_connection_that_a_job_refers_to_stays(desk: Desk) -> None:
    """Waiting, delayed, or about to be enqueued by the sync of several; the next run finds it again."""
    for name, provider in (("a", "belvo"), ("b", "plaid"), ("c", "bitso"), ("d", "belvo")):
        await desk.connect(name, 50, provider)
    await desk.engine.enqueue(SyncTransactions("belvo", "ana", "a"))
    await desk.engine.enqueue(SyncTransactions("plaid", "ana", "b"), delay=3600)
    await desk.engine.enqueue(SyncPortfolio("ana"))

    result = await desk.run(SESSIONS)
    assert (result["staleConnections"], result["busyConnections"], result["removed"]) == (4, 3, 1)
    assert await desk.ids(provider_connections) == ["a", "b", "c"]

    await desk.connect("e", 50, "plaid")
    await desk.engine.enqueue(SyncConnections("ana"))
    assert (await desk.run(SESSIONS))["busyConnections"] == 4


async def test_abandoned_demo_users_go_and_the_personas_stay(desk: Desk) -> None:
    """With their own spaces; not those who were seen this week, nor the demo's spaces, nor shared ones."""
    people = {"guest": 9, "visitor1": 9, "visitor2": 6, "visitor3": 9, "Visitor4": 9}
    rows = [{"id": name, "email": f"{name}@dhanam.demo", "name": name} for name in people]
    await desk.store.users.upsert([*rows, {"id": "real", "email": "a@dhanam.demo.example", "name": "R"}])
    await desk.store.spaces.upsert(
        [{"id": "own", "name": "O"}, {"id": "show", "name": "S", "is_demo": True}, {"id": "guests", "name": "G"}]
    )
    members = [("visitor1", "own"), ("visitor1", "home"), ("Visitor4", "show"), ("guest", "guests")]
    await desk.store.spaces.upsert_members(
        [{"user_id": user, "space_id": space, "role": "owner"} for user, space in members]
    )
    for name, days in people.items():
        seen = _ago(1) if name == "visitor3" else None
        await desk.write(
            sa.update(users).where(users.c.id == name).values(updated_at=_ago(days), last_activity_at=seen)
        )
    await desk.write(sa.update(users).where(users.c.id == "real").values(updated_at=_ago(99)))

    assert await desk.run(DEMO_ACCOUNTS, dryRun=True) == {"deleted": 2, "spacesDeleted": 0, "dryRun": True}
    assert await desk.run(DEMO_ACCOUNTS) == {"deleted": 2, "spacesDeleted": 1, "dryRun": False}
    assert await desk.ids(users) == ["ana", "eva", "guest", "luis", "real", "visitor2", "visitor3"]
    assert await desk.ids(spaces) == ["guests", "home", "other", "show"]
    assert await desk.run(DEMO_ACCOUNTS) == {"deleted": 0, "spacesDeleted": 0, "dryRun": False}


async def test_retention_erases_who_left_a_month_ago_and_old_records(desk: Desk) -> None:
    """B23: the retention job was wired to nothing. What is theirs alone goes with them; shared books stay."""
    await desk.store.users.upsert([{"id": "eva", "deleted_at": _ago(31)}, {"id": "luis", "deleted_at": _ago(29)}])
    await desk.connect("kept", 1)
    await desk.store.provider_connections.record_attempt(
        Attempt(connection_id="kept", provider="belvo", space_id="home", status="success")
    )
    await desk.write(sa.update(connection_attempts).values(attempted_at=_ago(91)))
    mail = {"recipient": "a@example.test", "template": "welcome", "urgent": False}
    days = {"old": _ago(91), "new": _ago(1)}
    await desk.write(
        *(sa.insert(email_deliveries).values(message_id=name, begun_at=at, **mail) for name, at in days.items())
    )
    await desk.store.audit_log.record([AuditEntry(action="a", resource="R") for _ in range(3)])
    await desk.write(sa.update(audit_logs).where(audit_logs.c.seq <= 2).values(timestamp=_ago(800)))
    await desk.sessions(1)
    counted = {"users": 1, "sessions": 1, "connectionAttempts": 1, "emailDeliveries": 1, "auditLogs": 2}

    assert await desk.run(RETENTION, dryRun=True) == {**counted, "spaces": 0, "dryRun": True}
    assert len(await desk.ids(users)) == 3
    assert await desk.run(RETENTION) == {**counted, "spaces": 1, "dryRun": False}
    assert (await desk.ids(users), await desk.ids(spaces)) == (["ana", "luis"], ["home"])
    assert await desk.ids(accounts) == ["debit"]
    assert await desk.store.audit_log.first_broken() is None
    assert [e.action for e in await desk.store.audit_log.of_resource("User", "eva")] == ["user.erased"]
    assert await desk.run(RETENTION) == {**dict.fromkeys(counted, 0), "spaces": 0, "dryRun": False}


async def test_a_change_of_the_audit_log_shows(store: Store) -> None:
    """In an entry, or by taking one out of the middle."""
    log = store.audit_log
    await log.record([AuditEntry(action=f"a{n}", resource="R", details={"n": n, "ñ": [None]}) for n in range(3)])
    await log.record([AuditEntry(action="b", resource="R", resource_id="1", user_id="ana")])
    assert await log.first_broken() is None

    async with store._connections.writing() as connection:
        await connection.execute(sa.update(audit_logs).where(audit_logs.c.seq == 3).values(metadata='{"n":9}'))
    assert await log.first_broken() == 3
    async with store._connections.writing() as connection:
        await connection.execute(sa.delete(audit_logs).where(audit_logs.c.seq.in_([2, 3])))
    assert await log.first_broken() == 4
