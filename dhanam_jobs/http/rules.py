"""The endpoints of a space's rules: list, write, change, remove, presets, and what a rule would match.

What a rule means, and whether one can work, is RulesService's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.handlers.rules_service import RulePreview
from dhanam_jobs.handlers.store.rules import RuleEntry
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Answer, Call, Endpoint, Guard

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"example": "Tiendas"})]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
WholeAmount = Annotated[int, Meta(ge=0, le=10**15)]
Amount = Annotated[float, Meta(ge=0, le=10**15)]
"""Without its sign."""


class RuleCondition(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One thing that must hold of a transaction.

    Texts (description, merchant, and account, an account's id) are compared by contains, equals, startsWith, endsWith
    and regex (RE2), the amount without its sign by equals, greaterThan, lessThan and between (`value` to `valueEnd`).
    """

    field: Literal["description", "merchant", "amount", "account"]
    operator: Literal["contains", "equals", "startsWith", "endsWith", "regex", "greaterThan", "lessThan", "between"]
    value: Text | WholeAmount | Amount
    value_end: WholeAmount | Amount | UnsetType = UNSET
    case_insensitive: bool = True


class RuleAction(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a rule does: `set_category` needs `categoryId`, `set_tag` `tagId` or `value`, the others `value`."""

    type: Literal["set_category", "set_tag", "set_merchant", "link_recurring"]
    category_id: Id | UnsetType = UNSET
    tag_id: Id | UnsetType = UNSET
    value: Text | UnsetType = UNSET


Conditions = Annotated[list[RuleCondition], Meta(min_length=1, max_length=20)]
Actions = Annotated[list[RuleAction], Meta(max_length=20)]


class RuleDraft(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A new rule: all `conditions` must hold; then a transaction without a category gets the rule's.

    The category is `categoryId`, or that of a `set_category` action. Of the rules that match, the one of the highest
    `priority` wins.
    """

    name: Name
    conditions: Conditions
    category_id: Id | UnsetType = UNSET
    actions: Actions = []
    priority: Priority = 0
    enabled: bool = True


class RuleChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is to be different about a rule; what isn't named stays. With `categoryId` null, it is the one of a
    `set_category` action."""

    name: Name | UnsetType = UNSET
    conditions: Conditions | UnsetType = UNSET
    category_id: Id | UnsetType | None = UNSET
    actions: Actions | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class WouldMatch(msgspec.Struct, forbid_unknown_fields=True):
    """The conditions of a rule that isn't written yet."""

    conditions: Conditions


class WhichRules(msgspec.Struct, rename="camel"):
    """Only those that give this category."""

    category_id: Annotated[str, Meta(extra_json_schema={"example": "cat_transporte"})] | UnsetType = UNSET


class RuleRemoved(msgspec.Struct):
    """Which rule is gone; the categories that it gave stay."""

    id: str
    removed: Literal[True] = True


async def list_rules(call: Call[WhichRules, NoFields]) -> list[RuleEntry]:
    """All rules of the space, in the order in which they are tried."""
    user_id, space_id, category_id = call.caller.id, call.path["spaceId"], call.query.category_id
    rules = call.context.rules
    if category_id is UNSET:
        return await rules.get_rules_for_space(user_id, space_id)
    return await rules.get_rules_for_category(user_id, space_id, category_id)


async def get_rule(call: Call[NoFields, NoFields]) -> RuleEntry:
    """One rule."""
    return await call.context.rules.get_rule(call.caller.id, call.path["spaceId"], call.path["ruleId"])


async def create_rule(call: Call[NoFields, RuleDraft]) -> Answer:
    """Write a rule."""
    draft = call.body
    made = await call.context.rules.create_rule(
        call.caller.id,
        call.path["spaceId"],
        None if draft.category_id is UNSET else draft.category_id,
        draft.name,
        _plain(draft.conditions),
        draft.priority,
        actions=_plain(draft.actions),
        enabled=draft.enabled,
    )
    return Answer(made, 201)


async def update_rule(call: Call[NoFields, RuleChange]) -> RuleEntry:
    """Change a rule."""
    change = call.body
    return await call.context.rules.update_rule(
        call.caller.id,
        call.path["spaceId"],
        call.path["ruleId"],
        name=change.name,
        category_id=change.category_id,
        conditions=UNSET if change.conditions is UNSET else _plain(change.conditions),
        actions=UNSET if change.actions is UNSET else _plain(change.actions),
        priority=change.priority,
        enabled=change.enabled,
    )


async def delete_rule(call: Call[NoFields, NoFields]) -> RuleRemoved:
    """Remove a rule."""
    rule_id = call.path["ruleId"]
    await call.context.rules.delete_rule(call.caller.id, call.path["spaceId"], rule_id)
    return RuleRemoved(rule_id)


async def create_common_rules(call: Call[NoFields, NoFields]) -> Answer:
    """Write the presets that fit the space's categories."""
    return Answer(await call.context.rules.create_common_rules(call.caller.id, call.path["spaceId"]), 201)


async def preview_rule(call: Call[NoFields, WouldMatch]) -> RulePreview:
    """Tell what a rule would match."""
    conditions = _plain(call.body.conditions)
    return await call.context.rules.preview_rule(call.caller.id, call.path["spaceId"], conditions)


def _plain(entries: Sequence[msgspec.Struct]) -> list[Any]:
    """The entries as they are stored: as they came, without what was left out."""
    return [
        {name: value for name, value in msgspec.to_builtins(each).items() if (name, value) != ("caseInsensitive", True)}
        for each in entries
    ]


def _row(method: str, path: str, run: Any, guard: Guard, summary: str, answer: Any, *, made: bool = False) -> Endpoint:
    errors = (404,) if run in (get_rule, create_rule, update_rule, delete_rule) else ()
    answers = {201 if made else 200: answer}
    return Endpoint(method, f"/spaces/{{spaceId}}/rules{path}", run, guard, summary, "Rules", answers, errors)


_LIST: Final = list[RuleEntry]
ROWS: Final = (
    _row("GET", "", list_rules, Guard.VIEWER, "List a space's rules, in the order in which they are tried", _LIST),
    _row("POST", "", create_rule, Guard.MEMBER, "Write a new rule", RuleEntry, made=True),
    _row(
        "POST",
        "/presets",
        create_common_rules,
        Guard.MEMBER,
        "Write the rules that most households can use, where there is a category for them; gives the new ones",
        _LIST,
        made=True,
    ),
    _row(
        "POST",
        "/preview",
        preview_rule,
        Guard.MEMBER,
        "Count the transactions without a category that a rule would match, and show some; nothing is changed",
        RulePreview,
    ),
    _row("GET", "/{ruleId}", get_rule, Guard.VIEWER, "Look at one rule", RuleEntry),
    _row("PATCH", "/{ruleId}", update_rule, Guard.MEMBER, "Change what is named of a rule", RuleEntry),
    _row("DELETE", "/{ruleId}", delete_rule, Guard.MEMBER, "Remove a rule; what it has categorised stays", RuleRemoved),
)
"""The endpoints of rules."""
