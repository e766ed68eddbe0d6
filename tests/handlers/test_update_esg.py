"""ESG scores: made and weighed right, kept with source and date, asked again by force, counted honestly."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Engine, InvalidPayload, JobFailed, RetryPolicy, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.esg.built_in import BUILT_IN
from dhanam_jobs.handlers.esg.scoring import WEIGHTS, Scores, score_metrics, score_portfolio
from dhanam_jobs.handlers.providers import Providers
from dhanam_jobs.handlers.providers.esg import Metrics
from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox
from dhanam_jobs.handlers.sandbox.world import Fault, World
from dhanam_jobs.handlers.update_esg import ALL, ALWAYS, QUEUE_NAME, SOME

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Store
    from tests.handlers.conftest import Household


def _scores(*numbers: int) -> Scores:
    return Scores(*map(Decimal, numbers))


@pytest.mark.parametrize(("consensus", "score"), [("pow", 20), ("pos", 70), ("dpos", 65), ("hybrid", 55), (None, 50)])
def test_the_way_of_agreeing_alone_makes_the_known_environmental_scores(consensus: str | None, score: int) -> None:
    """As the original's own tests have it, with a confidence of 40."""
    made = score_metrics(Metrics(consensus_mechanism=consensus))

    assert made == _scores(score, 50, 50, 40)


def test_metrics_make_scores_within_0_and_100() -> None:
    """Best and worst are cut off; all seven numbers make the confidence 100."""
    best: list[Any] = [Decimal("0.05"), Decimal(5), "pos", *[Decimal(100)] * 5]
    worst: list[Any] = [Decimal(700), Decimal(900), "pow", *[Decimal(0)] * 5]

    assert score_metrics(Metrics(*best)) == _scores(100, 90, 100, 100)
    assert score_metrics(Metrics(*worst)) == _scores(0, 10, 0, 100)
    middling = score_metrics(Metrics(energy_intensity=Decimal(50), carbon_intensity=Decimal(200)))
    assert middling.environmental == Decimal(30)


def test_the_overall_score_is_by_the_configured_weights() -> None:
    """B27: weights were configured and not used; a portfolio's overall disagreed with them."""
    assert BUILT_IN["BTC"].overall(WEIGHTS) == Decimal("42.50")
    mixed = score_portfolio([(Decimal(75), _scores(80, 60, 40, 90)), (Decimal(25), None), (Decimal("0.05"), None)])

    assert mixed == Scores(Decimal("72.50"), Decimal("57.50"), Decimal("42.50"), Decimal("75.00"))
    assert mixed.overall(WEIGHTS) == Decimal("59.00")
    assert score_portfolio([(Decimal(0), None)]) is None


@dataclass
class _Resources:
    store: Store
    providers: Providers


class Desk:
    """The ESG queue with a worker; the sandbox answers in the provider's place."""

    def __init__(self, engine: Engine, resources: _Resources, world: World) -> None:
        self.queue = engine.queue(QUEUE_NAME)
        self.store = resources.store
        self.world = world

    async def run(self, name: str, payload: dict[str, Any], **options: Any) -> Any:
        return await (await self.queue.enqueue(name, payload, **options)).result(timeout=20)

    def asked(self) -> list[str]:
        """The symbols that were asked for since the last look."""
        asked = [each.target.rsplit("/", 1)[1] for each in self.world.asked]
        self.world.asked.clear()
        return sorted(asked)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database will do: the queries are proved on both elsewhere."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def desk(redis: Redis, redis_url: str, household: Household) -> AsyncIterator[Desk]:
    """Two coins that the provider knows, one that it is not sure of, and some odd answers."""
    score = {"environmental": 30, "social": 70.5, "governance": 60, "confidence": 90, "overall": 1}
    world = World(
        esg={
            "btc": {"symbol": "BTC", "score": {**score, "lastUpdated": "2026-09-01T00:00:00Z", "sources": ["a"]}},
            "eth": {"symbol": "ETH", "score": None, "metrics": {"consensusMechanism": "pos", "new": 1}},
            "doubt": {"symbol": "DOUBT", "score": {**score, "confidence": 59}},
            "much": {"symbol": "MUCH", "score": {**score, "social": 101}},
            "later": {"symbol": "LATER", "score": {**score, "lastUpdated": "2999-01-01T00:00:00Z"}},
            "sol": {
                "symbol": "SOL",
                "metrics": {
                    "consensusMechanism": "pos",
                    "energyIntensity": 0.05,
                    "carbonIntensity": 60,
                },
            },
        }
    )
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_sandbox(world))
        live = endpoints_at(url, world)
        opened = Providers.open(household.store, cipher=None, live=live, allowances=None, timeout=5)
        resources = _Resources(household.store, await stack.enter_async_context(opened))
        engine = await stack.enter_async_context(Engine.connect(redis_url, registry=build_registry()))
        await stack.enter_async_context(Worker(engine.queue(QUEUE_NAME), resources=resources))
        yield Desk(engine, resources, world)


async def test_scores_are_kept_with_source_and_date_and_counted_honestly(desk: Desk) -> None:
    """B27: nothing was kept, and requests were counted for successes. Each coin says what became of it."""
    names = ["btc", "BTC", "sol", "eth", "doubt", "much", "later", "ada", "nobody"]
    result = await desk.run(SOME, {"symbols": names})

    assert (result["symbolsUpdated"], result["requested"], result["fromCache"]) == (2, 8, 0)
    assert result["cacheStats"] == {"size": 2, "maxSize": 500}
    assert (result["builtIn"], result["stayed"]) == (["ETH", "ADA"], [])
    assert result["unavailable"] == ["DOUBT", "MUCH", "LATER", "NOBODY"]
    assert [text.split(":")[0] for text in result["failures"]] == ["ETH", "DOUBT", "MUCH", "LATER"]
    kept = await desk.store.esg_scores.latest(["BTC", "SOL", "ADA", "DOUBT"])
    assert sorted(kept) == ["ADA", "BTC", "SOL"]
    btc = kept["BTC"]
    assert (btc.composite_score, btc.social_score, btc.source) == (Decimal("51.15"), Decimal("70.5"), "127.0.0.1")
    assert btc.calculated_at == dt.datetime(2026, 9, 1, tzinfo=dt.UTC)
    assert (kept["SOL"].environmental_score, kept["SOL"].source) == (Decimal(90), "127.0.0.1, from metrics")
    assert (kept["ADA"].composite_score, kept["ADA"].source) == (Decimal("76.00"), "built-in")


async def test_a_forced_refresh_asks_again_and_an_ordinary_one_does_not(desk: Desk) -> None:
    """B27: an inner cache made forced refreshes refresh nothing. The table's scores are never taken for told ones."""
    await desk.run(SOME, {"symbols": ["BTC", "ADA"]})
    desk.asked()
    desk.world.esg["btc"]["score"]["social"] = 10

    assert (await desk.run(SOME, {"symbols": ["BTC", "ADA"]}))["fromCache"] == 1
    assert desk.asked() == ["ada"]
    forced = await desk.run(SOME, {"symbols": ["BTC"], "forceRefresh": True})
    assert (forced["symbolsUpdated"], forced["forceRefresh"], desk.asked()) == (1, True, ["btc"])
    assert (await desk.store.esg_scores.latest(["BTC"]))["BTC"].social_score == Decimal(10)


async def test_an_outage_keeps_what_is_known_and_fails_the_job(desk: Desk) -> None:
    """Scores stay, the table stands in for the rest, and nobody is told that it went well. One lost answer is named."""
    await desk.run(SOME, {"symbols": ["BTC"]})
    desk.world.faults.append(Fault(path="/dhanam/esg/assets/btc", times=1))
    partly = await desk.run(SOME, {"symbols": ["BTC", "SOL"], "forceRefresh": True})
    assert (partly["symbolsUpdated"], partly["stayed"]) == (1, ["BTC"])
    assert partly["failures"] == ["BTC: P001 esg: it answered 503"]
    desk.world.faults.append(Fault(path="/dhanam", times=100))
    once = RetryPolicy(attempts=1)
    with pytest.raises(JobFailed, match="P001 esg: it answered 503"):
        await desk.run(SOME, {"symbols": ["BTC", "ADA"], "forceRefresh": True}, retry=once)

    kept = await desk.store.esg_scores.latest(["BTC", "ADA"])
    assert {symbol: score.source for symbol, score in kept.items()} == {"BTC": "127.0.0.1", "ADA": "built-in"}


async def test_all_coins_that_are_held_are_updated_and_the_popular_ones(desk: Desk) -> None:
    """Not the demo's, not pesos that lie at an exchange, in capitals and once."""
    crypto = {"type": "crypto", "name": "W"}
    await desk.store.spaces.upsert([{"id": "show", "name": "Demo", "is_demo": True}])
    await desk.store.accounts.upsert(
        [
            {"id": "a", "space_id": "home", **crypto, "metadata": {"cryptoCurrency": "link"}},
            {"id": "b", "space_id": "home", **crypto, "metadata": {"symbol": "Btc"}},
            {"id": "c", "space_id": "home", **crypto, "metadata": {"cryptoCurrency": "mxn"}},
            {"id": "d", "space_id": "show", **crypto, "metadata": {"cryptoCurrency": "xrp"}},
            {"id": "e", "space_id": "home", **crypto, "metadata": None},
        ]
    )
    result = await desk.run(ALL, {})

    assert desk.asked() == sorted([*(symbol.lower() for symbol in ALWAYS), "link"])
    assert result["unavailable"] == ["MATIC", "AVAX", "LINK"]


async def test_a_symbol_that_is_none_is_not_taken(desk: Desk) -> None:
    """What would become part of an address is checked when the job is made."""
    with pytest.raises(InvalidPayload, match="symbols"):
        await desk.run(SOME, {"symbols": ["../admin"]})
