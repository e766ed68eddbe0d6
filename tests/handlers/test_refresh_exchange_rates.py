"""Exchange rates: asked for, kept exactly, the missing ones named, the demo's apart."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Engine, JobFailed, RetryPolicy, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.providers import Endpoints, Providers
from dhanam_jobs.handlers.refresh_exchange_rates import JOB_NAME, QUEUE_NAME
from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox
from dhanam_jobs.handlers.sandbox.world import World

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Store

NOW = dt.datetime(2026, 9, 20, 1, 30, tzinfo=dt.UTC)
TOLD = {"base": "USD", "date": "2026-09-18", "rates": {"MXN": 18.123456785, "EUR": "0.85", "CAD": 0}}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database will do: the queries are proved on both elsewhere."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@dataclass
class _Resources:
    store: Store
    providers: Providers


@dataclass
class Desk:
    """The queue with a worker; `world` is the real provider's, `demo` the sandbox's."""

    engine: Engine
    resources: _Resources
    world: World
    demo: World

    async def run(self, **payload: Any) -> Any:
        queue = self.engine.queue(QUEUE_NAME)
        return await (await queue.enqueue(JOB_NAME, payload, retry=RetryPolicy(attempts=1))).result(timeout=20)

    async def rates(self, *, demo: bool = False) -> dict[str, Decimal]:
        """All rates that are kept, by the other currency."""
        found = await self.resources.store.exchange_rates.between(dt.date.min, dt.date.max, demo=demo)
        return {rate.to_currency: rate.rate for rate in found}


@pytest.fixture
async def desk(redis: Redis, redis_url: str, store: Store) -> AsyncIterator[Desk]:
    """Both sides answer."""
    world, demo = World(rates=dict(TOLD)), World(rates={"base": "USD", "date": "2026-09-20", "rates": {"MXN": 20}})
    async with AsyncExitStack() as stack:
        live, sandbox = [
            endpoints_at(await stack.enter_async_context(running_sandbox(each)), each) for each in (world, demo)
        ]
        opened = Providers.open(store, cipher=None, live=live, sandbox=sandbox, allowances=None, timeout=5)
        providers = await stack.enter_async_context(opened)
        providers.now = lambda: NOW
        engine = await stack.enter_async_context(Engine.connect(redis_url, registry=build_registry()))
        resources = _Resources(store, providers)
        await stack.enter_async_context(Worker(engine.queue(QUEUE_NAME), resources=resources))
        yield Desk(engine, resources, world, demo)


async def test_rates_are_kept_to_eight_decimals_and_missing_ones_are_named(desk: Desk) -> None:
    """A rate of 0 is missing, not 0; a text is a number too. A dry run keeps nothing; told again, it is replaced."""
    dry = await desk.run(dryRun=True)
    assert (dry["dryRun"], dry["rates"], await desk.rates()) == (True, 2, {})
    result = await desk.run()

    assert result == {
        "rates": 2,
        "base": "USD",
        "date": "2026-09-18",
        "source": "127.0.0.1",
        "missing": ["CAD"],
        "demoRates": 1,
        "dryRun": False,
    }
    assert await desk.rates() == {"MXN": Decimal("18.12345678"), "EUR": Decimal("0.85000000")}
    assert await desk.rates(demo=True) == {"MXN": Decimal(20)}
    desk.world.rates = {**TOLD, "rates": {"MXN": 19}}
    await desk.run()
    assert (await desk.rates())["MXN"] == Decimal(19)
    (asked, *_) = desk.world.asked
    assert asked.target == "/rates/latest?base=USD&symbols=MXN%2CEUR%2CCAD"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({**TOLD, "date": "2026-09-22"}, "found rates of 2026-09-22, which is to come"),
        ({**TOLD, "base": "EUR"}, "it answered 404"),
        ({**TOLD, "rates": {"MXN": None, "EUR": -1, "CAD": "many"}}, "found none of the rates MXN, EUR, CAD"),
    ],
)
async def test_an_answer_that_cannot_be_right_fails_the_job_and_changes_nothing(
    desk: Desk, told: dict[str, Any], reason: str
) -> None:
    """The demo's rates are kept all the same: they come first."""
    desk.world.rates = told
    with pytest.raises(JobFailed, match=reason):
        await desk.run()
    assert (await desk.rates(), await desk.rates(demo=True)) == ({}, {"MXN": Decimal(20)})


async def test_without_any_address_the_job_says_so_at_once(desk: Desk) -> None:
    """Nothing that trying again would mend."""
    none = Providers.open(desk.resources.store, cipher=None, live=Endpoints(rates=None))
    async with none as providers:
        desk.resources.providers = providers
        with pytest.raises(JobFailed, match="RATES_URL"):
            await desk.run()
