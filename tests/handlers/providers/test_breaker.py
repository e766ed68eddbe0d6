"""The circuit breaker: what opens it, what closes it, and what must not move it."""

from __future__ import annotations

import datetime as dt

from dhanam_jobs.handlers.providers.breaker import (
    OPEN_FOR,
    THRESHOLD,
    WINDOW,
    Tally,
    entered,
    limit_s,
    limited,
    recorded,
    state_of,
    wait_s,
)
from dhanam_jobs.handlers.store.provider_health import Health

NOW = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
FRESH = Health(provider="bitso", region="MX", window_start_at=NOW)
FAILED = Tally(failed=1, total_ms=100, last_error="down")
ANSWERED = Tally(answered=1, total_ms=50)


def _after(health: Health, *tallies: Tally, at: dt.datetime = NOW) -> Health:
    for tally in tallies:
        health = recorded(health, tally, at)
    return health


def test_it_opens_at_the_fifth_failure_and_not_at_the_fourth() -> None:
    """Each failure counts once."""
    assert state_of(_after(FRESH, *[FAILED] * (THRESHOLD - 1)), NOW) == "closed"
    opened = _after(FRESH, *[FAILED] * THRESHOLD)
    assert (state_of(opened, NOW), opened.status, opened.last_error) == ("open", "down", "down")
    assert wait_s(opened, NOW) == OPEN_FOR.total_seconds()


def test_it_stays_closed_where_half_of_the_calls_are_answered() -> None:
    """More than half must fail."""
    health = _after(FRESH, Tally(answered=5), *[FAILED] * 5)
    assert (state_of(health, NOW), health.error_rate, health.status) == ("closed", 0.5, "degraded")
    assert state_of(_after(health, FAILED), NOW) == "open"


def test_a_new_window_forgets_old_failures() -> None:
    """Four failures now and one in five minutes are no outage."""
    later = NOW + WINDOW
    health = _after(_after(FRESH, *[FAILED] * 4), FAILED, at=later)
    assert (state_of(health, later), health.failed_calls, health.window_start_at) == ("closed", 1, later)


def test_two_probes_in_a_row_close_it() -> None:
    """One sync at a time may probe, after a minute; the second success closes the circuit with a clean window."""
    opened = _after(FRESH, *[FAILED] * 5)
    later = NOW + OPEN_FOR
    assert state_of(opened, later) == "half-open"
    probing = entered(opened, later)
    assert wait_s(probing, later) > 0
    once = recorded(probing, ANSWERED, later)
    assert (state_of(once, later), wait_s(once, later)) == ("half-open", 0)
    closed = recorded(entered(once, later), ANSWERED, later)
    assert (state_of(closed, later), closed.failed_calls, closed.status) == ("closed", 0, "healthy")


def test_a_probe_that_fails_opens_it_for_another_minute() -> None:
    """And the success before it counts no more."""
    later = NOW + OPEN_FOR
    once = recorded(entered(_after(FRESH, *[FAILED] * 5), later), ANSWERED, later)
    again = recorded(entered(once, later), FAILED, later)
    assert (state_of(again, later), wait_s(again, later), again.probes_passed) == ("open", 60, 0)


def test_entering_the_half_open_state_does_not_begin_the_wait_anew() -> None:
    """The minute is counted from the opening, whoever looks in between."""
    opened = _after(FRESH, *[FAILED] * 5)
    halfway = NOW + OPEN_FOR / 2
    assert entered(opened, halfway) is opened
    assert wait_s(opened, halfway) == 30


def test_a_sync_without_a_verdict_gives_its_probe_back() -> None:
    """One whose very credentials can't be opened asked nothing."""
    later = NOW + OPEN_FOR
    probing = entered(_after(FRESH, *[FAILED] * 5), later)
    assert wait_s(recorded(probing, Tally(), later), later) == 0


def test_syncs_that_began_before_it_opened_do_not_prolong_the_wait() -> None:
    """What they met is known."""
    opened = _after(FRESH, *[FAILED] * 5)
    assert recorded(opened, FAILED, NOW + dt.timedelta(seconds=30)) is opened


def test_a_providers_own_limit_ends_by_itself() -> None:
    """And says so while it lasts."""
    health = limited(FRESH, NOW + dt.timedelta(seconds=90))
    assert (limit_s(health, NOW), limit_s(health, NOW + dt.timedelta(seconds=90))) == (90, 0)
    after = recorded(health, ANSWERED, NOW + dt.timedelta(seconds=91))
    assert (after.rate_limited, after.status) == (False, "healthy")
