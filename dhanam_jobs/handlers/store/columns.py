"""Column types that mean the same on SQLite and PostgreSQL: exact money, UTC moments, JSON and ids.

SQLite has no exact decimal, and decimal(19,4) does not fit its 64-bit integer, so money is kept there as
text with exactly four decimals (`-185.5000`). Comparing and ordering go through the collation `money`, and
`sum()` is rendered as `money_sum()`; `database.py` gives both to every connection. A foreign client that
compares amounts gets an error (no such collation), never a wrong answer.
"""

from __future__ import annotations

import datetime as dt
import operator
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import sum as sql_sum
from sqlalchemy.types import TypeDecorator, TypeEngine

from dhanam_jobs.handlers.store.errors import MoneyError

MONEY_MAX = Decimal("999999999999999.9999")
_STEP = Decimal("0.0001")
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])


def exact_money(amount: Decimal) -> Decimal:
    """Return `amount` with exactly four decimals, without a negative zero.

    Raises MoneyError for anything but a finite Decimal of at most 15 digits before the point and 4 after.
    """
    if not isinstance(amount, Decimal) or not amount.is_finite():
        raise MoneyError(f"amount: found {amount!r}, wanted a finite Decimal")
    if abs(amount) > MONEY_MAX:
        raise MoneyError(f"amount: found {amount}, wanted at most 15 digits before the point")
    try:
        exact = amount.quantize(_STEP, context=_EXACT)
    except Inexact:
        raise MoneyError(f"amount: found {amount}, wanted at most 4 decimals") from None
    return exact if exact else _ZERO


_ZERO = Decimal("0.0000")


def money_from_steps(steps: int) -> str:
    """Write a count of ten-thousandths as money text: -5000 is `-0.5000`."""
    sign = "-" if steps < 0 else ""
    whole, rest = divmod(abs(steps), 10_000)
    return f"{sign}{whole}.{rest:04d}"


def money_to_steps(text: str) -> int:
    """Read money text with four decimals as a count of ten-thousandths: `-0.5000` is -5000."""
    return int(text.replace(".", "", 1))


_INEXACT_ON_TEXT = frozenset(
    {
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.floordiv,
        operator.mod,
        operator.neg,
    }
)


class Money(TypeDecorator[Decimal]):
    """decimal(19,4), exact on both databases; values are Decimals with four decimals.

    Comparison, ordering, min, max and sum work in SQL. Arithmetic on the column is refused, because SQLite
    would silently do it in floating point.
    """

    impl = sa.Numeric
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Decimal]):
        """Refuses the operators that are exact on PostgreSQL only."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            if op in _INEXACT_ON_TEXT:
                raise TypeError(f"{op.__name__} on a Money column is not exact on SQLite; compute it in Python")
            return super().operate(op, *other, **kwargs)

    comparator_factory = Comparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text(collation="money"))
        return dialect.type_descriptor(sa.Numeric(19, 4))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        exact = exact_money(value)
        return f"{exact:f}" if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        # A sum may be longer than 19 digits: it is not checked, only given its four decimals.
        return Decimal(value) if isinstance(value, str) else Decimal(value).quantize(_STEP, context=_EXACT)


@compiles(sql_sum, "sqlite")
def _sum_of_money(element: Any, compiler: SQLCompiler, **kwargs: Any) -> str:
    if isinstance(element.type, Money):
        return f"money_sum{compiler.process(element.clause_expr, **kwargs)}"
    return compiler.visit_function(element, **kwargs)


class UtcMoment(TypeDecorator[dt.datetime]):
    """A moment as an aware datetime in UTC with microseconds; a naive one is refused."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError(f"moment: found {value.isoformat()} without a zone, wanted an aware datetime")
        utc = value.astimezone(dt.UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def id_type() -> sa.types.TypeEngine[str]:
    """Text ids, compared byte by byte on both databases: pages by key come in one order everywhere."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def json_type() -> sa.types.TypeEngine[Any]:
    """JSON as text on SQLite and jsonb on PostgreSQL; Python's None is SQL's NULL."""
    return sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def utc_now() -> dt.datetime:
    """The moment now, as the store keeps it."""
    return dt.datetime.now(dt.UTC)
