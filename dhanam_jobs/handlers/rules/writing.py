"""Checks rules that people write: each condition and action must be one that can work. Older stored ones are read by
condition.py and action.py, which drop what can't."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dhanam_jobs.handlers.rules.action import ACTION_TYPES, action_value
from dhanam_jobs.handlers.rules.condition import Field
from dhanam_jobs.handlers.rules.patterns import MAX_LITERAL_CHARS, MAX_PATTERN_CHARS, valid_regex

TEXT_OPERATORS: Final = ("contains", "equals", "startsWith", "endsWith", "regex")
NUMBER_OPERATORS: Final = ("equals", "greaterThan", "lessThan", "between")
MOST_CONDITIONS: Final = 20
_KEYS: Final = frozenset({"field", "operator", "value", "valueEnd", "caseInsensitive"})
_ACTION_KEYS: Final = frozenset({"type", "categoryId", "tagId", "value"})


class RuleRefused(ValueError):
    """A rule that can't work; the message says where, what was found and what was wanted."""


def check_conditions(conditions: Sequence[Any]) -> None:
    """Raise RuleRefused unless every condition can hold, and there are 1 to `MOST_CONDITIONS`."""
    if not isinstance(conditions, list | tuple) or not 1 <= len(conditions) <= MOST_CONDITIONS:
        raise RuleRefused(f"conditions: wanted a list of 1 to {MOST_CONDITIONS}")
    for index, condition in enumerate(conditions):
        where = f"conditions[{index}]"
        if not isinstance(condition, Mapping):
            raise RuleRefused(f"{where}: found a {type(condition).__name__}, wanted an object")
        if strange := sorted(set(condition) - _KEYS):
            raise RuleRefused(f"{where}: found {', '.join(strange)}, wanted only {', '.join(sorted(_KEYS))}")
        _check_condition(where, condition)


def _check_condition(where: str, condition: Mapping[str, Any]) -> None:
    field, operator, value = condition.get("field"), condition.get("operator"), condition.get("value")
    if field not in set(Field):
        raise RuleRefused(f"{where}.field: found {field!r}, wanted one of {', '.join(Field)}")
    if not isinstance(condition.get("caseInsensitive"), bool | None):
        raise RuleRefused(f"{where}.caseInsensitive: wanted true or false")
    if field == Field.AMOUNT:
        _among(f"{where}.operator", operator, NUMBER_OPERATORS)
        _check_number(f"{where}.value", value)
        if operator == "between":
            _check_number(f"{where}.valueEnd", condition.get("valueEnd"))
            if condition["valueEnd"] < value:
                raise RuleRefused(f"{where}.valueEnd: found {condition['valueEnd']!r}, wanted at least {value!r}")
        return
    _among(f"{where}.operator", operator, TEXT_OPERATORS)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_LITERAL_CHARS:
        raise RuleRefused(f"{where}.value: wanted a text of 1 to {MAX_LITERAL_CHARS} characters")
    if operator == "regex" and valid_regex(value, case_insensitive=True) is None:
        raise RuleRefused(f"{where}.value: {value[:80]!r} is no RE2 pattern of at most {MAX_PATTERN_CHARS} characters")


def check_actions(actions: Sequence[Any]) -> None:
    """Raise RuleRefused unless every action says what it sets."""
    if not isinstance(actions, list | tuple) or len(actions) > MOST_CONDITIONS:
        raise RuleRefused(f"actions: wanted a list of at most {MOST_CONDITIONS}")
    for index, action in enumerate(actions):
        where = f"actions[{index}]"
        if not isinstance(action, Mapping) or not set(action) <= _ACTION_KEYS:
            raise RuleRefused(f"{where}: wanted an object of {', '.join(sorted(_ACTION_KEYS))}")
        _among(f"{where}.type", action.get("type"), ACTION_TYPES)
        value = action_value(action)
        if value is None or len(value) > 200:
            raise RuleRefused(f"{where}: {action['type']} without what it sets, a text of 1 to 200 characters")


def _among(where: str, found: object, wanted: Sequence[str]) -> None:
    if found not in wanted:
        raise RuleRefused(f"{where}: found {found!r}, wanted one of {', '.join(wanted)}")


def _check_number(where: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise RuleRefused(f"{where}: found {value!r}, wanted a number of at least 0 (amounts count without their sign)")
