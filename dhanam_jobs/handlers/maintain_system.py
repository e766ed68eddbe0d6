"""The jobs `cleanup-expired-sessions`, `cleanup-demo-accounts` and `apply-retention`: remove what has grown old.

Each says how much it removed; with `dryRun` how much it would, and removes nothing. What old means is written here;
removing, and the audit entry of each removal, is the store's.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dhanam_jobs.engine import Engine, JobContext, JobFilter, Operations, Registry
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.maintenance import AgedConnection

QUEUE_NAME: Final = "system-maintenance"
SESSIONS: Final = "cleanup-expired-sessions"
DEMO_ACCOUNTS: Final = "cleanup-demo-accounts"
RETENTION: Final = "apply-retention"

STALE_CONNECTIONS: Final = dt.timedelta(days=30)
"""A connection that hasn't synced and that nobody has changed for so long is stale."""

ABANDONED_DEMO: Final = dt.timedelta(days=7)
LEFT_USERS: Final = dt.timedelta(days=30)
ATTEMPTS: Final = dt.timedelta(days=90)
DELIVERIES: Final = dt.timedelta(days=90)
AUDIT: Final = dt.timedelta(days=730)

DEMO_DOMAIN: Final = "dhanam.demo"
PERSONAS: Final = frozenset(f"{name}@{DEMO_DOMAIN}" for name in ("guest", "maria", "carlos", "patricia", "diego"))
"""The demo's own people, who stay."""

_SYNC_QUEUE: Final = "sync-transactions"
_LIVE: Final = ("waiting", "active", "delayed", "blocked", "parked")


class CleanupExpiredSessions(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The payload of `cleanup-expired-sessions`."""

    dry_run: bool = False


class CleanupDemoAccounts(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The payload of `cleanup-demo-accounts`."""

    dry_run: bool = False


class ApplyRetention(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The payload of `apply-retention`."""

    dry_run: bool = False


class SessionsCleaned(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Connections that are in use and that are stale, stale ones that a job refers to (they stay), and those removed;
    expired sessions removed. Of a dry run: those that would be."""

    active_connections: int
    stale_connections: int
    busy_connections: int
    removed: int
    sessions_removed: int
    dry_run: bool


class DemoCleaned(msgspec.Struct, rename="camel", frozen=True):
    """Demo users who were deleted, with the spaces that only they belonged to."""

    deleted: int
    spaces_deleted: int
    dry_run: bool


class RetentionApplied(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Rows removed: users deleted long ago, spaces that only they belonged to, and old records."""

    users: int
    spaces: int
    sessions: int
    connection_attempts: int
    email_deliveries: int
    audit_logs: int
    dry_run: bool


class Resources(Protocol):
    """What the handlers need of the worker's resources."""

    @property
    def store(self) -> Store: ...

    @property
    def engine(self) -> Engine: ...


def _key(payload: CleanupExpiredSessions | CleanupDemoAccounts | ApplyRetention) -> str:
    return f"{type(payload).__name__}:{payload.dry_run}"


def register(registry: Registry) -> None:
    """Add the three jobs: one of each at a time, dry runs beside the real ones."""
    for name, handler in (
        (SESSIONS, cleanup_expired_sessions),
        (DEMO_ACCOUNTS, cleanup_demo_accounts),
        (RETENTION, apply_retention),
    ):
        registry.job(
            name,
            queue=QUEUE_NAME,
            unique=_key,
            accept=envelope_of(name),
            timeout=1800.0,
        )(handler)


async def cleanup_expired_sessions(ctx: JobContext, payload: CleanupExpiredSessions) -> SessionsCleaned:
    """Remove expired sessions, and stale connections that no job refers to."""
    resources: Resources = ctx.resources
    maintenance = resources.store.maintenance
    now = dt.datetime.now(dt.UTC)
    before = now - STALE_CONNECTIONS
    connections = await maintenance.connections()
    stale = [each for each in connections if each.last_seen < before]
    busy = await _referred_to(resources.engine, stale) if stale else set()
    idle = [each.id for each in stale if each.id not in busy]
    ctx.check_claim()
    if payload.dry_run:
        removed, sessions = len(idle), await maintenance.expired_sessions(now)
    else:
        removed = len(await maintenance.remove_connections(idle, before))
        sessions = await maintenance.remove_expired_sessions(now)
    return SessionsCleaned(
        active_connections=len(connections) - len(stale),
        stale_connections=len(stale),
        busy_connections=len(busy),
        removed=removed,
        sessions_removed=sessions,
        dry_run=payload.dry_run,
    )


async def cleanup_demo_accounts(ctx: JobContext, payload: CleanupDemoAccounts) -> DemoCleaned:
    """Delete demo users whom nobody has been for a week; the demo's own people and spaces stay."""
    resources: Resources = ctx.resources
    maintenance = resources.store.maintenance
    before = dt.datetime.now(dt.UTC) - ABANDONED_DEMO
    found = await maintenance.abandoned_users(DEMO_DOMAIN, before, PERSONAS)
    if payload.dry_run or not found:
        return DemoCleaned(len(found), 0, payload.dry_run)
    ctx.check_claim()
    erased = await maintenance.erase_users(found, "user.demo_removed")
    return DemoCleaned(erased.users, erased.spaces, dry_run=False)


async def apply_retention(ctx: JobContext, payload: ApplyRetention) -> RetentionApplied:
    """Erase users who were deleted a month ago, and records that nobody needs any more."""
    resources: Resources = ctx.resources
    store = resources.store
    now = dt.datetime.now(dt.UTC)
    left = await store.maintenance.left_users(now - LEFT_USERS)
    if payload.dry_run:
        return RetentionApplied(
            users=len(left),
            spaces=0,
            sessions=await store.maintenance.expired_sessions(now),
            connection_attempts=await store.maintenance.old_attempts(now - ATTEMPTS),
            email_deliveries=await store.maintenance.old_deliveries(now - DELIVERIES),
            audit_logs=await store.audit_log.count_before(now - AUDIT),
            dry_run=True,
        )
    ctx.check_claim()
    erased = await store.maintenance.erase_users(left, "user.erased")
    return RetentionApplied(
        users=erased.users,
        spaces=erased.spaces,
        sessions=await store.maintenance.remove_expired_sessions(now),
        connection_attempts=await store.maintenance.remove_old_attempts(now - ATTEMPTS),
        email_deliveries=await store.emails.prune(now - DELIVERIES),
        audit_logs=await store.audit_log.prune(now - AUDIT),
        dry_run=False,
    )


class _Referring(msgspec.Struct, rename="camel"):
    """What a sync's payload says of connections."""

    connection_id: str | None = None
    user_id: str | None = None


async def _referred_to(engine: Engine, connections: list[AgedConnection]) -> set[str]:
    """Ids of those connections that a job which has not ended names, or will enqueue syncs of."""
    operations = Operations(engine.queue(_SYNC_QUEUE))
    named: set[str] = set()
    portfolios: set[str | None] = set()
    users: set[str | None] = set()
    for state in _LIVE:
        for name in ("sync-transactions", "sync-portfolio", "sync-connections"):
            cursor: str | None = None
            while True:
                page = await operations.page(state, where=JobFilter(name=name), cursor=cursor)
                for info in page.jobs:
                    told = msgspec.json.decode(info.payload, type=_Referring)
                    if name == "sync-portfolio":
                        portfolios.add(told.user_id)
                    elif name == "sync-connections":
                        users.add(told.user_id)
                    elif told.connection_id is not None:
                        named.add(told.connection_id)
                cursor = page.cursor
                if cursor is None:
                    break
    return {
        each.id
        for each in connections
        if each.id in named
        or each.user_id in users
        or (each.provider == "bitso" and (None in portfolios or each.user_id in portfolios))
    }
