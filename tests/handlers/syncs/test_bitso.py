"""Bitso: wallets valued right, trades whole, and requests that the exchange accepts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers.providers import AuthFailed, ProviderUnavailable, RateLimited

if TYPE_CHECKING:
    from tests.handlers.syncs.conftest import Bank

TICKERS: list[dict[str, Any]] = [
    {"book": "btc_mxn", "last": "1800000.00", "volume": "12.5"},
    {"book": "usd_mxn", "last": "20.00"},
    {"book": "usdt_mxn", "last": "20.10"},
    {"book": "bat_btc", "last": "0.00000250"},
    {"book": "eth_usd", "last": "3000"},
    {"book": "dead_mxn", "last": "0"},
    {"book": "odd_mxn", "last": None},
]


def balance(currency: str, total: str, **more: Any) -> dict[str, Any]:
    """A balance as Bitso tells it."""
    return {"currency": currency, "total": total, "available": total, "locked": "0.00000000", **more}


def trade(tid: int, book: str = "btc_mxn", major: str = "0.01", minor: str = "-18000", **more: Any) -> dict[str, Any]:
    """A trade as Bitso tells it."""
    return {
        "tid": tid,
        "book": book,
        "major": major,
        "minor": minor,
        "price": "1800000",
        "fees_amount": "-0.0001",
        "fees_currency": "btc",
        "oid": f"order-{tid}",
        "side": "sell" if major.startswith("-") else "buy",
        "maker_side": "buy",
        "created_at": "2026-10-05T03:30:00+0000",
        **more,
    }


async def test_fiat_stablecoins_and_coins_without_a_peso_book_have_their_value(bank: Bank) -> None:
    """Cash in its own currency; everything else in dollars, by whatever books lead there."""
    bank.world.tickers = TICKERS
    held = [balance("mxn", "5000.50"), balance("usd", "10"), balance("btc", "0.5")]
    held += [balance("usdt", "100"), balance("bat", "1000"), balance("eth", "2")]
    await bank.bitso(balances=held)

    result = await bank.sync("exchange")

    found = {
        key.split("_")[1]: (account["type"], account["currency"], account["balance"])
        for key, account in (await bank.accounts()).items()
    }
    assert found == {
        "mxn": ("checking", "MXN", Decimal("5000.5000")),
        "usd": ("checking", "USD", Decimal("10.0000")),
        "btc": ("crypto", "USD", Decimal("45000.0000")),
        "usdt": ("crypto", "USD", Decimal("100.5000")),
        "bat": ("crypto", "USD", Decimal("225.0000")),
        "eth": ("crypto", "USD", Decimal("6000.0000")),
    }
    assert (result.accounts, result.missing_prices) == (6, [])


async def test_a_missing_price_keeps_the_old_value_and_is_named(bank: Bank) -> None:
    """Never zero; a coin that is new and has no price waits for one."""
    bank.world.tickers = TICKERS
    client = await bank.bitso(balances=[balance("btc", "0.5")])
    await bank.sync("exchange")
    bank.world.tickers = []
    client.balances = [balance("btc", "0.6"), balance("link", "3"), balance("mxn", "7")]

    result = await bank.sync("exchange")

    accounts = {key.split("_")[1]: account for key, account in (await bank.accounts()).items()}
    assert result.missing_prices == ["BTC", "LINK"]
    assert accounts["btc"]["balance"] == Decimal("45000")
    assert accounts["btc"]["metadata"]["cryptoAmount"] == "0.6"
    assert accounts["mxn"]["balance"] == Decimal(7)
    assert "link" not in accounts


async def test_the_price_server_values_what_no_book_does(bank: Bank) -> None:
    """Bitso's own books come first."""
    bank.world.tickers = TICKERS
    bank.world.prices = {"chainlink": 20.25, "bitcoin": 1.0}
    await bank.bitso(balances=[balance("link", "2"), balance("btc", "1")])

    result = await bank.sync("exchange")

    assert result.missing_prices == []
    assert {key: a["balance"] for key, a in (await bank.accounts()).items()} == {
        "bitso_link_exchange-at-provider": Decimal("40.5"),
        "bitso_btc_exchange-at-provider": Decimal(90_000),
    }


async def test_zero_balances_make_no_accounts_and_empty_known_ones(bank: Bank) -> None:
    """What was sold is worth nothing, price or no price."""
    bank.world.tickers = TICKERS
    client = await bank.bitso(balances=[balance("btc", "0.5"), balance("eth", "0")])
    await bank.sync("exchange")
    bank.world.tickers = []
    client.balances = [balance("btc", "0.00000000")]

    result = await bank.sync("exchange")

    ((key, account),) = (await bank.accounts()).items()
    assert (key, account["balance"]) == ("bitso_btc_exchange-at-provider", Decimal(0))
    assert result.missing_prices == []


async def test_trades_have_two_legs_in_the_money_that_was_paid(bank: Bank) -> None:
    """Buying a coin for pesos: the coin's wallet gains what the pesos' wallet pays, to the centavo."""
    bank.world.tickers = TICKERS
    trades = [trade(7), trade(8, "btc_mxn", "-0.004", "7500.25"), trade(9, "bat_btc", "100", "-0.00025")]
    await bank.bitso(balances=[balance("mxn", "1"), balance("btc", "1")], trades=trades)

    result = await bank.sync("exchange")

    rows = await bank.transactions()
    legs = [
        (row["provider_account_id"].split("_")[1], row["amount"], row["currency"], row["description"]) for row in rows
    ]
    assert legs == [
        ("btc", Decimal(18_000), "MXN", "BUY BTC_MXN"),
        ("mxn", Decimal(-18_000), "MXN", "BUY BTC_MXN"),
        ("btc", Decimal("-7500.25"), "MXN", "SELL BTC_MXN"),
        ("mxn", Decimal("7500.25"), "MXN", "SELL BTC_MXN"),
        ("bat", Decimal("22.5"), "USD", "BUY BAT_BTC"),
        ("btc", Decimal("-22.5"), "USD", "BUY BAT_BTC"),
    ]
    assert result.transactions == 6
    assert all(row["exclude_from_totals"] for row in rows)
    # Half past nine in the evening of the day before, in Mexico City.
    assert {row["date"].isoformat() for row in rows} == {"2026-10-04"}
    assert rows[0]["metadata"]["fees"] == {"amount": "-0.0001", "currency": "btc"}


async def test_all_pages_of_trades_are_read_and_then_only_new_ones(bank: Bank) -> None:
    """250 trades are three pages; a second sync asks from behind the last; a full one asks for all again."""
    bank.world.tickers = TICKERS
    client = await bank.bitso(balances=[balance("mxn", "1")], trades=[trade(tid) for tid in range(1, 251)])

    assert (await bank.sync("exchange")).transactions == 500
    asked = len(bank.world.asked_of("/bitso/v3/user_trades/"))
    client.trades.append(trade(251))
    again = await bank.sync("exchange")
    full = await bank.sync("exchange", full=True)

    assert asked == 3
    assert (again.transactions, again.cursor) == (2, "251")
    assert "marker=250" in bank.world.asked_of("/bitso/v3/user_trades/")[asked].target
    assert (full.transactions, len(await bank.transactions())) == (0, 502)


async def test_a_sync_that_fails_half_way_is_whole_after_the_next(bank: Bank) -> None:
    """Nothing is lost and nothing is there twice."""
    bank.world.tickers = TICKERS
    await bank.bitso(balances=[balance("mxn", "1")], trades=[trade(tid) for tid in range(1, 251)])
    (fault := _fault("/bitso/v3/user_trades/", after=1, status=503))
    bank.world.faults.append(fault)

    with pytest.raises(ProviderUnavailable, match="P001 bitso: it answered 503"):
        await bank.sync("exchange")
    await bank.sync("exchange")

    assert len(await bank.transactions()) == 500


async def test_signatures_cover_the_query_and_nonces_rise_within_a_second(bank: Bank) -> None:
    """The sandbox verifies both; five syncs at once of five clients make no two equal nonces."""
    bank.world.tickers = TICKERS
    for number in range(5):
        await bank.bitso(f"x{number}", balances=[balance("mxn", "1")], trades=[trade(tid) for tid in range(1, 120)])

    results = await asyncio.gather(*(bank.sync(f"x{number}") for number in range(5)))

    assert [result.transactions for result in results] == [238] * 5


async def test_a_refused_key_is_permanent_and_shown_on_the_connection(bank: Bank) -> None:
    """HTTP 401 with code 0201; nothing is tried again before the person has connected anew."""
    client = await bank.bitso(balances=[])
    client.secret = "another"

    with pytest.raises(AuthFailed) as raised:
        await bank.sync("exchange")

    connection = await bank.store.provider_connections.get("exchange")
    assert raised.value.permanent
    assert connection is not None
    assert (connection.status, connection.error_code) == ("error", "P002")
    assert "0202" in str(connection.error)
    (attempt,) = await bank.store.provider_connections.attempts_of("exchange")
    assert (attempt.status, attempt.error_code) == ("failure", "P002")


@pytest.mark.parametrize(
    ("status", "body", "wait"),
    [(420, {"success": False, "error": {"code": "0801", "message": "slow down"}}, 30), (429, "no JSON", 30)],
)
async def test_420_and_429_are_limits_of_the_connection(bank: Bank, status: int, body: Any, wait: int) -> None:
    """Retry-After says how long; the connection remembers it, other connections go on."""
    await bank.bitso(balances=[])
    headers = {"Retry-After": str(wait)}
    bank.world.faults.append(_fault("/bitso/v3/balance/", status=status, body=body, headers=headers))

    with pytest.raises(RateLimited) as raised:
        await bank.sync("exchange")

    connection = await bank.store.provider_connections.get("exchange")
    health = await bank.store.provider_health.get("bitso", "MX")
    assert (raised.value.retry_after, raised.value.scope) == (wait, "connection")
    assert connection is not None
    assert connection.rate_limited_until is not None
    assert connection.status == "active"
    assert health is not None
    assert not health.rate_limited


async def test_success_false_with_status_200_is_an_error(bank: Bank) -> None:
    """The envelope counts, not the status alone."""
    await bank.bitso(balances=[])
    body = {"success": False, "error": {"code": "0201", "message": "Invalid Nonce"}}
    bank.world.faults.append(_fault("/bitso/v3/balance/", status=200, body=body))

    with pytest.raises(AuthFailed, match="code 0201"):
        await bank.sync("exchange")


async def test_odd_but_legal_balances_cost_only_themselves(bank: Bank) -> None:
    """Nulls, unknown fields, huge numbers, duplicates and broken entries beside good ones."""
    bank.world.tickers = TICKERS
    held: list[dict[str, Any]] = [
        balance("mxn", "5", mystery={"deep": [1]}),
        balance("mxn", "5"),
        balance("btc", "1e400"),
        balance("eth", "NaN"),
        balance("usd", "-3"),
        {"currency": "sol", "total": None},
        {"nothing": "known"},
        balance("usdt", "99999999999999999999"),
    ]
    await bank.bitso(balances=held, trades=[trade(1), trade(2, created_at="yesterday"), {"tid": 3, "book": None}])

    result = await bank.sync("exchange")

    accounts = await bank.accounts()
    assert {key.split("_")[1] for key in accounts} == {"mxn", "btc"}
    assert accounts["bitso_mxn_exchange-at-provider"]["balance"] == Decimal(5)
    assert result.transactions == 2
    assert result.skipped == 8


async def test_two_users_of_one_exchange_account_keep_their_own_books(bank: Bank) -> None:
    """Accounts are looked up within the space, so neither overwrites the other."""
    bank.world.tickers = TICKERS
    await bank.bitso("one", balances=[balance("mxn", "1")])
    await bank.bitso("two", "eva", balances=[balance("mxn", "2")])
    await bank.store.provider_connections.upsert([{"id": "two", "provider_user_id": "one-at-provider"}])

    await bank.sync("one")
    await bank.sync("two")

    key = "bitso_mxn_one-at-provider"
    assert (await bank.accounts("home"))[key]["balance"] == Decimal(1)
    assert (await bank.accounts("other"))[key]["balance"] == Decimal(2)


async def test_the_wallets_of_a_user_with_two_spaces_are_in_the_personal_one(bank: Bank) -> None:
    """Once, and a second sync of the day changes nothing but the moment."""
    bank.world.tickers = TICKERS
    await bank.bitso(balances=[balance("mxn", "1"), balance("btc", "1")])

    await bank.sync("exchange")
    before = await bank.accounts()
    await bank.sync("exchange")

    assert (await bank.accounts("firm")) == {}
    assert {key: row["id"] for key, row in (await bank.accounts()).items()} == {k: r["id"] for k, r in before.items()}


def _fault(path: str, **fields: Any) -> Any:
    from dhanam_jobs.handlers.sandbox.world import Fault

    return Fault(path=path, **fields)
