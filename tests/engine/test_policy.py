"""What follows from a retry policy: waits, jitter, giving up; and which policies are refused."""

from __future__ import annotations

import logging
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhanam_jobs.engine import ConfigurationError, Retention, RetryPolicy
from dhanam_jobs.engine.policy import Backoff

_YEAR_MS = 365 * 86_400_000
_failures = st.integers(1, 10_000)
_draws = st.floats(0, 1, exclude_max=True)
_policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 50),
    base=st.floats(0, 86_400),
    factor=st.floats(1, 10),
    cap=st.none() | st.floats(0, 7 * 86_400),
    jitter=st.floats(0, 1),
)


def _plain(policy: RetryPolicy) -> RetryPolicy:
    return msgspec.structs.replace(policy, jitter=0.0)


@given(_policies, _failures, _draws)
def test_a_wait_lies_between_nothing_and_the_cap(policy: RetryPolicy, failures: int, draw: float) -> None:
    """No number of failures, and no draw, leads out of the range."""
    most = _YEAR_MS if policy.cap is None else round(policy.cap * 1000)
    assert 0 <= policy.wait_ms(failures, draw=draw) <= most


@given(_policies, _failures)
def test_waits_without_jitter_never_shrink(policy: RetryPolicy, failures: int) -> None:
    """Each failure waits at least as long as the one before."""
    policy = _plain(policy)
    assert policy.wait_ms(failures) <= policy.wait_ms(failures + 1)


@given(_policies, st.integers(1, 20))
def test_the_wait_is_base_times_factor_to_the_failures_before(policy: RetryPolicy, failures: int) -> None:
    """The formula, against exact arithmetic in whole steps."""
    wait = policy.base
    for _ in range(failures - 1):
        wait *= policy.factor
    wait = min(wait, 365 * 86_400 if policy.cap is None else policy.cap)
    assert _plain(policy).wait_ms(failures) == pytest.approx(wait * 1000, rel=1e-9, abs=0.51)


@given(_policies, _failures, _draws)
def test_jitter_takes_at_most_its_share_off(policy: RetryPolicy, failures: int, draw: float) -> None:
    """0 takes nothing, 1 up to all, and a share in between at most that share."""
    whole = _plain(policy).wait_ms(failures)
    wait = policy.wait_ms(failures, draw=draw)
    assert whole * (1 - policy.jitter) - 1 <= wait <= whole
    assert wait == pytest.approx(whole * (1 - policy.jitter * draw), abs=1)


@given(st.floats(0.05, 1), _failures)
def test_jitter_spreads_jobs_that_failed_together(jitter: float, failures: int) -> None:
    """Without a given draw every call draws its own, over the whole range."""
    policy = RetryPolicy(base=1000, factor=1, jitter=jitter)
    waits = [policy.wait_ms(failures) for _ in range(200)]
    assert min(waits) < 1_000_000 * (1 - jitter / 2) < max(waits)


@given(_policies)
def test_a_policy_travels_with_a_job_unchanged(policy: RetryPolicy) -> None:
    """What is kept as JSON and laid over a row's policy is the policy that was given."""
    option = msgspec.json.decode(msgspec.json.encode(policy.to_option()))
    assert RetryPolicy(attempts=7, base=1.5).overridden(option) == policy


def test_a_job_s_policy_replaces_the_row_s_back_off_and_leaves_its_permanent_errors() -> None:
    """The nearest wins; what can't travel with a job stays the row's."""
    row = RetryPolicy(backoff=lambda failures, error, payload: 60.0, permanent=(KeyError,))
    policy = row.overridden(RetryPolicy(attempts=9, base=1.0).to_option())
    assert policy.wait_ms(1, error=ValueError()) == 1000
    assert policy.gives_up(1, KeyError())
    assert not policy.gives_up(8, ValueError())
    assert policy.gives_up(9, ValueError())


def test_a_custom_back_off_is_asked_with_failures_error_and_payload() -> None:
    """It may go by the error and by the data, and leave the rest to the formula."""

    def by_error(failures: int, error: BaseException, payload: Any) -> float | None:
        return payload["after"] * failures if isinstance(error, ConnectionError) else None

    policy = RetryPolicy(backoff=by_error, cap=100.0)
    assert policy.wait_ms(2, error=ConnectionError(), payload={"after": 30}) == 60_000
    assert policy.wait_ms(5, error=ConnectionError(), payload={"after": 30}) == 100_000
    assert policy.wait_ms(2, error=ValueError(), payload={"after": 30}) == 10_000


def _raises(failures: int, error: BaseException, payload: Any) -> float:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    "backoff",
    [
        _raises,
        lambda failures, error, payload: -1,
        lambda failures, error, payload: math.nan,
        lambda failures, error, payload: math.inf,
        lambda failures, error, payload: "soon",
        lambda failures, error, payload: True,
    ],
    ids=["raises", "negative", "nan", "infinite", "text", "bool"],
)
def test_a_broken_back_off_is_logged_and_the_formula_answers(
    backoff: Backoff, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in the policy must not cost the job."""
    with caplog.at_level(logging.ERROR):
        assert RetryPolicy(backoff=backoff).wait_ms(2, error=ValueError()) == 10_000
    assert len(caplog.records) == 1


def test_a_policy_with_functions_can_not_travel_with_a_job() -> None:
    """A job's options are JSON."""
    for policy in (RetryPolicy(backoff=_raises), RetryPolicy(permanent=(KeyError,))):
        with pytest.raises(ConfigurationError, match="belongs to a job's row"):
            policy.to_option()


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0},
        {"attempts": 2.0},
        {"attempts": True},
        {"base": -1},
        {"base": math.nan},
        {"base": True},
        {"factor": 0.5},
        {"factor": 11},
        {"cap": -0.1},
        {"cap": math.inf},
        {"jitter": 1.01},
        {"jitter": -0.01},
        {"jitter": math.nan},
        {"backoff": 5.0},
        {"permanent": (ValueError(),)},
    ],
    ids=str,
)
def test_a_policy_out_of_range_is_refused_where_it_is_made(values: dict[str, Any]) -> None:
    """Nothing illegal lies in wait for the first failure."""
    with pytest.raises(ConfigurationError, match="wanted"):
        RetryPolicy(**values)


@pytest.mark.parametrize(
    "values", [{"completed": -1}, {"failed": 1.0}, {"cancelled": True}, {"failed_age": -1}, {"completed_age": math.nan}]
)
def test_a_retention_out_of_range_is_refused(values: dict[str, Any]) -> None:
    """Numbers and ages are checked where they are given."""
    with pytest.raises(ConfigurationError, match="wanted"):
        Retention(**values)
