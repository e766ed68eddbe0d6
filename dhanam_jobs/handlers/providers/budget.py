"""How often we call each provider at most: a token bucket per provider, in this process.

Processes share a provider's allowance: each takes its part of it (`Share`). What the provider itself says about limits
(Retry-After) is kept in the store, where all processes see it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from dhanam_jobs.handlers.providers.errors import BudgetSpent

log = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0
"""How long a call waits for its turn before the job gives its slot back."""

COUNTED_FOR_S: Final = 30.0
"""How long a count of the processes holds."""


class Allowance(msgspec.Struct, frozen=True):
    """Calls per minute and per hour, and how many may come at once."""

    per_minute: int
    per_hour: int
    burst: int


ALLOWANCES: Final[Mapping[str, Allowance]] = {
    "belvo": Allowance(60, 1000, 10),
    "plaid": Allowance(100, 3000, 20),
    "bitso": Allowance(30, 500, 5),
    "ethereum": Allowance(30, 1000, 5),
    "bitcoin": Allowance(30, 1000, 5),
    "prices": Allowance(30, 1000, 5),
    "esg": Allowance(120, 3000, 20),
    "rates": Allowance(10, 100, 5),
}


class Share:
    """This process's part of every allowance: one of so many as there are processes, counted anew every 30 s.

    Args:
        processes: counts those that may call the providers; None: this one is alone.
        clock: seconds, monotonic.
    """

    def __init__(
        self, processes: Callable[[], Awaitable[int]] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._until = float("-inf")
        self._now = 1.0

    async def now(self) -> float:
        """The part, above 0 and up to 1; where nobody can be counted, what it was before."""
        if self._processes is not None and self._clock() >= self._until:
            # Those that ask meanwhile need no count of their own.
            self._until = self._clock() + COUNTED_FOR_S
            try:
                self._now = 1 / max(1, await self._processes())
            except Exception:
                log.warning("the processes that share the providers' budgets could not be counted", exc_info=True)
        return self._now


class _Bucket:
    """Holds up to `size` tokens and gains `rate` per second, times the share; those who wait may overdraw it."""

    def __init__(self, size: float, rate: float, now: float) -> None:
        self._size, self._rate = size, rate
        self._tokens, self._at = size, now

    def wait(self, now: float, share: float) -> float:
        """Seconds until one token could be taken."""
        rate = self._rate * share
        self._tokens = min(max(1.0, self._size * share), self._tokens + (now - self._at) * rate)
        self._at = now
        return max(0.0, (1 - self._tokens) / rate)

    def take(self) -> None:
        self._tokens -= 1


class Budget:
    """The calls to one provider.

    Args:
        provider: for the messages.
        allowance: None for no limit.
        share: this process's part of the allowance; None for all of it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        provider: str,
        allowance: Allowance | None,
        *,
        share: Share | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._share = share or Share()
        self._clock = clock
        self._buckets: list[_Bucket] = []
        if allowance is not None:
            now = clock()
            self._buckets = [
                _Bucket(allowance.burst, allowance.per_minute / 60, now),
                _Bucket(allowance.per_hour, allowance.per_hour / 3600, now),
            ]

    async def take(self) -> None:
        """Wait for a call's turn; raises BudgetSpent where that would take longer than PATIENCE_S."""
        if not self._buckets:
            return
        share = await self._share.now()
        now = self._clock()
        wait = max(bucket.wait(now, share) for bucket in self._buckets)
        if wait > PATIENCE_S:
            raise BudgetSpent(self._provider, wait=wait)
        for bucket in self._buckets:
            bucket.take()
        if wait > 0:
            await asyncio.sleep(wait)
