"""What a schedule fires now: on-time ticks, what is made up for after down-time, and the fire that follows.

Pure: instants in, instants out. Who fires, and that each tick is fired once, is the scheduler's and `tick.lua`'s part.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

from . import defaults
from .cron import Cron

Misfire = Literal["skip", "once", "all"]


class Firing(msgspec.Struct, frozen=True):
    """`instants_ms` to fire now, oldest first; `following_ms` is the next fire, None where there is none."""

    instants_ms: list[int]
    following_ms: int | None


def firing(
    cron: Cron,
    next_ms: int,
    now_ms: int,
    *,
    misfire: Misfire = "once",
    grace_ms: int = defaults.MISFIRE_GRACE_MS,
    end_ms: int | None = None,
    resumed_ms: int | None = None,
) -> Firing:
    """What is due at `now_ms` for a schedule whose stored next fire is `next_ms`.

    A tick at most `grace_ms` late is on time and fires whatever the policy says. Later ones were missed: "skip" drops
    them; "once" makes up for all of them by the newest, unless an on-time tick fires just now anyway; "all" fires
    each, the newest 100 (`defaults.MISFIRE_CAP`). At most that many fire at once in any case. Nothing up to
    `resumed_ms` (the end of a pause) or after `end_ms` fires.
    """
    first: int | None = next_ms
    if resumed_ms is not None and next_ms <= resumed_ms:
        first = cron.next_after_ms(resumed_ms)
    if first is None or (end_ms is not None and first > end_ms):
        return Firing([], None)
    if first > now_ms:
        return Firing([], first)
    until_ms = now_ms if end_ms is None else min(now_ms, end_ms)
    on_time_ms = now_ms - grace_ms
    if first >= on_time_ms:
        instants, following = _fires(cron, first, until_ms)
    else:
        newest, following = _fires(cron, cron.next_after_ms(on_time_ms - 1), until_ms)
        missed_until_ms = min(on_time_ms - 1, until_ms)
        instants = newest
        if misfire == "all":
            instants = _newest(cron, first, missed_until_ms, defaults.MISFIRE_CAP)
            instants.extend(newest)
        elif misfire == "once" and not newest:
            instants = _newest(cron, first, missed_until_ms, 1)
    if end_ms is not None and following is not None and following > end_ms:
        following = None
    return Firing(list(instants)[-defaults.MISFIRE_CAP :], following)


def _fires(cron: Cron, first_ms: int | None, until_ms: int) -> tuple[deque[int], int | None]:
    """The newest fires from `first_ms`, itself a fire, up to `until_ms`; and the one that follows."""
    fires: deque[int] = deque(maxlen=defaults.MISFIRE_CAP)
    instant = first_ms
    while instant is not None and instant <= until_ms:
        fires.append(instant)
        instant = cron.next_after_ms(instant)
    return fires, instant


def _newest(cron: Cron, first_ms: int, until_ms: int, count: int) -> deque[int]:
    """The newest `count` fires from `first_ms`, itself a fire, up to `until_ms`.

    A cron can't be asked for its previous fire. The stretch that is searched begins with the first gap between two
    fires and is doubled until it holds enough: a week of seconds costs no more than a few hundred steps.
    """
    second_ms = cron.next_after_ms(first_ms)
    stretch_ms = count * ((second_ms or until_ms + 1) - first_ms)
    while True:
        start_ms = max(first_ms, until_ms - stretch_ms + 1)
        fires: deque[int] = deque(maxlen=count)
        found = 0
        instant = first_ms if start_ms == first_ms else cron.next_after_ms(start_ms - 1)
        while instant is not None and instant <= until_ms:
            fires.append(instant)
            found += 1
            instant = cron.next_after_ms(instant)
        if found >= count or start_ms == first_ms:
            return fires
        stretch_ms *= 2
