"""The stored rules of a space, in the order in which they are tried; what they mean is handlers/rules'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from dhanam_jobs.handlers.store.connections import TableQueries
from dhanam_jobs.handlers.store.schema import budgets, categories, transaction_rules
from dhanam_jobs.handlers.store.upsert import Row, upsert


class StoredRule(msgspec.Struct, frozen=True):
    """An enabled rule as stored: `conditions` is raw JSON of any shape.

    `category_space_id` is the space of the rule's category, None when it has no category; a rule whose
    category belongs to another space than the rule must not be used.
    """

    id: str
    space_id: str
    name: str
    priority: int
    conditions: Any
    category_id: str | None
    category_space_id: str | None
    actions: Any = None


class RuleEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A rule as people see it; `conditions` and `actions` are JSON, no `actions` where it only gives its category."""

    id: str
    name: str
    priority: int
    conditions: Any
    actions: Any
    category_id: str | None
    enabled: bool


class Rules(TableQueries):
    """Queries over `transaction_rules`."""

    async def of_space(self, space_id: str) -> list[StoredRule]:
        """The enabled rules of a space: highest priority first, then the older, then by id."""
        rules = transaction_rules
        query = (
            sa.select(
                rules.c.id,
                rules.c.space_id,
                rules.c.name,
                rules.c.priority,
                rules.c.conditions,
                rules.c.category_id,
                budgets.c.space_id,
                rules.c.actions,
            )
            .outerjoin(categories, categories.c.id == rules.c.category_id)
            .outerjoin(budgets, budgets.c.id == categories.c.budget_id)
            .where(rules.c.space_id == space_id, rules.c.enabled.is_(True))
            .order_by(rules.c.priority.desc(), rules.c.created_at, rules.c.id)
        )
        async with self._connections.reading() as connection:
            return [StoredRule(*row) for row in await connection.execute(query)]

    async def entries(self, space_id: str) -> list[RuleEntry]:
        """All rules of a space, disabled ones too, in the order of `of_space`."""
        rules = transaction_rules
        query = (
            sa.select(*(rules.c[name] for name in RuleEntry.__struct_fields__))
            .where(rules.c.space_id == space_id)
            .order_by(rules.c.priority.desc(), rules.c.created_at, rules.c.id)
        )
        async with self._connections.reading() as connection:
            found = [RuleEntry(*row) for row in await connection.execute(query)]
        return [row if row.actions else msgspec.structs.replace(row, actions=[]) for row in found]

    async def erase(self, space_id: str, rule_id: str) -> bool:
        """Delete a rule of that space; False where it has none of that id."""
        rules = transaction_rules
        async with self._connections.writing() as connection:
            statement = sa.delete(rules).where(rules.c.id == rule_id, rules.c.space_id == space_id)
            return (await connection.execute(statement)).rowcount > 0

    async def space_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """Rule id to space id, for those of `ids` that exist."""
        rules = transaction_rules
        rows = await self._where_in(sa.select(rules.c.id, rules.c.space_id), rules.c.id, ids)
        return {row.id: row.space_id for row in rows}

    async def upsert(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Write rules by id; gives (new, known)."""
        async with self._connections.writing() as connection:
            return await upsert(connection, transaction_rules, rows, defaults={"priority": 0, "enabled": True})
