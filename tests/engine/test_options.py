"""What a call, a job's name and a queue may ask for one job: the nearest wins, and what is illegal is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import ConfigurationError, JobContext, JobRequest, Registry, Retention, RetryPolicy, Unique
from dhanam_jobs.engine.request import Encoder, Request


class Greet(msgspec.Struct):
    """A payload."""

    name: str = "Ana"


async def greet(ctx: JobContext, payload: Greet) -> None:
    """A handler that nobody calls."""


def request(registry: Registry, **options: Any) -> Request:
    """How one job would be sent."""
    return Encoder(registry, "q").encode("greet", {}, options)  # type: ignore[arg-type]


def extra(registry: Registry, **options: Any) -> dict[str, Any]:
    """What it asks for beside its level."""
    sent = request(registry, **options).extra
    return dict(msgspec.json.decode(sent)) if sent else {}


def kept(registry: Registry, **options: Any) -> dict[str, Any]:
    """The options that travel with it."""
    fields = extra(registry, **options).get("fields", [])
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    return dict(msgspec.json.decode(found["options"])) if "options" in found else {}


def test_a_job_that_asks_for_nothing_is_sent_plain(registry: Registry) -> None:
    """Defaults of rows cost a plain job nothing on its way."""
    registry.queue("q", timeout=9, retry=RetryPolicy(attempts=9), retention=Retention(completed=1))
    registry.job("greet", queue="q", timeout=8)(greet)
    assert request(registry).extra == b""
    assert request(registry, priority=2).extra == b""
    assert request(registry, delay=None, unique=None, retry=None).extra == b""


@pytest.mark.parametrize(
    ("queue", "job", "call", "level"), [(None, None, None, 5), (7, None, None, 7), (7, 3, None, 3), (7, 3, 0, 0)]
)
def test_the_nearest_priority_wins(
    registry: Registry, queue: int | None, job: int | None, call: int | None, level: int
) -> None:
    """Call, then name, then queue, then the engine's default."""
    if queue is not None:
        registry.queue("q", priority=queue)
    registry.job("greet", queue="q", priority=job)(greet)
    assert request(registry, priority=call).level == level


@pytest.mark.parametrize("name", ["delay", "expires"])
def test_the_nearest_time_wins(registry: Registry, name: str) -> None:
    """A delay of 0 at the call means now, whatever the rows say."""
    registry.queue("q", **{name: 30.0})  # type: ignore[arg-type]
    registry.job("plain", queue="q")(greet)
    registry.job("greet", queue="q", **{name: 20.0})(greet)  # type: ignore[arg-type]
    assert msgspec.json.decode(Encoder(registry, "q").encode("plain", {}, {}).extra) == {name: 30_000}
    assert extra(registry) == {name: 20_000}
    assert extra(registry, **{name: 1.5}) == {name: 1_500}
    if name == "delay":
        assert extra(registry, delay=0) == {"delay": 0}
        moment = datetime(2030, 1, 1, tzinfo=UTC)
        assert extra(registry, run_at=moment) == {"due": int(moment.timestamp() * 1000)}


def test_a_moment_is_the_same_in_every_zone(registry: Registry) -> None:
    """Times are kept as instants."""
    registry.job("greet", queue="q")(greet)
    moment = datetime(2030, 1, 1, 12, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=-6)))
    assert extra(registry, run_at=moment, expires=moment) == extra(registry, run_at=elsewhere, expires=elsewhere)


def test_retry_timeout_and_retention_travel_only_where_they_differ_from_the_row_s(registry: Registry) -> None:
    """The worker knows its rows."""
    policy, retention = RetryPolicy(attempts=9, base=1.0), Retention(completed=0)
    registry.job("greet", queue="q", retry=policy, timeout=8, retention=retention)(greet)
    assert kept(registry, retry=policy, timeout=8, retention=retention) == {}
    found = kept(registry, retry=RetryPolicy(attempts=2), timeout=7, retention=Retention(failed=0))
    assert (found["timeout"], found["retention"]["failed"]) == (7, 0)
    assert policy.overridden(found["retry"]) == RetryPolicy(attempts=2)


def test_the_queue_s_timeout_is_the_job_s_that_has_none_whichever_row_comes_first(registry: Registry) -> None:
    """Naming the queue after its jobs changes what they follow."""
    registry.job("greet", queue="q")(greet)
    registry.job("own", queue="q", timeout=3)(greet)
    assert registry.named("q", "greet").timeout == 300
    registry.queue("q", timeout=9)
    registry.job("later", queue="q")(greet)
    assert [registry.named("q", name).timeout for name in ("greet", "own", "later")] == [9, 3, 9]


def test_a_row_changed_after_the_first_job_counts_for_the_next(registry: Registry) -> None:
    """What was looked up once is not kept for ever."""
    registry.job("greet", queue="q")(greet)
    encoder = Encoder(registry, "q")
    assert encoder.encode("greet", {}, {}).level == 5
    registry.queue("q", priority=1)
    assert encoder.encode("greet", {}, {}).level == 1


def test_functions_of_the_row_see_the_decoded_payload(registry: Registry) -> None:
    """They give the id and the key, unless the call gives its own."""
    registry.job(
        "greet", queue="q", id=lambda p: f"greet-{p.name}", unique=lambda p: Unique(p.name, "throttle", period=2)
    )(greet)
    assert extra(registry) == {
        "id": "greet-Ana",
        "mode": "return",
        "unique": "Ana",
        "unique_mode": "throttle",
        "period": 2_000,
    }
    assert extra(registry, id="mine", unique="k") == {"id": "mine", "mode": "return", "unique": "k"}


def test_a_debounced_job_takes_its_time_from_its_period(registry: Registry) -> None:
    """A row's delay gives way, a call's is refused."""
    registry.job("greet", queue="q", delay=60)(greet)
    key = Unique("k", "debounce", period=5, max_wait=20)
    assert extra(registry, unique=key) == {
        "unique": "k",
        "unique_mode": "debounce",
        "period": 5_000,
        "max_wait": 20_000,
    }
    for options in ({"delay": 1}, {"run_at": datetime(2030, 1, 1, tzinfo=UTC)}):
        with pytest.raises(ConfigurationError, match="debounced job"):
            extra(registry, unique=key, **options)


def test_owners_are_noted_beside_the_caller_s_meta(registry: Registry) -> None:
    """The caller's dict stays as it was."""
    registry.job("greet", queue="q")(greet)
    meta = {"trace": "x", "owners": ["ana"]}
    fields = extra(registry, meta=meta, owner="ben")["fields"]
    assert fields[0] == "meta"
    assert msgspec.json.decode(fields[1]) == {"trace": "x", "owners": ["ana", "ben"]}
    assert meta == {"trace": "x", "owners": ["ana"]}


def test_requests_of_a_bulk_say_more_than_the_call_for_all(registry: Registry) -> None:
    """Typed payloads, pairs and requests stand side by side, in order."""
    registry.job("greet", queue="q")(greet)
    jobs = [Greet("Ana"), ("greet", {"name": "Ben"}), JobRequest("greet", {}, priority=0), JobRequest(Greet("Eva"))]
    sent = Encoder(registry, "q").encode_many(jobs, {"priority": 8})
    assert [one.level for one in sent] == [8, 8, 0, 8]
    assert [msgspec.json.decode(one.payload).get("name") for one in sent] == ["Ana", "Ben", None, "Eva"]


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 10},
        {"priority": 5.0},
        {"delay": -1},
        {"delay": True},
        {"delay": float("nan")},
        {"delay": 1, "run_at": datetime(2030, 1, 1, tzinfo=UTC)},
        {"run_at": datetime(2030, 1, 1)},
        {"expires": 0},
        {"expires": datetime(2030, 1, 1)},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"unique": ""},
        {"unique": "two words"},
        {"unique": 7},
        {"id": "5-17-0"},
        {"id": "x" * 257},
        {"id": "a", "if_exists": "explode"},
        {"meta": {"blob": "x" * 70_000}},
        {"meta": {"no": object()}},
        {"retry": RetryPolicy(permanent=(KeyError,))},
        {"colour": "red"},
    ],
    ids=str,
)
def test_an_illegal_option_is_refused_where_it_is_given(registry: Registry, options: dict[str, Any]) -> None:
    """Each message says what was wanted."""
    registry.job("greet", queue="q")(greet)
    with pytest.raises(ConfigurationError):
        extra(registry, **options)


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "sometimes"},
        {"mode": "throttle"},
        {"mode": "debounce"},
        {"mode": "throttle", "period": 0},
        {"mode": "wait", "period": 1},
        {"mode": "keep_last", "period": 1},
        {"mode": "throttle", "period": 1, "max_wait": 1},
        {"key": "two words"},
    ],
    ids=str,
)
def test_an_illegal_key_is_refused_where_it_is_made(values: dict[str, Any]) -> None:
    """Nothing waits for the first job to fail."""
    with pytest.raises(ConfigurationError):
        Unique(**{"key": "k", **values})


@pytest.mark.parametrize(
    "values", [{"priority": 11}, {"timeout": 0}, {"delay": -1}, {"expires": 0}, {"max_length": 0}], ids=str
)
def test_a_queue_row_out_of_range_is_refused(registry: Registry, values: dict[str, Any]) -> None:
    """At the start, not at the first job."""
    with pytest.raises(ConfigurationError):
        registry.queue("q", **values)


@pytest.mark.parametrize("values", [{"priority": 11}, {"timeout": 0}, {"delay": -1}, {"expires": 0}], ids=str)
def test_a_job_row_out_of_range_is_refused(registry: Registry, values: dict[str, Any]) -> None:
    """At the start, not at the first job."""
    with pytest.raises(ConfigurationError):
        registry.job("greet", queue="q", **values)
