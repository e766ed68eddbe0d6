"""`/admin/queues/{queue}/jobs`: what administrators see of single jobs and do to them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Child, JobState
from dhanam_jobs.handlers.service.looking import STATES

if TYPE_CHECKING:
    from tests.endpoints.admin.conftest import Stage

QUEUE = "esg-updates"
JOBS = f"/queues/{QUEUE}/jobs"
SECRET = "sesame-open"


async def test_jobs_of_all_states_are_listed_page_by_page(stage: Stage) -> None:
    """Active first; each once, though jobs come and go between the pages; searched says how far one is."""
    failed = await stage.failed(3)
    waiting = await stage.add(count=4)
    delayed = [await stage.one(delay=3600) for _ in range(2)]
    pages, cursor = [], None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = await stage.done("GET", JOBS, params=params)
        pages.append(page)
        await stage.done("DELETE", f"{JOBS}/{page['jobs'][0]['id']}")
        cursor = page.get("cursor")
        if cursor is None:
            break
    seen = [job["id"] for page in pages for job in page["jobs"]]
    assert seen == [job.id for job in waiting + delayed + failed[::-1]]
    assert [page["searched"] for page in pages] == [2, 4, 6, 8, 9]
    assert pages[0]["total"] == 9
    assert [page["jobs"][0]["state"] for page in pages] == ["waiting", "waiting", "delayed", "failed", "failed"]


async def test_jobs_are_found_by_state_name_text_and_level(stage: Stage) -> None:
    """And each shows what it has."""
    await stage.failed(1)
    urgent = await stage.one(priority=1, id="Needle-In-Hay")
    later = await stage.one(delay=3600, unique="k")
    await stage.add(count=3)
    for params, wanted in [
        ({"text": "needle-in"}, [urgent.id]),
        ({"priority": "1"}, [urgent.id]),
        ({"state": "delayed"}, [later.id]),
        ({"state": "waiting", "name": "nobody"}, []),
        ({"state": "failed", "text": "as told"}, ["failed"]),
    ]:
        page = await stage.done("GET", JOBS, params=params)
        assert len(page["jobs"]) == len(wanted), params
        assert (
            page["searched"]
            == page["total"]
            == {"waiting": 4, "delayed": 1, "failed": 1}.get(params.get("state", ""), 6)
        )
        if wanted != ["failed"]:
            assert [job["id"] for job in page["jobs"]] == wanted
    (row,) = (await stage.done("GET", JOBS, params={"state": "delayed"}))["jobs"]
    assert (row["uniqueKey"], row["state"], row["payload"]) == ("k", "delayed", {"do": "end", "n": 0})
    assert row["dueAt"] > row["createdAt"]
    assert "finishedAt" not in row


@pytest.mark.parametrize("state", [None, *STATES])
async def test_a_cursor_that_no_page_gave_is_422(stage: Stage, state: str | None) -> None:
    """Whatever it looks like, it never breaks the server."""
    await stage.failed(2)
    await stage.add(count=2)
    hostile = ["x", "-1/failed:1:1 x", "0/dead:1:1 x", "999999999999999999/failed:", f"{'9' * 400}/failed:", "0/failed"]
    for cursor in hostile:
        params = {"cursor": cursor} | ({"state": state} if state else {})
        message = await stage.refused(422, "GET", JOBS, params=params)
        assert message.startswith("cursor ")
    for inner in ("1: ", "1:a b", "1:5 x", "1: waiting:5", "1:(5 x", "1:nan x", "1:front:0 0-1", "1:waiting:5 a-b"):
        cursor = f"{state}:{inner}" if state else f"0/failed:{inner}"
        params = {"cursor": cursor} | ({"state": state} if state else {})
        assert (await stage.ask("GET", JOBS, params=params)).status_code in (200, 422), cursor


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"state": "dead"}, f"Invalid enum value 'dead' - at `$.state`, wanted one of {', '.join(STATES)}"),
        ({"limit": "0"}, 'Expected `int` >= 1 - at `$.limit`, found "0"'),
        ({"limit": "101"}, 'Expected `int` <= 100 - at `$.limit`, found "101"'),
        ({"priority": "10"}, 'Expected `int` <= 9 - at `$.priority`, found "10"'),
        ({"text": ""}, 'Expected `str` of length >= 1 - at `$.text`, found ""'),
        ({"nme": "x"}, "found the parameter 'nme', wanted one of state, name, text, priority, limit, cursor"),
    ],
)
async def test_a_query_that_does_not_fit_is_422(stage: Stage, params: dict[str, str], text: str) -> None:
    """The message names the parameter and what is wanted."""
    assert await stage.refused(422, "GET", JOBS, params=params) == f"The query does not fit: {text}"


async def test_a_job_is_shown_with_all_that_is_known_of_it(stage: Stage) -> None:
    """Log, progress, attempts, result, level, owners; and no secret of it anywhere."""
    queue = stage.service.engine.queue(QUEUE)
    job = await queue.enqueue("obey", {"do": "fail", "n": 7, "api_key": SECRET}, owner="olivia", meta={"a": SECRET})
    (why,) = (await stage.done("GET", f"{JOBS}/{job.id}"))["why"]
    assert why == {"code": "no_worker", "text": f"no worker of queue '{QUEUE}' is alive"}
    async with stage.worker():
        await stage.ended(job)
    answer = await stage.ask("GET", f"/queues/{QUEUE}/jobs/{job.id}")
    shown = answer.json()
    assert (shown["id"], shown["state"], shown["attemptsMade"], shown["owners"]) == (job.id, "failed", 1, ["olivia"])
    assert shown["progress"] == {"n": 7}
    assert [line["text"] for line in shown["log"]] == ["told to fail, api_key=[REDACTED]"]
    (attempt,) = shown["attempts"]
    assert (attempt["type"], attempt["attempt"], attempt["worker"]) == ("Discard", 1, shown["worker"])
    assert attempt["message"] == shown["failedReason"] == "as told, with token=[REDACTED] and [REDACTED]"
    assert "traceback" not in shown
    assert shown["why"] == [{"code": "ended", "text": "it has ended: failed"}]
    assert shown["metadata"]["a"] == "[REDACTED]"
    assert SECRET not in answer.text
    assert "canary" not in answer.text
    few = await stage.done("GET", f"/queues/{QUEUE}/jobs/{job.id}", params={"logFrom": "1", "logLines": "5"})
    assert (few["log"], few["logged"]) == ([], 1)


async def test_a_crash_is_shown_with_its_traceback(stage: Stage) -> None:
    """Whole, but for secrets: administrators are who mend it."""
    queue = stage.service.engine.queue(QUEUE)
    job = await queue.enqueue("obey", {"do": "crash", "api_key": SECRET})
    async with stage.worker():
        await stage.ended(job)
    answer = await stage.ask("GET", f"{JOBS}/{job.id}")
    shown = answer.json()
    assert shown["errorType"] == "ValueError"
    assert shown["failedReason"] == "Bearer [REDACTED], [REDACTED]"
    assert shown["traceback"].rstrip().endswith("ValueError: Bearer [REDACTED], [REDACTED]")
    assert 'raise ValueError(f"Bearer' in shown["traceback"]
    assert SECRET not in answer.text


async def test_a_jobs_family_is_shown_from_both_sides(stage: Stage) -> None:
    """Children with their states, and the parents that wait for a job."""
    queue = stage.service.engine.queue(QUEUE)
    children = [Child("a", "obey", {"do": "end"}), Child("b", "obey", {"do": "hold"})]
    parent = await queue.enqueue_parent("obey", {"do": "end"}, children=children)
    async with stage.worker():

        async def half() -> Any:
            shown = await stage.done("GET", f"{JOBS}/{parent.id}")
            return shown if shown["childrenEnded"] == 1 else None

        shown = await stage.wait_until(half, "the first child has ended")
        assert [(kin["key"], kin["queue"], kin["state"]) for kin in shown["children"]] == [
            ("a", QUEUE, "completed"),
            ("b", QUEUE, "active"),
        ]
        assert (shown["state"], shown["childrenTotal"], shown["why"][0]["code"]) == ("blocked", 2, "children")
        held = await stage.done("GET", f"{JOBS}/{shown['children'][1]['id']}")
        assert held["parents"] == [{"queue": QUEUE, "id": parent.id, "key": "b"}]
        stage.gate.set()
        await parent.result(timeout=20)


async def test_a_retry_runs_the_job_as_it_was_or_edited(stage: Stage) -> None:
    """What was hidden when it was shown stays as it was."""
    queue = stage.service.engine.queue(QUEUE)
    job = await queue.enqueue("obey", {"do": "fail", "n": 1, "api_key": SECRET})
    async with stage.worker():
        await stage.ended(job)
        assert await stage.done("POST", f"{JOBS}/{job.id}/retry") == {"id": job.id, "queue": QUEUE, "done": "retried"}
        await stage.wait_until(lambda: _failed_twice(stage, job.id), "it failed again")
        shown = (await stage.done("GET", f"{JOBS}/{job.id}"))["payload"]
        assert shown["api_key"] == "[REDACTED]"
        await stage.done("POST", f"{JOBS}/{job.id}/retry", json={"payload": {**shown, "do": "end"}})
        assert await job.result(timeout=20) == {"n": 1}
    info = await stage.service.jobs.get_job(QUEUE, job.id)
    assert bytes(info.payload).decode() == f'{{"do":"end","n":1,"api_key":"{SECRET}"}}'
    assert await stage.told("Job", f"{QUEUE}/{job.id}") == [
        ("admin.job_retry", "medium", {"edited": False, "outcome": "done"}),
        ("admin.job_retry", "medium", {"edited": True, "outcome": "done"}),
    ]


async def _failed_twice(stage: Stage, job_id: str) -> bool:
    info = await stage.service.jobs.get_job(QUEUE, job_id)
    return len(info.errors) == 2 and info.state is JobState.FAILED


async def test_a_mark_of_what_was_hidden_never_becomes_a_payload(stage: Stage) -> None:
    """A new key that holds it is refused with its place, and the job is as it was."""
    (job,) = await stage.failed(1)
    body = {"payload": {"do": "end", "api_key": "[REDACTED]"}}
    message = await stage.refused(422, "POST", f"{JOBS}/{job.id}/retry", json=body)
    assert message == "payload.api_key: found a mark of what is hidden, wanted a value of its own"
    message = await stage.refused(422, "POST", f"{JOBS}/{job.id}/retry", json={"payload": {"do": 5}})
    assert message == "payload of job 'obey': Expected `str`, got `int` - at `$.do`"
    assert (await stage.service.jobs.get_job(QUEUE, job.id)).state == "failed"
    assert await stage.told("Job", f"{QUEUE}/{job.id}") == []


async def test_a_delayed_job_is_promoted(stage: Stage) -> None:
    """And no other one can be."""
    job = await stage.one(delay=3600)
    assert (await stage.done("POST", f"{JOBS}/{job.id}/promote"))["done"] == "promoted"
    assert (await stage.service.jobs.get_job(QUEUE, job.id)).state == "waiting"
    message = await stage.refused(409, "POST", f"{JOBS}/{job.id}/promote")
    assert message == f"job {job.id} is waiting: to promote it, wanted delayed"
    assert await stage.told("Job", f"{QUEUE}/{job.id}") == [("admin.job_promote", "medium", {"outcome": "done"})]


async def test_a_job_is_cancelled_whether_it_waits_or_runs(stage: Stage) -> None:
    """With the reason in its record; one that has ended is past it."""
    waiting = await stage.one()
    cancelled = await stage.done("POST", f"{JOBS}/{waiting.id}/cancel", json={"reason": "wrong, password=hunter22"})
    assert cancelled["done"] == "cancelled"
    shown = await stage.done("GET", f"{JOBS}/{waiting.id}")
    assert (shown["state"], shown["failedReason"]) == ("cancelled", "wrong, password=[REDACTED]")
    held = await stage.one("hold")
    async with stage.worker():
        await stage.running(held)
        assert (await stage.done("POST", f"{JOBS}/{held.id}/cancel"))["done"] == "cancelling"
        await stage.ended(held)
    assert (await stage.service.jobs.get_job(QUEUE, held.id)).state == "cancelled"
    message = await stage.refused(409, "POST", f"{JOBS}/{held.id}/cancel")
    assert message == f"job {held.id} is cancelled: to cancel it, wanted one that has not ended"
    ((action, severity, facts),) = await stage.told("Job", f"{QUEUE}/{waiting.id}")
    assert (action, severity) == ("admin.job_cancel", "high")
    assert facts == {"reason": "wrong, password=[REDACTED]", "tree": "leave", "ran": False, "outcome": "done"}


async def test_a_parent_takes_its_children_along_where_that_is_asked(stage: Stage) -> None:
    """But not while one of them runs, where that is asked too."""
    queue = stage.service.engine.queue(QUEUE)
    children = [Child("b", "obey", {"do": "hold"}), Child("c", "obey", {"do": "end"}, options={"delay": 3600})]
    parent = await queue.enqueue_parent("obey", {"do": "end"}, children=children)
    async with stage.worker():
        await stage.running(queue.job(f"{parent.id}.b"))
        message = await stage.refused(409, "POST", f"{JOBS}/{parent.id}/cancel", json={"tree": "take_idle"})
        assert f"{parent.id}.b is active" in message
        await stage.done("POST", f"{JOBS}/{parent.id}/cancel", json={"tree": "take"})
        await stage.ended(queue.job(f"{parent.id}.b"), queue.job(f"{parent.id}.c"))
    assert (await stage.service.jobs.get_job(QUEUE, f"{parent.id}.c")).state == "cancelled"


async def test_a_job_is_removed_and_one_that_runs_only_by_force(stage: Stage) -> None:
    """The record of one that has ended, too."""
    (failed,) = await stage.failed(1)
    assert await stage.done("DELETE", f"{JOBS}/{failed.id}") == {"id": failed.id, "queue": QUEUE, "done": "removed"}
    message = await stage.refused(404, "DELETE", f"{JOBS}/{failed.id}")
    assert message.startswith(f"job {failed.id} is not on queue '{QUEUE}'")
    held = await stage.one("hold")
    async with stage.worker():
        await stage.running(held)
        await stage.refused(409, "DELETE", f"{JOBS}/{held.id}")
        await stage.done("DELETE", f"{JOBS}/{held.id}", params={"force": "true"})
        await stage.refused(404, "GET", f"{JOBS}/{held.id}")
    assert await stage.told("Job", f"{QUEUE}/{held.id}") == [
        ("admin.job_remove", "high", {"force": True, "tree": "leave", "outcome": "done"})
    ]


async def test_a_resting_job_gets_another_payload_and_level(stage: Stage) -> None:
    """Both at once, or one; what it had already is no change; one that has ended is retried instead."""
    job = await stage.one(delay=3600)
    path = f"{JOBS}/{job.id}"
    edited = await stage.done("PATCH", path, json={"payload": {"do": "end", "n": 5}, "priority": 2})
    assert edited == {"id": job.id, "queue": QUEUE, "changed": ["payload", "priority"]}
    info = await stage.service.jobs.get_job(QUEUE, job.id)
    assert (info.priority, bytes(info.payload)) == (2, b'{"do":"end","n":5}')
    assert (await stage.done("PATCH", path, json={"priority": 2}))["changed"] == []
    message = await stage.refused(422, "PATCH", path, json={})
    assert message == "The body does not fit: found nothing to change, wanted payload or priority"
    await stage.refused(422, "PATCH", path, json={"priority": 12})
    await stage.refused(422, "PATCH", path, json={"payload": {"do": "end", "x": 1}})
    await stage.refused(404, "PATCH", f"{JOBS}/5-1-0", json={"priority": 2})
    (failed,) = await stage.failed(1)
    message = await stage.refused(409, "PATCH", f"{JOBS}/{failed.id}", json={"payload": {"do": "end"}})
    assert message.endswith("wanted waiting, delayed, blocked or parked; or retry it with a payload")
    facts = {"changed": ["payload", "priority"], "priority": 2, "outcome": "done"}
    assert await stage.told("Job", f"{QUEUE}/{job.id}") == [("admin.job_edit", "high", facts)]


async def test_a_clone_is_a_new_job_like_the_old_one(stage: Stage) -> None:
    """In whatever state that is, edited or not; the answer leads to it, and the same request again to the same one."""
    queue = stage.service.engine.queue(QUEUE)
    job = await queue.enqueue("obey", {"do": "fail", "n": 3, "api_key": SECRET})
    async with stage.worker():
        await stage.ended(job)
    body = {"payload": {"do": "end", "n": 3, "api_key": "[REDACTED]"}, "priority": 1}
    more: dict[str, Any] = {"json": body, "headers": {"Idempotency-Key": "once"}}
    answers = [await stage.ask("POST", f"{JOBS}/{job.id}/clone", **more) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    clone = answers[0].json()
    assert answers[1].json() == clone
    assert re.fullmatch(rf"/jobs/{QUEUE}/[^/]+", clone["url"])
    assert answers[0].headers["Location"] == clone["url"]
    info = await stage.service.jobs.get_job(QUEUE, clone["id"])
    assert (info.priority, info.state, SECRET in bytes(info.payload).decode()) == (1, "waiting", True)
    facts = {"clone": clone["id"], "edited": True, "outcome": "done"}
    assert await stage.told("Job", f"{QUEUE}/{job.id}") == [("admin.job_clone", "medium", facts)]
    plain = await stage.done("POST", f"/queues/{QUEUE}/jobs/{job.id}/clone")
    assert (await stage.service.jobs.get_job(QUEUE, plain["id"])).priority == 5


async def test_nothing_is_cloned_while_the_service_shuts_down(stage: Stage) -> None:
    """503 says when to come back; nothing was done."""
    (job,) = await stage.failed(1)
    stage.service.engine.stop_accepting()
    answer = await stage.ask("POST", f"{JOBS}/{job.id}/clone")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert await stage.told("Job", f"{QUEUE}/{job.id}") == []


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("PATCH", ""),
        *(("POST", f"/{verb}") for verb in ("retry", "promote", "cancel", "clone")),
    ],
)
async def test_a_job_that_there_is_not_is_404(stage: Stage, method: str, verb: str) -> None:
    """And so is a job of a queue that there is not; neither is audited."""
    more: dict[str, Any] = {"json": {"priority": 1}} if method == "PATCH" else {}
    for job_id in ("5-1780000000000-0", "no-such-job", "%00", "x" * 300):
        assert "job" in await stage.refused(404, method, f"{JOBS}/{job_id}{verb}", **more)
    message = await stage.refused(404, method, f"/queues/nothing/jobs/1{verb}", **more)
    assert message.startswith("queue 'nothing': wanted one of ")
    assert await stage.told("Job", f"{QUEUE}/no-such-job") == []
