"""Plaid: every page since the cursor, changes and removals, debts, and errors told apart by their code."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers.categorize_transactions import categorize_space
from dhanam_jobs.handlers.providers import AuthFailed, InstitutionUnavailable, ProviderError, RateLimited, SyncFailed
from dhanam_jobs.handlers.sandbox.plaid import problem
from dhanam_jobs.handlers.sandbox.world import Fault
from dhanam_jobs.handlers.store.columns import utc_now

if TYPE_CHECKING:
    from tests.conftest import WaitUntil
    from tests.handlers.syncs.conftest import Bank


def account(account_id: str = "checking", kind: str = "depository", subtype: str = "checking", **more: Any) -> Any:
    """An account as Plaid tells it."""
    balances = {"available": 90.5, "current": 100.25, "limit": None, "iso_currency_code": "USD", **more}
    return {
        "account_id": account_id,
        "name": account_id.title(),
        "official_name": None,
        "mask": "0000",
        "type": kind,
        "subtype": subtype,
        "balances": {"unofficial_currency_code": None, **balances},
    }


def added(number: int, **more: Any) -> tuple[str, Any]:
    """A transaction that appeared."""
    return ("added", entry(number, **more))


def entry(number: int, **more: Any) -> Any:
    """A transaction as Plaid tells it."""
    return {
        "transaction_id": f"t{number}",
        "account_id": "checking",
        "amount": 12.5,
        "iso_currency_code": "USD",
        "date": "2026-10-01",
        "name": f"STORE {number}",
        "merchant_name": "Store",
        "pending": False,
        "pending_transaction_id": None,
        "category": ["Shops"],
        "location": {"city": None},
        "counterparties": [{"new": "field"}],
        **more,
    }


async def test_every_page_is_read_and_the_next_sync_begins_behind_the_last(bank: Bank) -> None:
    """1,203 transactions in pages of 500; the connection keeps the cursor beside what else it knows."""
    item = await bank.plaid(accounts=[account()], events=[added(n) for n in range(1203)])

    first = await bank.sync("bank")
    item.events += [added(2000, amount=-3)]
    second = await bank.sync("bank")

    connection = await bank.store.provider_connections.get("bank")
    assert (first.transactions, first.cursor) == (1203, "cursor-1203")
    assert (second.transactions, second.cursor) == (1, "cursor-1204")
    assert (await bank.amounts())["t2000"] == Decimal(3)
    assert (await bank.amounts())["t7"] == Decimal("-12.5")
    assert connection is not None
    assert {"spaceId", "itemId", "cursor", "lastSyncAt", "lastSyncResult", "lastSyncDurationMs"} == set(
        connection.details
    )


async def test_metadata_that_others_set_while_a_sync_ran_stays(bank: Bank, wait_until: WaitUntil) -> None:
    """Fields are set one by one, never the whole."""
    await bank.plaid(accounts=[account()], events=[added(1)])
    bank.world.faults.append(Fault(path="/plaid/transactions/sync", hang=0.3, status=500))
    running = asyncio.ensure_future(bank.sync("bank"))
    await wait_until(lambda: bank.world.asked_of("/plaid/transactions/sync"), "the sync asks for changes")
    await bank.store.provider_connections.set_metadata("bank", {"expirationWarningAt": "soon", "cursor": "cursor-0"})
    with pytest.raises(ProviderError):
        await running
    await bank.sync("bank")

    connection = await bank.store.provider_connections.get("bank")
    assert connection is not None
    assert connection.details["expirationWarningAt"] == "soon"
    assert connection.details["spaceId"] == "home"
    assert connection.details["cursor"] == "cursor-1"


async def test_modified_and_removed_transactions_follow_within_their_connection(bank: Bank) -> None:
    """Another connection's transaction of the same id stays as it is."""
    item = await bank.plaid(accounts=[account()], events=[added(1), added(2), added(3)])
    await bank.plaid("second", accounts=[account("other")], events=[added(2, account_id="other")])
    await bank.sync("bank")
    await bank.sync("second")
    item.events += [("modified", entry(1, amount=99, name="STORE ONE")), ("removed", {"transaction_id": "t2"})]

    result = await bank.sync("bank")

    rows = {(row["provider_account_id"], row["provider_transaction_id"]): row for row in await bank.transactions()}
    assert (result.transactions, result.removed) == (1, 1)
    assert set(rows) == {("checking", "t1"), ("checking", "t3"), ("other", "t2")}
    assert (rows["checking", "t1"]["amount"], rows["checking", "t1"]["description"]) == (Decimal(-99), "STORE ONE")


async def test_paging_begins_again_where_the_data_changed_under_it(bank: Bank) -> None:
    """From the cursor of the beginning, and the cursor moves only after the last page."""
    await bank.plaid(accounts=[account()], events=[added(n) for n in range(1100)])
    body = problem("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", "TRANSACTIONS_ERROR")
    bank.world.faults.append(Fault(path="/plaid/transactions/sync", after=1, status=400, body=body))

    result = await bank.sync("bank")

    asked = [each.body["cursor"] for each in bank.world.asked_of("/plaid/transactions/sync")]
    assert asked == ["", "cursor-500", "", "cursor-500", "cursor-1000"]
    assert result.transactions == 1100

    bank.world.faults.append(Fault(path="/plaid/transactions/sync", times=9, status=400, body=body))
    with pytest.raises(SyncFailed, match="changed under the paging"):
        await bank.sync("bank")


async def test_a_sync_cut_off_half_way_has_changed_nothing(bank: Bank) -> None:
    """Rows and cursor move together."""
    await bank.plaid(accounts=[account()], events=[added(n) for n in range(1100)])
    bank.world.faults.append(Fault(path="/plaid/transactions/sync", after=1, cut=True))

    with pytest.raises(ProviderError):
        await bank.sync("bank")
    assert await bank.transactions() == []

    assert (await bank.sync("bank")).transactions == 1100


async def test_types_debts_and_currencies_are_what_they_are(bank: Bank) -> None:
    """Savings are savings, debts are negative, and an unknown currency keeps its name."""
    kinds = [
        account("s", subtype="savings"),
        account("c", "credit", "credit card", current=1200.5, limit=5000),
        account("m", "loan", "mortgage", current=250000),
        account("l", "loan", "student", current=None, available=None),
        account("gbp", iso_currency_code="GBP"),
        account("btc", iso_currency_code=None, unofficial_currency_code="BTC"),
        account("none", current=None, available=None, iso_currency_code=None),
        account("huge", current=1e30),
    ]
    debts = {
        "credit": [
            {
                "account_id": "c",
                "aprs": [
                    {"apr_percentage": 27.5, "apr_type": "cash_apr"},
                    {"apr_percentage": 15.24, "apr_type": "purchase_apr"},
                ],
                "is_overdue": False,
                "minimum_payment_amount": 20,
                "next_payment_due_date": "2026-12-20",
                "last_payment_amount": 168.25,
                "last_payment_date": "2026-11-20",
            }
        ],
        "mortgage": [
            {
                "account_id": "m",
                "interest_rate": {"percentage": 3.99, "type": "fixed"},
                "next_monthly_payment": 3141.54,
                "past_due_amount": 2304,
                "origination_principal_amount": 425000,
                "origination_date": "2015-08-01",
            }
        ],
        "student": None,
    }
    await bank.plaid(accounts=kinds, liabilities=debts)

    result = await bank.sync("bank")

    found = await bank.accounts()
    assert {key: (row["type"], row["currency"], row["balance"]) for key, row in found.items()} == {
        "s": ("savings", "USD", Decimal("100.25")),
        "c": ("credit", "USD", Decimal("-1200.5")),
        "m": ("other", "USD", Decimal(-250_000)),
        "l": ("other", "USD", Decimal(0)),
        "gbp": ("checking", "GBP", Decimal("100.25")),
        "btc": ("checking", "BTC", Decimal("100.25")),
        "none": ("checking", "USD", Decimal(0)),
    }
    assert result.skipped == 1
    card, mortgage = found["c"], found["m"]
    assert (card["apr"], card["minimum_payment"], card["credit_limit"]) == (
        Decimal("0.1524"),
        Decimal(20),
        Decimal(5000),
    )
    assert (card["liability_type"], card["next_payment_due_date"]) == ("credit_card", dt.date(2026, 12, 20))
    assert (mortgage["liability_type"], mortgage["is_overdue"], mortgage["original_principal"]) == (
        "mortgage",
        True,
        Decimal(425_000),
    )


async def test_a_booked_transaction_takes_over_what_was_chosen_for_the_pending_one(bank: Bank) -> None:
    """Pending is kept, and the category outlives the pending row."""
    item = await bank.plaid(accounts=[account()], events=[added(1, pending=True)])
    await bank.sync("bank")
    await _categories(bank)
    (pending,) = await bank.transactions()
    await bank.store.transactions.set_categories({"food": [pending["id"]]})
    item.events += [added(2, pending_transaction_id="t1", amount=13), ("removed", {"transaction_id": "t1"})]

    await bank.sync("bank")

    assert pending["pending"] is True
    (booked,) = await bank.transactions()
    assert (booked["provider_transaction_id"], booked["pending"], booked["category_id"]) == ("t2", False, "food")


async def test_what_a_person_chose_outlives_every_sync(bank: Bank) -> None:
    """Category, merchant, a deleted transaction, a renamed and a deleted account."""
    item = await bank.plaid(accounts=[account(), account("gone")], events=[added(1), added(2)])
    await bank.sync("bank")
    await _categories(bank)
    rows = {row["provider_transaction_id"]: row for row in await bank.transactions()}
    ids = {key: row["id"] for key, row in (await bank.accounts()).items()}
    await bank.store.transactions.upsert(
        [
            {"id": rows["t1"]["id"], "category_id": "food", "merchant": "La tienda", "reviewed": True},
            {"id": rows["t2"]["id"], "deleted_at": utc_now()},
        ]
    )
    await bank.store.accounts.upsert(
        [{"id": ids["checking"], "name": "Mine"}, {"id": ids["gone"], "deleted_at": utc_now()}]
    )
    item.events += [("modified", entry(1, amount=20)), ("modified", entry(2, amount=20))]

    await bank.sync("bank")
    await bank.sync("bank", full=True)

    (row,) = await bank.transactions()
    assert (row["category_id"], row["merchant"], row["reviewed"]) == ("food", "La tienda", True)
    assert row["amount"] == Decimal(-20)
    accounts = await bank.accounts()
    assert accounts["checking"]["name"] == "Mine"
    assert accounts["gone"]["deleted_at"] is not None


@pytest.mark.parametrize(
    ("status", "code", "kind", "wanted"),
    [
        (400, "ITEM_LOGIN_REQUIRED", AuthFailed, "P002"),
        (400, "INVALID_ACCESS_TOKEN", AuthFailed, "P002"),
        (400, "INSTITUTION_DOWN", InstitutionUnavailable, "P001"),
        (429, "RATE_LIMIT_EXCEEDED", RateLimited, "P003"),
        (400, "TRANSACTIONS_SYNC_LIMIT", RateLimited, "P003"),
        (400, "INVALID_FIELD", ProviderError, "P004"),
        (500, "INTERNAL_SERVER_ERROR", ProviderError, "P001"),
    ],
)
async def test_errors_are_told_apart_by_their_code(
    bank: Bank, status: int, code: str, kind: type[ProviderError], wanted: str
) -> None:
    """One bank that is down, or one person who must log in, says nothing about Plaid itself."""
    await bank.plaid(accounts=[account()])
    bank.world.faults.append(Fault(path="/plaid/accounts/get", status=status, body=problem(code)))

    with pytest.raises(kind) as raised:
        await bank.sync("bank")

    health = await bank.store.provider_health.get("plaid", "US")
    assert raised.value.code == wanted
    assert health is not None
    assert health.failed_calls == (1 if status == 500 else 0)


async def test_two_syncs_and_a_categorisation_at_once_lose_nothing(bank: Bank) -> None:
    """One space, all its rows changed and categorised at the same time."""
    one = await bank.plaid("one", accounts=[account("a")], events=[added(n, account_id="a") for n in range(600)])
    two = await bank.plaid("two", accounts=[account("b")], events=[added(n, account_id="b") for n in range(600)])
    await bank.sync("one")
    await bank.sync("two")
    await _categories(bank)
    conditions = [{"field": "description", "operator": "contains", "value": "store"}]
    rule = {"id": "r", "space_id": "home", "name": "r", "conditions": conditions, "category_id": "food"}
    await bank.store.rules.upsert([rule])
    one.events += [("modified", entry(n, account_id="a", amount=1)) for n in range(600)]
    two.events += [("modified", entry(n, account_id="b", amount=1)) for n in range(600, -1, -1)]

    _, _, done = await asyncio.gather(bank.sync("one"), bank.sync("two"), categorize_space(bank.store, "home"))
    more = await categorize_space(bank.store, "home")

    rows = await bank.transactions()
    assert {row["amount"] for row in rows} == {Decimal(-1)}
    assert {row["category_id"] for row in rows} == {"food"}
    assert done.categorized + more.categorized == len(rows) == 1201


async def _categories(bank: Bank) -> None:
    await bank.store.budgets.upsert([{"id": "budget", "space_id": "home", "name": "Gastos"}])
    await bank.store.budgets.upsert_categories([{"id": "food", "budget_id": "budget", "name": "Comida"}])
