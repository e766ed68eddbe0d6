"""What a rule matches: every operator, older shapes, broken ones, and which of several wins."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.handlers.rules import compile_rules, parse_conditions, patterns
from dhanam_jobs.handlers.store import Candidate, StoredRule


def rule(conditions: Any, rule_id: str = "r", **fields: Any) -> StoredRule:
    """A usable rule of space `s` that gives category `c`."""
    given_fields = {"priority": 0, "category_id": "c", "category_space_id": "s", **fields}
    return StoredRule(id=rule_id, space_id="s", name=rule_id, conditions=conditions, **given_fields)


def condition(field: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value, **more}


def matches(conditions: Any, description: str | None = "PAGO OXXO Toluca", **fields: Any) -> bool:
    """Whether a rule with these conditions matches a transaction."""
    values = {"amount": Decimal("-120.50"), "merchant": "OXXO", "account_id": "acc-1", **fields}
    candidate = Candidate(id="t", category_id=None, description=description, **values)  # type: ignore[arg-type]
    return compile_rules([rule(conditions)]).match(candidate) is not None


@pytest.mark.parametrize(
    ("operator", "value", "more", "expected"),
    [
        ("contains", "oxxo", {}, True),
        ("contains", "OXXO t", {}, True),
        ("contains", "oxxo", {"caseInsensitive": False}, False),
        ("contains", "Toluca", {"caseInsensitive": False}, True),
        ("contains", "soriana", {}, False),
        ("contains", "o.xo", {}, False),
        ("contains", "", {}, True),
        ("equals", "pago oxxo toluca", {}, True),
        ("equals", "pago oxxo", {}, False),
        ("equals", "PAGO OXXO TOLUCA", {"caseInsensitive": False}, False),
        ("startsWith", "pago ox", {}, True),
        ("startsWith", "oxxo", {}, False),
        ("endsWith", "TOLUCA", {}, True),
        ("endsWith", "oxxo", {}, False),
        ("regex", r"ox{2}o\s+tol", {}, True),
        ("regex", r"^oxxo", {}, False),
        ("regex", r"toluca$", {}, True),
        ("regex", r"toluca$", {"caseInsensitive": False}, False),
        ("regex", r"oxxo|soriana", {}, True),
        ("regex", r"(", {}, False),
        ("regex", r"(?=lookahead)", {}, False),
        ("contains", "oxxo|soriana", {}, False),
        ("contains", "oxxo", {"caseInsensitive": None}, True),
        ("sounds like", "oxxo", {}, False),
        ("greaterThan", "A", {}, False),
        ("contains", 5, {}, False),
        ("contains", None, {}, False),
        ("contains", ["oxxo"], {}, False),
    ],
)
def test_text_operators(operator: str, value: Any, more: dict[str, Any], expected: bool) -> None:
    """Case is ignored unless caseInsensitive is false; regex searches anywhere; the rest is literal."""
    assert matches([condition("description", operator, value, **more)]) is expected


@pytest.mark.parametrize(
    ("operator", "value", "more", "expected"),
    [
        ("equals", 120.5, {}, True),
        ("equals", 120, {}, False),
        ("equals", -120.5, {}, False),
        ("greaterThan", 120.49, {}, True),
        ("greaterThan", 120.5, {}, False),
        ("lessThan", 120.51, {}, True),
        ("lessThan", 120.5, {}, False),
        ("between", 120.5, {"valueEnd": 130}, True),
        ("between", 100, {"valueEnd": 120.5}, True),
        ("between", 121, {"valueEnd": 130}, False),
        ("between", 100, {}, False),
        ("between", 100, {"valueEnd": "200"}, False),
        ("equals", "120.5", {}, False),
        ("equals", True, {}, False),
        ("contains", 120.5, {}, False),
        ("greaterThan", float("-inf"), {}, False),
    ],
)
def test_amount_operators(operator: str, value: Any, more: dict[str, Any], expected: bool) -> None:
    """The amount's absolute value is compared, exactly; a text is no number."""
    assert matches([condition("amount", operator, value, **more)]) is expected


def test_an_amount_is_compared_as_the_decimal_that_was_written() -> None:
    """0.1 in a rule is the 0.1 of the statement, which no float is."""
    assert matches([condition("amount", "equals", 0.1)], amount=Decimal("0.1000"))
    assert matches([condition("amount", "between", 0.1, valueEnd=0.3)], amount=Decimal("-0.3000"))


def test_other_fields() -> None:
    """Merchant is a text, account is the account's id; an unknown field never matches."""
    assert matches([condition("merchant", "equals", "oxxo")])
    assert matches([condition("account", "equals", "acc-1")])
    assert not matches([condition("account", "equals", "acc-2")])
    assert not matches([condition("colour", "equals", "red")])


def test_an_absent_text_is_empty() -> None:
    """A transaction without merchant or description can be asked about, and has nothing in it."""
    assert not matches([condition("merchant", "contains", "oxxo")], merchant=None)
    assert matches([condition("merchant", "equals", "")], merchant=None)
    assert not matches([condition("description", "contains", "oxxo")], description=None)


def test_all_conditions_must_hold() -> None:
    """One that fails rejects, wherever it stands and whatever its field."""
    text, amount = condition("description", "contains", "oxxo"), condition("amount", "lessThan", 200)
    wrong_text, wrong_amount = condition("merchant", "equals", "x"), condition("amount", "greaterThan", 200)

    assert matches([text, amount])
    assert matches([text, condition("description", "endsWith", "toluca"), condition("merchant", "equals", "OXXO")])
    assert not matches([text, wrong_amount])
    assert not matches([wrong_text, text])
    assert not matches([amount, wrong_text])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (condition("description", "contains", "oxxo"), True),
        ({"type": "regex", "descriptionPattern": "^pago"}, True),
        ({"type": "regex", "merchantPattern": "^oxxo$"}, True),
        ({"type": "regex", "accountPattern": "^acc"}, True),
        ({"type": "regex", "descriptionPattern": "nothing", "merchantPattern": "^oxxo$"}, False),
        ([{"type": "regex", "descriptionPattern": "^pago"}], True),
        ({"type": "regex"}, False),
        ({"type": "regex", "descriptionPattern": 5}, False),
        ({"type": "glob", "descriptionPattern": "^pago"}, False),
    ],
)
def test_older_shapes_are_understood(raw: Any, expected: bool) -> None:
    """One object instead of a list, and patterns by field: description before merchant before account."""
    assert matches(raw) is expected


@pytest.mark.parametrize("raw", [None, [], "oxxo", 5, [None], [[]], {}, [{"field": "description"}]])
def test_a_rule_left_without_conditions_never_matches(raw: Any) -> None:
    """Not even everything: a broken rule must not categorise the whole account."""
    assert parse_conditions(raw) == []
    assert not matches(raw)


def test_malformed_entries_are_dropped_and_the_others_count() -> None:
    """An entry that is no condition at all says nothing; one with a value of the wrong type fails."""
    good = condition("description", "contains", "oxxo")

    assert matches([None, "x", {"field": "amount"}, good])
    assert not matches([good, condition("amount", "equals", "many")])


def _first(*rows: StoredRule) -> str | None:
    candidate = Candidate("t", "acc-1", Decimal(-5), "oxxo", None, None)
    match = compile_rules(rows).match(candidate)
    return None if match is None else match.id


def test_the_first_rule_that_matches_wins() -> None:
    """Rules are tried in the order given, whichever way they find their words."""
    oxxo, small = [condition("description", "contains", "oxxo")], [condition("amount", "lessThan", 10)]

    assert _first(rule(oxxo, "a"), rule(small, "b")) == "a"
    assert _first(rule(small, "b"), rule(oxxo, "a")) == "b"
    assert _first(rule([condition("merchant", "equals", "x")], "c"), rule(oxxo, "a"), rule(oxxo, "d")) == "a"


def test_a_rule_that_can_give_no_category_hides_none_below() -> None:
    """Without a category, or with another space's, it is skipped, and the set says why."""
    oxxo = [condition("description", "contains", "oxxo")]
    bare = rule(oxxo, "bare", category_id=None, category_space_id=None)
    alien = rule(oxxo, "alien", category_space_id="other")

    assert _first(bare, alien, rule(oxxo, "good")) == "good"
    reasons = {s.id: s.reason for s in compile_rules([bare, alien, rule([], "empty")]).skipped}
    assert reasons == {
        "bare": "it has no category",
        "alien": "its category 'c' belongs to another space",
        "empty": "it has no usable condition",
    }


def test_a_pattern_that_would_hang_a_backtracking_engine_is_answered() -> None:
    """Nested repetition over a long text is linear here (the test's own limit would end it otherwise)."""
    assert not matches([condition("description", "regex", "^(a+)+$")], description="a" * 50_000 + "!")
    assert matches([condition("description", "regex", "(x+x+)+y")], description="x" * 50_000 + "y")


@pytest.mark.parametrize("pattern", ["a" * 501, r"(\p{L}{900}){900}", r"((\p{L}{100}){10}){10}"])
def test_a_pattern_too_long_or_too_large_never_matches(pattern: str) -> None:
    """A bound on its text and on its compiled size."""
    assert not matches([condition("description", "regex", pattern)], description="a" * 1000)


def test_many_large_patterns_are_still_answered_one_by_one() -> None:
    """Where one pass over all would need too much memory, each is sought alone, with the same answers."""
    bank = patterns.PatternBank()
    for n in range(255):
        pattern = patterns.valid_regex(rf"{n:03}\pL{{5}}x", case_insensitive=False)
        assert pattern is not None
        bank.add(pattern)
    needle = patterns.literal("needle")
    assert needle is not None
    wanted = bank.add(needle)

    assert bank.hits("a needle") == [wanted]
    assert bank.hits("a 004ñandúx") == [4]
    assert bank._searches is not None
    assert bank._searches[0]._compiled is not None


words = st.text(st.sampled_from("abcABC.*|( $^\\ñÑİß1"), max_size=6)
fields = st.sampled_from(["description", "merchant", "account"])
operators = st.sampled_from(["contains", "equals", "startsWith", "endsWith"])
conditions = st.builds(
    lambda f, o, v, i: {"field": f, "operator": o, "value": v, "caseInsensitive": i},
    fields,
    operators,
    words,
    st.booleans(),
)


def _plain(entry: dict[str, Any], candidate: Candidate) -> bool:
    texts = {
        "description": candidate.description,
        "merchant": candidate.merchant or "",
        "account": candidate.account_id,
    }
    text, value = texts[entry["field"]], entry["value"]
    if entry["caseInsensitive"]:
        text, value = text.lower(), value.lower()
    verbs = {
        "contains": value in text,
        "equals": text == value,
        "startsWith": text.startswith(value),
        "endsWith": text.endswith(value),
    }
    return bool(verbs[entry["operator"]])


@given(st.lists(st.lists(conditions, min_size=1, max_size=3), max_size=6), words, words, words)
def test_one_pass_answers_as_trying_each_rule_would(
    rules: list[list[dict[str, Any]]], description: str, merchant: str, account: str
) -> None:
    """The compiled set agrees with Python's own text operators, rule by rule."""
    candidate = Candidate("t", account, Decimal(1), description, merchant, None)
    expected = next((str(n) for n, r in enumerate(rules) if all(_plain(c, candidate) for c in r)), None)

    match = compile_rules([rule(r, str(n)) for n, r in enumerate(rules)]).match(candidate)

    assert (None if match is None else match.id) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["field", "operator", "value", "valueEnd", "type", "descriptionPattern"]), inner, max_size=5
        )
    ),
)


@given(json_values)
def test_no_stored_json_breaks_the_compiler(raw: Any) -> None:
    """Whatever an old release or a person wrote into the column."""
    matches(raw)


def test_a_rule_survives_the_wire() -> None:
    """A match is plain data."""
    candidate = Candidate("t", "a", Decimal(1), "oxxo", None, None)
    match = compile_rules([rule(condition("description", "contains", "oxxo"))]).match(candidate)

    assert msgspec.json.encode(match) == b'{"id":"r","name":"r","category_id":"c"}'
