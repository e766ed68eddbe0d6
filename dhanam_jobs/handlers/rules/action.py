"""Reads what a rule does besides giving its category, from stored JSON; doing it is the store's.

`set_category` (categoryId), `set_tag` (tagId, or value), `set_merchant` (value), `link_recurring` (value).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ACTION_TYPES = ("set_category", "set_tag", "set_merchant", "link_recurring")


class Actions(NamedTuple):
    """What to do with a transaction; None and nothing where the rule says nothing."""

    category_id: str | None = None
    merchant: str | None = None
    tags: tuple[str, ...] = ()
    recurring: str | None = None


def parse_actions(raw: object) -> Actions:
    """Give the actions in `raw` JSON, without the entries that are none; of two of a kind the last, of tags all."""
    category_id = merchant = recurring = None
    tags: list[str] = []
    for entry in raw if isinstance(raw, list) else [raw]:
        if not isinstance(entry, Mapping):
            continue
        value = action_value(entry)
        if value is None:
            continue
        match entry.get("type"):
            case "set_category":
                category_id = value
            case "set_tag":
                tags.append(value)
            case "set_merchant":
                merchant = value
            case "link_recurring":
                recurring = value
    return Actions(category_id, merchant, tuple(dict.fromkeys(tags)), recurring)


def action_value(entry: Mapping[str, object]) -> str | None:
    """Give what an action sets, or None where it doesn't say."""
    key = {"set_category": "categoryId", "set_tag": "tagId"}.get(str(entry.get("type")), "value")
    value = entry.get(key)
    if value is None and key == "tagId":
        value = entry.get("value")
    return value if isinstance(value, str) and value else None
