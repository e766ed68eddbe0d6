"""The health of providers by region, as rows that processes share, and how far chains were read.

What a row means, and how it changes with each call, is the circuit breaker's (providers/breaker.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.provider_tables import chain_scans, provider_health_status
from dhanam_jobs.handlers.store.upsert import insert_for


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's health in one region; the calls counted are those since `window_start_at`."""

    provider: str
    region: str
    window_start_at: dt.datetime
    status: str = "healthy"
    error_rate: float = 0.0
    avg_response_time_ms: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    last_success_at: dt.datetime | None = None
    last_failure_at: dt.datetime | None = None
    last_error: str | None = None
    circuit_breaker_open: bool = False
    opened_at: dt.datetime | None = None
    probe_until: dt.datetime | None = None
    probes_passed: int = 0
    rate_limited: bool = False
    rate_limit_reset_at: dt.datetime | None = None


_COLUMNS = [provider_health_status.c[name] for name in Health.__struct_fields__]


class ProviderHealth(TableQueries):
    """Queries over `provider_health_status` and `chain_scans`."""

    async def get(self, provider: str, region: str) -> Health | None:
        """The row, or None where no call was recorded yet."""
        table = provider_health_status
        query = sa.select(*_COLUMNS).where(table.c.provider == provider, table.c.region == region)
        async with self._connections.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Health(**row)

    async def change(self, provider: str, region: str, changed: Callable[[Health], Health]) -> Health:
        """Replace the row by what the function makes of it, with no other change in between; give the new one."""
        table = provider_health_status
        now = utc_now()
        async with self._connections.writing() as connection:
            fresh = msgspec.structs.asdict(Health(provider=provider, region=region, window_start_at=now))
            stamps = {"created_at": now, "updated_at": now, "last_health_check_at": now}
            insert = insert_for(connection, table).on_conflict_do_nothing(index_elements=["provider", "region"])
            await connection.execute(insert, [{**fresh, **stamps}])
            chosen = sa.and_(table.c.provider == provider, table.c.region == region)
            found = await connection.execute(sa.select(*_COLUMNS).where(chosen).with_for_update())
            before = Health(**found.mappings().one())
            after = changed(before)
            if after is not before:
                values = {**msgspec.structs.asdict(after), "last_health_check_at": now, "updated_at": now}
                await connection.execute(sa.update(table).where(chosen).values(values))
        return after

    async def next_block(self, network: str) -> int | None:
        """The first block of a chain that has not been read; None before the first reading."""
        query = sa.select(chain_scans.c.next_block).where(chain_scans.c.network == network)
        async with self._connections.reading() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def begin_scan(self, network: str, first_block: int) -> None:
        """Set where the reading of a chain begins, unless it has begun."""
        now = utc_now()
        row = {"network": network, "next_block": first_block, "created_at": now, "updated_at": now}
        async with self._connections.writing() as connection:
            insert = insert_for(connection, chain_scans).on_conflict_do_nothing(index_elements=["network"])
            await connection.execute(insert, [row])

    async def advance_scan(self, network: str, seen: int, next_block: int) -> bool:
        """Move the first unread block from `seen` on; False where another reader has moved it."""
        statement = (
            sa.update(chain_scans)
            .where(chain_scans.c.network == network, chain_scans.c.next_block == seen)
            .values(next_block=next_block, updated_at=utc_now())
        )
        async with self._connections.writing() as connection:
            return (await connection.execute(statement)).rowcount == 1
