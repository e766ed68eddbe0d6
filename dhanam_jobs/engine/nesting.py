"""How deep a JSON text is nested: one as deep as Python's stack allows would break who reads it further down."""

from __future__ import annotations

import re
from itertools import accumulate

from .defaults import MAX_DEPTH

_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = [1 if byte in b"[{" else -1 for byte in range(256)]


def too_deep(body: bytes) -> bool:
    """True where lists and objects stand in each other more than 500 deep. `body` is JSON."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _TEXTS.sub(b"", body).translate(None, _BUT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH
