"""Scores of well-known coins for when no provider tells any: environmental, social, governance and confidence."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from dhanam_jobs.handlers.esg.scoring import Scores

SOURCE: Final = "built-in"
DATED: Final = dt.datetime(2026, 6, 22, tzinfo=dt.UTC)

_TABLE: Final = """
BTC 20 60 55 80    ETH 50 70 75 85    ADA 85 70 70 75    DOT 80 65 65 70    SOL 75 65 65 70
ALGO 90 75 75 75   SAND 62 75 68 70   MANA 60 72 64 70   AXS 55 78 60 65    SLP 50 72 48 60
GALA 52 70 55 60   ILV 58 74 62 65    IMX 78 72 68 70    ENJ 55 73 56 65    ATLAS 65 68 48 60
POLIS 65 66 52 60  APE 48 76 50 65    YGG 55 80 58 60    RONIN 60 75 64 65
"""


def _read(text: str) -> dict[str, Scores]:
    words = text.split()
    rows = [words[start : start + 5] for start in range(0, len(words), 5)]
    return {symbol: Scores(*map(Decimal, numbers)) for symbol, *numbers in rows}


BUILT_IN: Final = _read(_TABLE)
"""Scores by symbol, in capitals."""
