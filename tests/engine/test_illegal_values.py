"""Proves that what can't work is refused where it is given, by an error that names the thing, what was found and what
is wanted: by calls, rows, policies, workers and operators' verbs alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Engine,
    JobContext,
    JobFilter,
    Limit,
    Registry,
    Retention,
    RetryPolicy,
    Schedule,
    Supervisor,
    SyncEngine,
    Unique,
    Worker,
)

Act = Callable[[Engine, Any], Any]

#: Values of every kind, of which none is a plain text, a small number or a filter.
ODD: list[Any] = [b"x", [1], {"a": 1}, (1,), object(), float("nan"), True, 1e300, -1, "half \ud800", 10**400]
TEXTS = [value for value in ODD if not isinstance(value, str)]


class Silent:
    """A value that can't say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


async def handle(ctx: JobContext, payload: Any) -> None:
    """A handler that nobody calls."""


def asked(option: str) -> Act:
    """Enqueues with that option."""
    return lambda engine, value: engine.queue("q").enqueue("j", 1, **{option: value})


def verb(name: str, *before: Any, **named: Any) -> Act:
    """An operators' verb with the value behind what is right, or as its named argument (True stands for it)."""

    def act(engine: Engine, value: Any) -> Any:
        arguments = {one: value if given is True else given for one, given in named.items()}
        own = getattr(engine.queue("q").operations, name)
        return own(*before, **arguments) if True in named.values() else own(*before, value, **arguments)

    return act


def row(option: str) -> Act:
    """A queue's row with that option."""
    return lambda engine, value: Registry().queue(**{"name": "x", option: value})


def job(option: str) -> Act:
    """A job's row with that option."""
    return lambda engine, value: Registry().job(**{"name": "x", "queue": "x", option: value})(handle)


def made(kind: Callable[..., Any], option: str, **others: Any) -> Act:
    """A value of that kind with that field."""
    return lambda engine, value: kind(**{**others, option: value})


def worker(option: str) -> Act:
    """A worker with that argument."""
    return lambda engine, value: Worker(engine.queue("q"), **{option: value})


NUMBERS = [value for value in ODD if value != 1e300]
CASES: dict[str, tuple[Act, list[Any]]] = {
    **{
        f"enqueue {option}": (asked(option), ODD)
        for option in ("id", "priority", "delay", "run_at", "expires", "unique", "retry", "timeout", "retention", "key")
    },
    "enqueue meta": (asked("meta"), [value for value in ODD if not isinstance(value, dict)]),
    "enqueue owner": (asked("owner"), [*ODD, "", "x" * 257]),
    "enqueue room_timeout": (asked("room_timeout"), ODD),
    **{
        f"row {option}": (row(option), [*ODD, Silent()])
        for option in (
            *("name", "concurrency", "retry", "retention", "max_stalls", "priority", "timeout", "delay", "expires"),
            *("max_length", "limit", "key_limit"),
        )
    },
    **{
        f"job {option}": (job(option), ODD)
        for option in ("name", "queue", "retry", "retention", "timeout", "priority", "delay", "expires", "key")
    },
    **{f"job {option}": (job(option), ODD) for option in ("unique", "id", "accept", "on_failure")},
    "job process": (job("process"), [value for value in ODD if value is not True]),
    **{
        f"RetryPolicy {option}": (made(RetryPolicy, option), ODD)
        for option in ("attempts", "base", "factor", "cap", "backoff", "permanent")
    },
    "RetryPolicy jitter": (made(RetryPolicy, "jitter"), [*ODD, 1.5, -0.1]),
    **{
        f"Retention {option}": (made(Retention, option), [*ODD, 2**63])
        for option in ("completed", "failed", "cancelled", "completed_age", "failed_age", "dead", "dead_age")
    },
    **{
        f"Unique {option}": (made(Unique, option, key="k", mode="debounce", period=1), ODD)
        for option in ("mode", "period", "max_wait")
    },
    "Unique key": (made(Unique, "key"), ODD),
    **{f"Limit {option}": (made(Limit, option), ODD) for option in ("concurrency", "starts", "period")},
    **{
        f"JobFilter {option}": (made(JobFilter, option), ODD)
        for option in ("name", "text", "priority", "older_than", "younger_than")
    },
    **{
        f"Schedule {option}": (
            made(Schedule, option, name="s", cron="@hourly", queue="q", job="j"),
            ODD,
        )
        for option in ("name", "queue", "tz", "misfire", "overlap")
    },
    "Schedule job": (made(Schedule, "job", name="s", cron="@hourly", queue="q"), TEXTS),
    **{
        f"Worker {option}": (worker(option), ODD) for option in ("concurrency", "drain_timeout", "lease_ms", "sweep_ms")
    },
    "Worker queue": (lambda engine, value: Worker(value), ["q", *ODD]),
    "Supervisor drain_timeout": (lambda engine, value: Supervisor(engine, drain_timeout=value), ODD),
    "connect url": (lambda engine, value: Engine.connect(value), ["q", *ODD]),
    "connect prefix": (lambda engine, value: Engine.connect("redis://x", prefix=value), ["", "a b", *ODD]),
    "SyncEngine prefix": (lambda engine, value: SyncEngine.connect("redis://x", prefix=value), ["", "a b", *ODD]),
    "queue name": (lambda engine, value: Engine("redis://x").queue(value), ["", "A", *ODD]),
    "get": (lambda engine, value: engine.queue("q").get(value), ["half \ud800", True, None, [1], object()]),
    "cancel": (lambda engine, value: engine.queue("q").cancel(value), ["half \ud800", True, None, [1], object()]),
    "cancel reason": (lambda engine, value: engine.queue("q").cancel("x", reason=value), ODD),
    "notes": (lambda engine, value: engine.queue("q").notes(value), ["half \ud800", True, None, [1], object()]),
    "free_key": (lambda engine, value: engine.queue("q").free_key(value), ODD),
    "limit_length": (lambda engine, value: engine.queue("q").limit_length(value), ODD),
    "result": (lambda engine, value: engine.queue("q").job("x").result(value), NUMBERS[:7]),
    "recent_events": (lambda engine, value: engine.recent_events("q", limit=value), ODD),
    "metrics per": (lambda engine, value: engine.metrics("q", per=value), ODD),
    "metrics last": (lambda engine, value: engine.metrics("q", last=value), ODD),
    **{
        name: (verb(name), [None, True, [1], "half \ud800"])
        for name in ("remove", "retry", "promote", "explain", "clone")
    },
    "reprioritise": (verb("reprioritise", "x"), ODD),
    "page state": (verb("page"), [*ODD, "asleep"]),
    **{
        f"page {name}": (verb("page", "waiting", **{name: True}), ODD)
        for name in ("limit", "search", "cursor", "where")
    },
    **{f"clean {name}": (verb("clean", "failed", **{name: True}), ODD) for name in ("limit", "older_than", "where")},
    "retry_all": (verb("retry_all", "failed"), ODD),
    "promote_all": (verb("promote_all"), ODD),
}


async def outcome_of(act: Act, engine: Engine, value: Any) -> Any:
    """What the act gives, awaited where it is to be."""
    outcome = act(engine, value)
    return await outcome if inspect.isawaitable(outcome) else outcome


@pytest.mark.parametrize("what", CASES)
async def test_an_illegal_value_is_refused_where_it_is_given(what: str, engine: Engine, registry: Registry) -> None:
    """Whatever kind it is of: by a ConfigurationError that says what is wanted, and nothing is stored."""
    registry.job("j", queue="q")(handle)
    act, values = CASES[what]
    for value in values:
        with pytest.raises(ConfigurationError, match=r"wanted|\bmust\b|given"):
            await outcome_of(act, engine, value)
    assert (await engine.queue("q").counts()).added == 0


async def test_moments_far_away_are_legal(engine: Engine, registry: Registry) -> None:
    """A run_at that has passed is now; the last day of the calendar is a day."""
    registry.job("j", queue="q")(handle)
    queue = engine.queue("q")
    past = await queue.enqueue("j", 1, run_at=datetime(1, 1, 1, tzinfo=UTC))
    late = await queue.enqueue("j", 1, run_at=datetime(9999, 12, 31, tzinfo=UTC))
    states = [info.state for info in (await past.info(), await late.info()) if info is not None]
    assert states == ["waiting", "delayed"]
