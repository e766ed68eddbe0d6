"""Encrypts and decrypts the providers' tokens as the store keeps them: AES-256-GCM under the service's key.

The text is `v1:<iv>:<tag>:<ciphertext>`, hexadecimal, with an IV of 16 and a tag of 16 bytes; the key is the SHA-256
of ENCRYPTION_KEY. The store holds that text as a JSON string, quotes included. Which rows there are is the store's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_IV_BYTES = 16
_TAG_BYTES = 16


class TokenError(Exception):
    """A stored token can't be read: its form is wrong, or none of our keys opens it. The text holds no token."""


class TokenCipher:
    """Encrypts with one key; decrypts with it and with the keys that were in use before.

    Args:
        key: ENCRYPTION_KEY, exactly 32 characters.
        previous: keys that still open what they have encrypted; `rotate` brings such texts under `key`.

    Raises ValueError for a key of another length.
    """

    def __init__(self, key: str, previous: Sequence[str] = ()) -> None:
        self._ciphers = []
        for number, text in enumerate((key, *previous)):
            if len(text) != 32:
                name = "ENCRYPTION_KEY_PREVIOUS" if number else "ENCRYPTION_KEY"
                raise ValueError(f"{name}: found {len(text)} characters, wanted exactly 32")
            self._ciphers.append(AESGCM(hashlib.sha256(text.encode()).digest()))

    def encrypt(self, secret: str) -> str:
        """Give the text that the store keeps: a JSON string. Raises ValueError for an empty secret."""
        if not secret:
            raise ValueError("secret: found an empty text, which could not be read back")
        iv = os.urandom(_IV_BYTES)
        sealed = self._ciphers[0].encrypt(iv, secret.encode(), None)
        body, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        return msgspec.json.encode(f"{_VERSION}:{iv.hex()}:{tag.hex()}:{body.hex()}").decode()

    def decrypt(self, stored: str) -> str:
        """Give the secret of a stored text, with or without JSON's quotes, with or without the version.

        Raises TokenError.
        """
        return self._open(stored)[0]

    def rotate(self, stored: str) -> str | None:
        """Give the text under the newest key, or None where it is already. Raises TokenError."""
        secret, cipher = self._open(stored)
        return None if cipher is self._ciphers[0] else self.encrypt(secret)

    def _open(self, stored: str) -> tuple[str, AESGCM]:
        iv, tag, body = _parse(stored)
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(iv, body + tag, None).decode(), cipher
            except InvalidTag:
                continue
            except UnicodeDecodeError:
                break
        raise TokenError("stored token: it was changed, or encrypted under another ENCRYPTION_KEY")


def _parse(stored: str) -> tuple[bytes, bytes, bytes]:
    text = stored.strip()
    if text.startswith('"'):
        try:
            text = msgspec.json.decode(text, type=str)
        except msgspec.DecodeError:
            raise TokenError("stored token: found a broken JSON string, wanted one of v1:iv:tag:ciphertext") from None
    parts = text.removeprefix(f"{_VERSION}:").split(":")
    if len(parts) != 3 or not all(parts):
        raise TokenError(f"stored token: found {len(parts)} parts, wanted iv, tag and ciphertext, none of them empty")
    try:
        iv, tag, body = (bytes.fromhex(part) for part in parts)
    except ValueError:
        raise TokenError("stored token: found a part that isn't hexadecimal") from None
    if len(iv) != _IV_BYTES or len(tag) != _TAG_BYTES:
        raise TokenError(f"stored token: found an IV of {len(iv)} and a tag of {len(tag)} bytes, wanted 16 and 16")
    return iv, tag, body
