"""Proves what a schedule may ask for, and that what can't work is refused where it is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dhanam_jobs.engine import ConfigurationError, CronError, EngineError, Schedule
from dhanam_jobs.engine.schedule import run_id


def schedule(**changes: Any) -> Schedule:
    """A plain schedule, or what `changes` make of it."""
    return Schedule(**{"name": "nightly", "job": "greet", "cron": "0 4 * * *", **changes})


def test_every_is_a_cron_of_slots() -> None:
    """Whole seconds, also written as a float."""
    assert schedule(cron=None, every=90).expression == "@every 90s"
    assert schedule(cron=None, every=90.0).expression == "@every 90s"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": ""}, "schedule name ''"),
        ({"name": "a b"}, "schedule name 'a b'"),
        ({"name": "x" * 129}, "schedule name"),
        ({"cron": None}, "cron and every: found neither"),
        ({"every": 5}, "cron and every: found both"),
        ({"cron": None, "every": 1.5}, "every: found 1.5"),
        ({"cron": None, "every": 0}, "interval"),
        ({"cron": "0 0 31 2 *"}, "day of month: found '31'"),
        ({"cron": "R * * * *"}, "nobody can foretell"),
        ({"cron": "@reboot"}, "alias: found '@reboot'"),
        ({"cron": "10-5 * * * *"}, "minute: found '10-5'"),
        ({"tz": "Mars/Olympus"}, "time zone: found 'Mars/Olympus'"),
        ({"misfire": "twice"}, "misfire: found 'twice'"),
        ({"overlap": "queue"}, "overlap: found 'queue'"),
        ({"grace": -1}, "grace: found -1"),
        ({"limit": 0}, "limit: found 0"),
        ({"limit": True}, "limit: found True"),
        ({"start": datetime(2026, 1, 1)}, "start: found"),
        ({"end": datetime(1969, 1, 1, tzinfo=UTC)}, "end: found"),
        ({"start": datetime(2026, 1, 2, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)}, "end: found"),
        ({"id_template": "nightly"}, "id_template: found 'nightly'"),
        ({"id_template": "{name}"}, "id_template"),
        ({"id_template": "{time}-{x}"}, "id_template"),
        ({"id_template": "{time"}, "id_template"),
        ({"id_template": "{time!r}"}, "id_template"),
        ({"id_template": "{name} {time}"}, "without white space"),
        ({"id_template": "5-{ms}-7"}, "looks like a generated one"),
        ({"priority": 10}, "priority 10"),
    ],
)
def test_what_cant_work_is_refused_with_the_reason(changes: dict[str, Any], named: str) -> None:
    """The message names the value found."""
    with pytest.raises(ConfigurationError) as refused:
        schedule(**changes)
    assert named in str(refused.value)


def test_a_refused_cron_is_an_engine_error_and_a_value_error() -> None:
    """Whoever catches either finds it."""
    with pytest.raises(CronError, match="schedule 'nightly'") as refused:
        schedule(cron="0 0 * *")
    assert isinstance(refused.value, EngineError)
    assert isinstance(refused.value, ValueError)


def test_an_id_is_made_of_the_template() -> None:
    """Time in UTC without colons, ms as they are; braces in the name mean nothing."""
    at = int(datetime(2026, 10, 25, 1, 30, tzinfo=UTC).timestamp()) * 1000
    assert run_id("{name}-{time}", "nightly", at) == "nightly-20261025T013000Z"
    assert run_id("x.{ms}", "nightly", at) == f"x.{at}"
