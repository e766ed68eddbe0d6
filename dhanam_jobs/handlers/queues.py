"""The queue table: one row per queue, in the order of the stats. Which jobs they carry is the handlers'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from dhanam_jobs.engine import ConfigurationError, Registry, Retention, RetryPolicy


class QueueRow(msgspec.Struct, frozen=True):
    """One queue's settings; a job name may override the retry policy.

    Concurrency is the number of its jobs that one process runs at once; the setting
    `QUEUE_<NAME>_CONCURRENCY` overrides it.
    """

    name: str
    concurrency: int = 5
    retry: RetryPolicy = RetryPolicy(attempts=3, base=5.0)
    retention: Retention = Retention(completed=100, failed=50)


QUEUES: Final = (
    QueueRow("sync-transactions"),
    QueueRow("categorize-transactions"),
    QueueRow("esg-updates"),
    QueueRow("valuation-snapshots"),
    QueueRow("email-notifications"),
    QueueRow("system-maintenance"),
)
QUEUE_NAMES: Final = tuple(row.name for row in QUEUES)


def declare_queues(registry: Registry, concurrency: Mapping[str, int] | None = None) -> None:
    """Give the registry all queues; `concurrency` overrides the table's, by queue name.

    Raises:
        ConfigurationError: `concurrency` names a queue that isn't in the table, or is no number above 0.
    """
    given = dict(concurrency or {})
    for row in QUEUES:
        registry.queue(
            row.name,
            concurrency=given.pop(row.name, row.concurrency),
            retry=row.retry,
            retention=row.retention,
        )
    if given:
        found, legal = ", ".join(sorted(given)), ", ".join(QUEUE_NAMES)
        raise ConfigurationError(f"concurrency: found queues {found}, wanted only {legal}")
