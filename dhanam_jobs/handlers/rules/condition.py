"""Reads a rule's conditions from stored JSON of any age into one shape; what they mean is compiled elsewhere.

Today's shape is a list of `{field, operator, value, valueEnd?, caseInsensitive?}`. Older rules hold one such
object instead of a list, or `{type: "regex", descriptionPattern | merchantPattern | accountPattern}`. Entries
that are neither are dropped.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple


class Field(enum.StrEnum):
    """What of a transaction a condition looks at."""

    DESCRIPTION = "description"
    MERCHANT = "merchant"
    AMOUNT = "amount"
    ACCOUNT = "account"


class Condition(NamedTuple):
    """One condition as written; field, operator and values may still be ones that never hold.

    `value` and `value_end` are raw JSON; `value_end` is None where it isn't given.
    """

    field: str
    operator: str
    value: Any
    value_end: Any = None
    case_insensitive: bool = True


_LEGACY_PATTERNS = (
    ("descriptionPattern", Field.DESCRIPTION),
    ("merchantPattern", Field.MERCHANT),
    ("accountPattern", Field.ACCOUNT),
)


def parse_conditions(raw: object) -> list[Condition]:
    """Give the conditions in `raw` JSON, without the entries that are none; never raises."""
    entries = raw if isinstance(raw, list) else [raw]
    parsed = (_parse(entry) for entry in entries)
    return [condition for condition in parsed if condition is not None]


def _parse(entry: object) -> Condition | None:
    if not isinstance(entry, Mapping):
        return None
    field, operator = entry.get("field"), entry.get("operator")
    if isinstance(field, str) and isinstance(operator, str) and "value" in entry:
        # Only a plain false switches case on: null and absent mean the default.
        insensitive = entry.get("caseInsensitive") is not False
        return Condition(field, operator, entry["value"], entry.get("valueEnd"), insensitive)
    if entry.get("type") == "regex":
        for name, legacy_field in _LEGACY_PATTERNS:
            pattern = entry.get(name)
            if isinstance(pattern, str) and pattern:
                return Condition(legacy_field.value, "regex", pattern)
    return None
