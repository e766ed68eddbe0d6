"""Belvo: the connection's own space, a cursor that is kept, signs that are right, updates that arrive."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers.providers import (
    AuthFailed,
    InstitutionUnavailable,
    ProviderError,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    SyncRefused,
)
from dhanam_jobs.handlers.sandbox.world import Fault
from dhanam_jobs.handlers.syncs.ground import NoSpace

if TYPE_CHECKING:
    from tests.handlers.syncs.conftest import Bank


def account(account_id: str = "nomina", category: str = "CHECKING_ACCOUNT", **more: Any) -> Any:
    """An account as Belvo tells it."""
    return {
        "id": account_id,
        "name": account_id.title(),
        "category": category,
        "type": "Cuentas",
        "currency": "MXN",
        "balance_type": "ASSET",
        "balance": {"current": 1500.75, "available": 1500.75},
        "institution": {"name": "erebor_mx_retail", "type": "bank"},
        "number": "4057068115181",
        "link": "…",
        "collected_at": "2026-11-01T00:00:00Z",
        **more,
    }


def movement(number: int, day: dt.date, **more: Any) -> Any:
    """A transaction as Belvo tells it."""
    return {
        "id": f"m{number}",
        "account": {"id": "nomina", "name": "Nomina"},
        "amount": 250.5,
        "type": "OUTFLOW",
        "value_date": day.isoformat(),
        "description": f"COMPRA {number}",
        "merchant": None,
        "category": "Groceries",
        "status": "PROCESSED",
        "mcc": None,
        **more,
    }


async def test_a_first_sync_brings_accounts_and_ninety_days_into_the_connections_space(bank: Bank) -> None:
    """Counts are numbers, the cursor is kept, and the next sync asks from there on with a week's overlap."""
    today = dt.datetime.now(bank.providers.now().tzinfo).date()
    link = await bank.belvo(accounts=[account()], transactions=[movement(n, today) for n in range(40)])

    first = await bank.sync("banco")
    link.transactions.append(movement(50, today, type="INFLOW", amount="99999999999.1234"))
    second = await bank.sync("banco")

    asked = [each.body for each in bank.world.asked_of("/belvo/api/transactions/")]
    assert (first.transactions, first.accounts, second.transactions) == (40, 1, 1)
    assert first.cursor is not None
    cursor = dt.date.fromisoformat(first.cursor)
    assert asked[0]["date_from"] == (cursor - dt.timedelta(days=90)).isoformat()
    assert asked[1]["date_from"] == (cursor - dt.timedelta(days=7)).isoformat()
    amounts = await bank.amounts("home")
    assert (amounts["m1"], amounts["m50"]) == (Decimal("-250.5"), Decimal("99999999999.1234"))
    assert await bank.amounts("firm") == {}


async def test_paged_answers_are_read_to_the_end(bank: Bank) -> None:
    """The same rows, whether they come as one list or in pages."""
    today = dt.date.today()
    await bank.belvo(accounts=[account()], transactions=[movement(n, today) for n in range(25)], page_rows=10)

    assert (await bank.sync("banco")).transactions == 25
    assert len(bank.world.asked_of("/belvo/api/transactions/")) == 3


async def test_changed_movements_are_updated_and_known_ones_are_not_doubled(bank: Bank) -> None:
    """A pending one that is booked a day later with another amount."""
    today = dt.date.today()
    link = await bank.belvo(accounts=[account()], transactions=[movement(1, today, status="PENDING")])
    await bank.sync("banco")
    link.transactions = [movement(1, today, amount=260), movement(1, today, amount=260)]

    result = await bank.sync("banco")

    (row,) = await bank.transactions()
    assert (result.transactions, row["amount"], row["pending"]) == (1, Decimal(-260), False)


async def test_loans_and_credit_lines_are_debts(bank: Bank) -> None:
    """Negative balances, their terms in the liability fields."""
    card = account(
        "tarjeta",
        "CREDIT_CARD",
        balance={"current": 1234.5},
        balance_type="LIABILITY",
        credit_data={
            "credit_limit": 20000,
            "minimum_payment": 350,
            "interest_rate": 42.1,
            "next_payment_date": "2026-12-05",
        },
    )
    loan = account(
        "credito",
        "LOAN_ACCOUNT",
        balance={"current": 90000},
        balance_type="LIABILITY",
        loan_data={
            "principal": 120000,
            "monthly_payment": 4100,
            "interest_rate": 19,
            "contract_start_date": "2025-01-15",
        },
    )
    await bank.belvo(accounts=[card, loan])

    await bank.sync("banco")

    found = await bank.accounts()
    assert (found["tarjeta"]["type"], found["tarjeta"]["balance"]) == ("credit", Decimal("-1234.5"))
    assert (found["tarjeta"]["apr"], found["tarjeta"]["credit_limit"]) == (Decimal("0.421"), Decimal(20_000))
    assert (found["credito"]["type"], found["credito"]["balance"]) == ("other", Decimal(-90_000))
    assert (found["credito"]["liability_type"], found["credito"]["original_principal"]) == ("loan", Decimal(120_000))


async def test_odd_but_legal_entries_cost_only_themselves(bank: Bank) -> None:
    """Nulls, a NUL character, an unknown account, an unknown direction, a broken date."""
    today = dt.date.today()
    rows = [
        movement(1, today, description=None, merchant={"name": "Ti\u0000enda"}, extra=[{}]),
        movement(2, today, account={"id": "unknown"}),
        movement(3, today, type="SIDEWAYS"),
        movement(4, today, amount=None),
        movement(5, today, value_date=f"{today:%Y-%m}-00"),
        movement(6, today, amount=1e25),
    ]
    await bank.belvo(accounts=[account(balance=None), {"id": None}], transactions=rows)

    result = await bank.sync("banco")

    (row,) = await bank.transactions()
    assert row["description"] == "Tienda"
    assert (result.transactions, result.skipped) == (1, 6)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "login_error", AuthFailed),
        (428, "token_required", AuthFailed),
        (400, "too_many_sessions", RateLimited),
        (400, "invalid_link", AuthFailed),
        (401, "consent_without_accounts", AuthFailed),
        (400, "institution_down", InstitutionUnavailable),
        (408, "request_timeout", ProviderTimeout),
        (401, "authentication_failed", ProviderNotConfigured),
        (403, "access_to_resource_denied", ProviderNotConfigured),
        (400, "invalid_period", SyncRefused),
        (500, "unexpected_error", ProviderUnavailable),
    ],
)
async def test_errors_are_told_apart_by_their_code(
    bank: Bank, status: int, code: str, kind: type[ProviderError]
) -> None:
    """The body is a list, as Belvo sends it."""
    await bank.belvo()
    bank.world.faults.append(Fault(path="/belvo/api/accounts/", status=status, body=[{"code": code, "message": ""}]))

    with pytest.raises(kind):
        await bank.sync("banco")


async def test_a_connection_whose_owner_may_not_write_to_its_space_is_refused(bank: Bank) -> None:
    """A viewer of the space, and a space that the user doesn't belong to."""
    for space in ("other", "nowhere"):
        await bank.connect("banco", "belvo", "link", spaceId=space)
        with pytest.raises(NoSpace) as raised:
            await bank.sync("banco")
        assert raised.value.permanent
    assert bank.world.asked == []
