"""The circuit breaker of a provider in a region: when calls are refused, and what each outcome changes.

Pure: a row of `provider_health_status` in, the changed row out. The store keeps the rows, shared by all processes.
Closed: calls pass. Open, from THRESHOLD failures that are more than half of a window's calls: none pass for OPEN_FOR.
Half-open after that: one sync at a time probes; PROBES that succeed in a row close the circuit, one failure opens it
again.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec
from msgspec.structs import replace

from dhanam_jobs.handlers.store.provider_health import Health

WINDOW: Final = dt.timedelta(minutes=5)
THRESHOLD: Final = 5
OPEN_FOR: Final = dt.timedelta(seconds=60)
PROBE_FOR: Final = dt.timedelta(minutes=5)
PROBES: Final = 2
PROBE_LOOK: Final = dt.timedelta(seconds=10)
"""How long others wait before they ask how a probe went: most end at once, and the next one may begin then."""

REGIONS: Final = {"bitso": "MX", "belvo": "MX", "plaid": "US"}
"""Where a provider's service is; others count as GLOBAL."""


class Tally(msgspec.Struct):
    """The calls of one sync: answered ones, those that speak against the provider, and their time together."""

    answered: int = 0
    failed: int = 0
    total_ms: float = 0.0
    last_error: str | None = None


def region_of(provider: str) -> str:
    """The region under which a provider's health is kept."""
    return REGIONS.get(provider, "GLOBAL")


def state_of(health: Health, now: dt.datetime) -> str:
    """`closed`, `open` or `half-open`."""
    if not health.circuit_breaker_open or health.opened_at is None:
        return "closed"
    return "open" if now < health.opened_at + OPEN_FOR else "half-open"


def wait_s(health: Health, now: dt.datetime) -> float:
    """Seconds until a sync may call the provider; 0 where it may now."""
    if not health.circuit_breaker_open or health.opened_at is None:
        return 0.0
    until = health.opened_at + OPEN_FOR
    if now >= until and health.probe_until is not None:
        until = min(health.probe_until, now + PROBE_LOOK)
    return max(0.0, (until - now).total_seconds())


def entered(health: Health, now: dt.datetime) -> Health:
    """The row once a sync that may call has begun: in the half-open state it is the one that probes."""
    if state_of(health, now) != "half-open":
        return health
    return replace(health, probe_until=now + PROBE_FOR)


def limited(health: Health, until: dt.datetime) -> Health:
    """The row once the provider has asked for no calls at all until then."""
    return replace(health, rate_limited=True, rate_limit_reset_at=until, status="degraded")


def limit_s(health: Health, now: dt.datetime) -> float:
    """Seconds until the provider's own limit for all of us ends; 0 where there is none."""
    if not health.rate_limited or health.rate_limit_reset_at is None:
        return 0.0
    return max(0.0, (health.rate_limit_reset_at - now).total_seconds())


def recorded(health: Health, tally: Tally, now: dt.datetime) -> Health:
    """The row after a sync with these calls. A sync without a verdict only gives the probe back."""
    if health.circuit_breaker_open and health.probe_until is None and state_of(health, now) == "open":
        # It began before the circuit opened: what it met is known already, and must not prolong the wait.
        return health
    if not tally.answered and not tally.failed:
        return replace(health, probe_until=None) if health.probe_until is not None else health
    if health.rate_limited and limit_s(health, now) == 0:
        health = replace(health, rate_limited=False, rate_limit_reset_at=None)
    if now >= health.window_start_at + WINDOW:
        health = replace(health, window_start_at=now, successful_calls=0, failed_calls=0, avg_response_time_ms=0)
    health = _counted(health, tally, now)
    if health.circuit_breaker_open:
        return _probed(health, tally, now)
    if health.failed_calls >= THRESHOLD and health.error_rate > 0.5:
        return replace(health, circuit_breaker_open=True, opened_at=now, probes_passed=0, status="down")
    return replace(health, status="degraded" if health.failed_calls or health.rate_limited else "healthy")


def _counted(health: Health, tally: Tally, now: dt.datetime) -> Health:
    before = health.successful_calls + health.failed_calls
    answered, failed = health.successful_calls + tally.answered, health.failed_calls + tally.failed
    total = answered + failed
    average = (health.avg_response_time_ms * before + tally.total_ms) / total
    return replace(
        health,
        successful_calls=answered,
        failed_calls=failed,
        error_rate=failed / total,
        avg_response_time_ms=round(average),
        last_success_at=now if tally.answered else health.last_success_at,
        last_failure_at=now if tally.failed else health.last_failure_at,
        last_error=tally.last_error if tally.failed else health.last_error,
    )


def _probed(health: Health, tally: Tally, now: dt.datetime) -> Health:
    if tally.failed:
        return replace(health, opened_at=now, probe_until=None, probes_passed=0, status="down")
    passed = health.probes_passed + 1
    if passed < PROBES:
        return replace(health, probe_until=None, probes_passed=passed)
    return replace(
        health,
        circuit_breaker_open=False,
        opened_at=None,
        probe_until=None,
        probes_passed=0,
        window_start_at=now,
        successful_calls=0,
        failed_calls=0,
        error_rate=0.0,
        status="healthy",
    )
