"""The syncs as jobs: who may, what is tried again and what is not, and many of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dhanam_jobs.engine import Engine, Job, JobFailed, JobState, Queue, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.mail.address import read_address
from dhanam_jobs.handlers.mail.delivery import Outbox
from dhanam_jobs.handlers.mail.mailer import Mailer
from dhanam_jobs.handlers.resources import Resources
from dhanam_jobs.handlers.sandbox.plaid import problem
from dhanam_jobs.handlers.sandbox.world import Fault
from dhanam_jobs.handlers.sync_portfolio import SyncPortfolio
from dhanam_jobs.handlers.sync_transactions import Provider, SyncTransactions
from dhanam_jobs.handlers.sync_wallets import SyncWallets

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import WaitUntil
    from tests.handlers.syncs.conftest import Bank

MXN = [{"currency": "mxn", "total": "5", "available": "5", "locked": "0"}]


class Works:
    """The queue of the syncs with a worker on it, and the queue of the letters that they write."""

    def __init__(self, engine: Engine, resources: Resources, outbox: Path) -> None:
        self.resources = resources
        self.outbox = outbox
        self.queue: Queue = engine.queue("sync-transactions")
        self.letters: Queue = engine.queue("email-notifications")

    async def sync(self, connection_id: str, provider: Provider = "bitso", user_id: str = "ana", **more: Any) -> Job:
        """Enqueue a sync."""
        return await self.queue.enqueue(SyncTransactions(provider, user_id, connection_id, **more))


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database will do: the jobs' rows are proved on both elsewhere."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def works(bank: Bank, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Works]:
    """A worker with everything that the syncs need."""
    mailer = Mailer(Outbox(tmp_path / "outbox"), read_address("noreply@dhanam.test"))
    async with _engine(redis_url) as engine:
        resources = Resources(store=bank.store, mailer=mailer, providers=bank.providers, engine=engine)
        works = Works(engine, resources, tmp_path / "outbox")
        async with Worker(works.queue, resources=resources, concurrency=2):
            yield works


@asynccontextmanager
async def _engine(url: str) -> AsyncIterator[Engine]:
    async with Engine.connect(url, registry=build_registry()) as engine:
        yield engine


async def test_a_sync_runs_as_a_job_with_numbers_in_its_result(bank: Bank, works: Works) -> None:
    """The result's keys are the same for every provider."""
    await bank.bitso(balances=MXN)

    result = await (await works.sync("exchange")).result(timeout=20)

    duration = result.pop("durationMs")
    assert isinstance(duration, int)
    assert result == {
        "provider": "bitso",
        "transactions": 0,
        "accounts": 1,
        "cursor": None,
        "removed": 0,
        "skipped": 0,
        "missingPrices": [],
    }


@pytest.mark.parametrize(
    ("provider", "user_id", "connection_id", "reason"),
    [
        ("bitso", "eva", "exchange", "I001"),
        ("bitso", "ana", "unknown", "I001"),
        ("plaid", "ana", "exchange", "found provider 'bitso', wanted 'plaid'"),
        ("mx", "ana", "other", "P001 mx: there are syncs of belvo, bitso, plaid only"),
    ],
)
async def test_what_no_retry_can_mend_fails_at_once(
    bank: Bank, works: Works, provider: Provider, user_id: str, connection_id: str, reason: str
) -> None:
    """Another user's connection, an unknown one, the wrong provider, an unsupported one: one attempt each."""
    await bank.bitso(balances=MXN)
    await bank.connect("other", "mx", "token")
    job = await works.sync(connection_id, provider, user_id)

    with pytest.raises(JobFailed, match=reason):
        await job.result(timeout=20)

    info = await job.info()
    assert info is not None
    assert info.attempt == 1
    assert bank.world.asked == []


async def test_lost_access_fails_at_once_and_the_owner_gets_one_letter(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """Permanent, on the connection, and told by mail once however often it fails."""
    await bank.plaid(accounts=[])
    body = problem("ITEM_LOGIN_REQUIRED")
    bank.world.faults.append(Fault(path="/plaid/accounts/get", times=2, status=400, body=body))

    for _ in range(2):
        with pytest.raises(JobFailed, match="P002 plaid"):
            await (await works.sync("bank", "plaid")).result(timeout=20)

    async with Worker(works.letters, resources=works.resources):
        await wait_until(lambda: _completed(works.letters, 2), "both notices are worked off")
    assert len(list(works.outbox.rglob("*.eml"))) == 1
    connection = await bank.store.provider_connections.get("bank")
    assert connection is not None
    assert connection.status == "error"


async def test_an_outage_is_tried_again_later_and_a_limit_when_it_ends(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """By the queue, not within the attempt: one request each; the waits are the policy's and Retry-After's, which costs
    no attempt."""
    await bank.bitso("down", balances=MXN)
    await bank.bitso("busy", balances=MXN)
    bank.world.faults.append(Fault(path="/bitso/v3/balance/", status=503))
    down = await works.sync("down")
    await wait_until(lambda: _state(down, JobState.DELAYED), "the first is delayed")
    bank.world.faults.append(Fault(path="/bitso/v3/balance/", status=420, headers={"Retry-After": "77"}))
    before = time.time() * 1000
    busy = await works.sync("busy")
    await wait_until(lambda: _state(busy, JobState.DELAYED), "the second is delayed")

    failed, limited = await down.info(), await busy.info()
    assert failed is not None
    assert failed.due_ms is not None
    assert limited is not None
    assert limited.due_ms is not None
    assert round((failed.due_ms - failed.errors[-1].at_ms) / 1000) == 5
    assert 77_000 <= limited.due_ms - before < 137_000
    assert (limited.snoozes, limited.errors) == (1, [])
    assert len(bank.world.asked) == 2


async def test_a_limit_for_all_of_us_rests_the_provider_and_nobody_else(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """No attempt is counted, nothing more is asked, and when it ends all go on."""
    for name in ("one", "two"):
        await bank.bitso(name, balances=MXN)
    await bank.plaid(accounts=[])
    bank.world.faults.append(Fault(path="/bitso/v3/ticker", status=429, headers={"Retry-After": "600"}))
    one = await works.sync("one")
    await wait_until(lambda: _rests(works, "bitso"), "Bitso rests")
    asked = len(bank.world.asked_of("/bitso"))

    two = await works.sync("two")
    other = await (await works.sync("bank", "plaid")).result(timeout=20)
    waiting = await two.info()

    assert other["provider"] == "plaid"
    assert len(bank.world.asked_of("/bitso")) == asked
    assert waiting is not None
    assert waiting.state is JobState.WAITING
    await bank.store.provider_health.change(
        "bitso", "MX", lambda row: msgspec.structs.replace(row, rate_limited=False, rate_limit_reset_at=None)
    )
    await works.queue.limits.free_key("bitso")
    for job in (one, two):
        assert (await job.result(timeout=20))["accounts"] == 1
        info = await job.info()
        assert info is not None
        assert (info.attempt, info.errors) == (1, [])


async def test_an_open_circuit_costs_no_attempt_and_tells_nobody(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """A short outage must not fail, with a letter each, all the syncs that come while it lasts."""
    await bank.bitso("one", balances=MXN)
    opened = bank.providers.now()
    await bank.store.provider_health.change(
        "bitso", "MX", lambda row: msgspec.structs.replace(row, circuit_breaker_open=True, opened_at=opened)
    )

    job = await works.sync("one")
    await wait_until(lambda: _rests(works, "bitso"), "Bitso rests")

    state = await works.queue.limits.of_key("bitso")
    info = await job.info()
    assert state.free_in is not None
    assert 30 < state.free_in <= 60
    assert info is not None
    assert (info.state, info.errors, bank.world.asked) == (JobState.WAITING, [], [])
    assert (await works.letters.counts()).waiting == 0


async def test_a_limit_that_is_known_costs_neither_a_request_nor_an_attempt(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """The job snoozes until it ends."""
    from datetime import timedelta

    await bank.bitso(balances=MXN)
    await bank.store.provider_connections.set_rate_limited("exchange", bank.providers.now() + timedelta(hours=1))
    job = await works.sync("exchange")
    await wait_until(lambda: _state(job, JobState.DELAYED), "the job waits")

    info = await job.info()
    assert info is not None
    assert (info.snoozes, info.errors, bank.world.asked) == (1, [], [])


async def test_five_failures_open_the_circuit_for_the_provider_and_nobody_else(bank: Bank, works: Works) -> None:
    """The sixth sync asks nothing; one user's 401 doesn't count; another provider goes on."""
    for number in range(8):
        await bank.bitso(f"x{number}", balances=MXN)
    bank.world.bitso["key-x0"].secret = "another"
    bank.world.faults.append(Fault(path="/bitso/v3/balance/", after=3, times=5, status=503))
    for _ in range(3):
        await asyncio.wait([asyncio.ensure_future(bank.sync("x0"))])
    refused = await asyncio.gather(*(bank.sync(f"x{number}") for number in range(1, 6)), return_exceptions=True)
    asked = len(bank.world.asked)
    await bank.plaid(accounts=[])

    sixth = await asyncio.gather(bank.sync("x6"), return_exceptions=True)
    other = await (await works.sync("bank", "plaid")).result(timeout=20)

    health = await bank.store.provider_health.get("bitso", "MX")
    assert [getattr(each, "code", None) for each in (*refused, *sixth)] == ["P001"] * 5 + ["P008"]
    assert len(bank.world.asked_of("/bitso")) == asked
    assert other["provider"] == "plaid"
    assert health is not None
    assert (health.circuit_breaker_open, health.successful_calls, health.failed_calls) == (True, 3, 5)
    connection = await bank.store.provider_connections.get("x6")
    assert connection is not None
    assert connection.status == "active"


async def test_one_connection_has_one_sync_at_a_time_and_several_run_side_by_side(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """The same request joins the running job; a full one waits for it; another connection doesn't."""
    await bank.bitso("one", balances=MXN)
    await bank.bitso("two", balances=MXN)
    bank.world.faults.append(
        Fault(path="/bitso/v3/balance/", hang=1, status=200, body={"success": True, "payload": {"balances": MXN}})
    )
    first = await works.sync("one")
    await wait_until(lambda: bank.world.asked, "the first asks")

    same, full, other = await works.sync("one"), await works.sync("one", full_sync=True), await works.sync("two")
    await other.result(timeout=20)
    states = [await _state_of(job) for job in (first, full)]

    assert same.id == first.id
    assert states == [JobState.ACTIVE, JobState.BLOCKED]
    assert (await full.result(timeout=20))["accounts"] == 1


async def test_a_portfolio_sums_its_connections_and_one_that_fails_leaves_the_rest(bank: Bank, works: Works) -> None:
    """Users whose every connection was synced, and connections that failed; the demo's only when its user asks."""
    await bank.bitso("one", balances=MXN)
    await bank.bitso("two", balances=MXN)
    await bank.bitso("three", "eva", balances=MXN)
    await bank.bitso("demo", "eva", balances=MXN)
    await bank.store.provider_connections.set_metadata("demo", {"demo": True})
    bank.world.bitso["key-two"].secret = "another"

    everybody = await (await works.queue.enqueue(SyncPortfolio())).result(timeout=30)
    evas = await (await works.queue.enqueue(SyncPortfolio("eva"))).result(timeout=30)
    nobody = await (await works.queue.enqueue(SyncPortfolio("nobody"))).result(timeout=30)

    assert everybody == {"syncedUsers": 1, "errors": 1}
    assert evas == {"syncedUsers": 0, "errors": 1}
    assert nobody == {"syncedUsers": 0, "errors": 0}
    assert not any(each.who == "key-demo" for each in bank.world.asked)


async def test_many_parents_at_once_leave_slots_for_their_children(bank: Bank, works: Works) -> None:
    """Two slots, five parents: none waits in a slot for a child that finds none."""
    for number in range(5):
        user = f"u{number}"
        await bank.store.users.upsert([{"id": user, "email": f"{user}@example.test", "name": user}])
        await bank.store.spaces.upsert([{"id": f"s{number}", "name": "s"}])
        await bank.store.spaces.upsert_members([{"user_id": user, "space_id": f"s{number}", "role": "owner"}])
        await bank.bitso(f"c{number}", user, balances=MXN)

    parents = [await works.queue.enqueue(SyncPortfolio(f"u{number}")) for number in range(5)]

    assert [await parent.result(timeout=60) for parent in parents] == [{"syncedUsers": 1, "errors": 0}] * 5


async def test_wallets_of_all_are_children_by_user(bank: Bank, works: Works) -> None:
    """Each wallet once; an empty fleet of them is no error."""
    nothing = await (await works.queue.enqueue(SyncWallets())).result(timeout=30)
    for account_id, space in (("w1", "home"), ("w2", "other")):
        address = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
        metadata = {"readOnly": True, "cryptoCurrency": "btc", "address": address}
        wallet = {"id": account_id, "space_id": space, "name": "w", "type": "crypto", "metadata": metadata}
        await bank.store.accounts.upsert([wallet])
        bank.world.bitcoin[address] = []

    everybody = await (await works.queue.enqueue(SyncWallets())).result(timeout=30)

    assert (nothing["synced"], nothing["total"]) == (0, 0)
    assert (everybody["synced"], everybody["total"], everybody["errors"]) == (2, 2, 0)
    assert len(bank.world.asked_of("/bitcoin/address/1BoatSLRHtKNngkdXEeobR76b53LETtpyT/txs")) == 2


async def test_wallets_that_need_a_person_are_told_once_to_the_spaces_members(
    bank: Bank, works: Works, wait_until: WaitUntil
) -> None:
    """A coin that nobody here knows, however often it is met; a node's outage is tried again first."""
    for account_id, coin in (("odd", "doge"), ("cold", "btc")):
        metadata = {"readOnly": True, "cryptoCurrency": coin, "address": "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"}
        wallet = {"id": account_id, "space_id": "home", "name": account_id.title(), "type": "crypto"}
        await bank.store.accounts.upsert([{**wallet, "metadata": metadata}])
    bank.world.bitcoin["1BoatSLRHtKNngkdXEeobR76b53LETtpyT"] = []

    for _ in range(2):
        result = await (await works.queue.enqueue(SyncWallets("ana"))).result(timeout=20)
        assert (result["synced"], result["errors"]) == (1, 1)
    bank.world.faults.append(Fault(path="/bitcoin", status=503))
    outage = await works.queue.enqueue(SyncWallets("ana"))
    await wait_until(lambda: _state(outage, JobState.DELAYED), "the outage is tried again later")

    async with Worker(works.letters, resources=works.resources):
        await wait_until(lambda: _completed(works.letters, 1), "the notice is worked off")
    (letter,) = [path.read_text() for path in works.outbox.rglob("*.eml")]
    assert "Odd" in letter
    assert "Cold" not in letter


async def _rests(works: Works, key: str) -> bool:
    return bool((await works.queue.limits.of_key(key)).free_in)


async def _state(job: Job, state: JobState) -> bool:
    return await _state_of(job) is state


async def _state_of(job: Job) -> JobState | None:
    info = await job.info()
    return None if info is None else info.state


async def _completed(queue: Queue, number: int) -> bool:
    return (await queue.counts()).completed == number
