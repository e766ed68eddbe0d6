"""A day of the whole service, an hour at a time: providers fail at random, and a process is killed every hour.

At its end balances, transactions, categories, snapshots and mails are compared with what the town's own world comes to.
A failure names the seed; `SIMULATED_DAY_SEED=…` repeats the day, or lives another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import Engine, next_fires
from dhanam_jobs.handlers import JobsService, build_registry
from dhanam_jobs.handlers.categorize_all import CategorizeAll
from dhanam_jobs.handlers.mail.figures import money
from dhanam_jobs.handlers.sandbox.plaid import problem
from dhanam_jobs.handlers.sandbox.server import running_sandbox
from dhanam_jobs.handlers.sandbox.world import Fault
from dhanam_jobs.handlers.schedules import SCHEDULES
from dhanam_jobs.handlers.snapshot_valuations import SnapshotAll
from dhanam_jobs.handlers.store import Store
from dhanam_jobs.handlers.store.maintenance_tables import sessions
from dhanam_jobs.handlers.store.schema import users
from dhanam_jobs.handlers.sync_portfolio import SyncPortfolio
from dhanam_jobs.handlers.sync_wallets import SyncWallets
from dhanam_jobs.handlers.token_cipher import TokenCipher
from tests.day.books import Books
from tests.day.fleet import Fleet
from tests.day.service import Service
from tests.day.town import PEOPLE, RATES, Town
from tests.handlers.mail.conftest import PASSWORD, USER

if TYPE_CHECKING:
    from tests.conftest import StartRedis
    from tests.handlers.mail.conftest import MailServer

HOURS = 24
SEED = int(os.environ.get("SIMULATED_DAY_SEED", "20261128"))
KEY = "k" * 32
PATHS = (
    "/bitso/v3/balance",
    "/bitso/v3/user_trades",
    "/bitso/v3/ticker",
    "/belvo/api/accounts",
    "/belvo/api/transactions",
    "/plaid/accounts",
    "/plaid/transactions",
    "/bitcoin/address",
    "/ethereum",
    "/prices/simple",
    "/dhanam/esg",
    "/rates",
)


@dataclass
class Day:
    """Everything that a day needs."""

    chance: random.Random
    town: Town
    books: Books
    service: Service
    mail: MailServer
    environ: dict[str, str]

    @property
    def jobs(self) -> JobsService:
        """The service's methods, as its users call them."""
        return JobsService(self.service.engine, store=self.books.store)

    async def sync_banks(self) -> None:
        """Everybody presses the button for their banks."""
        for name in PEOPLE:
            for provider in ("belvo", "plaid"):
                await self.jobs.trigger_user_sync(name, provider)

    def trouble(self) -> None:
        """Draw what goes wrong in the next hour: outages, limits, answers cut off half way or that make no sense."""
        kinds: list[dict[str, Any]] = [
            {"status": 503},
            {"status": 500, "body": "<html>"},
            {"status": 504, "hang": 0.2},
            {"status": 429, "headers": {"Retry-After": "1"}},
            {"status": 420, "headers": {"Retry-After": "2"}},
            {"status": 200, "body": "{"},
            {"status": 200, "body": [None]},
            {"cut": True},
            {"hang": 0.5, "status": 503},
        ]
        for _ in range(self.chance.randint(2, 5)):
            path, kind = self.chance.choice(PATHS), self.chance.choice(kinds)
            # Rates come once a day: they may fail twice, which the attempts make up for.
            most = 2 if path == "/rates" else 4
            times = self.chance.randint(1, most)
            self.town.world.faults.append(Fault(path=path, after=self.chance.randint(0, 3), times=times, **kind))


@pytest.fixture
async def day(
    start_redis: StartRedis, tmp_path: Path, mail_server: MailServer, certificate: Path
) -> AsyncIterator[Day]:
    """The town, its service with two processes, and the sandbox and mail server that they reach."""
    chance = random.Random(SEED)
    now = dt.datetime.now(dt.UTC)
    # Noon in the spaces, wherever this runs: no local midnight comes while the test does.
    zone = f"Etc/GMT{now.hour - 12:+d}" if now.hour != 12 else "Etc/GMT"
    town = Town(chance, today=now.replace(hour=12).date(), now=int(now.timestamp()))
    url = start_redis().url
    database = f"sqlite:///{tmp_path / 'store.db'}"
    async with contextlib.AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(running_sandbox(town.world))
        store = await stack.enter_async_context(await Store.open(database))
        books = Books(store)
        await books.furnish(TokenCipher(KEY), zone)
        environ = {
            "REDIS_URL": url,
            "DATABASE_URL": database,
            "JOBS_DATA_DIR": str(tmp_path / "data"),
            "JWT_SECRET": "j" * 32,
            "ENCRYPTION_KEY": KEY,
            "BITSO_URL": f"{sandbox}/bitso/v3",
            "BELVO_URL": f"{sandbox}/belvo",
            "PLAID_URL": f"{sandbox}/plaid",
            "BTC_API_URL": f"{sandbox}/bitcoin",
            "ETH_RPC_URL": f"{sandbox}/ethereum",
            "PRICES_URL": f"{sandbox}/prices",
            "RATES_URL": f"{sandbox}/rates",
            "ESG_URL": f"{sandbox}/dhanam",
            "BELVO_SECRET_KEY_ID": town.world.belvo_secret[0],
            "BELVO_SECRET_KEY_PASSWORD": town.world.belvo_secret[1],
            "PLAID_CLIENT_ID": town.world.plaid_secret[0],
            "PLAID_SECRET": town.world.plaid_secret[1],
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_server.port),
            "SMTP_USER": USER,
            "SMTP_PASSWORD": PASSWORD,
            "SSL_CERT_FILE": str(certificate),
            "LOG_LEVEL": "warning",
        }
        fleet = Fleet(environ, tmp_path / "service.log")
        stack.callback(fleet.end)
        registry = build_registry()
        engine, clock = [await stack.enter_async_context(Engine.connect(url, registry=registry)) for _ in range(2)]
        yield Day(chance, town, books, Service(engine, clock, store, fleet), mail_server, environ)


def _greylisting() -> Any:
    """The mail server's first answer to each recipient of the day: come again."""
    known: set[str] = set()

    def answer(recipient: str) -> str | None:
        if recipient in known:
            return None
        known.add(recipient)
        return "451 4.7.1 greylisted, come again"

    return answer


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_day_of_failures_and_kills_loses_nothing_and_doubles_nothing(day: Day) -> None:
    """24 hours of all schedules, with as many kills."""
    try:
        await _live(day)
    except BaseException:
        print(f"\nSIMULATED_DAY_SEED={SEED}\n{day.service.fleet.complaints()}")
        raise


async def _live(day: Day) -> None:
    service, town = day.service, day.town
    day.mail.on_rcpt = _greylisting()
    for _ in range(2):
        service.fleet.start()
    await _declared(service)
    begun_ms = round(time.time() * 1000)
    before = await service.schedules()

    await _sync_all(day)
    by_hand = {name: await day.books.choose_by_hand(name) for name in PEOPLE}
    locked_out = day.chance.randrange(2, HOURS)
    revoked = day.chance.randrange(2, HOURS)
    for hour in range(HOURS):
        town.hour()
        day.trouble()
        exchange = town.world.bitso["key-eva"]
        if hour == revoked:
            exchange.secret = "another one"
            await day.jobs.trigger_user_sync("eva", "bitso")
        if hour == locked_out:
            lost = problem("ITEM_LOGIN_REQUIRED")
            town.world.faults.insert(0, Fault(path="/plaid/accounts", times=1, status=400, body=lost))
        await service.hour_passes()
        await day.sync_banks()
        await service.killed_at_work(day.chance)
        await service.quiet()
        exchange.secret = "the-api-secret"
        town.world.faults.clear()
    failed, wallets = await service.failed_syncs(), await service.failed_wallets()

    town.night()
    await _sync_all(day)
    for name in ("send-weekly-summaries", "send-monthly-reports"):
        await service.engine.schedules.run_now(name)
    await service.quiet()

    await _check_schedules(day, before, begun_ms)
    await _check_books(day, by_hand)
    await _check_clean_ups(day)
    await _check_mail(day, failed, wallets)
    assert {connection for connection, lost in failed if lost} >= {"bitso-eva"}
    # The day was as hard as it says it was.
    assert sum(service.kills.values()) - service.kills["idle"] >= HOURS // 2, service.kills
    inspected = await asyncio.to_thread(service.inspect, day.environ)
    assert inspected.returncode == 0, inspected.stdout + inspected.stderr
    assert service.fleet.stop() == [0, 0]


async def _declared(service: Service) -> None:
    until = time.monotonic() + 60
    while len(await service.schedules()) < len(SCHEDULES):
        assert time.monotonic() < until, service.fleet.complaints()
        await asyncio.sleep(0.05)


async def _sync_all(day: Day) -> None:
    """Everything once, with nothing in its way: syncs, then what is made of them."""
    engine = day.service.engine
    await day.sync_banks()
    await engine.queue("sync-transactions").enqueue(SyncPortfolio())
    await engine.queue("sync-transactions").enqueue(SyncWallets())
    await day.service.quiet()
    await engine.queue("system-maintenance").enqueue("refresh-exchange-rates", {})
    await engine.queue("categorize-transactions").enqueue(CategorizeAll())
    await day.service.quiet()
    job = await engine.queue("valuation-snapshots").enqueue(SnapshotAll())
    result = await job.result(timeout=60)
    assert (result["spaces"], result["errors"], result["missingRates"]) == (2 * len(PEOPLE), 0, [])
    await day.service.quiet()


async def _check_schedules(day: Day, before: dict[str, tuple[int, int]], begun_ms: int) -> None:
    """Each tick of the day started one run, and none was skipped."""
    runs = await day.service.schedules()
    begun = dt.datetime.fromtimestamp(begun_ms / 1000, dt.UTC)
    end = dt.datetime.fromtimestamp(day.service.now_ms / 1000, dt.UTC)
    for row in SCHEDULES:
        due = [fire for fire in next_fires(row.cron, "UTC", begun, HOURS + 2) if fire <= end]
        assert runs[row.name] == (before[row.name][0] + len(due), 0), row.name


async def _check_books(day: Day, by_hand: dict[str, tuple[str, str]]) -> None:
    """Transactions, categories, balances and snapshots are the town's, each once."""
    for name in PEOPLE:
        wanted = {
            (account, key, amount, by_hand[name][1] if key == by_hand[name][0] else category)
            for account, key, amount, category in day.town.rows(name)
        }
        found = await day.books.rows(name)
        assert len(found) == len(set(found))
        assert set(found) - wanted == set(), name
        assert wanted - set(found) == set(), name
        balances = day.town.balances(name)
        assert await day.books.balances(name) == balances
        valued = await day.books.valuations(name)
        assert valued == {key: [(day.town.today, *worth)] for key, worth in balances.items()}
    assert set((await day.books.statuses()).values()) == {"active"}


async def _check_clean_ups(day: Day) -> None:
    """Gone: the stale connection, the session that was over, the demo's visitor, who left long ago. No one else."""
    assert "stale" not in await day.books.statuses()
    assert await day.books.ids(sessions) == {"good"}
    assert await day.books.ids(users) == {*PEOPLE, "persona"}
    rates = await day.books.store.exchange_rates.between(day.town.today, day.town.today, demo=False)
    assert {rate.to_currency: rate.rate for rate in rates} == {code: Decimal(str(rate)) for code, rate in RATES.items()}


async def _check_mail(day: Day, failed: list[tuple[str, bool]], wallets: set[str]) -> None:
    """Each letter that there was reason for, once, and no other."""
    wanted: Counter[tuple[str, str]] = Counter()
    for connection, lost in set(failed):
        provider, _, name = connection.partition("-")
        spanish, english = (
            ("Vuelve a autorizar", "Authorise") if lost else ("No pudimos actualizar", "We couldn't update")
        )
        again = " again" if lost and name == "luis" else ""
        subject = f"{english if name == 'luis' else spanish} {provider.title()}{again}"
        wanted[f"{name}@example.test", subject] += 1
    for name in ("ana", "luis"):
        # At home there are trades, which are in no total, and payments of today.
        spent = money(_spent_last_week(day.town, name), "MXN")
        spanish, english = (
            f"Tu semana en Taller {name}: {spent} en gastos",
            f"Your week in Taller {name}: {spent} spent",
        )
        wanted[f"{name}@example.test", english if name == "luis" else spanish] += 1
    found = Counter(
        (str(message["To"]), str(message["Subject"]))
        for message in {str(message["Message-ID"]): message for message in day.mail.messages}.values()
    )
    # Wallets that couldn't be read, which a job that failed for good tells the people of their space.
    health = {key: count for key, count in found.items() if "tu atención" in key[1] or "your attention" in key[1]}
    assert {to for to, _ in health} == {f"{name}@example.test" for name in wallets}
    found -= Counter(health)
    months = {key: count for key, count in found.items() if "informe" in key[1] or "report for" in key[1]}
    assert set(months.values()) <= {1}
    assert {to for to, _ in months} == {"ana@example.test", "eva@example.test"}
    assert found - Counter(months) == wanted
    assert all(day.mail.encrypted)


def _spent_last_week(town: Town, name: str) -> Decimal:
    """What left a person's bank accounts in pesos in the last whole week."""
    monday = town.today - dt.timedelta(days=town.today.weekday() + 7)
    days = {(monday + dt.timedelta(days=number)).isoformat() for number in range(7)}
    rows = {row["id"]: row for row in town.world.belvo[f"link-{name}"].transactions if row["id"].startswith("b")}
    spent = [row["amount"] for row in rows.values() if row["type"] == "OUTFLOW" and row["value_date"] in days]
    return sum(map(Decimal, map(str, spent)), Decimal(0))
