"""Limits of a queue and of keys: how many jobs run at once over the fleet, and how many start within a period.

Limits live in Redis and are changed, read and ended live; keeping them is the part of the claiming script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import checks, keys, scripts
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .queue import Queue

_MOST_STARTS = 100_000
_LONGEST_S = 31 * 86_400


class Limit(msgspec.Struct, frozen=True):
    """At most `concurrency` jobs at once, and at most `starts` starts in any `period` seconds, wherever the period
    begins; None for what isn't limited. Every start counts, that of a retry too.

    `concurrency` is at least 1, `starts` 1 to 100,000, `period` 0.001 to 31 days in seconds. Raises ConfigurationError
    for others, for one of `starts` and `period` without the other, and for a limit of nothing.
    """

    concurrency: int | None = None
    starts: int | None = None
    period: float | None = None

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            checks.whole("concurrency of a limit", self.concurrency, 1, "for no such limit")
        if (self.starts is None) != (self.period is None):
            raise ConfigurationError(f"a limit of {self.starts!r} starts in {self.period!r} s: wanted both or neither")
        if self.starts is not None and (type(self.starts) is not int or not 1 <= self.starts <= _MOST_STARTS):
            raise ConfigurationError(f"starts {self.starts!r} of a limit: wanted a number from 1 to {_MOST_STARTS}")
        if self.period is not None and (
            isinstance(self.period, bool)
            or not isinstance(self.period, int | float)
            or not 0.001 <= self.period <= _LONGEST_S
        ):
            raise ConfigurationError(f"period {self.period!r} of a limit: wanted seconds from 0.001 to {_LONGEST_S}")
        if self.concurrency is None and self.starts is None:
            raise ConfigurationError("a limit without a number: wanted concurrency, or starts in a period")


class LimitState(msgspec.Struct, frozen=True):
    """One moment of a queue or a key. `limit` is what holds there, `own` says that it is the key's own and not that of
    all keys. `running` and `waiting` count jobs. `free_in`: seconds until the next job may start; 0 where it may now,
    None where that takes the end of one that runs."""

    limit: Limit | None
    own: bool
    running: int
    waiting: int
    free_in: float | None


class Limits:
    """The limits of one queue: `queue.limits`. A key is at most 256 characters, without white space. Every call raises
    EngineUnavailable where Redis does not answer, and ConfigurationError for an illegal key."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def set_queue(self, limit: Limit | None) -> Limit | None:
        """Limits all jobs of the queue together, over all workers; None ends that. Returns the limit before."""
        return await self._set("queue", "", limit)

    async def set_keys(self, limit: Limit | None) -> Limit | None:
        """Limits each key that has no limit of its own; None ends that. Returns the limit before."""
        return await self._set("keys", "", limit)

    async def set_key(self, key: str, limit: Limit | None) -> Limit | None:
        """Gives one key a limit of its own instead of that of all keys; None takes it away. Returns the one before."""
        return await self._set("key", keys.check_limit_key(key), limit)

    async def of_queue(self) -> LimitState:
        """What limits the queue now, and how much room there is."""
        return await self._read("")

    async def of_key(self, key: str) -> LimitState:
        """What limits a key now, and how much room there is."""
        return await self._read(keys.check_limit_key(key))

    async def free_queue(self) -> None:
        """Ends the rest that a handler asked for with `Limited(..., scope="queue")`."""
        await self._run("queue", "", "", "", "")

    async def free_key(self, key: str) -> None:
        """Ends the rest that a handler asked for with `Limited`."""
        await self._run("key", keys.check_limit_key(key), "", "", "")

    async def _set(self, what: str, about: str, limit: Limit | None) -> Limit | None:
        numbers = (0, 0, 0)
        if limit is not None:
            numbers = (limit.concurrency or 0, limit.starts or 0, round((limit.period or 0) * 1000))
        cursor, before = await self._run(what, about, *numbers)
        while cursor != b"0":
            cursor, _ = await self._run("next", cursor, "", "", "")
        return _limit(before)

    async def _run(self, *arguments: str | int | bytes) -> tuple[bytes, bytes]:
        cursor, before = await self._queue.engine.run(scripts.LIMIT, self._queue.root, *arguments)
        return cursor, before

    async def _read(self, key: str) -> LimitState:
        reply: list[Any] = await self._queue.engine.run(scripts.LIMITS, self._queue.root, key)
        now_ms, limit, running, waiting, opens_ms, own = reply
        free_in = None if opens_ms < 0 else max(0, opens_ms - now_ms) / 1000 if opens_ms else 0.0
        return LimitState(_limit(limit), bool(own and limit), running, waiting, free_in)


def _limit(text: bytes) -> Limit | None:
    if not text:
        return None
    concurrency, starts, period_ms = map(int, text.split())
    return Limit(concurrency or None, starts or None, period_ms / 1000 if starts else None)
