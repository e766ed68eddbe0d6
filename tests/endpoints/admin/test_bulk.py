"""What administrators do to all jobs of a queue that match: retry, promote, empty, clean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.endpoints.admin.conftest import Stage

QUEUE = "esg-updates"


async def states(stage: Stage) -> dict[str, int]:
    """How many jobs there are in each state that has any."""
    jobs = (await stage.done("GET", f"/queues/{QUEUE}/jobs", params={"limit": "100"}))["jobs"]
    found = [job["state"] for job in jobs]
    return {state: found.count(state) for state in dict.fromkeys(found)}


async def test_all_that_match_run_once_more(stage: Stage) -> None:
    """By a text of their payload, and of another state than failed; the log has the filter without its secrets."""
    await stage.failed(12)
    path = f"/queues/{QUEUE}/retry"
    assert await stage.done("POST", path, json={"text": '"n":11'}) == {"retriedCount": 1}
    assert await stage.done("POST", path, json={"name": "another"}) == {"retriedCount": 0}
    assert await stage.done("POST", path, json={"olderThanS": 3600}) == {"retriedCount": 0}
    assert await states(stage) == {"waiting": 1, "failed": 11}
    await stage.done("POST", path, json={"state": "completed", "text": "api_key=sesame-open"})
    assert await stage.done("POST", path) == {"retriedCount": 11}
    told = await stage.told("Queue", QUEUE)
    assert told[:2] == [
        ("admin.queue_retry.begun", "high", {"which": {"text": '"n":11', "state": "failed"}}),
        (
            "admin.queue_retry",
            "high",
            {"which": {"text": '"n":11', "state": "failed"}, "count": 1, "outcome": "done"},
        ),
    ]
    assert told[7][2]["which"] == {"text": "api_key=[REDACTED]", "state": "completed"}


async def test_all_delayed_jobs_become_runnable(stage: Stage) -> None:
    """Or those of one level."""
    for priority in (1, 2, 2):
        await stage.one(delay=3600, priority=priority)
    path = f"/queues/{QUEUE}/promote"
    assert await stage.done("POST", path, json={"priority": 1}) == {"promotedCount": 1}
    assert await stage.done("POST", path) == {"promotedCount": 2}
    assert await states(stage) == {"waiting": 3}
    assert (await stage.told("Queue", QUEUE))[-1] == (
        "admin.queue_promote",
        "medium",
        {"which": {}, "count": 2, "outcome": "done"},
    )


async def test_emptying_removes_what_waits_and_delayed_jobs_where_asked(stage: Stage) -> None:
    """Records stay."""
    await stage.failed(1)
    await stage.add(count=3)
    await stage.one(delay=3600)
    assert await stage.done("POST", f"/queues/{QUEUE}/empty") == {"removedCount": 3}
    assert await states(stage) == {"delayed": 1, "failed": 1}
    assert await stage.done("POST", f"/queues/{QUEUE}/empty", json={"delayed": True}) == {"removedCount": 1}
    assert (await stage.told("Queue", QUEUE))[-1][2] == {"delayed": True, "count": 1, "outcome": "done"}


async def test_cleaning_removes_the_oldest_of_a_state(stage: Stage) -> None:
    """At most so many, at least so old."""
    await stage.failed(5)
    path = f"/queues/{QUEUE}/clean"
    assert await stage.done("POST", path, json={"state": "failed", "olderThanS": 3600}) == {"removedCount": 0}
    assert await stage.done("POST", path, json={"state": "failed", "limit": 2}) == {"removedCount": 2}
    page = await stage.done("GET", f"/queues/{QUEUE}/jobs")
    assert [job["payload"]["n"] for job in page["jobs"]] == [4, 3, 2]
    facts = {"which": {"state": "failed", "limit": 2}, "count": 2, "outcome": "done"}
    assert (await stage.told("Queue", QUEUE))[-1] == ("admin.queue_clean", "high", facts)


NO_STATE = "Invalid enum value '%s' - at `$.state`, wanted one of "
ENDED = "failed, completed, cancelled"
FIELDS = "name, text, priority, olderThanS"


@pytest.mark.parametrize(
    ("verb", "body", "text"),
    [
        ("clean", {}, "Object missing required field `state`"),
        (
            "clean",
            {"state": "active"},
            f"{NO_STATE % 'active'}waiting, delayed, blocked, parked, {ENDED}",
        ),
        ("clean", {"state": "failed", "limit": 0}, "Expected `int` >= 1 - at `$.limit`, found 0"),
        (
            "retry",
            {"state": "waiting"},
            f"{NO_STATE % 'waiting'}{ENDED}",
        ),
        ("retry", {"olderThanS": -1}, "Expected `float` >= 0.0 - at `$.olderThanS`, found -1"),
        (
            "promote",
            {"nme": "x"},
            f"Object contains unknown field `nme`, wanted one of {FIELDS}",
        ),
        ("empty", {"delayed": "yes"}, 'Expected `bool`, got `str` - at `$.delayed`, found "yes"'),
    ],
)
async def test_a_body_that_does_not_fit_is_422(stage: Stage, verb: str, body: dict[str, Any], text: str) -> None:
    """It names the field, the value found and the value wanted; and leaves no entry."""
    message = await stage.refused(422, "POST", f"/queues/{QUEUE}/{verb}", json=body)
    assert message == f"The body does not fit: {text}"
    assert await stage.told("Queue", QUEUE) == []


@pytest.mark.parametrize("verb", ["retry", "promote", "empty", "clean"])
async def test_a_queue_that_there_is_not_is_404(stage: Stage, verb: str) -> None:
    """Nothing is begun."""
    body = {"state": "failed"} if verb == "clean" else {}
    await stage.refused(404, "POST", f"/queues/nothing/{verb}", json=body)
    assert await stage.told("Queue", "nothing") == []
