"""Makes payloads and texts fit to be shown: hides secrets by key name and by form, cuts what is too long or too deep.

Where a payload may be shown, and to whom, is decided by the callers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

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

MIN_KNOWN_CHARACTERS: Final = 6
"""Shorter secrets are not looked for: they would be found in innocent words."""

_WORDS = r"token|secret|password|credential|authorization|cookie|session|api[ _-]?key"
_SECRET_KEY = re.compile(_WORDS, re.IGNORECASE)
# Every repetition has a bound, so that a hostile text costs no more than its length.
_FORMS = (
    # A connection URL's user and password; a password may hold a slash or an @ that should have been encoded.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^\s/?#@:'\"]{0,256}(?::[^\s'\"]{0,256})?@"), r"\1***@"),
    (
        re.compile(r"(?i)\b(bearer|basic)\s{1,8}(?=[^\s'\"]{0,256}[0-9._~+/=-])[a-z0-9._~+/=-]{6,8192}"),
        rf"\1 {REDACTED}",
    ),
    (re.compile(r"(?<![\w-])eyJ[\w-]{5,4096}\.[\w-]{1,4096}(?:\.[\w-]{0,1024})?"), REDACTED),
    # password=x, "apiKey": "x", X-Api-Key: x, ?token=x
    (
        re.compile(
            rf"""(?i)((?:{_WORDS})[\w-]{{0,64}}\\?["']?\s{{0,8}}[=:]\s{{0,8}})"""
            r"""(?:\\?"[^"]{0,4096}"|'[^']{0,4096}'|(?!\[REDACTED)[^\s"',;&})\]]{1,4096})"""
        ),
        rf"\1{REDACTED}",
    ),
)
_MAIL_ADDRESS = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}")
_known: re.Pattern[str] | None = None
# Decimals keep every digit of an amount, which a float would round.
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def redact(value: object, depth: int = 0, secrets: Collection[str] = ()) -> JsonValue:
    """Return a copy of a decoded JSON value that is fit to be shown; `value` itself is left as it is.

    A value under a key whose name contains token, secret, password, credential, authorization, cookie,
    session or api key (any case, also `api_key`, `api-key`, `apiKey`) becomes `REDACTED`, whatever it is; other
    texts lose what `redact_text` knows for a secret, and `secrets`.

    Raises:
        TypeError: `value` holds something that JSON has no word for.
    """
    if depth > MAX_DEPTH:
        return MAX_DEPTH_MARK
    if isinstance(value, str):
        # What is cut off anyway needs no looking at, but for a secret that the cut divides.
        value = redact_text(value[: 4 * MAX_CHARACTERS], secrets)
        return value if len(value) <= MAX_CHARACTERS else value[:MAX_CHARACTERS] + "..."
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    if isinstance(value, dict):
        return {
            str(key): REDACTED if _SECRET_KEY.search(str(key)) else redact(item, depth + 1, secrets)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, depth + 1, secrets) for item in value[:MAX_ITEMS]]
    raise TypeError(f"found a {type(value).__name__}, wanted a JSON value")


def redact_text(text: str, secrets: Iterable[str] = (), *, personal: bool = False) -> str:
    """Return a text, such as an error's, without secrets: those that `hide` was told, `secrets`, users and passwords
    of URLs, bearer tokens, and what follows a secret's name; with `personal` also without e-mail addresses.

    >>> redact_text("no answer from redis://:hunter2@cache:6379/0, api_key=k-123")
    'no answer from redis://***@cache:6379/0, api_key=[REDACTED]'
    """
    if _known is not None:
        text = _known.sub(REDACTED, text)
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MIN_KNOWN_CHARACTERS:
            text = text.replace(secret, REDACTED)
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    return _MAIL_ADDRESS.sub("[EMAIL]", text) if personal else text


def is_secret_key(key: str) -> bool:
    """Whether what stands under this key is a secret by its name."""
    return _SECRET_KEY.search(key) is not None


def hide(secrets: Iterable[str]) -> None:
    """Make these secrets known to this process: `redact` and `redact_text` find them in whatever text. A URL stands for
    its password. Replaces what was known before."""
    global _known
    found = set()
    for secret in secrets:
        if "://" in secret:
            try:
                password = urlsplit(secret).password or ""
            except ValueError:
                continue
            found |= {password, unquote(password)}
        else:
            found.add(secret)
    words = sorted((word for word in found if len(word) >= MIN_KNOWN_CHARACTERS), key=len, reverse=True)
    _known = re.compile("|".join(map(re.escape, words))) if words else None


def secrets_in(value: object) -> set[str]:
    """Return the texts and numbers under secret keys of a decoded JSON value, so that they can be taken out of an
    error's text that repeats them."""
    found: set[str] = set()

    def look(item: object, secret: bool) -> None:
        if isinstance(item, dict):
            for key, inner in item.items():
                look(inner, secret or _SECRET_KEY.search(str(key)) is not None)
        elif isinstance(item, (list, tuple)):
            for inner in item:
                look(inner, secret)
        elif secret and isinstance(item, (str, int, float, Decimal)) and not isinstance(item, bool):
            found.add(str(item))

    try:
        look(value, secret=False)
    except RecursionError:
        return found
    return found


def secrets_in_json(document: bytes | str) -> set[str]:
    """Return `secrets_in` of a JSON document; nothing where it can't be read."""
    try:
        return secrets_in(_decoder.decode(document))
    except (msgspec.DecodeError, RecursionError):
        return set()


def redact_json(document: bytes | str, secrets: Collection[str] = ()) -> JsonValue:
    """Return what a JSON document holds, as `redact` gives it; fractions come as `Decimal`, so that no digit is lost.

    A document nested too deep to be read is shown as `MAX_DEPTH_MARK`.

    Raises:
        msgspec.DecodeError: `document` is not JSON.
    """
    try:
        return redact(_decoder.decode(document), secrets=secrets)
    except RecursionError:
        return MAX_DEPTH_MARK
