"""What people do with their space's rules and categories: list, write, remove, presets, and corrections to learn from.

Every method checks that the caller belongs to the space; what rules mean is rules/'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.rules import RuleEntry


MOST_PREVIEWED: Final = 20_000
"""Transactions that a preview looks at."""
_MOST_EXAMPLES: Final = 10


class NotAllowed(Exception):
    """The caller is no member of the space, or one whose role doesn't suffice."""


class NotFound(Exception):
    """The space has no such rule, category or transaction."""


class PreviewedTransaction(msgspec.Struct, frozen=True):
    """A transaction that a rule would match."""

    id: str
    description: str
    merchant: str | None
    amount: Decimal


class RulePreview(msgspec.Struct, frozen=True):
    """How many of the `searched` transactions a rule would match, of `total` without a category, and the first ones."""

    matched: int
    searched: int
    total: int
    examples: list[PreviewedTransaction]


class RulesService:
    """Those methods, on an open store. Reading is every member's, writing the members' but viewers.

    All raise NotAllowed; those that write raise `rules.writing.RuleRefused` for a rule that can't work, and NotFound
    for what isn't the space's, a category of another space included.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get_rules_for_space(self, user_id: str, space_id: str) -> list[RuleEntry]:
        """All rules of the space, disabled ones too, in the order in which they are tried."""
        await self._check(user_id, space_id, write=False)
        return await self._store.rules.entries(space_id)

    async def get_rule(self, user_id: str, space_id: str, rule_id: str) -> RuleEntry:
        """One of the space's rules. Raises NotFound."""
        await self._check(user_id, space_id, write=False)
        return await self._entry(space_id, rule_id)

    async def get_rules_for_category(self, user_id: str, space_id: str, category_id: str) -> list[RuleEntry]:
        """Those that give a category."""
        return [row for row in await self.get_rules_for_space(user_id, space_id) if row.category_id == category_id]

    async def create_rule(
        self,
        user_id: str,
        space_id: str,
        category_id: str | None,
        name: str,
        conditions: Sequence[Any],
        priority: int = 0,
        *,
        actions: Sequence[Any] = (),
        enabled: bool = True,
    ) -> RuleEntry:
        """Write a new rule. Its category is `category_id`, or that of a `set_category` action."""
        row = {
            "id": str(uuid.uuid4()),
            "space_id": space_id,
            "category_id": category_id,
            "name": name,
            "conditions": list(conditions),
            "actions": list(actions) or None,
            "priority": priority,
            "enabled": enabled,
        }
        await self._check(user_id, space_id, write=True)
        await self._write(space_id, row)
        return await self._entry(space_id, row["id"])

    async def update_rule(
        self,
        user_id: str,
        space_id: str,
        rule_id: str,
        *,
        name: str | msgspec.UnsetType = msgspec.UNSET,
        category_id: str | msgspec.UnsetType | None = msgspec.UNSET,
        conditions: Sequence[Any] | msgspec.UnsetType = msgspec.UNSET,
        actions: Sequence[Any] | msgspec.UnsetType = msgspec.UNSET,
        priority: int | msgspec.UnsetType = msgspec.UNSET,
        enabled: bool | msgspec.UnsetType = msgspec.UNSET,
    ) -> RuleEntry:
        """Change what is given of one of the space's rules."""
        await self._check(user_id, space_id, write=True)
        known = await self._entry(space_id, rule_id)
        given = {
            "name": name,
            "category_id": category_id,
            "conditions": conditions,
            "actions": actions,
            "priority": priority,
            "enabled": enabled,
        }
        row = msgspec.structs.asdict(known) | {key: value for key, value in given.items() if value is not msgspec.UNSET}
        await self._write(space_id, {**row, "space_id": space_id, "actions": row["actions"] or None})
        return await self._entry(space_id, rule_id)

    async def delete_rule(self, user_id: str, space_id: str, rule_id: str) -> None:
        """Remove one of the space's rules; the categories that it gave stay."""
        await self._check(user_id, space_id, write=True)
        await self._entry(space_id, rule_id)
        if not await self._store.rules.erase(space_id, rule_id):
            raise NotFound(f"rule {rule_id!r}: space {space_id!r} has none of that id")

    async def create_common_rules(self, user_id: str, space_id: str) -> list[RuleEntry]:
        """Write the presets for which the space has a category, but for those that it has; gives the new ones."""
        from dhanam_jobs.handlers.rules.presets import PRESETS, PRIORITY

        await self._check(user_id, space_id, write=True)
        categories = await self._store.budgets.categories_of(space_id)
        have = {row.name for row in await self._store.rules.entries(space_id)}
        made = []
        for preset in PRESETS:
            fitting = (each for word in preset.keywords for each in categories if word in each.name.lower())
            category = next(fitting, None)
            if category is not None and preset.name not in have:
                conditions = [{"field": "description", "operator": "regex", "value": preset.pattern}]
                made.append(await self.create_rule(user_id, space_id, category.id, preset.name, conditions, PRIORITY))
        return made

    async def preview_rule(self, user_id: str, space_id: str, conditions: Sequence[Any]) -> RulePreview:
        """What a rule with these conditions would match of the space's transactions without a category, if it were
        tried first; at most `MOST_PREVIEWED` are looked at. Nothing is written."""
        from dhanam_jobs.handlers.rules import compile_rules
        from dhanam_jobs.handlers.rules.writing import check_conditions
        from dhanam_jobs.handlers.store.rules import StoredRule

        await self._check(user_id, space_id, write=False)
        check_conditions(conditions)
        tried = compile_rules([StoredRule("", space_id, "", 0, list(conditions), "any", space_id)])
        matched = searched = 0
        examples: list[PreviewedTransaction] = []
        async for page in self._store.transactions.uncategorized_pages(space_id):
            for each in page:
                if tried.match(each) is not None:
                    matched += 1
                    if len(examples) < _MOST_EXAMPLES:
                        shown = PreviewedTransaction(each.id, each.description, each.merchant, each.amount)
                        examples.append(shown)
            searched += len(page)
            if searched >= MOST_PREVIEWED:
                break
        total = await self._store.transactions.count_uncategorized(space_id)
        return RulePreview(matched, searched, max(total, searched), examples)

    async def correct_category(
        self, user_id: str, space_id: str, transaction_id: str, category_id: str, *, for_future: bool = True
    ) -> None:
        """Give a transaction the category that a person says it has; with `for_future` the next ones like it learn."""
        await self._check(user_id, space_id, write=True)
        done = await self._store.corrections.correct(
            space_id, transaction_id, category_id, user_id=user_id, for_future=for_future
        )
        if not done:
            raise NotFound(f"space {space_id!r} has no transaction {transaction_id!r}, or no category {category_id!r}")

    async def _check(self, user_id: str, space_id: str, *, write: bool) -> None:
        from dhanam_jobs.handlers.store import SpaceRole

        role = await self._store.spaces.role_of(user_id, space_id)
        if role is None or role.rank < (SpaceRole.MEMBER if write else SpaceRole.VIEWER).rank:
            found = "no member" if role is None else f"a {role}"
            raise NotAllowed(f"space {space_id!r}: the user is {found}, wanted at least a {_wanted(write)}")

    async def _write(self, space_id: str, row: dict[str, Any]) -> None:
        from dhanam_jobs.handlers.rules.action import parse_actions
        from dhanam_jobs.handlers.rules.writing import RuleRefused, check_actions, check_conditions

        name, priority = row["name"], row["priority"]
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= 200:
            raise RuleRefused("name: wanted 1 to 200 characters")
        if type(priority) is not int or abs(priority) > 1_000_000:
            raise RuleRefused(f"priority: found {priority!r}, wanted a whole number within a million")
        check_conditions(row["conditions"])
        check_actions(row["actions"] or [])
        by_action = parse_actions(row["actions"]).category_id
        wanted = {each for each in (row["category_id"], by_action) if each is not None}
        if not wanted:
            raise RuleRefused("category: found none, wanted a categoryId or a set_category action")
        if len(wanted) > 1:
            raise RuleRefused(f"category: found {' and '.join(sorted(wanted))}, wanted one")
        known = await self._store.budgets.categories_by_ids(wanted)
        for category_id in wanted:
            if category_id not in known or known[category_id].space_id != space_id:
                raise NotFound(f"category {category_id!r}: space {space_id!r} has none of that id")
        await self._store.rules.upsert([{**row, "category_id": next(iter(wanted))}])

    async def _entry(self, space_id: str, rule_id: Any) -> RuleEntry:
        for row in await self._store.rules.entries(space_id):
            if row.id == rule_id:
                return row
        raise NotFound(f"rule {rule_id!r}: space {space_id!r} has none of that id")


def _wanted(write: bool) -> str:
    return "member" if write else "viewer"
