"""What redaction hides, what it cuts and what it leaves alone."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.handlers.redaction import MAX_DEPTH_MARK, REDACTED, redact, redact_json


@pytest.mark.parametrize(
    "key",
    ["token", "accessToken", "CLIENT_SECRET", "password", "newPassword", "credentials", "Authorization",
     "set-cookie", "sessionId", "api key", "api_key", "api-key", "apiKey", "X-API-Key"],
)  # fmt: skip
def test_secret_keys_are_hidden_whatever_they_hold(key: str) -> None:
    """A scalar and a whole object under a secret's name are both replaced by the mark."""
    assert redact({key: "s3cret"}) == {key: REDACTED}
    assert redact({"outer": [{key: {"inner": 1}}]}) == {"outer": [{key: REDACTED}]}


@pytest.mark.parametrize("key", ["spaceId", "provider", "to", "keyboard", "api", "passage"])
def test_other_keys_pass_through(key: str) -> None:
    """A name that only resembles a secret's name keeps its value."""
    assert redact({key: "value"}) == {key: "value"}


def test_depth_six_is_replaced_and_depth_five_is_kept() -> None:
    """The outermost value has depth 0, so the sixth level of nesting is the first one hidden."""
    assert redact({"a": {"b": {"c": {"d": {"e": 5}}}}}) == {"a": {"b": {"c": {"d": {"e": 5}}}}}
    assert redact({"a": {"b": {"c": {"d": {"e": {"f": 6}}}}}}) == {
        "a": {"b": {"c": {"d": {"e": {"f": MAX_DEPTH_MARK}}}}}
    }


def test_arrays_are_cut_to_fifty_and_strings_to_five_hundred() -> None:
    """Exactly the limit is kept whole; one more is cut, and a cut string says so."""
    assert redact(list(range(51))) == list(range(50))
    assert redact("x" * 500) == "x" * 500
    assert redact("x" * 501) == "x" * 500 + "..."


def test_digits_of_numbers_survive() -> None:
    """An amount with 19 digits and an integer past 64 bits come out as they went in."""
    document = b'{"amount":123456789012345.1234,"n":123456789012345678901,"small":1.50}'
    shown = redact_json(document)
    assert shown == {
        "amount": Decimal("123456789012345.1234"),
        "n": 123456789012345678901,
        "small": Decimal("1.50"),
    }
    assert msgspec.json.Encoder(decimal_format="number").encode(shown) == document


@pytest.mark.parametrize("document", [b"[]", b"{}", b"0", b"false", b"null", b'""', b"12345678901234567"])
def test_plain_documents_survive(document: bytes) -> None:
    """Empty and falsy payloads are shown as they are, not as something else."""
    assert msgspec.json.encode(redact_json(document)) == document


def test_a_document_nested_without_end_is_shown_as_the_mark() -> None:
    """Nesting that exhausts the parser's stack is answered, not raised."""
    assert redact_json(b"[" * 200_000 + b"]" * 200_000) == MAX_DEPTH_MARK


def test_the_original_is_not_changed() -> None:
    """Redaction returns a copy: the job that runs still needs its secrets."""
    payload = {"token": "s3cret", "list": [{"password": "p"}]}
    redact(payload)
    assert payload == {"token": "s3cret", "list": [{"password": "p"}]}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)


@given(value=_json)
def test_a_planted_secret_never_shows(value: object) -> None:
    """A secret is hidden wherever its key stands, and redacting again changes nothing."""
    shown = redact({"around": value, "nested": [{"apiSecret": "canary-7f3a", "beside": value}]})
    assert "canary-7f3a" not in repr(shown)
    assert redact(shown) == shown
