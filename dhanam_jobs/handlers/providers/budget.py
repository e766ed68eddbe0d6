"""How often we call each provider at most: a token bucket per provider, in this process.

Several processes share a provider's allowance by each taking its part (`share`). What the provider itself says about
limits (Retry-After) is kept in the store, where all processes see it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from dhanam_jobs.handlers.providers.errors import BudgetSpent

PATIENCE_S: Final = 20.0
"""How long a call waits for its turn before the job gives its slot back."""


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


class _Bucket:
    """Holds up to `size` tokens and gains `rate` per second; may be overdrawn by those who wait."""

    def __init__(self, size: float, rate: float, now: float) -> None:
        self._size, self._rate = size, rate
        self._tokens, self._at = size, now

    def wait(self, now: float) -> float:
        """Seconds until one token could be taken."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        self._tokens -= 1


class Budget:
    """The calls to one provider.

    Args:
        provider: for the messages.
        allowance: None for no limit.
        share: the part of the allowance that this process takes, above 0 and up to 1.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        provider: str,
        allowance: Allowance | None,
        *,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._buckets: list[_Bucket] = []
        if allowance is not None:
            now = clock()
            self._buckets = [
                _Bucket(max(1.0, allowance.burst * share), allowance.per_minute * share / 60, now),
                _Bucket(max(1.0, allowance.per_hour * share), allowance.per_hour * share / 3600, now),
            ]

    async def take(self) -> None:
        """Wait for a call's turn; raises BudgetSpent where that would take longer than PATIENCE_S."""
        now = self._clock()
        wait = max((bucket.wait(now) for bucket in self._buckets), default=0.0)
        if wait > PATIENCE_S:
            raise BudgetSpent(self._provider, wait=wait)
        for bucket in self._buckets:
            bucket.take()
        if wait > 0:
            await asyncio.sleep(wait)
