"""What a space is worth on a day: kept once, in its own time zone, converted, debts right, history honest."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import sqlalchemy as sa

from dhanam_jobs.engine import Engine, InvalidPayload, JobFailed, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.snapshot_valuations import ALL, ONE, QUEUE_NAME, ValuationSnapshot
from dhanam_jobs.handlers.store.exchange_rates import ExchangeRate
from dhanam_jobs.handlers.store.valuation_tables import asset_valuations
from dhanam_jobs.handlers.store.valuations import Holding
from dhanam_jobs.handlers.valuations import NothingValued, RateBook, Totals, add_up, net_worth_trend, take_snapshot

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Space, Store
    from tests.handlers.conftest import Household

TODAY = dt.date(2026, 9, 20)
RATES = [
    ExchangeRate("USD", "MXN", dt.date(2026, 9, 18), Decimal("18.5"), "test"),
    ExchangeRate("USD", "EUR", dt.date(2026, 9, 18), Decimal("0.8"), "test"),
]


def _holding(
    type: str, balance: str, currency: str = "MXN", provider: str = "manual", debt: str | None = None
) -> Holding:
    return Holding("a", "A", provider, type, debt, currency, Decimal(balance))


def _sum(*holdings: Holding, day: dt.date = TODAY) -> Totals:
    return add_up(holdings, "MXN", RateBook(RATES).on(day))


@pytest.mark.parametrize(
    ("holding", "assets", "liabilities"),
    [
        (_holding("checking", "100"), "100", "0"),
        (_holding("checking", "-30"), "-30", "0"),
        (_holding("credit", "-200"), "0", "200"),
        (_holding("credit", "200"), "0", "200"),
        (_holding("credit", "20", provider="plaid"), "20", "0"),
        (_holding("other", "-9000", provider="belvo", debt="loan"), "0", "9000"),
        (_holding("other", "500"), "500", "0"),
    ],
)
def test_debts_are_liabilities_and_everything_else_is_an_asset(holding: Holding, assets: str, liabilities: str) -> None:
    """B31: loans count; a card that was paid beyond its debt is owned; people write debts with either sign."""
    assert _sum(holding) == Totals(Decimal(assets), Decimal(liabilities), [])


def test_currencies_are_converted_and_one_without_a_rate_is_named() -> None:
    """B31: dollars were added to pesos. Euros go through dollars; pounds are in no sum, unless there are none."""
    totals = _sum(
        _holding("checking", "10", "USD"),
        _holding("savings", "8", "EUR"),
        _holding("savings", "7", "GBP"),
        _holding("savings", "0", "CHF"),
    )

    assert totals == Totals(Decimal("370.0000"), Decimal(0), ["GBP"])


def test_rates_stand_in_for_later_days_but_not_for_ever() -> None:
    """Ten days later they do, eleven days later and the day before they don't."""
    dollars = _holding("checking", "1", "USD")

    assert _sum(dollars, day=dt.date(2026, 9, 28)).missing_rates == []
    assert _sum(dollars, day=dt.date(2026, 9, 29)).missing_rates == ["USD"]
    assert _sum(dollars, day=dt.date(2026, 9, 17)).missing_rates == ["USD"]


def test_sums_are_exact_where_floats_are_not() -> None:
    """Nineteen digits each."""
    totals = _sum(_holding("checking", "999999999999999.9999"), _holding("checking", "999999999999999.9999"))

    assert totals.assets == Decimal("1999999999999999.9998")


@pytest.fixture
async def home(household: Household) -> Household:
    """Home with a card, dollars and coins besides its debit account, and rates."""
    await household.store.accounts.upsert(
        [
            {"id": "debit", "space_id": "home", "balance": Decimal("1000.50"), "name": "Débito", "type": "checking"},
            {"id": "card", "space_id": "home", "balance": Decimal("-300.25"), "name": "Tarjeta", "type": "credit"},
            {
                "id": "usd",
                "space_id": "home",
                "balance": Decimal(10),
                "name": "D",
                "type": "savings",
                "currency": "USD",
            },
            {
                "id": "coins",
                "space_id": "home",
                "balance": Decimal(5),
                "name": "C",
                "type": "crypto",
                "currency": "USD",
            },
        ]
    )
    for rate in RATES:
        await household.store.exchange_rates.write(
            "USD", rate.date, {rate.to_currency: rate.rate}, rate.source, demo=False
        )
    return household


async def _space(store: Store, space_id: str = "home") -> Space:
    space = await store.spaces.get(space_id)
    assert space is not None
    return space


async def _values(store: Store) -> dict[tuple[str, str], Decimal]:
    query = sa.select(asset_valuations.c.account_id, asset_valuations.c.date, asset_valuations.c.value)
    async with store._connections.reading() as connection:
        return {(row[0], row[1].isoformat()): row[2] for row in await connection.execute(query)}


async def test_a_second_snapshot_of_a_day_updates_the_first(home: Household) -> None:
    """B5b, B13: one row per account and day; the newest balance stands."""
    space = await _space(home.store)
    first = await take_snapshot(home.store, space, TODAY, TODAY)
    await home.store.accounts.upsert([{"id": "debit", "balance": Decimal(2000)}])
    second = await take_snapshot(home.store, space, TODAY, TODAY)

    assert (first.accounts, first.created, first.updated) == (4, 4, 0)
    assert (second.accounts, second.created, second.updated) == (4, 0, 4)
    assert first.totals == Totals(Decimal("1278.0000"), Decimal("300.2500"), [])
    assert (await _values(home.store))["debit", "2026-09-20"] == Decimal(2000)
    assert len(await _values(home.store)) == 4


async def test_a_back_dated_snapshot_comes_from_history_or_is_refused_by_name(home: Household) -> None:
    """B31: not today's balance. Booked transactions lead back; coins, and accounts without history, are refused."""
    row = home.row
    await home.store.transactions.insert_new(
        "debit",
        [
            row("1", amount="-100", date=dt.date(2026, 9, 1)),
            row("2", amount="-40.50", date=dt.date(2026, 9, 18)),
            row("3", amount="500", date=dt.date(2026, 9, 19)),
        ],
    )
    taken = await take_snapshot(home.store, await _space(home.store), dt.date(2026, 9, 17), TODAY)

    assert (taken.accounts, taken.created, taken.updated) == (4, 1, 0)
    assert await _values(home.store) == {("debit", "2026-09-17"): Decimal("541.0000")}
    assert taken.totals.net_worth == Decimal("541.0000")
    assert [text.split(" ")[1] for text in taken.failures] == ["card", "coins", "usd"]
    assert "it has no transactions" in taken.failures[0]
    assert "transactions don't tell what prices were" in taken.failures[1]


async def test_what_was_kept_of_a_day_stays_when_it_is_asked_for_again(home: Household) -> None:
    """The kept value is the truth, also for coins; balances of today don't replace it."""
    space = await _space(home.store)
    yesterday = TODAY - dt.timedelta(days=1)
    await take_snapshot(home.store, space, yesterday, yesterday)
    await home.store.accounts.upsert([{"id": "coins", "balance": Decimal(99)}])
    again = await take_snapshot(home.store, space, yesterday, TODAY)

    assert (again.created, again.updated, again.failures) == (0, 0, [])
    assert again.totals == Totals(Decimal("1278.0000"), Decimal("300.2500"), [])
    assert (await _values(home.store))["coins", "2026-09-19"] == Decimal(5)


async def test_a_day_of_which_nothing_is_known_is_refused(home: Household) -> None:
    """B31: all accounts having failed once ended as success. A day to come is refused as well."""
    with pytest.raises(NothingValued, match="none of 4 accounts could be valued") as caught:
        await take_snapshot(home.store, await _space(home.store), dt.date(2026, 1, 1), TODAY)
    assert caught.value.permanent
    with pytest.raises(NothingValued, match="wanted today in the space"):
        await take_snapshot(home.store, await _space(home.store), dt.date(2026, 9, 21), TODAY)
    assert await _values(home.store) == {}


async def test_deleted_accounts_are_in_no_new_snapshot_and_stay_in_the_trend(home: Household) -> None:
    """The days on which they were held still count them, each day at its own rates."""
    store, space = home.store, await _space(home.store)
    yesterday = TODAY - dt.timedelta(days=1)
    await take_snapshot(store, space, yesterday, yesterday)
    await store.accounts.upsert([{"id": "usd", "deleted_at": dt.datetime.now(dt.UTC)}])
    await store.exchange_rates.write("USD", TODAY, {"MXN": Decimal(20)}, "test", demo=False)
    taken = await take_snapshot(store, space, TODAY, TODAY)

    assert taken.accounts == 3
    trend = await net_worth_trend(store, space, dt.date(2026, 9, 1), TODAY)
    assert [(day.date, day.accounts, day.totals.net_worth) for day in trend] == [
        (yesterday, 4, Decimal("977.7500")),
        (TODAY, 3, Decimal("800.2500")),
    ]


async def test_the_demos_rates_value_the_demo_alone(home: Household) -> None:
    """Invented rates never reach real money, nor the other way round."""
    await home.store.exchange_rates.write("USD", TODAY, {"MXN": Decimal(1)}, "sandbox", demo=True)
    (newest,) = await home.store.exchange_rates.between(TODAY, TODAY, demo=True)

    assert newest.rate == Decimal(1)
    taken = await take_snapshot(home.store, await _space(home.store), TODAY, TODAY)
    assert taken.totals.assets == Decimal("1278.0000")


async def test_an_account_that_cannot_be_kept_is_named_and_the_rest_is_done(home: Household) -> None:
    """Erased between reading and writing, as a person may do."""
    store = home.store
    real = store.valuations.holdings

    async def with_ghost(space_id: str) -> list[Holding]:
        ghost = Holding("ghost", "Fantasma", "manual", "savings", None, "MXN", Decimal(7))
        return [*await real(space_id), ghost]

    store.valuations.holdings = with_ghost  # type: ignore[method-assign]
    taken = await take_snapshot(store, await _space(store), TODAY, TODAY)

    assert (taken.accounts, taken.created, len(await _values(store))) == (5, 4, 4)
    assert taken.totals.net_worth == Decimal("977.7500")
    (failure,) = taken.failures
    assert failure.startswith("account ghost (Fantasma): store: ")


def test_the_date_of_a_moment_is_its_day_as_written() -> None:
    """B32: a full timestamp defeated the rule of one snapshot per day, and put colons into the id."""
    assert ValuationSnapshot("home", "2026-05-20T23:30:00.000Z").date == "2026-05-20"
    assert msgspec.convert({"spaceId": "home", "date": "2026-05-20"}, ValuationSnapshot).date == "2026-05-20"


one_kind = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What the jobs add is the same on every database."""


@dataclass
class _Resources:
    store: Store


@pytest.fixture
async def engine(redis: Redis, redis_url: str, home: Household) -> AsyncIterator[Engine]:
    """The queue with a worker, over the household."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine.connect(redis_url, registry=build_registry()))
        await stack.enter_async_context(Worker(engine.queue(QUEUE_NAME), resources=_Resources(home.store)))
        yield engine


async def _run(engine: Engine, name: str, payload: dict[str, Any]) -> Any:
    return await (await engine.queue(QUEUE_NAME).enqueue(name, payload)).result(timeout=20)


@one_kind
async def test_a_snapshot_runs_as_a_job_in_the_days_of_its_space(engine: Engine, home: Household) -> None:
    """B31, B41: the space's own day; sums are numbers; without accounts all keys are there. The first re-run counts."""
    await home.store.spaces.upsert([{"id": "other", "timezone": "Pacific/Kiritimati"}])
    await home.store.accounts.upsert([{"id": "foreign", "deleted_at": dt.datetime.now(dt.UTC)}])
    payload = {"type": ONE, "payload": {"spaceId": "home"}}
    await _run(engine, ONE, payload)
    result = await _run(engine, ONE, payload)
    empty = await _run(engine, ONE, {"spaceId": "other"})

    assert (result["accounts"], result["snapshots"], result["updated"]) == (4, 0, 4)
    assert (result["totalLiabilities"], result["missingRates"], result["currency"]) == (300.25, ["USD"], "MXN")
    assert result["netWorth"] == 700.25
    assert (empty["accounts"], empty["snapshots"], empty["netWorth"], empty["totalAssets"]) == (0, 0, 0, 0)
    ahead = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=14)).date()
    assert empty["date"] == ahead.isoformat()


@one_kind
async def test_all_spaces_are_valued_by_children_and_one_that_fails_is_named(engine: Engine, home: Household) -> None:
    """The sums are of the spaces that could be done; demo spaces are left out of `{}`."""
    result = await _run(engine, ALL, {"spaceIds": ["home", "nowhere", "other"]})
    assert (result["snapshotsCreated"], result["spaces"], result["errors"]) == (5, 3, 1)
    (failure,) = result["failures"]
    assert "nowhere" in failure
    await home.store.spaces.upsert([{"id": "home", "is_demo": True}])
    again = await _run(engine, ALL, {})
    assert (again["snapshotsCreated"], again["updated"], again["spaces"], again["errors"]) == (0, 1, 1, 0)


@one_kind
async def test_what_can_never_be_valued_fails_at_once(engine: Engine) -> None:
    """B19: no attempt is wasted on a space that isn't there; a date that is none isn't even taken."""
    with pytest.raises(JobFailed, match="does not exist"):
        await _run(engine, ONE, {"spaceId": "nowhere"})
    with pytest.raises(JobFailed, match="all 1 spaces failed"):
        await _run(engine, ALL, {"spaceIds": ["nowhere"]})
    with pytest.raises(InvalidPayload, match="wanted YYYY-MM-DD"):
        await _run(engine, ONE, {"spaceId": "home", "date": "tomorrow"})


@pytest.mark.long
async def test_ten_thousand_accounts_are_valued_in_one_snapshot(home: Household) -> None:
    """In two statements per thousand; the sum is exact."""
    rows = [
        {"id": f"n{number:05d}", "space_id": "home", "name": "N", "type": "savings", "balance": Decimal("0.0001")}
        for number in range(10_000)
    ]
    await home.store.accounts.upsert(rows)
    taken = await take_snapshot(home.store, await _space(home.store), TODAY, TODAY)

    assert taken.created == 10_004
    assert taken.totals.assets == Decimal("1279.0000")
