"""Time limits of running jobs: one table and one timer for all, since a timer for each job would cost more than most
jobs do. Who is late is told to the owner; what becomes of it is theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

NEVER = float("inf")


class Limited(Protocol):
    """What may have a time limit: `deadline`, on the monotonic clock, or NEVER."""

    deadline: float


class Deadlines:
    """Watches the deadlines of `limited`, a table that may change; tells `late` of each that has passed, once."""

    def __init__(self, limited: Iterable[Limited], late: Callable[..., None]) -> None:
        self._limited = limited
        self._late = late
        self._timer: asyncio.TimerHandle | None = None
        self._at = NEVER

    def set(self, one: Limited, timeout: float) -> None:
        """Gives one a deadline in `timeout` seconds; set its `deadline` to NEVER when it has ended."""
        one.deadline = deadline = time.monotonic() + timeout
        if deadline < self._at:
            if self._timer is not None:
                self._timer.cancel()
            self._at = deadline
            self._timer = asyncio.get_running_loop().call_later(timeout, self._check)

    def close(self) -> None:
        """Watches no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        now = time.monotonic()
        following = NEVER
        for one in self._limited:
            if one.deadline <= now:
                one.deadline = NEVER
                self._late(one)
            elif one.deadline < following:
                following = one.deadline
        self._at = following
        self._timer = None
        if following < NEVER:
            self._timer = asyncio.get_running_loop().call_later(max(0.001, following - now), self._check)
