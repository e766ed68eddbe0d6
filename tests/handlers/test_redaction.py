"""What redaction hides, what it cuts and what it leaves alone."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.handlers.redaction import (
    MAX_DEPTH_MARK,
    REDACTED,
    hide,
    redact,
    redact_json,
    redact_text,
    secrets_in,
)


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no answer from redis://:hunter2@cache:6379/0", "no answer from redis://***@cache:6379/0"),
        ("postgresql+asyncpg://me:p@ss/word@db/x failed", "postgresql+asyncpg://***@db/x failed"),
        ("redis://cache:6379/0, https://example.test/a?b=1", "redis://cache:6379/0, https://example.test/a?b=1"),
        ("it sent Bearer abc.def-123", f"it sent Bearer {REDACTED}"),
        ("wanted `Bearer <token>`, a basic understanding", "wanted `Bearer <token>`, a basic understanding"),
        ("found eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln here", f"found {REDACTED} here"),
        ('{"password": "a b c", "x": 1}', f'{{"password": {REDACTED}, "x": 1}}'),
        ("{'apiKey': 'zz9', 'n': 2}", f"{{'apiKey': {REDACTED}, 'n': 2}}"),
        (r'"{\"client_secret\":\"abc def\"}"', r'"{\"client_secret\":[REDACTED]}"'),
        ("GET /x?access_token=abc&page=1", f"GET /x?access_token={REDACTED}&page=1"),
        ("X-Api-Key: abcd", f"X-Api-Key: {REDACTED}"),
    ],
)
def test_secrets_in_a_text_are_known_by_their_form(text: str, shown: str) -> None:
    """URLs' passwords, bearer tokens and what follows a secret's name go; the rest stays legible."""
    assert redact_text(text) == shown
    assert redact({"reason": [text]}) == {"reason": [shown]}


def test_the_processs_own_secrets_are_found_wherever_they_stand() -> None:
    """Whatever the text is about; a URL stands for its password, as it is written and as it is meant."""
    try:
        hide(["the-jwt-secret", "redis://me:p%40ss-word@h/0", "tiny", ""])
        told = redact_text("xthe-jwt-secretx, p%40ss-word and p@ss-word, tiny")
        assert told == f"x{REDACTED}x, {REDACTED} and {REDACTED}, tiny"
    finally:
        hide([])
    assert redact_text("the-jwt-secret") == "the-jwt-secret"


def test_an_errors_text_that_repeats_a_payloads_secret_loses_it() -> None:
    """What the payload holds under a secret's name is found in other texts, however deep it stood."""
    secrets = secrets_in({"to": "ana", "login": {"password": "correct horse", "credentials": [{"pin": 123456}]}})
    assert secrets == {"correct horse", "123456"}
    assert (
        redact_text("bad login: correct horse / 123456 / ana", secrets) == f"bad login: {REDACTED} / {REDACTED} / ana"
    )
    assert redact({"message": "it was correct horse"}, secrets=secrets) == {"message": f"it was {REDACTED}"}


def test_e_mail_addresses_go_where_texts_are_for_logs() -> None:
    assert redact_text("to ana.b+c@mail.example.test, twice", personal=True) == "to [EMAIL], twice"
    assert redact_text("to ana@example.test") == "to ana@example.test"


@pytest.mark.parametrize("part", ["a", "token", "eyJ-", "a://", "x@", "bearer ", 'password="', "a://:", "."])
def test_a_hostile_text_is_done_with_quickly(part: str) -> None:
    """No form goes over a text again and again: a million characters end within the test's time limit."""
    redact_text(part * (1_000_000 // len(part)), personal=True)


@given(st.text(alphabet="abAB:/@\"'= {}[]\\eyJ.tokn", max_size=200))
def test_a_text_that_was_redacted_stays_as_it_is(text: str) -> None:
    """Showing what was hidden before adds no further marks."""
    once = redact_text(text, personal=True)
    assert redact_text(once, personal=True) == once
