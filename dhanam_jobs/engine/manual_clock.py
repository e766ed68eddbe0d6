"""A clock for users' tests: it stands still until the test moves it, and with it what the engine takes for the time.

The scripts take their time from Redis, or from an argument that tests alone give; an engine that was made with a manual
clock gives it with every call. Whoever sleeps until something is due is woken when the clock moves.
"""

from __future__ import annotations

import time
import weakref
from datetime import UTC, datetime, timedelta
from typing import Protocol

from .errors import ConfigurationError
from .executor import Clock
from .options import instant_ms

#: What workers' leases last until, in ms (the year 2100): a clock that moves by hours must not make them dead.
LEASES_UNTIL_MS = 4_102_444_800_000


class _Follower(Protocol):
    def time_moved(self, now_ms: int) -> None: ...


class ManualClock(Clock):
    """`Engine.connect(url, registry=registry, clock=ManualClock())`, for tests only.

    `start`: an aware datetime, by default now. The clock stands there until `advance` or `move_to`; engines may share
    it. Call those where the engines' event loop runs.

    It moves what Redis's clock decides: delays, back-offs, snoozes, expiry, throttles, debounces, rates, rests, and
    schedules; and the times in records. It doesn't move what the process measures (time limits of attempts, timeouts of
    waiting) nor the server's own: leases, sweeps, how long a result is kept for its waiter, the ids of stream entries
    and with them `created_ms` of jobs without options. Raises ConfigurationError for a start without a time zone.
    """

    __slots__ = ("_followers", "_now_ms")

    def __init__(self, start: datetime | None = None) -> None:
        super().__init__()
        self._now_ms = round(time.time() * 1000) if start is None else instant_ms("start", start)
        self._followers: weakref.WeakSet[_Follower] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<ManualClock {self.now.isoformat()}>"

    @property
    def now(self) -> datetime:
        """What time it is, in UTC, to the millisecond."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self._now_ms)

    def now_ms(self) -> int:
        """What time it is, in ms since 1970."""
        return self._now_ms

    def set(self, redis_ms: int) -> None:
        """Does nothing: what a reply says was given by this clock."""

    def advance(self, seconds: float) -> None:
        """Moves on by so many seconds, and wakes the workers and schedulers that wait for a time. Raises
        ConfigurationError for a number below 0."""
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 100 * 366 * 86_400:
            raise ConfigurationError(f"advance by {seconds!r}: wanted seconds from 0 to a century")
        self._move(self._now_ms + round(seconds * 1000))

    def move_to(self, moment: datetime) -> None:
        """Moves on to an aware datetime, as `advance`. Raises ConfigurationError for one before now, since stored times
        can't be taken back, and for one without a time zone."""
        target = instant_ms("moment", moment)
        if target < self._now_ms:
            raise ConfigurationError(f"move to {moment.isoformat()}: wanted nothing before {self.now.isoformat()}")
        self._move(target)

    def follow(self, follower: _Follower) -> None:
        """Tells an engine the time, now and whenever it moves, as long as it lives."""
        self._followers.add(follower)
        follower.time_moved(self._now_ms)

    def _move(self, now_ms: int) -> None:
        self._now_ms = now_ms
        for follower in list(self._followers):
            follower.time_moved(now_ms)
