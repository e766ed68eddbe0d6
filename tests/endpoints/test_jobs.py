"""`GET /jobs/{queue}/{id}`: who sees a job, and what of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.engine import Registry
from dhanam_jobs.handlers.queues import declare_queues

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service, StartService

QUEUE = "categorize-transactions"


def queues_only() -> Registry:
    """The service's queues without a job, so that a test may enqueue any payload."""
    registry = Registry()
    declare_queues(registry)
    return registry


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ("root", 200),
        ("vera", 200),
        ("olivia", 200),
        ("mia", 200),
        ("otto", 403),
        ("vera+demo", 200),
        ("mia+demo", 403),
    ],
)
async def test_admins_owners_and_those_who_could_trigger_it_see_a_job(
    start_service: StartService, user: str, status: int
) -> None:
    """Whoever enqueued it, members of its space and administrators; nobody else."""
    service = await start_service(queues_only())
    job = await service.engine.queue(QUEUE).enqueue(QUEUE, {"spaceId": "space-1"}, owner="vera")
    answer = await service.ask("GET", f"/jobs/{QUEUE}/{job.id}", user)
    assert answer.status_code == status
    assert ("payload" in answer.json()) is (status == 200)


async def test_whoever_joined_a_job_sees_it(start_service: StartService) -> None:
    """A caller who was handed a job that existed already is one of its owners."""
    service = await start_service(queues_only())
    queue = service.engine.queue("sync-transactions")
    first = await queue.enqueue("any", {"n": 1}, unique="k", owner="olivia")
    path = f"/jobs/sync-transactions/{first.id}"
    assert (await service.ask("GET", path, "otto")).status_code == 403
    joined = await queue.enqueue("any", {"n": 1}, unique="k", owner="otto")
    assert (joined.id, joined.created) == (first.id, False)
    assert (await service.ask("GET", path, "otto")).status_code == 200
    assert (await service.ask("GET", path, "olivia")).status_code == 200


async def test_a_user_sees_the_jobs_about_themselves(start_service: StartService) -> None:
    """A sync that the schedule started for a user could have been triggered by them."""
    service = await start_service(queues_only())
    job = await service.engine.queue("sync-transactions").enqueue("any", {"userId": "otto"})
    assert (await service.ask("GET", f"/jobs/sync-transactions/{job.id}", "otto")).status_code == 200
    assert (await service.ask("GET", f"/jobs/sync-transactions/{job.id}", "olivia")).status_code == 403


async def test_secrets_in_a_payload_are_not_shown(start_service: StartService) -> None:
    """Not even to an administrator."""
    service = await start_service(queues_only())
    payload = {"connectionId": "c", "accessToken": "canary-1", "inner": [{"api_key": "canary-2"}]}
    job = await service.engine.queue("sync-transactions").enqueue("any", payload)
    answer = await service.ask("GET", f"/jobs/sync-transactions/{job.id}", "root")
    assert answer.json()["payload"] == {
        "connectionId": "c",
        "accessToken": "[REDACTED]",
        "inner": [{"api_key": "[REDACTED]"}],
    }
    assert "canary" not in answer.text


async def test_payloads_are_shown_as_they_are(start_service: StartService) -> None:
    """Empty, falsy and long ones included."""
    service = await start_service(queues_only())
    payloads: list[object] = [[], {}, 0, False, None, "", 12345678901234567, [1.2345]]
    for payload in payloads:
        job = await service.engine.queue("esg-updates").enqueue("any", payload)
        shown = (await service.ask("GET", f"/jobs/esg-updates/{job.id}", "root")).json()["payload"]
        assert shown == payload
        assert type(shown) is type(payload)


async def test_a_finished_job_shows_its_result(service: Service) -> None:
    """State, result and the moments are there, and the meta data isn't."""
    async with service.worker():
        await service.ask("POST", "/jobs/categorize/space-1", "olivia")
        job = await service.jobs.trigger_space_categorization("space-1", user_id="mia")
        await job.result(timeout=10)
    shown = (await service.ask("GET", f"/v1/jobs/{QUEUE}/{job.id}", "mia")).json()
    assert shown["state"] == "completed"
    assert (shown["result"]["categorized"], shown["result"]["total"]) == (0, 2)
    assert shown["payload"]["spaceId"] == "space-1"
    assert shown["createdAt"] <= shown["finishedAt"]
    assert shown["createdAt"].endswith("Z")
    assert shown["url"] == f"/v1/jobs/{QUEUE}/{job.id}"
    assert "owners" not in str(shown)


async def test_an_unknown_queue_or_job_is_404(service: Service) -> None:
    """Whatever stands in the address, the answer is 404 for a queue or job that isn't there."""
    ids = ["5-1-0", "5-1-s1", "nothing", "%00", "%F0%9F%92%B8", "x" * 3000, "9-9-", "*", "..%5C..", "%20"]
    paths = [f"/jobs/{QUEUE}/{job_id}" for job_id in ids]
    for path in [*paths, "/jobs/no-such-queue/5-1-0", "/jobs/categorize/space-1", "/jobs/%7B%7D/5-1-0"]:
        answer = await service.ask("GET", path, "root")
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["code"] == "NOT_FOUND"
