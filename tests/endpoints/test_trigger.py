"""What `POST /jobs/categorize/{spaceId}` answers: 200, 202, 502 and 503, each from a real job's fate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dhanam_jobs.engine import JobContext, JobState, Registry, RetryPolicy
from dhanam_jobs.handlers.categorize_transactions import CategorizeTransactions
from dhanam_jobs.handlers.queues import declare_queues

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil
    from tests.endpoints.conftest import Service, StartService

QUEUE = "categorize-transactions"
PATH = "/jobs/categorize/space-1"


def failing_registry(error: Exception) -> Registry:
    """The service's queues, with a categorisation that fails at its only attempt."""
    registry = Registry()
    declare_queues(registry)

    @registry.job(QUEUE, queue=QUEUE, retry=RetryPolicy(attempts=1))
    async def categorize(ctx: JobContext, payload: CategorizeTransactions) -> None:
        raise error

    return registry


async def waiting(service: Service) -> int:
    """How many categorisations wait."""
    return (await service.jobs.get_queue_stats(QUEUE)).waiting


async def test_the_answer_is_the_specifications(service: Service) -> None:
    """Body, order of keys and message are those of the specification, counted from real work."""
    async with service.worker():
        answer = await service.ask("POST", PATH, "olivia")
        assert answer.status_code == 200
        assert answer.text == ('{"message":"Categorized 3 out of 5 transactions","categorized":3,"total":5,"spaces":1}')
        again = await service.ask("POST", "/v1" + PATH, "mia")
        assert again.json()["message"] == "Categorized 0 out of 2 transactions"
    stats = await service.jobs.get_queue_stats(QUEUE)
    assert (stats.completed, stats.failed, stats.waiting) == (2, 0, 0)


async def test_two_posts_at_once_share_one_job(service: Service, wait_until: WaitUntil) -> None:
    """Whoever comes while a job waits joins it, gets its answer, and owns it too."""
    job = await service.jobs.trigger_space_categorization("space-1", user_id="olivia")
    asked = [asyncio.create_task(service.ask("POST", PATH, user)) for user in ("adam", "mia")]

    async def all_joined() -> bool:
        return set((await service.jobs.get_job(QUEUE, job.id)).owners) == {"olivia", "adam", "mia"}

    await wait_until(all_joined, "both callers have joined the job")
    async with service.worker():
        answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    assert answers[0].json()["categorized"] == 3
    assert (await service.jobs.get_queue_stats(QUEUE)).completed == 1


async def test_a_job_that_takes_too_long_is_answered_with_its_address(start_service: StartService) -> None:
    """Past the wait the answer is 202, and the address in it leads to the job."""
    service = await start_service(wait_s=0.05)
    answer = await service.ask("POST", "/v1" + PATH, "olivia")
    body = answer.json()
    assert answer.status_code == 202
    assert list(body) == ["id", "queue", "state", "url"]
    assert (body["queue"], body["state"]) == (QUEUE, "waiting")
    assert answer.headers["Location"] == body["url"] == f"/v1/jobs/{QUEUE}/{body['id']}"
    found = await service.ask("GET", body["url"], "olivia")
    assert (found.status_code, found.json()["state"]) == (200, "waiting")


async def test_a_paused_queue_is_answered_at_once(service: Service) -> None:
    """Nobody waits for a job that can't start; it is kept, and runs when the queue is resumed."""
    await service.jobs.pause_queue(QUEUE)
    async with service.worker():
        answer = await service.ask("POST", PATH, "olivia")
        assert answer.status_code == 202
        assert answer.json()["state"] == "waiting"
        await service.jobs.resume_queue(QUEUE)
        joined = await service.ask("POST", PATH, "olivia")
    assert joined.status_code == 200


async def test_the_trigger_enqueues_with_the_callers_urgency(start_service: StartService) -> None:
    """A person's request is more urgent than the schedules', and knows who asked."""
    service = await start_service(wait_s=0.01)
    job_id = (await service.ask("POST", PATH, "mia")).json()["id"]
    info = await service.jobs.get_job(QUEUE, job_id)
    assert (info.priority, info.owners, info.name) == (2, ["mia"], QUEUE)
    assert info.state is JobState.WAITING


async def test_a_failed_job_is_a_bad_gateway_with_its_id(start_service: StartService) -> None:
    """The job's id and address come with the 502; an exception's text stays with the admins."""
    service = await start_service(failing_registry(RuntimeError("canary: SELECT password FROM users")))
    async with service.worker():
        answer = await service.ask("POST", PATH, "olivia")
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert error["code"] == "BAD_GATEWAY"
    assert error["details"]["id"] in error["message"]
    assert error["details"] == {
        "id": error["details"]["id"],
        "queue": QUEUE,
        "url": f"/jobs/{QUEUE}/{error['details']['id']}",
    }
    assert "canary" not in answer.text
    seen = await service.ask("GET", error["details"]["url"], "olivia")
    assert seen.json()["state"] == "failed"
    assert "canary" not in seen.text
    assert "canary" in (await service.ask("GET", error["details"]["url"], "root")).json()["failedReason"]


async def test_what_a_handler_says_to_people_reaches_them(service: Service, wait_until: WaitUntil) -> None:
    """A space deleted while its job waited: the handler's own words come with the 502."""
    asked = asyncio.create_task(service.ask("POST", PATH, "olivia"))
    await wait_until(lambda: waiting(service), "the job waits")
    await service.store.spaces.erase(["space-1"])
    async with service.worker():
        answer = await asked
    assert answer.status_code == 502
    assert "space-1" in answer.json()["error"]["details"]["reason"]


async def test_while_draining_new_triggers_are_refused(service: Service) -> None:
    """503 says when to try again, and nothing is enqueued."""
    service.engine.stop_accepting()
    answer = await service.ask("POST", PATH, "olivia")
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "code": "SERVICE_UNAVAILABLE",
        "message": "The service is shutting down and takes no new jobs",
        "retryable": True,
        "retryAfterMs": 30_000,
    }
    assert answer.headers["Retry-After"] == "30"
    assert await waiting(service) == 0
    assert (await service.ask("POST", PATH, "vera")).status_code == 403


async def test_a_caller_who_waits_is_answered_when_the_server_ends(service: Service, wait_until: WaitUntil) -> None:
    """Stopping doesn't hold a waiting caller until the wait is over: the job's address is the answer."""
    asked = asyncio.create_task(service.ask("POST", PATH, "olivia"))
    await wait_until(lambda: waiting(service), "the job waits")
    await service.server.stop()
    assert (await asked).status_code == 202


async def test_an_empty_body_is_fine(service: Service) -> None:
    """The trigger takes nothing, which may be said in either way."""
    await service.jobs.pause_queue(QUEUE)
    for body in (b"", b"{}", b" {} "):
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = await service.ask("POST", PATH, "olivia", content=body, headers=headers)
        assert answer.status_code == 202, body


async def test_a_body_that_does_not_fit_is_refused(service: Service) -> None:
    """Bodies are read strictly, and nothing is enqueued for one that doesn't fit."""
    for body, content_type, status in [
        (b'{"spaceId":"space-2"}', "application/json", 422),
        (b"[]", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"{", "application/json", 400),
        (b"{} {}", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
    ]:
        headers = {"Content-Type": content_type}
        answer = await service.ask("POST", PATH, "olivia", content=body, headers=headers)
        assert answer.status_code == status, (body[:20], answer.text)
    assert await waiting(service) == 0


async def test_redis_gone_is_a_503_in_time(start_redis: StartRedis, start_service: StartService) -> None:
    """Without Redis the trigger answers instead of hanging, and its text doesn't name the server."""
    server = start_redis()
    service = await start_service(redis_url=server.url)
    server.kill()
    answer = await service.ask("POST", PATH, "olivia")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "The job store does not answer"
    assert answer.json()["error"]["retryable"] is True
    assert str(server.socket) not in answer.text
