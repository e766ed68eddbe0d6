"""The tables of what things are worth: accounts by day, currencies by day, and the ESG scores of assets."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from dhanam_jobs.handlers.store.columns import Money, UtcMoment, id_type, json_type
from dhanam_jobs.handlers.store.errors import MoneyError
from dhanam_jobs.handlers.store.schema import metadata

_ROUND = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Exact(TypeDecorator[Decimal]):
    """decimal(precision, scale), rounded half to even when written; text on SQLite. For reading and writing only:
    comparing and adding in SQL are not exact on SQLite."""

    impl = sa.Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.Numeric(self.precision, self.scale))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        rounded = round_to(value, self.precision, self.scale)
        if rounded is None:
            raise MoneyError(f"number: found {value}, wanted one that decimal({self.precision},{self.scale}) holds")
        return f"{rounded:f}" if dialect.name == "sqlite" else rounded

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


def round_to(value: Decimal, precision: int, scale: int) -> Decimal | None:
    """The number with `scale` decimals; None where `precision` digits don't hold it, or it isn't finite.

    >>> round_to(Decimal("0.054053615"), 19, 8), round_to(Decimal("1000"), 5, 2)
    (Decimal('0.05405362'), None)
    """
    if not value.is_finite() or value.adjusted() >= precision - scale:
        return None
    rounded = value.quantize(Decimal(1).scaleb(-scale), context=_ROUND)
    return rounded if rounded.adjusted() < precision - scale else None


# What an account held at the end of a day in its space's time zone, in the account's own currency.
asset_valuations = sa.Table(
    "asset_valuations",
    metadata,
    sa.Column("id", id_type(), primary_key=True),
    sa.Column("account_id", id_type(), sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    sa.Column("date", sa.Date, nullable=False),
    sa.Column("value", Money(), nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("created_at", UtcMoment(), nullable=False),
    sa.Column("updated_at", UtcMoment(), nullable=False),
    sa.UniqueConstraint("account_id", "date"),
)

# One unit of `from_currency` is `rate` of `to_currency`. The demo's rates are invented, and value the demo's alone.
exchange_rates = sa.Table(
    "exchange_rates",
    metadata,
    sa.Column("from_currency", sa.Text, primary_key=True),
    sa.Column("to_currency", sa.Text, primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("is_demo", sa.Boolean, primary_key=True),
    sa.Column("rate", Exact(19, 8), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("created_at", UtcMoment(), nullable=False),
)

# An asset's scores as they were known on a day; the newest day's are in force. `calculated_at` is the source's date.
esg_scores = sa.Table(
    "esg_scores",
    metadata,
    sa.Column("asset_symbol", sa.Text, primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("environmental_score", Exact(5, 2), nullable=False),
    sa.Column("social_score", Exact(5, 2), nullable=False),
    sa.Column("governance_score", Exact(5, 2), nullable=False),
    sa.Column("composite_score", Exact(5, 2), nullable=False),
    sa.Column("confidence", Exact(5, 2), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("calculated_at", UtcMoment(), nullable=False),
    sa.Column("fetched_at", UtcMoment(), nullable=False, index=True),
    sa.Column("metadata", json_type()),
)
