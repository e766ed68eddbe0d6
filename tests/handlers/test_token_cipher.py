"""Tokens at rest: the form that is written, the forms that are read, and what is refused."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.handlers.token_cipher import TokenCipher, TokenError

KEY = "k" * 32
OLD = "o" * 32


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_every_text_comes_back(secret: str) -> None:
    """Unicode and long texts too."""
    assert TokenCipher(KEY).decrypt(TokenCipher(KEY).encrypt(secret)) == secret


def test_the_stored_form_is_a_json_string_of_four_hexadecimal_parts() -> None:
    """Version, 16 bytes of IV, 16 of tag, the ciphertext; encrypted twice it differs."""
    cipher = TokenCipher(KEY)
    stored = cipher.encrypt("secret")
    version, iv, tag, body = json.loads(stored).split(":")

    assert stored.startswith('"')
    assert (version, len(iv), len(tag), len(body)) == ("v1", 32, 32, 12)
    assert cipher.encrypt("secret") != stored


def test_another_implementation_can_open_it() -> None:
    """The key is the SHA-256 of the setting, and nothing is authenticated beside the text."""
    _, iv, tag, body = json.loads(TokenCipher(KEY).encrypt("secret")).split(":")
    opened = AESGCM(hashlib.sha256(KEY.encode()).digest()).decrypt(
        bytes.fromhex(iv), bytes.fromhex(body) + bytes.fromhex(tag), None
    )

    assert opened == b"secret"


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("versioned", [True, False])
def test_all_stored_forms_are_read(quoted: bool, versioned: bool) -> None:
    """JSON-quoted or raw, with the version or as it was before there was one."""
    text = json.loads(TokenCipher(KEY).encrypt("secret"))
    text = text if versioned else text.removeprefix("v1:")

    assert TokenCipher(KEY).decrypt(json.dumps(text) if quoted else text) == "secret"


@pytest.mark.parametrize("stored", ["", "v1:", "v1:ab:cd", "v1:ab:cd:", "zz:zz:zz", '"v1', "demo-token", '{"iv": "a"}'])
def test_what_has_no_such_form_is_refused_by_name(stored: str) -> None:
    """Never a stray error of a library."""
    with pytest.raises(TokenError, match="stored token"):
        TokenCipher(KEY).decrypt(stored)


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_changed_text_is_refused(part: int) -> None:
    """IV, tag and ciphertext are all authenticated."""
    parts = json.loads(TokenCipher(KEY).encrypt("secret")).split(":")
    parts[part] = f"{int(parts[part][0], 16) ^ 1:x}" + parts[part][1:]

    with pytest.raises(TokenError, match="changed"):
        TokenCipher(KEY).decrypt(":".join(parts))


def test_a_new_key_reads_and_renews_what_the_old_one_wrote() -> None:
    """After the rotation the old key is needed no more."""
    old = TokenCipher(OLD).encrypt("secret")
    both = TokenCipher(KEY, [OLD])

    assert both.decrypt(old) == "secret"
    renewed = both.rotate(old)
    assert renewed is not None
    assert TokenCipher(KEY).decrypt(renewed) == "secret"
    assert both.rotate(renewed) is None
    with pytest.raises(TokenError):
        TokenCipher(KEY).decrypt(old)


def test_a_key_of_another_length_is_refused() -> None:
    """No key is made up in its place."""
    with pytest.raises(ValueError, match="ENCRYPTION_KEY: found 5 characters, wanted exactly 32"):
        TokenCipher("short")
    with pytest.raises(ValueError, match="ENCRYPTION_KEY_PREVIOUS"):
        TokenCipher(KEY, ["short"])


def test_an_empty_secret_is_refused_before_it_is_written() -> None:
    """The stored form can't hold it."""
    with pytest.raises(ValueError, match="empty"):
        TokenCipher(KEY).encrypt("")
