"""Policies: how a job is retried and how long its record is kept. Pure values, no clock, no I/O."""

from __future__ import annotations

import enum
import random

import msgspec

from . import defaults
from .errors import ConfigurationError


class Priority(enum.IntEnum):
    """Named levels; any whole number from 0 to 9 will do as well."""

    URGENT = 0
    HIGH = 2
    NORMAL = 5
    LOW = 7
    LOWEST = 9


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a job runs and how long it waits in between.

    The wait after failure n (from 1) is `base * factor ** (n - 1)` seconds, at most `cap`: 5 s, 10 s with the
    defaults. `factor=1` gives a fixed wait. `jitter` (0 to 1) takes up to that share off at random: 0 none, 1 full.
    `attempts` counts executions, the first included.
    """

    attempts: int = defaults.ATTEMPTS
    base: float = defaults.BACKOFF_BASE
    factor: float = 2.0
    cap: float | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigurationError(f"attempts {self.attempts!r}: wanted a whole number of at least 1")
        if not 0 <= self.base <= 365 * 86_400:
            raise ConfigurationError(f"back-off base {self.base!r}: wanted seconds from 0 to a year")
        if not 1 <= self.factor <= 10:
            raise ConfigurationError(f"back-off factor {self.factor!r}: wanted 1 to 10")
        if self.cap is not None and not self.cap >= 0:
            raise ConfigurationError(f"back-off cap {self.cap!r}: wanted seconds of at least 0, or None")
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError(f"jitter {self.jitter!r}: wanted 0 (none) to 1 (full)")

    def wait_ms(self, failures: int, *, draw: float | None = None) -> int:
        """Milliseconds before the retry after `failures` failures (from 1).

        `draw` is the random number in [0, 1) that jitter uses; None draws one.

        >>> [RetryPolicy().wait_ms(n) for n in (1, 2, 3)]
        [5000, 10000, 20000]
        """
        ceiling = 365 * 86_400.0 if self.cap is None else self.cap
        try:
            wait = min(self.base * self.factor ** (failures - 1), ceiling)
        except OverflowError:
            wait = ceiling
        if self.jitter:
            wait -= wait * self.jitter * (random.random() if draw is None else draw)
        return round(wait * 1000)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many ended records a queue keeps: the newest `completed`, `failed` and `cancelled`; 0 none, None all."""

    completed: int | None = defaults.RETAIN_COMPLETED
    failed: int | None = defaults.RETAIN_FAILED
    cancelled: int | None = defaults.RETAIN_CANCELLED

    def __post_init__(self) -> None:
        for name in ("completed", "failed", "cancelled"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigurationError(
                    f"retention of {name} {value!r}: wanted a whole number of at least 0, or None to keep all"
                )
