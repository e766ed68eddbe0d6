"""`Idempotency-Key`: a request that is sent again gets its job, and nothing is enqueued twice."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from dhanam_jobs.handlers.store import idempotency_keys
from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.http.endpoint import Guard
from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    import httpx2

    from tests.endpoints.conftest import Service, StartService

QUEUE = "categorize-transactions"
PATH = "/jobs/categorize/space-1"
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


async def post(service: Service, user: str = "olivia", key: str = KEY, path: str = PATH) -> httpx2.Response:
    """Trigger a categorisation under a key."""
    return await service.ask("POST", path, user, headers={"Idempotency-Key": key})


async def added(service: Service) -> int:
    """How many categorisations were ever enqueued."""
    return (await service.engine.queue(QUEUE).counts()).added


async def age(service: Service, by: dt.timedelta) -> None:
    """Make all keys older."""
    async with service.store._connections.writing() as connection:
        table = idempotency_keys.idempotency_keys
        await connection.execute(sa.update(table).values(begun_at=utc_now() - by))


async def test_a_request_sent_again_gets_the_job_that_has_ended_meanwhile(service: Service) -> None:
    """Without a key the second would be a job of its own."""
    async with service.worker():
        first = await post(service)
        again = await post(service, path="/v1" + PATH)
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.text == again.text
        assert first.json()["categorized"] == 3
        assert await added(service) == 1
        assert (await service.ask("POST", PATH, "olivia")).json()["categorized"] == 0
    assert await added(service) == 2


async def test_the_answer_goes_along_with_the_job(start_service: StartService) -> None:
    """202 while it waits, then its result."""
    service = await start_service(wait_s=0.05)
    first = await post(service)
    again = await post(service)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    async with service.worker():
        await service.jobs.job(QUEUE, first.json()["id"]).result(timeout=20)
    after = await post(service)
    assert (after.status_code, after.json()["categorized"]) == (200, 3)
    assert await added(service) == 1


async def test_an_answer_outlives_its_job(service: Service) -> None:
    """A job's record is evicted or removed before the key is forgotten; then the last answer is given again."""
    async with service.worker():
        first = await post(service)
    await service.jobs.clear_queue(QUEUE)
    again = await post(service)
    assert (again.status_code, again.text) == (200, first.text)
    assert await added(service) == 1


async def test_keys_outlive_the_process(service: Service, start_service: StartService) -> None:
    """Another process on the same store knows them."""
    async with service.worker():
        first = await post(service)
    other = await start_service()
    again = await post(other)
    assert (again.status_code, again.text) == (200, first.text)
    assert await added(service) == 1


async def test_of_ten_requests_at_once_one_enqueues(service: Service, start_service: StartService) -> None:
    """In two processes; each gets the one job's answer."""
    other = await start_service()
    async with service.worker():
        answers = await asyncio.gather(*(post(each) for each in (service, other) * 5))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await added(service) == 1


async def test_a_key_stands_for_one_request(service: Service) -> None:
    """Another path under it is refused, and nothing is enqueued."""
    await service.store.spaces.upsert_members([{"user_id": "olivia", "space_id": "space-2", "role": "owner"}])
    async with service.worker():
        assert (await post(service)).status_code == 200
    other = await post(service, path="/jobs/categorize/space-2")
    assert other.status_code == 422
    assert "another request" in other.json()["error"]["message"]
    assert await added(service) == 1


async def test_a_key_is_its_senders_own(service: Service) -> None:
    """Another's request under the same key is another request."""
    async with service.worker():
        assert (await post(service)).json()["categorized"] == 3
        assert (await post(service, "mia")).json()["categorized"] == 0
    assert await added(service) == 2


@pytest.mark.parametrize("key", ["", '""', "a b", "ñ".encode("latin-1"), "x" * 256])
async def test_a_key_that_can_not_be_is_400(service: Service, key: str | bytes) -> None:
    """And nothing is enqueued."""
    answer = await service.ask("POST", PATH, "olivia", headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert "visible ASCII" in answer.json()["error"]["message"]
    assert await added(service) == 0


async def test_two_keys_are_400(service: Service) -> None:
    """Which of them counts must not be guessed."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Authorization", f"Bearer {service.token('mia')}")]
    assert (await service.client.post(PATH, headers=headers)).status_code == 400


async def test_a_key_in_quotes_is_the_key(service: Service) -> None:
    """As the draft writes it, and as most clients do."""
    async with service.worker():
        await post(service, key=f'"{KEY}"')
        await post(service)
    assert await added(service) == 1


async def test_a_refused_request_leaves_no_key(service: Service) -> None:
    """While draining nothing is enqueued; the same request is served by the process that comes after."""
    service.engine.stop_accepting()
    assert (await post(service)).status_code == 503
    async with service.store._connections.reading() as connection:
        assert (await connection.execute(sa.select(idempotency_keys.idempotency_keys))).all() == []


async def test_after_24_hours_a_key_is_new_and_the_old_ones_are_gone(service: Service) -> None:
    """They are dropped by whoever comes next."""
    async with service.worker():
        await post(service)
        await age(service, dt.timedelta(hours=24, seconds=1))
        await post(service, "mia", key="another")
        async with service.store._connections.reading() as connection:
            table = idempotency_keys.idempotency_keys
            assert (await connection.execute(sa.select(table.c.key))).scalars().all() == ["another"]
        assert (await post(service)).status_code == 200
    assert await added(service) == 3


async def test_every_endpoint_that_takes_a_key_refuses_one_that_can_not_be(service: Service) -> None:
    """Also those that are added later: the way in does it, not the endpoint."""
    users = {Guard.CALLER: "olivia", Guard.MEMBER: "olivia", Guard.ADMIN: "root"}
    taking = [each for each in ENDPOINTS if each.idempotent]
    assert taking
    for each in taking:
        path = each.path.format_map(dict.fromkeys(each.parameters, "x") | {"spaceId": "space-1", "queue": QUEUE})
        answer = await service.ask(each.method, path, users[each.guard], headers={"Idempotency-Key": "a b"})
        assert answer.status_code == 400, each
        assert answer.json()["error"]["message"].startswith("Idempotency-Key"), each
