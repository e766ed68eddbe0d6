"""Payloads that were shown, changed and sent back: what was hidden or cut is as it was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.engine import InvalidPayload
from dhanam_jobs.handlers.redaction import redact
from dhanam_jobs.handlers.service.edited import restored

KEYS = st.sampled_from(["spaceId", "accessToken", "api_key", "items", "text", "password"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.just("long " * 200)
PAYLOADS = st.recursive(
    LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@given(PAYLOADS)
def test_what_was_shown_and_not_changed_is_what_it_was(payload: Any) -> None:
    """Whatever was hidden, cut or nested too deep."""
    sent = json.loads(msgspec.json.encode(redact(payload)))
    assert restored(sent, msgspec.json.encode(payload)) == payload


def test_what_was_changed_beside_something_hidden_is_changed_alone() -> None:
    """In objects, and in lists; what was taken away is away, what was added is there."""
    payload = {
        "keep": {"token": "t-1", "n": 1},
        "list": [{"secret": "s-1"}, {"secret": "s-2", "x": 1}],
        "many": list(range(80)),
        "gone": 1,
    }
    sent: Any = redact(payload)
    sent["keep"]["n"] = 2
    sent["list"][1]["x"] = 2
    sent["list"].append({"x": 3})
    del sent["gone"]
    sent["new"] = [1]
    assert restored(sent, msgspec.json.encode(payload)) == {
        "keep": {"token": "t-1", "n": 2},
        "list": [{"secret": "s-1"}, {"secret": "s-2", "x": 2}, {"x": 3}],
        "many": list(range(80)),
        "new": [1],
    }


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        ({"token": "[REDACTED]"}, "payload.token"),
        ({"a": ["x", {"b": "Bearer [REDACTED]"}]}, "payload.a[1].b"),
        ({"a": "[MaxDepth]"}, "payload.a"),
        ("[REDACTED]", "payload"),
    ],
)
def test_a_mark_that_stands_for_nothing_is_refused_with_its_place(sent: Any, place: str) -> None:
    """It would become the value."""
    with pytest.raises(InvalidPayload) as refused:
        restored(sent, b'{"a":1}')
    assert str(refused.value) == f"{place}: found a mark of what is hidden, wanted a value of its own"


def test_a_new_value_under_a_secret_key_is_taken() -> None:
    """That is how a secret is changed."""
    assert restored({"token": "new"}, b'{"token":"old"}') == {"token": "new"}
