"""Rules that give transactions a category: pure, no store and no clock."""

from dhanam_jobs.handlers.rules.action import Actions, parse_actions
from dhanam_jobs.handlers.rules.condition import Condition, Field, parse_conditions
from dhanam_jobs.handlers.rules.ruleset import Rule, RuleSet, SkippedRule, compile_rules

__all__ = [
    "Actions",
    "Condition",
    "Field",
    "Rule",
    "RuleSet",
    "SkippedRule",
    "compile_rules",
    "parse_actions",
    "parse_conditions",
]
