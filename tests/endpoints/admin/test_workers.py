"""`/admin/workers`, `/admin/supervisors`, `/admin/metrics`: who works, what they may be told, and what came of it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.endpoints.admin.conftest import Stage

QUEUE = "esg-updates"


async def worker_row(stage: Stage, name: str) -> dict[str, Any]:
    """The worker as the list has it."""
    (row,) = [row for row in (await stage.done("GET", "/workers"))["workers"] if row["name"] == name]
    return dict(row)


async def test_workers_are_listed_with_what_they_run(stage: Stage) -> None:
    """Of all queues or of one; and by process."""
    assert await stage.done("GET", "/workers") == {"workers": []}
    job = await stage.one("hold")
    async with stage.supervisor() as supervisor:
        await stage.running(job)
        rows = (await stage.done("GET", "/workers"))["workers"]
        assert [row["queue"] for row in rows] == [QUEUE, "system-maintenance"]
        (row,) = (await stage.done("GET", "/workers", params={"queue": QUEUE}))["workers"]
        process = f"{socket.gethostname()}:{os.getpid()}"
        assert (row["supervisor"], row["paused"]) == (process, False)
        assert row["concurrency"] == supervisor.workers[0].concurrency
        assert [(held["id"], held["name"]) for held in row["running"]] == [(job.id, "obey")]
        assert row["startedAt"] <= row["lastBeatAt"]
        (found,) = (await stage.done("GET", "/supervisors"))["supervisors"]
        assert (found["name"], found["pid"], found["queues"]) == (process, os.getpid(), [QUEUE, "system-maintenance"])
        assert [each["name"] for each in found["workers"]] == [each["name"] for each in rows]
        stage.gate.set()
        await job.result(timeout=20)


async def test_one_worker_is_paused_resumed_and_given_more_to_do(stage: Stage) -> None:
    """It follows at once, the others go on, and its next beat tells."""
    async with stage.worker(concurrency=2) as worker, stage.worker() as other:
        path = f"/workers/{worker.name}"
        assert await stage.done("POST", f"{path}/pause") == {"name": worker.name, "queue": QUEUE, "told": "pause"}
        await stage.wait_until(lambda: worker.paused, "it was told")
        assert not other.paused
        told = await stage.done("PUT", f"{path}/concurrency", json={"concurrency": 7})
        assert told["told"] == "concurrency"

        async def beat() -> bool:
            row = await worker_row(stage, worker.name)
            return bool(row["paused"]) and row["concurrency"] == 7

        await stage.wait_until(beat, "its beat tells of both")
        await stage.done("POST", f"{path}/resume")
        await stage.wait_until(lambda: not worker.paused, "it was told")
        assert [(action, severity, facts) for action, severity, facts in await stage.told("Worker", worker.name)] == [
            ("admin.worker_pause", "medium", {"queue": QUEUE, "outcome": "done"}),
            ("admin.worker_set_concurrency", "medium", {"queue": QUEUE, "concurrency": 7, "outcome": "done"}),
            ("admin.worker_resume", "medium", {"queue": QUEUE, "outcome": "done"}),
        ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Object missing required field `concurrency`"),
        ({"concurrency": 0}, "Expected `int` >= 1 - at `$.concurrency`, found 0"),
        ({"concurrency": 1001}, "Expected `int` <= 1000 - at `$.concurrency`, found 1001"),
        ({"concurrency": "5"}, 'Expected `int`, got `str` - at `$.concurrency`, found "5"'),
    ],
)
async def test_a_concurrency_that_can_not_be_is_422(stage: Stage, body: dict[str, Any], text: str) -> None:
    """The message names what is wanted."""
    async with stage.worker() as worker:
        message = await stage.refused(422, "PUT", f"/workers/{worker.name}/concurrency", json=body)
    assert message == f"The body does not fit: {text}"


async def test_a_worker_or_supervisor_that_does_not_live_is_404(stage: Stage) -> None:
    """It may have left a moment ago; nothing is audited."""
    async with stage.worker() as worker:
        pass
    for method, verb, body in (
        ("POST", "pause", {}),
        ("POST", "resume", {}),
        ("PUT", "concurrency", {"concurrency": 1}),
    ):
        message = await stage.refused(404, method, f"/workers/{worker.name}/{verb}", json=body)
        assert message == f"worker '{worker.name}' is not alive: never there, left, or back under another name"
    message = await stage.refused(404, "POST", "/supervisors/host:1/drain")
    assert message == "supervisor 'host:1' is not alive: wanted one of none, as none is"
    assert "queue 'nothing'" in await stage.refused(404, "GET", "/workers", params={"queue": "nothing"})
    assert await stage.told("Worker", worker.name) == []
    assert await stage.told("Supervisor", "host:1") == []


async def test_a_supervisor_is_drained_by_its_name(stage: Stage) -> None:
    """It ends what runs, accepts nothing, and its workers leave; no queue is paused."""
    job = await stage.one("hold")
    name = f"{socket.gethostname()}:{os.getpid()}"
    async with stage.supervisor() as supervisor:
        await stage.running(job)
        assert await stage.done("POST", f"/supervisors/{name}/drain") == {"name": name, "told": "drain"}
        await stage.wait_until(lambda: not supervisor.accepting_jobs, "it drains")
        stage.gate.set()
        assert await job.result(timeout=20) == {"n": 0}

        async def left() -> bool:
            return not (await stage.done("GET", "/supervisors"))["supervisors"]

        await stage.wait_until(left, "its workers have left")
    assert not await stage.service.jobs.is_queue_paused(QUEUE)
    assert await stage.told("Supervisor", name) == [("admin.supervisor_drain", "high", {"outcome": "done"})]


async def test_metrics_say_what_jobs_came_to(stage: Stage) -> None:
    """By name, per minute and per hour, with histograms; of one queue or all."""
    await stage.failed(2)
    jobs = await stage.add(count=3)
    async with stage.worker():
        await stage.ended(*jobs)

    async def counted() -> Any:
        rows = (await stage.done("GET", "/metrics"))["metrics"]
        return rows if sum(row["completed"] + row["failed"] for row in rows) == 5 else None

    rows = await stage.wait_until(counted, "all ends were counted")
    assert {(row["queue"], row["name"], row["spanS"]) for row in rows} == {(QUEUE, "obey", 60)}
    assert sum(row["attempts"] for row in rows) == sum(sum(row["duration"].values()) for row in rows) == 5
    assert all(row["durationP50S"] <= row["durationP95S"] for row in rows)
    hours = (await stage.done("GET", "/metrics", params={"per": "hour", "queue": QUEUE, "name": "obey"}))["metrics"]
    assert sum(row["failed"] for row in hours) == 2
    assert await stage.done("GET", "/metrics", params={"queue": "system-maintenance"}) == {"metrics": []}
    message = await stage.refused(422, "GET", "/metrics", params={"per": "hour", "last": "721"})
    assert message == "metrics of the last 721 hours: wanted 1 to 720"
    await stage.refused(422, "GET", "/metrics", params={"per": "day"})
    await stage.refused(404, "GET", "/metrics", params={"queue": "nothing"})
