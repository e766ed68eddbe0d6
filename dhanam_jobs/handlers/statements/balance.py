"""Checks the sign of amounts against the running balance beside them; correcting them is left to a person."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

_FEWEST_WITNESSES = 2
_WITNESSES_PER_EXCEPTION = 4

Verdict = Literal["silent", "as written", "opposite", "unsigned"]


def judge_signs(rows: Sequence[tuple[Decimal, Decimal | None]]) -> Verdict:
    """What the balances say about the amounts of one file, given (amount, balance) of its rows in file order.

    `as written`: the balance changes by the amounts. `opposite`: it changes by their opposites. `unsigned`:
    no amount is negative and the balance rises by some and falls by others, so the file leaves the sign out.
    `silent`: fewer than two rows speak, or the balance follows the amounts in fewer than four rows of five.
    Oldest first and newest first are both understood.
    """
    best = (0, 0)
    pairs = 0
    for step in (1, -1):
        kept = flipped = pairs = 0
        for index in range(1, len(rows)):
            later, earlier = (rows[index], rows[index - 1]) if step == 1 else (rows[index - 1], rows[index])
            amount, balance = later
            if not amount or balance is None or earlier[1] is None:
                continue
            pairs += 1
            change = balance - earlier[1]
            kept += change == amount
            flipped += change == -amount
        best = max(best, (kept, flipped), key=sum)
    kept, flipped = best
    if kept + flipped < _FEWEST_WITNESSES or kept + flipped < _WITNESSES_PER_EXCEPTION * (pairs - kept - flipped):
        return "silent"
    if flipped > _WITNESSES_PER_EXCEPTION * kept and flipped >= _FEWEST_WITNESSES:
        return "opposite"
    if flipped >= _FEWEST_WITNESSES and all(amount >= 0 for amount, _ in rows):
        return "unsigned"
    return "as written"
