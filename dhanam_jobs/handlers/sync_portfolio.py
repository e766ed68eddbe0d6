"""The job `sync-portfolio`: syncs the Bitso connections of one user, or of all, one child job each.

What a child does is sync_transactions.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dhanam_jobs.engine import Child, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.sync_transactions import SyncTransactions

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store

JOB_NAME: Final = "sync-portfolio"


class SyncPortfolio(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whose portfolio; None means everybody's but the demo's."""

    user_id: str | None = None


class PortfolioSynced(msgspec.Struct, rename="camel", frozen=True):
    """How many users had all their connections synced, and how many connections failed."""

    synced_users: int
    errors: int


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time per user, and one for all."""
    registry.job(
        JOB_NAME,
        queue="sync-transactions",
        unique=lambda payload: f"portfolio:{payload.user_id or ''}",
        accept=envelope_of(JOB_NAME),
    )(sync_portfolio)


async def sync_portfolio(ctx: JobContext, payload: SyncPortfolio) -> PortfolioSynced:
    """Run the job; a connection that fails is counted and leaves the others alone."""
    resources: Resources = ctx.resources
    connections = resources.store.provider_connections
    if payload.user_id is not None:
        found = await connections.of_user(payload.user_id, "bitso")
    else:
        found = await connections.of_provider("bitso", with_demo=False)
    options = {"priority": ctx.job.priority}
    await ctx.add_children(
        Child(each.id, SyncTransactions("bitso", each.user_id, each.id), on_failure="ignore", options=options)
        for each in found
    )
    ended = await ctx.wait_children()
    # A connection may have gone since the child was added.
    users = {each.id: each.user_id for each in found}
    failed = [users[each.key] for each in ended if not each.completed and each.key in users]
    return PortfolioSynced(synced_users=len(set(users.values()) - set(failed)), errors=len(failed))
