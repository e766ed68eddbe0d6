"""How many jobs of each name ended, how long they ran and how long they waited: per minute for a day, per hour for 30
days, kept in Redis.

Workers count and add to it (`meter.py`); here it is read. The histograms' bounds are powers of two of a millisecond,
so that counting costs a worker next to nothing, and sums of several spans are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from . import scripts
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .queue import Queue

Per = Literal["minute", "hour"]
SPANS: dict[str, tuple[int, int]] = {"minute": (60, 1440), "hour": (3600, 720)}
"""Seconds of a span, and how many of them are kept."""


class Counts(msgspec.Struct, omit_defaults=True):
    """What was counted. `retried` attempts failed and are tried again; the others are ends. `duration_ms` and `wait_ms`
    are sums over all attempts; the histograms map a bound in ms to the attempts below it (and not below half of it).

    An attempt waits from the moment it could run (enqueued, due, handed back) until it begins.
    """

    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    duration_ms: int = 0
    wait_ms: int = 0
    duration: dict[int, int] = {}
    wait: dict[int, int] = {}

    def add(self, other: Counts) -> None:
        """Adds what was counted elsewhere, or at another time."""
        for name in ("completed", "failed", "retried", "cancelled", "duration_ms", "wait_ms"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.duration, other.duration), (self.wait, other.wait)):
            for bound, number in theirs.items():
                mine[bound] = mine.get(bound, 0) + number

    @property
    def attempts(self) -> int:
        """Executions that ended."""
        return sum(self.duration.values())

    def duration_quantile(self, q: float) -> float | None:
        """Seconds that a share `q` (0 to 1) of the attempts took at most, by the histogram, which may be twice too
        much; None where there were none."""
        return _quantile(self.duration, q)

    def wait_quantile(self, q: float) -> float | None:
        """Seconds that a share `q` (0 to 1) of the attempts waited at most, as `duration_quantile`."""
        return _quantile(self.wait, q)


class JobMetrics(msgspec.Struct):
    """What was counted of one job name in one minute or hour: `span` seconds from `start_ms`, Redis's clock."""

    queue: str
    name: str
    start_ms: int
    span: int
    counts: Counts


def _quantile(bins: dict[int, int], q: float) -> float | None:
    if not 0 <= q <= 1:
        raise ConfigurationError(f"quantile {q!r}: wanted 0 to 1")
    wanted = max(1, math.ceil(q * sum(bins.values())))
    seen = 0
    for bound in sorted(bins):
        seen += bins[bound]
        if seen >= wanted:
            return bound / 1000
    return None


async def read_metrics(queues: Iterable[Queue], name: str | None, per: Per, last: int) -> list[JobMetrics]:
    """The metrics of these queues, oldest span first, then by queue and name; spans without jobs are left out. Raises
    ConfigurationError and EngineUnavailable."""
    if not isinstance(per, str) or per not in SPANS:
        raise ConfigurationError(f"metrics per {per!r}: wanted 'minute' or 'hour'")
    span, kept = SPANS[per]
    if type(last) is not int or not 1 <= last <= kept:
        raise ConfigurationError(f"metrics of the last {last!r} {per}s: wanted 1 to {kept}")
    found: list[JobMetrics] = []
    for queue in queues:
        run = queue.engine.run
        names = [name.encode()] if name else await run(scripts.METRICS, queue.root, per, last, "")
        for one in names:
            flat = await run(scripts.METRICS, queue.root, per, last, one)
            found += [
                JobMetrics(queue.name, one.decode(), int(start), span, msgspec.json.decode(counts, type=Counts))
                for start, counts in zip(flat[::2], flat[1::2], strict=True)
            ]
    return sorted(found, key=lambda row: (row.start_ms, row.queue, row.name))
