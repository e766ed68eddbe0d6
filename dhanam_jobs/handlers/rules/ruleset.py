"""Compiles a space's rules once and finds the first that matches a transaction.

All conditions of a rule must hold; rules are tried in the order given, and the first match wins. Each text is
searched for the words and patterns of all rules in one pass; only rules that this brings up are looked at
further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import msgspec

from dhanam_jobs.handlers.rules.action import Actions, parse_actions
from dhanam_jobs.handlers.rules.condition import Condition, Field, parse_conditions
from dhanam_jobs.handlers.rules.patterns import PatternBank, literal, valid_regex


class RuleRow(Protocol):
    """A rule as stored (`store.StoredRule` is one)."""

    @property
    def id(self) -> str: ...
    @property
    def space_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def conditions(self) -> Any: ...
    @property
    def category_id(self) -> str | None: ...
    @property
    def category_space_id(self) -> str | None: ...
    @property
    def actions(self) -> Any: ...


class Matchable(Protocol):
    """What a rule looks at (`store.Candidate` is one)."""

    @property
    def account_id(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def description(self) -> str | None: ...
    @property
    def merchant(self) -> str | None: ...


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule that can match, the category that it gives, and what else it does, None where it is nothing."""

    id: str
    name: str
    category_id: str
    actions: Actions | None = None


class SkippedRule(msgspec.Struct, frozen=True):
    """A rule that is not tried, and why."""

    id: str
    reason: str


class _Text(NamedTuple):
    """Which text a pattern is sought in: a field, as written or in lower case."""

    field: Field
    lower: bool


_Test = Callable[[Decimal], bool]


class _Compiled(NamedTuple):
    rule: Rule
    patterns: list[int]
    tests: list[_Test]


def compile_rules(rows: Iterable[RuleRow]) -> RuleSet:
    """Compile rules, given in the order in which they are to be tried.

    Not tried: a rule without a category or with another space's (it would hide the rules below it), and one
    that can never match: no usable condition, an unknown field or operator, a value of the wrong type, an
    invalid regex.
    """
    ruleset = RuleSet()
    for row in rows:
        ruleset._add(row)
    return ruleset


class RuleSet:
    """Compiled rules; made by `compile_rules`."""

    def __init__(self) -> None:
        self.skipped: list[SkippedRule] = []
        self._rules: list[_Compiled] = []
        self._banks: dict[_Text, PatternBank] = {}
        # Every pattern has a number over all banks; each bank keeps its patterns' numbers in its own order.
        self._numbers: dict[_Text, list[int]] = {}
        self._patterns = 0
        # The rules to look at when a pattern is found, and those that hang on no pattern.
        self._by_pattern: dict[int, list[int]] = {}
        self._always: list[int] = []

    def __len__(self) -> int:
        return len(self._rules)

    def match(self, transaction: Matchable) -> Rule | None:
        """Give the first rule whose conditions all hold."""
        found: set[int] = set()
        positions = self._always
        for text, bank in self._banks.items():
            numbers = self._numbers[text]
            for index in bank.hits(_read(transaction, text)):
                found.add(numbers[index])
                positions = positions + self._by_pattern.get(numbers[index], [])
        amount = abs(transaction.amount)
        for position in sorted(positions):
            rule, patterns, tests = self._rules[position]
            if found.issuperset(patterns) and all(test(amount) for test in tests):
                return rule
        return None

    def _add(self, row: RuleRow) -> None:
        if row.category_id is None:
            return self._skip(row, "it has no category")
        if row.category_space_id != row.space_id:
            return self._skip(row, f"its category {row.category_id!r} belongs to another space")
        conditions = parse_conditions(row.conditions)
        if not conditions:
            return self._skip(row, "it has no usable condition")
        compiled = _Compiled(Rule(row.id, row.name, row.category_id, _further(row)), [], [])
        for condition in conditions:
            test = self._compile(condition)
            if test is None:
                return self._skip(row, f"its condition on {condition.field!r} can never hold")
            if isinstance(test, int):
                compiled.patterns.append(test)
            else:
                compiled.tests.append(test)
        position = len(self._rules)
        self._rules.append(compiled)
        if compiled.patterns:
            self._by_pattern.setdefault(compiled.patterns[0], []).append(position)
        else:
            self._always.append(position)
        return None

    def _skip(self, row: RuleRow, reason: str) -> None:
        self.skipped.append(SkippedRule(row.id, reason))

    def _compile(self, condition: Condition) -> int | _Test | None:
        """Give a pattern's number, a test of the amount, or None for what can never hold."""
        if condition.field == Field.AMOUNT:
            return _amount_test(condition)
        if condition.field not in set(Field) or not isinstance(condition.value, str):
            return None
        field, value, insensitive = Field(condition.field), condition.value, condition.case_insensitive
        if condition.operator == "regex":
            regex = valid_regex(value, case_insensitive=insensitive)
            return None if regex is None else self._number(_Text(field, False), regex)
        sought = literal(value.lower() if insensitive else value)
        if sought is None:
            return None
        shapes = {
            "contains": sought,
            "equals": rf"\A{sought}\z",
            "startsWith": rf"\A{sought}",
            "endsWith": rf"{sought}\z",
        }
        shape = shapes.get(condition.operator)
        return None if shape is None else self._number(_Text(field, insensitive), shape)

    def _number(self, text: _Text, pattern: str) -> int:
        bank = self._banks.setdefault(text, PatternBank())
        numbers = self._numbers.setdefault(text, [])
        index = bank.add(pattern)
        if index == len(numbers):
            numbers.append(self._patterns)
            self._patterns += 1
        return numbers[index]


def _further(row: RuleRow) -> Actions | None:
    actions = parse_actions(row.actions)._replace(category_id=None)
    return None if actions == Actions() else actions


def _read(transaction: Matchable, text: _Text) -> str:
    match text.field:
        case Field.DESCRIPTION:
            value = transaction.description or ""
        case Field.MERCHANT:
            value = transaction.merchant or ""
        case _:
            value = transaction.account_id
    return value.lower() if text.lower else value


def _amount_test(condition: Condition) -> _Test | None:
    value = _decimal(condition.value)
    if value is None:
        return None
    match condition.operator:
        case "equals":
            return lambda amount: amount == value
        case "greaterThan":
            return lambda amount: amount > value
        case "lessThan":
            return lambda amount: amount < value
        case "between":
            end = _decimal(condition.value_end)
            return None if end is None else lambda amount: value <= amount <= end
        case _:
            return None


def _decimal(value: object) -> Decimal | None:
    """Give a JSON number as the decimal that was written: 100.1 is 100.1, not its nearest float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return Decimal(str(value))
