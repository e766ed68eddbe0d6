"""Methods by which people start work: ahead of what the schedules start. What the jobs do is the handlers'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dhanam_jobs.engine import Job
from dhanam_jobs.handlers.categorize_all import CategorizeAll
from dhanam_jobs.handlers.categorize_transactions import CategorizeTransactions
from dhanam_jobs.handlers.service.base import ServiceBase
from dhanam_jobs.handlers.sync_connections import SyncConnections
from dhanam_jobs.handlers.sync_portfolio import SyncPortfolio
from dhanam_jobs.handlers.sync_transactions import Provider, SyncTransactions

FORCED_ESG: Final = 0
MANUAL_SYNC: Final = 1
MANUAL_CATEGORIZATION: Final = 2
MANUAL_SNAPSHOT: Final = 3
MANUAL_ESG: Final = 6


class Triggers(ServiceBase):
    """The `trigger_…` methods. Each joins equal work that waits or runs (`job.created` False); `user_id`, where it says
    who asks, is noted as an owner, who may then see the job.

    All raise Draining where this process is shutting down, and EngineUnavailable.
    """

    async def trigger_user_sync(
        self, user_id: str, provider: str | None = None, *, requested_by: str | None = None
    ) -> list[Job]:
        """Enqueue a sync of each of the user's connections, to one provider or to all. `requested_by` may see the jobs;
        by default the user."""
        found = await self._books().provider_connections.of_user(user_id, provider)
        payloads = [SyncTransactions(each.provider, each.user_id, each.id) for each in found]  # type: ignore[arg-type]
        return await self._queue("sync-transactions").enqueue_many(
            payloads, priority=MANUAL_SYNC, owner=requested_by or user_id
        )

    async def trigger_bulk_sync(self, user_ids: Iterable[str], *, requested_by: str | None = None) -> list[Job]:
        """Enqueue a sync of each connection of each of the users."""
        return [
            job
            for user_id in dict.fromkeys(user_ids)
            for job in await self.trigger_user_sync(user_id, requested_by=requested_by)
        ]

    async def trigger_space_categorization(self, space_id: str, *, user_id: str | None = None) -> Job:
        """Enqueue the categorisation of a space."""
        return await self._queue("categorize-transactions").enqueue(
            CategorizeTransactions(space_id), priority=MANUAL_CATEGORIZATION, owner=user_id
        )

    async def trigger_bulk_categorization(self, space_ids: Iterable[str], *, user_id: str | None = None) -> list[Job]:
        """Enqueue the categorisation of each of the spaces."""
        payloads = [CategorizeTransactions(each) for each in dict.fromkeys(space_ids)]
        return await self._queue("categorize-transactions").enqueue_many(
            payloads, priority=MANUAL_CATEGORIZATION, owner=user_id
        )

    async def trigger_categorization(
        self, space_ids: Sequence[str] | None = None, *, user_id: str | None = None
    ) -> Job:
        """Enqueue one job for many spaces, whose result is their sum; None means all but the demo's."""
        chosen = None if space_ids is None else sorted(set(space_ids))
        return await self._queue("categorize-transactions").enqueue(
            CategorizeAll(chosen), priority=MANUAL_CATEGORIZATION, owner=user_id
        )

    async def trigger_categorization_for(self, user_id: str, *, everywhere: bool = False) -> Job:
        """Enqueue one job for the spaces in which the user may work, or, `everywhere`, for all, the demo's too."""
        from dhanam_jobs.handlers.store import SpaceRole

        spaces = self._books().spaces
        if everywhere:
            chosen = await spaces.live_ids(with_demo=True)
        else:
            least = SpaceRole.MEMBER.rank
            chosen = [each.space_id for each in await spaces.of_user(user_id) if each.role.rank >= least]
        return await self.trigger_categorization(chosen, user_id=user_id)

    async def trigger_connections_sync(
        self, user_id: str, provider: Provider | None = None, full_sync: bool = False
    ) -> Job:
        """Enqueue one job for the user's connections, to one provider or to all, whose result is their sum."""
        return await self._queue("sync-transactions").enqueue(
            SyncConnections(user_id, provider, full_sync), priority=MANUAL_SYNC, owner=user_id
        )

    async def trigger_portfolio_sync(self, user_id: str | None = None, *, requested_by: str | None = None) -> Job:
        """Enqueue the sync of a user's exchange accounts; None means everybody's but the demo's."""
        return await self._queue("sync-transactions").enqueue(
            SyncPortfolio(user_id), priority=MANUAL_SYNC, owner=requested_by or user_id
        )

    async def trigger_esg_refresh(
        self, symbols: Sequence[str], force_refresh: bool = False, *, user_id: str | None = None
    ) -> Job:
        """Enqueue the refresh of symbols' scores; a forced one goes first and asks the source again."""
        return await self._queue("esg-updates").enqueue(
            "esg-update",
            {"symbols": list(symbols), "forceRefresh": force_refresh},
            priority=FORCED_ESG if force_refresh else MANUAL_ESG,
            owner=user_id,
        )

    async def trigger_valuation_snapshot(
        self, space_id: str, date: str | None = None, *, user_id: str | None = None
    ) -> Job:
        """Enqueue a space's snapshot of a day (`2026-05-20`), by default its own today."""
        payload = {"spaceId": space_id} if date is None else {"spaceId": space_id, "date": date}
        return await self._queue("valuation-snapshots").enqueue(
            "valuation-snapshot", payload, priority=MANUAL_SNAPSHOT, owner=user_id
        )
