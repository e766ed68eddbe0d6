"""Policies: how a job is retried and how long its record is kept. Values without a clock or I/O.

Telling what came of an attempt is the executor's part; here stands what follows from it.
"""

from __future__ import annotations

import enum
import logging
import math
import random
from collections.abc import Callable
from typing import Any

import msgspec

from . import checks, defaults
from .errors import ConfigurationError

log = logging.getLogger(__name__)
_YEAR = checks.YEAR_S

#: Given the number of failures (from 1), the error and the payload: seconds to wait, or None for the policy's formula.
Backoff = Callable[[int, BaseException, Any], float | None]


class Priority(enum.IntEnum):
    """Named levels; any whole number from 0 (most urgent) to 9 will do as well."""

    URGENT = 0
    HIGH = 2
    NORMAL = 5
    LOW = 7
    LOWEST = 9


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a job runs and how long it waits in between.

    The wait after failure n (from 1) is `base * factor ** (n - 1)` seconds, at most `cap` (default: a year): 5 s, 10 s
    with the defaults. `factor=1` gives a fixed wait. `jitter` takes a random part off each wait: 0 nothing, 1 anything
    up to all of it (full jitter), a share in between at most that share (proportional). `attempts` counts executions,
    the first included.

    `backoff` replaces the formula: `backoff(failures, error, payload)` returns seconds, to which cap and jitter apply
    as well, or None for the formula. `permanent` names error types that are not retried at all. Both belong to a job's
    or queue's row: a policy given with one job is kept as JSON and can hold neither.

    Raises ConfigurationError for a value out of its range.
    """

    attempts: int = defaults.ATTEMPTS
    base: float = defaults.BACKOFF_BASE
    factor: float = 2.0
    cap: float | None = None
    jitter: float = 0.0
    backoff: Backoff | None = None
    permanent: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        checks.whole("attempts", self.attempts, 1)
        checks.seconds("back-off base", self.base, 0, _YEAR, "seconds from 0 to a year")
        checks.seconds("back-off factor", self.factor, 1, 10, "1 to 10")
        if self.cap is not None:
            checks.seconds("back-off cap", self.cap, 0, _YEAR, "seconds from 0 to a year, or None")
        checks.seconds("jitter", self.jitter, 0, 1, "0 (none) to 1 (full)")
        if self.backoff is not None and not callable(self.backoff):
            raise ConfigurationError(f"backoff {self.backoff!r}: wanted a function of failures, error and payload")
        if not isinstance(self.permanent, tuple):
            raise ConfigurationError(f"permanent {self.permanent!r}: wanted a tuple of exceptions' types")
        for kind in self.permanent:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise ConfigurationError(f"permanent error {kind!r}: wanted an exception's type")

    def wait_ms(
        self,
        failures: int,
        *,
        error: BaseException | None = None,
        payload: Any = None,
        draw: float | None = None,
    ) -> int:
        """Milliseconds before the retry after `failures` failures (from 1).

        `error` and `payload` are what a custom back-off is asked with; without an error the formula answers. One that
        raises, or answers with anything but seconds of at least 0, is logged and the formula answers: a mistake there
        must not cost the job. `draw` is the random number in [0, 1) that jitter uses; None draws one.

        >>> [RetryPolicy().wait_ms(n) for n in (1, 2, 3)]
        [5000, 10000, 20000]
        """
        wait = None
        if self.backoff is not None and error is not None:
            wait = self._asked(failures, error, payload)
        if wait is None:
            try:
                wait = self.base * self.factor ** (failures - 1)
            except OverflowError:
                wait = _YEAR
        wait = min(wait, _YEAR if self.cap is None else self.cap)
        if self.jitter:
            wait -= wait * self.jitter * (random.random() if draw is None else draw)
        return round(wait * 1000)

    def gives_up(self, failures: int, error: BaseException) -> bool:
        """True where no further attempt follows: they are spent, or the error is a permanent one."""
        return failures >= self.attempts or isinstance(error, self.permanent)

    def _asked(self, failures: int, error: BaseException, payload: Any) -> float | None:
        assert self.backoff is not None
        try:
            wait = self.backoff(failures, error, payload)
        except Exception:
            log.exception("a custom back-off failed; the policy's formula is used")
            return None
        if wait is None:
            return None
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not math.isfinite(wait) or wait < 0:
            log.error("a custom back-off gave %r: wanted seconds of at least 0, or None; the formula is used", wait)
            return None
        return float(wait)

    def to_option(self) -> dict[str, Any]:
        """The policy as it is kept with one job. Raises ConfigurationError for one that holds functions or types."""
        if self.backoff is not None or self.permanent:
            raise ConfigurationError("a retry policy with backoff or permanent belongs to a job's row, not to one job")
        return {
            "attempts": self.attempts,
            "base": self.base,
            "factor": self.factor,
            "cap": self.cap,
            "jitter": self.jitter,
        }

    def overridden(self, option: dict[str, Any]) -> RetryPolicy:
        """This row's policy with what one job brought along (`to_option`): its numbers replace the row's and the row's
        own back-off, permanent errors stay."""
        return msgspec.structs.replace(self, **option, backoff=None)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many ended records a queue keeps, and how long.

    `completed`, `failed` and `cancelled` are numbers, the newest stay: 0 none, None all. `completed_age`, `failed_age`
    and `cancelled_age` are seconds after the end: None for ever. Whichever is reached first counts. What leaves the
    failed becomes a dead letter; `dead` of them are kept (a number, 0 none), for `dead_age` seconds. Given for a job's
    name or for one job, 0 keeps none of its records; everything else is the queue's to say. Raises ConfigurationError
    for a value out of its range.
    """

    completed: int | None = defaults.RETAIN_COMPLETED
    failed: int | None = defaults.RETAIN_FAILED
    cancelled: int | None = defaults.RETAIN_CANCELLED
    completed_age: float | None = None
    failed_age: float | None = None
    cancelled_age: float | None = None
    dead: int = defaults.DEAD_KEPT
    dead_age: float | None = defaults.DEAD_AGE

    def __post_init__(self) -> None:
        for name in ("completed", "failed", "cancelled"):
            value = getattr(self, name)
            if value is not None:
                checks.whole(f"retention of {name}", value, 0, "to keep all")
            age = getattr(self, f"{name}_age")
            if age is not None:
                checks.seconds(f"retention age of {name}", age, 0, 100 * _YEAR, "seconds from 0 to a century, or None")
        checks.whole("retention of dead letters", self.dead, 0)
        if self.dead_age is not None:
            checks.seconds("age of dead letters", self.dead_age, 0, 100 * _YEAR, "seconds from 0 to a century, or None")
