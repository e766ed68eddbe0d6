"""What Dhanam's jobs do: one module per kind of job, the queue table, the service's methods. No HTTP.

`build_registry` joins the handlers with the engine by an explicit list; nothing is scanned. Modules are loaded
when they are first needed, so that a command which needs none of them starts fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dhanam_jobs.engine import Middleware, Registry
    from dhanam_jobs.handlers.jobs_service import JobsService

__all__ = ["JobsService", "build_registry"]


def build_registry(concurrency: Mapping[str, int] | None = None, *, around: Iterable[Middleware] = ()) -> Registry:
    """Return the registry of all queues and all jobs.

    Args:
        concurrency: jobs that one process runs at once, by queue name; the table's where a queue isn't named.
        around: middleware outside of the service's own.

    Raises:
        ConfigurationError: `concurrency` names an unknown queue, or holds a value that can't work.
    """
    from dhanam_jobs.engine import Registry
    from dhanam_jobs.handlers import (
        categorize_all,
        categorize_transactions,
        maintain_system,
        refresh_exchange_rates,
        send_email,
        send_reports,
        snapshot_valuations,
        sync_connections,
        sync_portfolio,
        sync_transactions,
        sync_wallets,
        update_esg,
    )
    from dhanam_jobs.handlers.journal import Journal
    from dhanam_jobs.handlers.queues import declare_queues

    registry = Registry()
    registry.use(*around, Journal())
    declare_queues(registry, concurrency)
    for each in (sync_transactions, sync_connections, sync_portfolio, sync_wallets):
        each.register(registry)
    categorize_transactions.register(registry)
    categorize_all.register(registry)
    send_email.register(registry)
    send_reports.register(registry)
    for each in (update_esg, snapshot_valuations, refresh_exchange_rates, maintain_system):
        each.register(registry)
    return registry


def __getattr__(name: str) -> Any:
    if name == "JobsService":
        from dhanam_jobs.handlers.jobs_service import JobsService

        return JobsService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
