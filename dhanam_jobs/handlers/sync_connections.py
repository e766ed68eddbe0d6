"""The job `sync-connections`: syncs a user's connections, to one provider or to all, one child job each.

What a child does is sync_transactions.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dhanam_jobs.engine import Child, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.sync_transactions import Provider, SyncResult, SyncTransactions

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store

JOB_NAME: Final = "sync-connections"


class SyncConnections(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whose connections, to which provider (None: to all); `fullSync` asks for everything instead of what is new."""

    user_id: str
    provider: Provider | None = None
    full_sync: bool = False


class ConnectionsSynced(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many connections were synced, what they brought, and how many failed; `failures` says which and why."""

    synced_connections: int
    errors: int
    transactions: int
    failures: list[str]


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time per user and choice of provider."""
    registry.job(
        JOB_NAME,
        queue="sync-transactions",
        unique=lambda payload: f"connections:{payload.user_id}:{payload.provider or ''}",
        accept=envelope_of(JOB_NAME),
    )(sync_connections)


async def sync_connections(ctx: JobContext, payload: SyncConnections) -> ConnectionsSynced:
    """Run the job; a connection that fails is counted and leaves the others alone."""
    resources: Resources = ctx.resources
    found = await resources.store.provider_connections.of_user(payload.user_id, payload.provider)
    options = {"priority": ctx.job.priority}
    await ctx.add_children(
        Child(
            each.id,
            SyncTransactions(each.provider, each.user_id, each.id, payload.full_sync),  # type: ignore[arg-type]
            on_failure="ignore",
            options=options,
        )
        for each in found
    )
    ended = await ctx.wait_children()
    done = [each.result_as(SyncResult) for each in ended if each.completed]
    failures = [f"connection {each.key}: {each.reason}" for each in ended if not each.completed]
    return ConnectionsSynced(
        synced_connections=len(done),
        errors=len(failures),
        transactions=sum(each.transactions for each in done),
        failures=failures,
    )
