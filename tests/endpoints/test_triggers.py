"""What each trigger answers, from real work: its own body and message, for whom, and how urgent its job is."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Discard, Supervisor
from dhanam_jobs.handlers.mail.address import read_address
from dhanam_jobs.handlers.mail.delivery import Outbox
from dhanam_jobs.handlers.mail.mailer import Mailer
from dhanam_jobs.handlers.providers import Providers
from dhanam_jobs.handlers.resources import Resources
from dhanam_jobs.handlers.sandbox.demo_world import demo_world
from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox
from dhanam_jobs.handlers.sandbox.world import BitsoClient, World
from dhanam_jobs.handlers.token_cipher import TokenCipher

if TYPE_CHECKING:
    from tests.conftest import WaitUntil
    from tests.endpoints.conftest import Service, StartService

CIPHER = TokenCipher("c" * 32)
PESOS = [{"currency": "mxn", "total": "5", "available": "5", "locked": "0"}]
ALL = [
    ("/jobs/categorize/space-1", "olivia", None, "categorize-transactions", "categorize-transactions", 2),
    ("/jobs/categorize", "olivia", None, "categorize-transactions", "categorize-all", 2),
    ("/jobs/sync-portfolio", "olivia", None, "sync-transactions", "sync-portfolio", 1),
    ("/jobs/sync-portfolio/all", "root", None, "sync-transactions", "sync-portfolio", 1),
    ("/jobs/sync", "olivia", {"provider": "plaid"}, "sync-transactions", "sync-connections", 1),
    ("/jobs/esg-update", "olivia", {"symbols": ["BTC"]}, "esg-updates", "esg-update", 6),
    ("/jobs/esg-update", "olivia", {"symbols": ["BTC"], "forceRefresh": True}, "esg-updates", "esg-update", 0),
    (
        "/jobs/valuation-snapshot/space-1",
        "olivia",
        {"date": "2026-05-20"},
        "valuation-snapshots",
        "valuation-snapshot",
        3,
    ),
]
"""Path, user, body, and the queue, name and priority of the job."""


class _Closed:
    """Resources with which no job gets far."""

    @property
    def store(self) -> Any:
        raise Discard("the books are closed")

    providers = store


@pytest.fixture
def world() -> World:
    """Providers that know nobody yet."""
    return World()


@contextlib.asynccontextmanager
async def working(service: Service, world: World, tmp_path: Path) -> AsyncIterator[None]:
    """Workers of all queues, with the sandbox where the providers would be, for the length of the block."""
    store, engine = service.store, service.engine
    async with (
        running_sandbox(world) as url,
        Providers.open(store, cipher=CIPHER, live=endpoints_at(url, world), allowances=None, timeout=5) as providers,
    ):
        mailer = Mailer(Outbox(tmp_path / "outbox"), read_address("noreply@dhanam.test"))
        supervisor = Supervisor(engine, resources=Resources(store, mailer, providers, engine))
        await supervisor.start()
        yield
        await supervisor.stop(0)


async def connect(
    service: Service, world: World, user: str, *names: str, provider: str = "bitso", space: str = "space-1"
) -> None:
    """Connections of a user, each to a client of the exchange."""
    for name in names:
        world.bitso[f"key-{name}"] = BitsoClient("the-api-secret", balances=PESOS, trades=[])
    rows = [
        {
            "id": name,
            "user_id": user,
            "provider": provider,
            "provider_user_id": name,
            "encrypted_token": CIPHER.encrypt(f"key-{name}"),
            "metadata": {"encryptedApiSecret": CIPHER.encrypt("the-api-secret"), "spaceId": space},
        }
        for name in names
    ]
    await service.store.provider_connections.upsert(rows)


async def two_spaces(service: Service) -> None:
    """A second space in which `mia` is a viewer, and a transaction there that its rule knows."""
    store = service.store
    await store.spaces.upsert([{"id": "space-2", "name": "Elsewhere", "is_demo": True}])
    await store.spaces.upsert_members([{"user_id": "mia", "space_id": "space-2", "role": "viewer"}])
    await store.accounts.upsert([{"id": "far", "space_id": "space-2", "name": "Far", "type": "checking"}])
    await store.budgets.upsert([{"id": "b2", "space_id": "space-2", "name": "Year"}])
    await store.budgets.upsert_categories([{"id": "c2", "budget_id": "b2", "name": "Fares"}])
    condition = {"field": "description", "operator": "contains", "value": "metro"}
    await store.rules.upsert(
        [{"id": "r2", "space_id": "space-2", "name": "Fares", "conditions": [condition], "category_id": "c2"}]
    )
    row = {"id": "t2", "account_id": "far", "description": "METRO", "amount": Decimal(-5), "currency": "MXN"}
    await store.transactions.upsert([{**row, "date": dt.date(2026, 3, 1)}])


@pytest.mark.parametrize(("path", "user", "body", "queue", "name", "priority"), ALL)
async def test_each_enqueues_its_job_with_a_persons_urgency_and_its_caller_as_owner(
    start_service: StartService, path: str, user: str, body: Any, queue: str, name: str, priority: int
) -> None:
    """Under the prefix too, where a second request joins the job of the first."""
    service = await start_service(wait_s=0.01)
    answer = await service.ask("POST", path, user, json=body)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert list(told) == ["id", "queue", "state", "url"]
    assert (told["queue"], told["state"], told["url"]) == (queue, "waiting", f"/jobs/{queue}/{told['id']}")
    assert answer.headers["Location"] == told["url"]
    info = await service.jobs.get_job(queue, told["id"])
    assert (info.name, info.priority, info.owners) == (name, priority, [user])
    again = await service.ask("POST", f"/v1{path}", user, json=body)
    assert again.json()["id"] == told["id"]
    assert again.json()["url"] == f"/v1{told['url']}"
    assert (await service.ask("GET", told["url"], user)).status_code == 200


@pytest.mark.parametrize(("path", "user", "body", "queue", "name", "priority"), ALL)
async def test_each_answers_at_once_for_a_paused_queue_and_refuses_while_draining(
    service: Service, path: str, user: str, body: Any, queue: str, name: str, priority: int
) -> None:
    """202 and the job is kept; 503 and none is."""
    await service.jobs.pause_queue(queue)
    assert (await service.ask("POST", path, user, json=body)).status_code == 202
    assert (await service.jobs.get_queue_stats(queue)).waiting == 1
    service.engine.stop_accepting()
    refused = await service.ask("POST", path, user, json=body)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert (await service.jobs.get_queue_stats(queue)).waiting == 1


@pytest.mark.parametrize(
    ("path", "user", "body", "queue", "name", "priority"), [row for row in ALL if row[4] != "categorize-all"]
)
async def test_each_tells_of_a_job_that_failed(
    service: Service, path: str, user: str, body: Any, queue: str, name: str, priority: int
) -> None:
    """502 with the job's id, queue and address, and what the handler said to people."""
    async with service.worker(queue, _Closed()):
        answer = await service.ask("POST", path, user, json=body)
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert (error["code"], error["details"]["queue"]) == ("BAD_GATEWAY", queue)
    assert error["details"]["url"] == f"/jobs/{queue}/{error['details']['id']}"
    assert error["details"]["reason"] == "the books are closed"
    assert (await service.ask("GET", error["details"]["url"], user)).json()["state"] == "failed"


async def test_a_callers_categorisation_covers_the_spaces_where_they_may_work(
    service: Service, world: World, tmp_path: Path
) -> None:
    """Spaces in which the caller is a viewer are left out; who may work nowhere is told of zeros."""
    await two_spaces(service)
    async with working(service, world, tmp_path):
        answer = await service.ask("POST", "/jobs/categorize", "mia")
        assert answer.status_code == 200
        assert answer.text == (
            '{"message":"Categorized 3 out of 5 transactions across 1 spaces","categorized":3,"total":5,"spaces":1}'
        )
        nowhere = await service.ask("POST", "/jobs/categorize", "vera")
        assert nowhere.json() == {
            "message": "Categorized 0 out of 0 transactions across 0 spaces",
            "categorized": 0,
            "total": 0,
            "spaces": 0,
        }


async def test_an_administrators_categorisation_covers_all_spaces(
    service: Service, world: World, tmp_path: Path
) -> None:
    """Whoever they belong to, the demo's too."""
    await two_spaces(service)
    async with working(service, world, tmp_path):
        answer = await service.ask("POST", "/jobs/categorize", "root")
    assert answer.json() == {
        "message": "Categorized 4 out of 6 transactions across 2 spaces",
        "categorized": 4,
        "total": 6,
        "spaces": 2,
    }


async def test_spaces_that_fail_are_counted_in_the_answer(
    service: Service, world: World, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The others' sums stand there beside them; nobody is told that all is well."""
    await two_spaces(service)
    await service.store.spaces.upsert_members([{"user_id": "mia", "space_id": "space-2", "role": "member"}])
    asked = asyncio.create_task(service.ask("POST", "/jobs/categorize", "mia"))

    async def enqueued() -> bool:
        return (await service.jobs.get_queue_stats("categorize-transactions")).waiting == 1

    await wait_until(enqueued, "the job waits")
    await service.store.spaces.erase(["space-2"])
    async with working(service, world, tmp_path):
        answer = await asked
    assert answer.json() == {
        "message": "Categorized 3 out of 5 transactions across 2 spaces",
        "categorized": 3,
        "total": 5,
        "spaces": 2,
        "errors": 1,
    }


async def test_a_portfolio_is_the_callers_exchange_accounts(service: Service, world: World, tmp_path: Path) -> None:
    """One that fails is counted; a user without any is told of zeros."""
    await connect(service, world, "olivia", "one", "two")
    await connect(service, world, "otto", "three")
    async with working(service, world, tmp_path):
        well = await service.ask("POST", "/jobs/sync-portfolio", "olivia")
        assert well.text == '{"message":"Portfolio sync completed with 0 errors","syncedUsers":1,"errors":0}'
        assert not any(each.who == "key-three" for each in world.asked)
        world.bitso["key-two"].secret = "another"
        badly = await service.ask("POST", "/jobs/sync-portfolio", "olivia")
        assert badly.json() == {"message": "Portfolio sync completed with 1 errors", "syncedUsers": 0, "errors": 1}
        without = await service.ask("POST", "/jobs/sync-portfolio", "vera")
        assert without.json() == {"message": "Portfolio sync completed with 0 errors", "syncedUsers": 0, "errors": 0}


async def test_everybodys_portfolio_is_an_administrators(service: Service, world: World, tmp_path: Path) -> None:
    """The message counts the users; an owner of a space is no administrator."""
    for user in ("olivia", "adam", "mia"):
        await connect(service, world, user, f"of-{user}")
    await connect(service, world, "otto", "of-otto", space="space-2")
    assert (await service.ask("POST", "/jobs/sync-portfolio/all", "olivia")).status_code == 403
    async with working(service, world, tmp_path):
        answer = await service.ask("POST", "/jobs/sync-portfolio/all", "root")
    assert answer.text == (
        '{"message":"Portfolio sync completed for 4 users with 0 errors","syncedUsers":4,"errors":0}'
    )


async def test_a_sync_covers_the_callers_connections_to_one_provider_or_to_all(
    service: Service, world: World, tmp_path: Path
) -> None:
    """Somebody else's are left alone; one that can't be synced is counted."""
    await connect(service, world, "olivia", "one", "two")
    await connect(service, world, "olivia", "purse", provider="manual")
    await connect(service, world, "otto", "three")
    async with working(service, world, tmp_path):
        some = await service.ask("POST", "/jobs/sync", "olivia", json={"provider": "bitso", "fullSync": True})
        assert some.json() == {
            "message": "Sync completed for 2 connections with 0 errors",
            "syncedConnections": 2,
            "errors": 0,
            "transactions": 0,
        }
        every = await service.ask("POST", "/jobs/sync", "olivia")
        assert every.json()["message"] == "Sync completed for 2 connections with 1 errors"
    assert not any(each.who == "key-three" for each in world.asked)


async def test_scores_are_refreshed_for_the_symbols_that_are_named(
    service: Service, world: World, tmp_path: Path
) -> None:
    """Told within the hour they are not asked for again, unless that is forced."""
    world.esg = demo_world().esg
    async with working(service, world, tmp_path):
        first = (await service.ask("POST", "/jobs/esg-update", "vera", json={"symbols": ["btc", "BTC"]})).json()
        again = (await service.ask("POST", "/jobs/esg-update", "vera", json={"symbols": ["BTC"]})).json()
        forced = await service.ask("POST", "/jobs/esg-update", "vera", json={"symbols": ["BTC"], "forceRefresh": True})
    assert first["message"] == "Updated the scores of 1 out of 1 symbols"
    assert (first["symbolsUpdated"], first["requested"], first["fromCache"]) == (1, 1, 0)
    assert (again["fromCache"], forced.json()["fromCache"], forced.json()["forceRefresh"]) == (1, 0, True)


async def test_a_space_is_valued_on_a_day(service: Service, world: World, tmp_path: Path) -> None:
    """Amounts keep all their decimals; a day that can't be valued is refused in the handler's own words."""
    much = Decimal("12345678901234.5678")
    row = {"id": "safe", "space_id": "space-1", "name": "Safe", "type": "savings", "balance": much}
    await service.store.accounts.upsert([row])
    async with working(service, world, tmp_path):
        answer = await service.ask("POST", "/jobs/valuation-snapshot/space-1", "mia")
        assert answer.status_code == 200, answer.text
        assert '"netWorth":12345678901234.5678' in answer.text
        told = answer.json()
        assert told["message"] == f"Valued 2 out of 2 accounts on {told['date']}"
        assert (told["currency"], told["snapshots"], told["failures"]) == ("MXN", 2, [])
        again = (
            await service.ask("POST", "/jobs/valuation-snapshot/space-1", "mia", json={"date": told["date"]})
        ).json()
        assert (again["snapshots"], again["updated"]) == (0, 2)
        future = await service.ask("POST", "/jobs/valuation-snapshot/space-1", "mia", json={"date": "2999-01-01"})
    assert future.status_code == 422
    assert "date: found 2999-01-01, wanted today" in future.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/jobs/sync", {"provider": "unheard"}, "$.provider"),
        ("/jobs/sync", {"userId": "otto"}, "userId"),
        ("/jobs/sync", {"fullSync": "yes"}, "$.fullSync"),
        ("/jobs/esg-update", {}, "symbols"),
        ("/jobs/esg-update", {"symbols": ["a b"]}, "$.symbols[0]"),
        ("/jobs/esg-update", {"symbols": ["X"] * 1001}, "$.symbols"),
        ("/jobs/valuation-snapshot/space-1", {"date": "20-05-2026"}, "$.date"),
        ("/jobs/valuation-snapshot/space-1", {"date": None}, "$.date"),
        ("/jobs/categorize", {"spaceIds": ["space-2"]}, "spaceIds"),
    ],
)
async def test_a_body_that_does_not_fit_is_named_and_nothing_is_enqueued(
    service: Service, path: str, body: Any, text: str
) -> None:
    """Whose work it is comes from the token alone."""
    answer = await service.ask("POST", path, "olivia", json=body)
    assert answer.status_code == 422
    assert text in answer.json()["error"]["message"]
    assert sum(row.waiting for row in await service.jobs.get_all_queue_stats()) == 0


async def test_sent_again_under_its_key_a_request_gets_the_same_job(start_service: StartService) -> None:
    """Also where that has ended since: it hears how, and nothing is enqueued."""
    service = await start_service(wait_s=0.01)
    headers = {"Idempotency-Key": "the-same"}

    async def sent() -> Any:
        body = {"symbols": ["BTC"]}
        return (await service.ask("POST", "/jobs/esg-update", "olivia", json=body, headers=headers)).json()

    first = (await sent())["id"]
    await service.engine.queue("esg-updates").cancel(first)
    assert (await sent())["error"]["details"]["id"] == first
