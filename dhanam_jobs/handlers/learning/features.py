"""What of a transaction its category may hang on: its text without what changes each time, most particular first."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

_SPLIT = re.compile(r"[^a-z0-9ñ]+")
_HAS_DIGIT = re.compile(r"[0-9]")

# Words that banks add to any line: they say where or how, not what for.
_NOISE = frozenset(
    word
    for line in (
        ("mx", "mex", "cdmx", "mexico", "sa", "cv", "de", "sapi", "rl", "la", "el", "los", "las", "del", "en", "al"),
        ("suc", "sucursal", "ref", "referencia", "folio", "aut", "num", "no", "com", "www", "pos", "tarjeta"),
    )
    for word in line
)
# Lines that begin so say how money moved; who it went to comes behind.
_MEANS = frozenset(
    word
    for line in (
        ("spei", "transferencia", "traspaso", "enviado", "recibido", "pago", "paypal", "mercadopago", "clip"),
        ("sr", "sra", "compra", "cargo"),
    )
    for word in line
)


class Textual(Protocol):
    """What features are read from."""

    @property
    def description(self) -> str: ...
    @property
    def merchant(self) -> str | None: ...
    @property
    def amount(self) -> Decimal: ...


class Features(tuple[str, ...]):
    """Features of one transaction, the most particular first; the first is its whole text."""


def features_of(transaction: Textual) -> Features:
    """Give the features; money that comes in and money that goes out share none."""
    sign = "+" if transaction.amount > 0 else "-"
    return _features(sign, transaction.merchant or "", transaction.description)


@lru_cache(maxsize=20_000)
def _features(sign: str, merchant: str, description: str) -> Features:
    words = _words(description)
    shop = _words(merchant)
    found = [f"{sign}text:{' '.join(words)}"] if words else []
    if shop:
        found.append(f"{sign}shop:{' '.join(shop)}")
    begin = 0
    while begin < len(words) - 1 and words[begin] in _MEANS:
        begin += 1
    for count in (3, 2, 1):
        if begin + count <= len(words):
            found.append(f"{sign}{count}:{' '.join(words[: begin + count])}")
    return Features(dict.fromkeys(found))


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.lower().replace("ñ", "\0")).encode("ascii", "ignore").decode()
    words = _SPLIT.split(plain.replace("\0", "ñ"))
    return [word for word in words if len(word) > 1 and word not in _NOISE and not _HAS_DIGIT.search(word)]
