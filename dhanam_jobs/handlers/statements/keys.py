"""Makes the key by which a row is known again in later exports; storing it is left to others."""

from __future__ import annotations

import unicodedata
from collections import Counter
from datetime import date
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

_HASH_BYTES = 12


class RowContent(NamedTuple):
    """What makes a row the row it is; merchant and reference are empty where the file has none."""

    date: date
    amount: Decimal
    description: str
    merchant: str
    reference: str


class RowKeys:
    """Keys of the rows of one file: `csv_` + 24 hex digits of the row's content + `_` + its ordinal among
    equals.

    The content is taken in a canonical form, so the same row has the same key in another order, encoding,
    delimiter or notation. Equal rows are told apart by counting alone: a later export with three of them
    where the store has two adds one.

    Stored keys outlive this code: a change of the canonical forms makes every known row new again.
    """

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def next(self, row: RowContent) -> str:
        """The key of the file's next row; its amount has 4 decimals at most."""
        content = "\n".join(
            (
                row.date.isoformat(),
                canonical_amount(row.amount),
                folded(row.description),
                folded(row.merchant),
                canonical_reference(row.reference),
            )
        )
        digest = blake2b(content.encode(), digest_size=_HASH_BYTES).digest()
        self._seen[digest] += 1
        return f"csv_{digest.hex()}_{self._seen[digest]}"


def canonical_amount(amount: Decimal) -> str:
    """The amount in ten-thousandths, so that 12, 12.0 and 12.0000 are one; zero has no sign."""
    return str(int(amount.scaleb(4)))


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Text without differences of case, accents, compatibility forms and blanks."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(text.casefold().split())


def canonical_reference(text: str) -> str:
    """The reference without blanks and leading zeros, which spreadsheets drop; `0000` says nothing."""
    return "".join(folded(text).split()).lstrip("0") if text else ""
