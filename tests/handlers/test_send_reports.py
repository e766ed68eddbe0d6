"""Weekly summaries and monthly reports: their figures, who gets them, and that nobody gets them twice."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dhanam_jobs.engine import Engine, JobContext, Registry, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.mail import notices
from dhanam_jobs.handlers.mail.address import read_address
from dhanam_jobs.handlers.mail.delivery import Outbox
from dhanam_jobs.handlers.mail.letters import AccountHealth, Insight
from dhanam_jobs.handlers.mail.mailer import Mailer
from dhanam_jobs.handlers.reports import month_before, month_report, week_before, week_summary
from dhanam_jobs.handlers.send_email import QUEUE_NAME
from dhanam_jobs.handlers.send_reports import MONTHLY, WEEKLY
from dhanam_jobs.handlers.store.esg_scores import EsgScore

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Space, Store
    from tests.conftest import WaitUntil
    from tests.handlers.conftest import Household

MONDAY = dt.date(2026, 5, 11)


@dataclass
class _Resources:
    store: Store
    mailer: Mailer


@pytest.fixture
async def books(household: Household) -> Household:
    """A household with a week of spending, an income, a refund, dollars, and rows that don't count."""
    row = household.row
    may = {"date": dt.date(2026, 5, 6)}
    await household.store.transactions.insert_new(
        "debit",
        [
            row("1", "super", "-600.10", date=dt.date(2026, 5, 4)),
            row("2", "tacos", "-500.05", date=dt.date(2026, 5, 10)),
            row("3", "devolución", "100.10", **may),
            row("4", "pemex", "-300", **may),
            row("5", "nómina", "5000", **may),
            row("6", "netflix", "-9.99", currency="USD", **may),
            row("7", "quién sabe", "-0.05", **may),
            row("before", "super", "-1000", date=dt.date(2026, 5, 3)),
            row("after", "super", "-77", date=dt.date(2026, 5, 11)),
            row("april", "super", "-10", date=dt.date(2026, 4, 30)),
            row("transfer", "traspaso", "-9000", **may),
        ],
    )
    await household.store.transactions.insert_new("foreign", [row("x", "ajeno", "-123", **may)])
    ids = {c.description: c.id async for page in household.store.transactions.uncategorized_pages("home") for c in page}
    pages = household.store.transactions.uncategorized_pages("home")
    food = [c.id async for page in pages for c in page if c.description in ("super", "tacos", "devolución")]
    await household.store.transactions.set_categories({"food": food, "fuel": [ids["pemex"]]})
    await household.store.transactions.upsert([{"id": ids["traspaso"], "exclude_from_totals": True}])
    await household.store.budgets.upsert_categories(
        [
            {"id": "food", "budget_id": "budget", "name": "Comida", "budgeted_amount": Decimal(1500)},
            {"id": "fuel", "budget_id": "budget", "name": "Gasolina", "budgeted_amount": Decimal(400)},
        ]
    )
    return household


async def _space(store: Store) -> Space:
    space = await store.spaces.get("home")
    assert space is not None
    return space


@pytest.mark.parametrize(
    ("day", "week"),
    [
        ("2026-05-11", ("2026-05-04", "2026-05-10")),
        ("2026-05-17", ("2026-05-04", "2026-05-10")),
        ("2026-01-01", ("2025-12-22", "2025-12-28")),
    ],
)
def test_the_week_is_the_last_that_is_over(day: str, week: tuple[str, str]) -> None:
    """Also on its Sunday, and over a new year."""
    assert tuple(d.isoformat() for d in week_before(dt.date.fromisoformat(day))) == week


def test_the_month_is_the_last_that_is_over() -> None:
    """Leap days and new years included."""
    assert month_before(dt.date(2024, 3, 31)) == (dt.date(2024, 2, 1), dt.date(2024, 2, 29))
    assert month_before(dt.date(2026, 1, 1)) == (dt.date(2025, 12, 1), dt.date(2025, 12, 31))


async def test_a_week_is_summed_exactly_and_currencies_are_kept_apart(books: Household) -> None:
    """B31's kind: dollars are never added to pesos. What is excluded, or another space's, doesn't count."""
    summary = await week_summary(books.store, await _space(books.store), MONDAY, "Ana")

    assert summary is not None
    assert (summary.week_start, summary.week_end, summary.currency) == ("2026-05-04", "2026-05-10", "MXN")
    assert summary.total_spent == Decimal("1400.20")
    assert summary.net_change == Decimal("3699.90")
    assert [(c.name, c.amount, c.percentage) for c in summary.top_categories] == [
        ("Comida", Decimal("1100.15"), Decimal("78.6")),
        ("Gasolina", Decimal(300), Decimal("21.4")),
        (None, Decimal("0.05"), Decimal("0.0")),
    ]
    (dollars,) = summary.other_currencies
    assert (dollars.currency, dollars.total_spent, dollars.net_change) == ("USD", Decimal("9.99"), Decimal("-9.99"))


async def test_budgets_count_the_month_so_far_and_refunds_come_off(books: Household) -> None:
    """Comida: 600.10 + 500.05 + 1000 (the Sunday before) less 100.10 that came back."""
    summary = await week_summary(books.store, await _space(books.store), MONDAY)

    assert summary is not None
    assert [(b.name, b.spent, b.limit, b.percentage) for b in summary.budgets] == [
        ("Comida", Decimal("2000.05"), Decimal(1500), Decimal("133.3")),
        ("Gasolina", Decimal(300), Decimal(400), Decimal("75.0")),
    ]
    said = [(i.kind, i.name, i.percent, i.count) for i in summary.insights if isinstance(i, Insight)]
    assert said == [
        ("spending-up", None, Decimal("38.6"), None),
        ("over-budget", "Comida", Decimal("133.3"), None),
        ("largest", "Comida", Decimal("78.6"), None),
        ("uncategorized", None, None, 2),
    ]


async def test_a_month_tells_income_expenses_and_what_was_saved(books: Household) -> None:
    """The figures add up, and the rate is of the income."""
    report = await month_report(books.store, await _space(books.store), dt.date(2026, 6, 1))

    assert report is not None
    assert (report.month, report.month_number, report.year) == ("2026-05", 5, 2026)
    assert report.total_income == Decimal("5100.10")
    assert report.total_expenses == Decimal("2477.20")
    assert report.net_savings == report.total_income - report.total_expenses
    assert report.savings_rate == Decimal("51.4")
    kinds = [i.kind for i in report.recommendations if isinstance(i, Insight)]
    assert kinds == ["saved", "spending-up", "over-budget", "uncategorized"]


async def _worth(books: Household, day: str, **balances: Decimal) -> None:
    """Keep a day of the space's accounts, with these balances."""
    held = {each.account_id: each for each in await books.store.valuations.holdings("home")}
    rows = [msgspec.structs.replace(held[name], balance=balance) for name, balance in balances.items()]
    await books.store.valuations.write(dt.date.fromisoformat(day), rows)


async def test_a_month_tells_net_worth_its_change_and_its_months(books: Household) -> None:
    """Of each month the last day that was kept; dollars at that day's rate; a debt is taken off."""
    await books.store.accounts.upsert(
        [
            {"id": "dollars", "space_id": "home", "name": "Dólares", "type": "savings", "currency": "USD"},
            {"id": "card", "space_id": "home", "name": "Tarjeta", "type": "credit"},
        ]
    )
    rates = books.store.exchange_rates
    await rates.write("USD", dt.date(2026, 4, 30), {"MXN": Decimal(18)}, "x", demo=False)
    await rates.write("USD", dt.date(2026, 5, 30), {"MXN": Decimal(20)}, "x", demo=False)
    await _worth(books, "2026-03-31", debit=Decimal(700))
    await _worth(books, "2026-04-30", debit=Decimal(1000), dollars=Decimal(100), card=Decimal(300))
    await _worth(books, "2026-05-02", debit=Decimal(5))
    await _worth(books, "2026-05-31", debit=Decimal(1500), dollars=Decimal(100), card=Decimal(250))
    await _worth(books, "2026-06-01", debit=Decimal(9))

    report = await month_report(books.store, await _space(books.store), dt.date(2026, 6, 1))

    assert report is not None
    assert isinstance(report.net_worth_trend, list)
    assert [(point.date, point.value) for point in report.net_worth_trend] == [
        ("2026-03-31", Decimal(700)),
        ("2026-04-30", Decimal(2500)),
        ("2026-05-31", Decimal(3250)),
    ]
    figures = (report.current_net_worth, report.net_worth_change, report.net_worth_change_percent)
    assert figures == (Decimal(3250), Decimal(750), Decimal("30.0"))
    assert report.missing_rates == []


async def test_a_month_names_currencies_without_a_rate_and_compares_nothing_then(books: Household) -> None:
    """What is missing from one of the two days would look like a gain or a loss."""
    await books.store.accounts.upsert(
        [{"id": "canada", "space_id": "home", "name": "Canadá", "type": "savings", "currency": "CAD"}]
    )
    await _worth(books, "2026-04-30", debit=Decimal(1000))
    await _worth(books, "2026-05-31", debit=Decimal(1500), canada=Decimal(100))

    report = await month_report(books.store, await _space(books.store), dt.date(2026, 6, 1))

    assert report is not None
    assert (report.current_net_worth, report.net_worth_change, report.missing_rates) == (Decimal(1500), None, ["CAD"])


async def test_a_month_without_kept_days_or_coins_is_silent_about_them(books: Household) -> None:
    """No zeros in place of what isn't known."""
    report = await month_report(books.store, await _space(books.store), dt.date(2026, 6, 1))

    assert report is not None
    assert (report.current_net_worth, report.net_worth_trend, report.esg_data) == (None, None, None)


async def test_a_month_tells_the_esg_score_of_the_coins_by_their_worth(books: Household) -> None:
    """2,000 of 8,000 pesos in Bitcoin, the rest in Ether; the one that pulls it down is named."""
    coins = {"w1": ("btc", "75.00"), "w2": ("BTC", "25.00"), "w3": ("eth", "300.00"), "w4": ("sol", "0")}
    await books.store.accounts.upsert(
        [
            {
                "id": name,
                "space_id": "home",
                "name": coin,
                "type": "crypto",
                "currency": "USD",
                "balance": Decimal(balance),
                "metadata": {"cryptoCurrency": coin},
            }
            for name, (coin, balance) in coins.items()
        ]
    )
    await books.store.exchange_rates.write("USD", dt.date(2026, 5, 29), {"MXN": Decimal(20)}, "x", demo=False)
    told = dt.datetime(2026, 5, 31, tzinfo=dt.UTC)
    for symbol, (environmental, social, governance) in {"BTC": (20, 60, 55), "ETH": (60, 70, 70)}.items():
        score = EsgScore(
            asset_symbol=symbol,
            environmental_score=Decimal(environmental),
            social_score=Decimal(social),
            governance_score=Decimal(governance),
            composite_score=Decimal(1),
            confidence=Decimal(80),
            source="x",
            calculated_at=told,
            fetched_at=told,
        )
        await books.store.esg_scores.write([score])

    report = await month_report(books.store, await _space(books.store), dt.date(2026, 6, 1))

    assert report is not None
    assert report.esg_data is not None
    # E 50, S 67.5, G 66.25, by 0.4, 0.3 and 0.3.
    assert report.esg_data.score == Decimal("60.1")
    assert report.esg_data.insight == Insight(kind="esg-drag", name="BTC")


async def test_a_space_without_movements_has_nothing_to_say(household: Household) -> None:
    """No letter of zeros."""
    assert await week_summary(household.store, await _space(household.store), MONDAY) is None
    assert await month_report(household.store, await _space(household.store), MONDAY) is None


class Desk:
    """The e-mail queue with a worker that writes into a folder."""

    def __init__(self, engine: Engine, books: Household, folder: Path, wait_until: WaitUntil) -> None:
        self.wait_until = wait_until
        self.queue = engine.queue(QUEUE_NAME)
        self.folder = folder
        self.resources = _Resources(books.store, Mailer(Outbox(folder), read_address("noreply@dhanam.test")))

    async def run(self, name: str, payload: dict[str, Any]) -> Any:
        """The job's result, once every letter behind it is written or skipped."""

        async def idle() -> bool:
            counts = await self.queue.stats()
            return counts.waiting + counts.active + counts.delayed == 0

        async with Worker(self.queue, resources=self.resources):
            result = await (await self.queue.enqueue(name, payload)).result(timeout=20)
            await self.wait_until(idle, "every letter has ended")
        return result

    def letters(self) -> dict[str, str]:
        """Subject by recipient."""
        found = {}
        for path in self.folder.glob("*.eml"):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            found[str(message["To"])] = str(message["Subject"])
        return found


@pytest.fixture
async def desk(
    redis: Redis, redis_url: str, books: Household, tmp_path: Path, wait_until: WaitUntil
) -> AsyncIterator[Desk]:
    """The e-mail queue, over the books."""
    registry = build_registry()
    _tellers(registry)
    async with Engine.connect(redis_url, registry=registry) as engine:
        yield Desk(engine, books, tmp_path / "letters", wait_until)


def _tellers(registry: Registry) -> None:
    """Jobs that have something to say, as syncs do."""

    @registry.job("fails", queue=QUEUE_NAME)
    async def fails(ctx: JobContext, payload: dict[str, Any]) -> bool:
        moment = dt.datetime(2026, 5, payload.get("day", 5), 12, tzinfo=dt.UTC)
        return await notices.sync_failed(
            ctx,
            user_id=payload.get("user", "ana"),
            connection_id=payload.get("connection", "c 1"),
            provider="belvo",
            error="El banco no responde",
            needs_reauth=payload.get("reauth", False),
            failed_at=moment,
        )

    @registry.job("degrades", queue=QUEUE_NAME)
    async def degrades(ctx: JobContext, payload: dict[str, Any]) -> int:
        rows = [AccountHealth(type=kind, account_id="debit", account_name="Débito") for kind in payload["kinds"]]
        return await notices.connection_health(ctx, space_id="home", accounts=rows)


async def test_every_member_who_wants_it_gets_the_week_once(desk: Desk) -> None:
    """In their own language; a second run enqueues again and sends nothing."""
    store = desk.resources.store
    await store.users.upsert([{"id": "luis", "email": "luis@example.test", "locale": "en"}])
    await store.users.upsert_preferences([{"user_id": "eva", "weekly_reports": False}])
    payload = {"date": "2026-05-11", "spaceIds": ["home", "other", "nowhere"]}

    assert await desk.run(WEEKLY, payload) == {"spaces": 3, "emails": 2, "errors": 1}
    assert desk.letters() == {
        "ana@example.test": "Tu semana en Casa: $1,400.20 MXN en gastos",
        "luis@example.test": "Your week in Casa: $1,400.20 MXN spent",
    }
    for path in desk.folder.iterdir():
        path.unlink()
    await desk.run(WEEKLY, payload)
    assert desk.letters() == {}


async def test_every_member_who_wants_it_gets_the_month(desk: Desk) -> None:
    """Without space ids all but the demo's spaces are reported."""
    await desk.resources.store.spaces.upsert([{"id": "other", "name": "Otra", "is_demo": True}])
    await desk.resources.store.users.upsert_preferences([{"user_id": "luis", "monthly_reports": False}])

    assert await desk.run(MONTHLY, {"date": "2026-06-01"}) == {"spaces": 1, "emails": 1, "errors": 0}
    assert desk.letters() == {"ana@example.test": "Tu informe de mayo de 2026: Casa"}


async def test_a_run_in_which_every_space_fails_is_a_failed_job(desk: Desk) -> None:
    """B31: all having failed once ended as success."""
    async with Worker(desk.queue, resources=desk.resources):
        job = await desk.queue.enqueue(WEEKLY, {"spaceIds": ["nowhere"]})
        await desk.wait_until(lambda: _attempted(desk, job.id), "the job has failed once")
        info = await desk.queue.get(job.id)
    assert info is not None
    assert info.error is not None
    assert "all 1 spaces failed, the last with LookupError: space 'nowhere' does not exist" in info.error.message


async def _attempted(desk: Desk, job_id: str) -> bool:
    info = await desk.queue.get(job_id)
    return info is not None and info.error is not None


async def test_a_failed_sync_is_told_once_a_day_and_a_lost_permission_once_a_week(desk: Desk) -> None:
    """However often the job fails; each connection for itself."""
    sent = []
    for payload in (
        {},
        {},
        {"day": 6},
        {"connection": "c2"},
        {"reauth": True},
        {"reauth": True, "day": 6},
        {"reauth": True, "day": 12},
    ):
        before = len(list(desk.folder.glob("*.eml"))) if desk.folder.exists() else 0
        assert await desk.run("fails", payload) is True
        sent.append(len(list(desk.folder.glob("*.eml"))) - before)

    assert sent == [1, 0, 1, 1, 1, 0, 1]
    assert set(desk.letters()) == {"ana@example.test"}


async def test_nobody_is_told_about_a_user_who_is_gone(desk: Desk) -> None:
    """No letter, and no error in the job that had it to say."""
    assert await desk.run("fails", {"user": "nobody"}) is False


async def test_members_are_told_of_connections_that_need_attention(desk: Desk) -> None:
    """Each member who wants notices; the same trouble is told once a day, another one at once."""
    await desk.resources.store.users.upsert_preferences([{"user_id": "luis", "email_notifications": False}])

    assert await desk.run("degrades", {"kinds": ["connection_reauth"]}) == 1
    assert desk.letters() == {"ana@example.test": "Una cuenta de Casa necesita tu atención"}
    await desk.run("degrades", {"kinds": ["connection_reauth"]})
    assert len(list(desk.folder.glob("*.eml"))) == 1
    await desk.run("degrades", {"kinds": ["connection_error"]})
    assert len(list(desk.folder.glob("*.eml"))) == 2
    assert await desk.run("degrades", {"kinds": []}) == 0
