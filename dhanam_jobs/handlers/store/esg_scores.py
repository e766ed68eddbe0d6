"""ESG scores by asset and day: what is in force, what was asked lately enough to be left alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import accounts, spaces
from dhanam_jobs.handlers.store.upsert import insert_for
from dhanam_jobs.handlers.store.valuation_tables import esg_scores


class EsgScore(msgspec.Struct, frozen=True, kw_only=True):
    """An asset's scores from 0 to 100; `composite_score` is the overall one.

    `source` says who scored it, `calculated_at` when; `fetched_at` is when we were told.
    """

    asset_symbol: str
    environmental_score: Decimal
    social_score: Decimal
    governance_score: Decimal
    composite_score: Decimal
    confidence: Decimal
    source: str
    calculated_at: dt.datetime
    fetched_at: dt.datetime
    metadata: dict[str, Any] | None = None


class CoinHeld(msgspec.Struct, frozen=True):
    """A crypto account: its coin, in capitals, and its balance in its own currency."""

    symbol: str
    currency: str
    balance: Decimal


_COLUMNS = [esg_scores.c[name] for name in EsgScore.__struct_fields__]


class EsgScores(TableQueries):
    """Queries over `esg_scores`."""

    async def write(self, scores: Sequence[EsgScore]) -> None:
        """Keep scores under the UTC day on which they were told; symbols must not repeat."""
        if not scores:
            return
        rows = [{**msgspec.structs.asdict(score), "date": score.fetched_at.date()} for score in scores]
        async with self._connections.writing() as connection:
            statement = insert_for(connection, esg_scores)
            names = [name for name in EsgScore.__struct_fields__ if name != "asset_symbol"]
            changed = {name: statement.excluded[name] for name in names}
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["asset_symbol", "date"], set_=changed), rows
            )

    async def latest(self, symbols: Iterable[str]) -> dict[str, EsgScore]:
        """The scores in force of those of the symbols that have any."""
        newest = (
            sa.select(esg_scores.c.asset_symbol, sa.func.max(esg_scores.c.date).label("date"))
            .group_by(esg_scores.c.asset_symbol)
            .subquery()
        )
        query = sa.select(*_COLUMNS).join(
            newest,
            sa.and_(newest.c.asset_symbol == esg_scores.c.asset_symbol, newest.c.date == esg_scores.c.date),
        )
        rows = await self._where_in(query, esg_scores.c.asset_symbol, symbols)
        return {row.asset_symbol: EsgScore(**row._mapping) for row in rows}

    async def told_since(self, moment: dt.datetime, *, without: str, limit: int) -> dict[str, dt.datetime]:
        """Symbols told since a moment by another source than `without`, the newest `limit`, and when."""
        told = sa.func.max(esg_scores.c.fetched_at)
        query = (
            sa.select(esg_scores.c.asset_symbol, told)
            .where(esg_scores.c.fetched_at >= moment, esg_scores.c.source != without)
            .group_by(esg_scores.c.asset_symbol)
            .order_by(told.desc(), esg_scores.c.asset_symbol)
            .limit(limit)
        )
        async with self._connections.reading() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def held_symbols(self) -> set[str]:
        """The coins of live crypto accounts in live spaces but the demo's, in capitals."""
        query = (
            sa.select(accounts.c.metadata)
            .join(spaces, spaces.c.id == accounts.c.space_id)
            .where(
                accounts.c.type == "crypto",
                accounts.c.deleted_at.is_(None),
                spaces.c.deleted_at.is_(None),
                spaces.c.is_demo.is_(False),
            )
        )
        async with self._connections.reading() as connection:
            told = [_symbol(details) for (details,) in await connection.execute(query)]
        return {symbol for symbol in told if symbol is not None}

    async def held_in(self, space_id: str) -> list[CoinHeld]:
        """The live crypto accounts of a space whose coin is known, by id."""
        query = (
            sa.select(accounts.c.metadata, accounts.c.currency, accounts.c.balance)
            .where(accounts.c.space_id == space_id, accounts.c.type == "crypto", accounts.c.deleted_at.is_(None))
            .order_by(accounts.c.id)
        )
        async with self._connections.reading() as connection:
            rows = [(_symbol(row[0]), row[1], row[2]) for row in await connection.execute(query)]
        return [CoinHeld(symbol, currency, balance) for symbol, currency, balance in rows if symbol is not None]


def _symbol(details: Any) -> str | None:
    """The coin that an account's metadata name, in capitals."""
    known = details if isinstance(details, dict) else {}
    symbol = known.get("cryptoCurrency") or known.get("symbol")
    return symbol.strip().upper() or None if isinstance(symbol, str) else None
