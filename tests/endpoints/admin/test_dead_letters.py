"""`/admin/dlq`: failures that left the failed records, looked at, run once more, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Discard, Job, JobContext, Retention, RetryPolicy, Worker

if TYPE_CHECKING:
    from tests.endpoints.admin.conftest import Stage

QUEUE = "esg-updates"
OTHER = "system-maintenance"
SECRET = "sesame-open"


@pytest.fixture
def buried(stage: Stage) -> Stage:
    """The stage, with a job whose failures become dead letters when the next one fails."""
    fresh = Retention(failed=1)

    async def bury(ctx: JobContext, payload: dict[str, Any]) -> str:
        if payload.get("well"):
            return "well"
        raise Discard(f"token=canary-4711, {payload.get('api_key')}")

    for queue in (QUEUE, OTHER):
        stage.registry.queue(queue, retention=fresh)
        stage.registry.job("bury", queue=queue, retry=RetryPolicy(attempts=1), retention=fresh)(bury)
    return stage


async def bury(stage: Stage, queue: str, count: int = 1, **payload: Any) -> list[Job]:
    """Dead letters of a queue, the oldest first; one more failure is kept as failed."""
    found = stage.service.engine.queue(queue)
    jobs = [await found.enqueue("bury", {"n": n, **payload}) for n in range(count + 1)]
    async with Worker(found, concurrency=1):
        await stage.ended(*jobs)
    return jobs[:count]


async def test_dead_letters_are_listed_page_by_page_and_searched(buried: Stage) -> None:
    """Of all queues, one after the other, newest first in each; or of one."""
    first, second = await bury(buried, QUEUE, 3), await bury(buried, OTHER, 2)
    pages, cursor = [], None
    while True:
        page = await buried.done("GET", "/dlq", params={"limit": "2"} | ({"cursor": cursor} if cursor else {}))
        pages.append(page)
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert [each["id"] for page in pages for each in page["jobs"]] == [job.id for job in first[::-1] + second[::-1]]
    assert [(page["searched"], page["total"]) for page in pages] == [(2, 5), (4, 5), (5, 5)]
    (found,) = (await buried.done("GET", "/dlq", params={"queue": OTHER, "text": '"n":1'}))["jobs"]
    assert (found["id"], found["queue"], found["name"]) == (second[1].id, OTHER, "bury")
    assert (await buried.done("GET", "/dlq", params={"name": "another"}))["jobs"] == []
    stats = await buried.done("GET", "/dlq/stats")
    assert (stats["total"], stats["byQueue"]) == (5, {QUEUE: 3, OTHER: 2})
    assert stats["oldestJob"] <= stats["newestJob"]
    for cursor in ("x", f"0/{QUEUE}", "0/nothing/", f"0/{QUEUE}/dead:1:x"):
        await buried.refused(422, "GET", "/dlq", params={"cursor": cursor})
    await buried.refused(404, "GET", "/dlq", params={"queue": "nothing"})


async def test_a_dead_letter_is_shown_without_secrets(buried: Stage) -> None:
    """Whatever failed, and however."""
    await bury(buried, QUEUE, api_key=SECRET)
    answer = await buried.ask("GET", "/dlq")
    (letter,) = answer.json()["jobs"]
    assert letter["data"] == {"n": 0, "api_key": "[REDACTED]"}
    assert letter["failedReason"] == "token=[REDACTED], [REDACTED]"
    assert (letter["attemptsMade"], letter["maxAttempts"]) == (1, 1)
    assert SECRET not in answer.text


async def test_a_dead_letter_runs_once_more(buried: Stage) -> None:
    """Found in whatever queue; not where a job has its id; by its queue where that is said."""
    (letter,) = await bury(buried, OTHER)
    path = f"/dlq/{letter.id}/retry"
    await buried.refused(404, "POST", path, params={"queue": QUEUE})
    assert await buried.done("POST", path) == {"id": letter.id, "queue": OTHER, "done": "retried"}
    assert (await buried.service.jobs.get_job(OTHER, letter.id)).state == "waiting"
    message = await buried.refused(404, "POST", path)
    assert message == f"no dead letter {letter.id} of any queue: never there, replayed, or pruned"
    await buried.refused(404, "POST", path, params={"queue": "nothing"})
    assert await buried.told("DeadLetter", letter.id) == [
        ("admin.dead_letter_retry", "medium", {"queue": OTHER, "outcome": "done"})
    ]


async def test_a_dead_letter_whose_id_a_job_has_is_409(buried: Stage) -> None:
    """It stays where it is."""
    queue = buried.service.engine.queue(QUEUE)
    jobs = [await queue.enqueue("bury", {}, id=job_id) for job_id in ("mine", "later")]
    async with Worker(queue, concurrency=1):
        await buried.ended(*jobs)
    await queue.enqueue("bury", {}, id="mine", delay=3600, if_exists="rerun_finished")
    message = await buried.refused(409, "POST", "/dlq/mine/retry")
    assert message == "job mine is delayed: to replay it, wanted no job of that id"
    assert await buried.done("POST", "/dlq/retry", json={"queue": QUEUE}) == {"retried": 0, "failed": 1}


async def test_all_dead_letters_of_a_queue_run_once_more(buried: Stage) -> None:
    """And none of another queue."""
    await bury(buried, QUEUE, 3)
    await bury(buried, OTHER)
    assert await buried.done("POST", "/dlq/retry", json={"queue": QUEUE}) == {"retried": 3, "failed": 0}
    assert (await buried.done("GET", "/dlq/stats"))["byQueue"] == {OTHER: 1}
    await buried.refused(404, "POST", "/dlq/retry", json={"queue": "nothing"})
    await buried.refused(422, "POST", "/dlq/retry")
    entries = await buried.service.store.audit_log.of_resource("DeadLetter", None)  # type: ignore[arg-type]
    assert [entry.action for entry in entries] == ["admin.dead_letters_retry.begun", "admin.dead_letters_retry"]
    facts = {"queue": QUEUE, "retried": 3, "failed": 0, "outcome": "done"}
    assert {name: entries[1].details[name] for name in facts} == facts


async def test_old_dead_letters_are_pruned_and_all_are_cleared_where_it_is_meant(buried: Stage) -> None:
    """Thirty days where nothing is said."""
    await bury(buried, QUEUE, 2)
    await bury(buried, OTHER)
    assert await buried.done("POST", "/dlq/prune") == {"prunedCount": 0}
    await buried.refused(422, "POST", "/dlq/prune", json={"olderThanDays": -1})
    await buried.refused(400, "POST", "/dlq/clear", json={"confirm": "yes"})
    assert (await buried.done("GET", "/dlq/stats"))["total"] == 3
    assert await buried.done("POST", "/dlq/prune", json={"olderThanDays": 0}) == {"prunedCount": 3}
    await bury(buried, OTHER)
    assert await buried.done("POST", "/dlq/clear", json={"confirm": True}) == {"clearedCount": 2}
    entries = await buried.service.store.audit_log.of_resource("DeadLetter", None)  # type: ignore[arg-type]
    assert [(entry.action, entry.severity) for entry in entries if not entry.action.endswith(".begun")] == [
        ("admin.dead_letters_prune", "high"),
        ("admin.dead_letters_prune", "high"),
        ("admin.dead_letters_clear", "high"),
    ]
