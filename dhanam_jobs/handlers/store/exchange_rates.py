"""Rates between currencies by day, as they were told; crossing and inverting them is valuations/."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.upsert import insert_for
from dhanam_jobs.handlers.store.valuation_tables import exchange_rates


class ExchangeRate(msgspec.Struct, frozen=True):
    """On `date` one unit of `from_currency` was `rate` of `to_currency`."""

    from_currency: str
    to_currency: str
    date: dt.date
    rate: Decimal
    source: str


_COLUMNS = [exchange_rates.c[name] for name in ExchangeRate.__struct_fields__]


class ExchangeRates(TableQueries):
    """Queries over `exchange_rates`; the demo's and everybody else's never mix."""

    async def write(self, base: str, day: dt.date, rates: Mapping[str, Decimal], source: str, *, demo: bool) -> None:
        """Keep a day's rates of `base`, by the other currency; what was told of that day before is replaced."""
        if not rates:
            return
        now = utc_now()
        rows = [
            {
                "from_currency": base,
                "to_currency": currency,
                "date": day,
                "is_demo": demo,
                "rate": rate,
                "source": source,
                "created_at": now,
            }
            for currency, rate in rates.items()
        ]
        async with self._connections.writing() as connection:
            statement = insert_for(connection, exchange_rates)
            changed = {name: statement.excluded[name] for name in ("rate", "source", "created_at")}
            keys = ["from_currency", "to_currency", "date", "is_demo"]
            await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)

    async def between(self, first: dt.date, last: dt.date, *, demo: bool) -> list[ExchangeRate]:
        """All rates from `first` to `last`, both included, oldest first."""
        query = (
            sa.select(*_COLUMNS)
            .where(exchange_rates.c.is_demo.is_(demo), exchange_rates.c.date.between(first, last))
            .order_by(exchange_rates.c.date, exchange_rates.c.from_currency, exchange_rates.c.to_currency)
        )
        async with self._connections.reading() as connection:
            return [ExchangeRate(*row) for row in await connection.execute(query)]
