"""Makes a payload fit to be shown: hides secrets by key name and cuts what is too long or too deep.

Where a payload may be shown, and to whom, is decided by the callers.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec

JsonValue: TypeAlias = "bool | int | float | Decimal | str | list[JsonValue] | dict[str, JsonValue] | None"

REDACTED: Final = "[REDACTED]"
MAX_DEPTH_MARK: Final = "[MaxDepth]"
MAX_DEPTH: Final = 5
"""Containers nested deeper than this are replaced by `MAX_DEPTH_MARK`; the outermost value has depth 0."""
MAX_ITEMS: Final = 50
"""Items of an array that are kept."""
MAX_CHARACTERS: Final = 500
"""Characters of a string that are kept; `...` follows where one was cut."""

_SECRET_KEY = re.compile(r"token|secret|password|credential|authorization|cookie|session|api[ _-]?key", re.IGNORECASE)
# Decimals keep every digit of an amount, which a float would round.
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def redact(value: object, depth: int = 0) -> JsonValue:
    """Return a copy of a decoded JSON value that is fit to be shown; `value` itself is left as it is.

    A value under a key whose name contains token, secret, password, credential, authorization, cookie,
    session or api key (any case, also `api_key`, `api-key`, `apiKey`) becomes `REDACTED`, whatever it is.

    Raises:
        TypeError: `value` holds something that JSON has no word for.
    """
    if depth > MAX_DEPTH:
        return MAX_DEPTH_MARK
    if isinstance(value, str):
        return value if len(value) <= MAX_CHARACTERS else value[:MAX_CHARACTERS] + "..."
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    if isinstance(value, dict):
        return {
            str(key): REDACTED if _SECRET_KEY.search(str(key)) else redact(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, depth + 1) for item in value[:MAX_ITEMS]]
    raise TypeError(f"found a {type(value).__name__}, wanted a JSON value")


def redact_json(document: bytes | str) -> JsonValue:
    """Return what a JSON document holds, redacted; fractions come as `Decimal`, so that no digit is lost.

    A document nested too deep to be read is shown as `MAX_DEPTH_MARK`.

    Raises:
        msgspec.DecodeError: `document` is not JSON.
    """
    try:
        return redact(_decoder.decode(document))
    except RecursionError:
        return MAX_DEPTH_MARK
