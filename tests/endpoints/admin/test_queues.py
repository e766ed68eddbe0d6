"""`/admin/queues`: what administrators see of whole queues and do to them, and what the audit log has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers.queues import QUEUE_NAMES

if TYPE_CHECKING:
    from tests.conftest import StartRedis
    from tests.endpoints.admin.conftest import Stage
    from tests.endpoints.conftest import StartService

QUEUE = "esg-updates"
CANARY = "canary-4711"


async def summary(stage: Stage) -> dict[str, Any]:
    """The queue as the list of queues has it."""
    rows = (await stage.done("GET", "/queues"))["queues"]
    assert [row["name"] for row in rows] == list(QUEUE_NAMES)
    (row,) = [row for row in rows if row["name"] == QUEUE]
    return dict(row)


async def test_the_list_of_queues_is_what_the_page_reads(stage: Stage) -> None:
    """Idle, active, in error, and idle again once the failed records are gone, whatever the lifetime counts say."""
    idle = await summary(stage)
    assert {name: idle[name] for name in ("status", "recentJobs", "failedJobs")} == {
        "status": "idle",
        "recentJobs": 0,
        "failedJobs": 0,
    }
    await stage.add(count=2)
    await stage.one(delay=3600)
    active = await summary(stage)
    assert (active["status"], active["recentJobs"], active["failedJobs"]) == ("active", 3, 0)
    assert (active["waiting"], active["delayed"], active["paused"], active["workers"]) == (2, 1, False, 0)
    await stage.failed(2)
    error = await summary(stage)
    assert (error["status"], error["recentJobs"], error["failedJobs"]) == ("error", 3, 2)
    await stage.done("POST", f"/queues/{QUEUE}/clear-failed", json={"confirm": True})
    assert (await summary(stage))["failedJobs"] == 0
    assert (await stage.done("GET", "/queues/stats"))[2]["failed"] == 2
    assert (await stage.done("GET", "/queues/statistics"))["summary"]["failedJobs"] == 2


async def test_looking_at_the_list_and_at_failed_jobs_is_audited(stage: Stage) -> None:
    """With the actions and severities of the specification."""
    await stage.failed(1)
    await stage.ask("GET", f"/queues/{QUEUE}/failed")
    details = {"limit": 25, "count": 1, "outcome": "done"}
    assert await stage.told("Queue", QUEUE) == [("admin.queue_view_failed", "medium", details)]
    await stage.ask("GET", "/queues")
    assert await stage.service.store.audit_log.first_broken() is None


async def test_pause_and_resume_say_what_changed(stage: Stage) -> None:
    """For the whole fleet; the second time nothing changes."""
    path = f"/queues/{QUEUE}"
    assert await stage.done("POST", f"{path}/pause") == {"queue": QUEUE, "paused": True, "changed": True}
    assert (await stage.done("POST", f"{path}/pause"))["changed"] is False
    assert (await summary(stage))["paused"] is True
    job = await stage.one()
    async with stage.worker():
        assert await stage.done("POST", f"{path}/resume") == {"queue": QUEUE, "paused": False, "changed": True}
        assert await job.result(timeout=20) == {"n": 0}
    assert [(action, severity, facts["changed"]) for action, severity, facts in await stage.told("Queue", QUEUE)] == [
        ("admin.queue_pause", "high", True),
        ("admin.queue_pause", "high", False),
        ("admin.queue_resume", "high", True),
    ]


async def test_failed_jobs_are_listed_newest_first_as_many_as_asked(stage: Stage) -> None:
    """A number is brought into 1 to 100, anything else is 25."""
    await stage.failed(30)
    wanted = {"": 25, "2": 2, "2.9": 2, "0": 1, "-5": 1, "1e9": 30, "inf": 30, "many": 25, "nan": 25}
    for limit, count in wanted.items():
        jobs = (await stage.done("GET", f"/queues/{QUEUE}/failed", params={"limit": limit}))["jobs"]
        assert [job["data"]["n"] for job in jobs] == list(range(29, 29 - count, -1)), limit


async def test_failed_jobs_are_shown_without_secrets(stage: Stage) -> None:
    """Neither those of the payload, nor where the error's text repeats them or has one of its own."""
    job = await stage.service.engine.queue(QUEUE).enqueue("obey", {"do": "fail", "api_key": "sesame-open"})
    async with stage.worker():
        await stage.ended(job)
    answer = await stage.ask("GET", f"/queues/{QUEUE}/failed")
    (shown,) = answer.json()["jobs"]
    assert shown["data"] == {"do": "fail", "api_key": "[REDACTED]"}
    assert shown["failedReason"] == "as told, with token=[REDACTED] and [REDACTED]"
    assert (shown["id"], shown["name"], shown["attemptsMade"]) == (job.id, "obey", 1)
    assert shown["timestamp"] <= shown["processedOn"] <= shown["finishedOn"]
    overview = await stage.done("GET", "/queues/failed")
    assert overview["total"] == 1
    assert {row["name"]: row.get("newest") for row in overview["queues"]}[QUEUE] == shown
    assert "sesame" not in answer.text


async def test_retry_failed_runs_them_once_more_and_audits_the_count(stage: Stage) -> None:
    """The log knows of it before it begins, and how many there were after."""
    jobs = await stage.failed(3)
    assert await stage.done("POST", f"/queues/{QUEUE}/retry-failed") == {"retriedCount": 3}
    assert {(await stage.service.jobs.get_job(QUEUE, job.id)).state for job in jobs} == {"waiting"}
    assert await stage.told("Queue", QUEUE) == [
        ("admin.queue_retry_failed.begun", "high", {}),
        ("admin.queue_retry_failed", "high", {"count": 3, "outcome": "done"}),
    ]
    assert await stage.done("POST", "/queues/retry-failed") == {"retriedCount": 0, "byQueue": {}}


async def test_clear_failed_removes_the_records_and_nothing_else(stage: Stage) -> None:
    """As the page's button does it."""
    await stage.failed(3)
    waiting = await stage.one()
    answer = await stage.ask("POST", f"/queues/{QUEUE}/clear-failed", json={"confirm": True})
    assert answer.text == '{"clearedCount":3}'
    assert (await stage.service.jobs.get_job(QUEUE, waiting.id)).state == "waiting"
    assert (await stage.told("Queue", QUEUE))[-1] == (
        "admin.queue_clear_failed",
        "high",
        {"count": 3, "outcome": "done"},
    )


@pytest.mark.parametrize("verb", ["clear-failed", "clear"])
@pytest.mark.parametrize("body", [None, {}, {"confirm": "true"}, {"confirm": 1}, {"confirm": False}])
async def test_clearing_must_be_meant(stage: Stage, verb: str, body: Any) -> None:
    """`confirm` is true itself, or nothing is done, and there is nothing to audit."""
    await stage.failed(1)
    more = {} if body is None else {"json": body}
    message = await stage.refused(400, "POST", f"/queues/{QUEUE}/{verb}", **more)
    assert '{"confirm": true}' in message
    assert len(await stage.service.jobs.get_failed_jobs(QUEUE)) == 1
    assert await stage.told("Queue", QUEUE) == []


async def test_clear_is_refused_while_jobs_run_unless_forced(stage: Stage) -> None:
    """409 says how many run; what was refused after it had begun is in the log as failed."""
    held = await stage.one("hold")
    await stage.one(delay=3600)
    path = f"/queues/{QUEUE}/clear"
    async with stage.worker():
        await stage.running(held)
        message = await stage.refused(409, "POST", path, json={"confirm": True})
        assert message == f"queue '{QUEUE}' has 1 active jobs: wanted none to clear it, or force"
        assert await stage.done("POST", path, json={"confirm": True, "force": True}) == {"clearedCount": 2}
    told = await stage.told("Queue", QUEUE)
    assert [facts.get("outcome") for _, _, facts in told] == [None, "failed", None, "done"]
    assert told[1] == ("admin.queue_clear", "high", {"force": False, "outcome": "failed", "error": "QueueActive"})
    assert told[3] == ("admin.queue_clear", "high", {"force": True, "count": 2, "outcome": "done"})


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("GET", "failed"),
        *(("POST", verb) for verb in ("pause", "resume", "retry-failed", "clear-failed", "clear")),
    ],
)
async def test_a_queue_that_there_is_not_is_404(stage: Stage, method: str, verb: str) -> None:
    """The message names those that there are."""
    more = {"json": {"confirm": True}} if verb.startswith("clear") else {}
    message = await stage.refused(404, method, f"/queues/nothing/{verb}", **more)
    assert message == f"queue 'nothing': wanted one of {', '.join(QUEUE_NAMES)}"
    assert await stage.told("Queue", "nothing") == []


async def test_a_deed_that_failed_half_way_is_in_the_log(
    stage: Stage, start_service: StartService, start_redis: StartRedis
) -> None:
    """Redis goes away: how far it came is unknown, who wanted it is not."""
    server = start_redis()
    stage.service = await start_service(stage.registry, redis_url=server.url)
    server.kill()
    assert await stage.refused(503, "POST", f"/queues/{QUEUE}/pause") == "The job store does not answer"
    await stage.refused(503, "POST", f"/queues/{QUEUE}/clear", json={"confirm": True})
    failure = {"outcome": "failed", "error": "EngineUnavailable"}
    assert await stage.told("Queue", QUEUE) == [
        ("admin.queue_pause", "high", failure),
        ("admin.queue_clear.begun", "high", {"force": False}),
        ("admin.queue_clear", "high", {"force": False, **failure}),
    ]
