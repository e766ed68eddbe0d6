"""Wallets: balances and history as the chains have them, for read-only wallets alone."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers.providers import ProviderUnavailable
from dhanam_jobs.handlers.providers.addresses import checksummed, is_bitcoin, is_ethereum
from dhanam_jobs.handlers.sandbox.world import Fault
from dhanam_jobs.handlers.sync_wallets import sync_wallets_of

if TYPE_CHECKING:
    from tests.handlers.syncs.conftest import Bank

BTC = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
SEGWIT = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
ETH = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
STRANGER = "0x00000000000000000000000000000000000000ff"
ETHER = 10**18
NOW = int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp())


async def wallet(bank: Bank, account_id: str, coin: str, address: str, **fields: Any) -> None:
    """Store a read-only wallet in `home`."""
    metadata = {"readOnly": True, "cryptoCurrency": coin, "address": address, "label": "mine"}
    await bank.store.accounts.upsert(
        [
            {
                "id": account_id,
                "space_id": "home",
                "name": account_id,
                "type": "crypto",
                "subtype": "non-custodial",
                "provider": "manual",
                "provider_account_id": address,
                "currency": "USD",
                "metadata": {**metadata, **fields.pop("metadata", {})},
                **fields,
            }
        ]
    )


def payment(number: int, into: int, out: int = 0, change: int = 0, *, to: str = BTC, confirmed: bool = True) -> Any:
    """A Bitcoin transaction that brings `into` satoshis, or spends `out` of which `change` comes back."""
    stranger = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"
    vin = [
        {"prevout": {"scriptpubkey_address": to if out else stranger, "value": out or into + 500}},
        {"prevout": None},
    ]
    # The change stands first, as it often does.
    vout = [{"scriptpubkey_address": to, "value": into or change}, {"value": 0}]
    vout.append({"scriptpubkey_address": stranger, "value": max(0, out - change - 500)})
    status = {"confirmed": confirmed, "block_height": 1000 + number, "block_time": NOW - 86_400 * (400 - number)}
    return {
        "txid": f"{number:064x}",
        "fee": 500,
        "vin": vin,
        "vout": vout,
        "status": status if confirmed else {"confirmed": False},
    }


async def test_a_bitcoin_wallet_has_its_balance_and_its_whole_history(bank: Bank) -> None:
    """60 transactions are three pages; the address keeps its case."""
    await wallet(bank, "cold", "btc", BTC)
    bank.world.bitcoin[BTC] = [payment(n, 100_000) for n in range(60)]
    bank.world.prices = {"bitcoin": 90_000.0}

    result = await sync_wallets_of(bank.store, bank.providers, "ana")
    again = await sync_wallets_of(bank.store, bank.providers, "ana")

    (account,) = (await bank.accounts()).values()
    assert (result.synced, result.total, result.errors, result.transactions) == (1, 1, 0, 60)
    assert again.transactions == 0
    assert account["balance"] == Decimal("5400")
    assert account["metadata"]["cryptoBalance"] == "0.06"
    assert (account["metadata"]["lastBlock"], account["metadata"]["label"]) == (1059, "mine")
    assert any(BTC in each.target for each in bank.world.asked)
    assert not any(BTC.lower() in each.target for each in bank.world.asked)


async def test_what_left_a_wallet_is_negative_even_where_its_change_comes_first(bank: Bank) -> None:
    """Direction is what the wallet gained or lost, not what the first output says."""
    await wallet(bank, "cold", "btc", BTC)
    bank.world.bitcoin[BTC] = [
        payment(1, 1_000_000),
        payment(2, 0, 1_000_000, 400_000),
        payment(3, 5_000, confirmed=False),
    ]
    bank.world.prices = {"bitcoin": 100_000.0}

    await sync_wallets_of(bank.store, bank.providers, "ana")

    rows = await bank.transactions()
    assert [row["amount"] for row in rows] == [Decimal(1000), Decimal(-600), Decimal(5)]
    assert [row["pending"] for row in rows] == [False, False, True]
    assert [row["metadata"]["cryptoAmount"] for row in rows] == ["0.01", "-0.006", "0.00005"]


async def test_history_is_valued_at_its_own_day_and_never_anew(bank: Bank) -> None:
    """A price of that day where there is one, else the first seen, marked so; later prices don't change it."""
    await wallet(bank, "cold", "btc", BTC)
    bank.world.bitcoin[BTC] = [payment(n, 100_000_000) for n in (1, 300)]
    bank.world.prices = {"bitcoin": 90_000.0}
    bank.world.past_prices = {"bitcoin": [((NOW - 86_400 * 399) * 1000, 20_000.0)]}
    await sync_wallets_of(bank.store, bank.providers, "ana")
    bank.world.prices = {"bitcoin": 1.0}
    bank.providers.side(demo=False).prices._kept.clear()  # type: ignore[union-attr]  # as after a minute

    await sync_wallets_of(bank.store, bank.providers, "ana")

    rows = await bank.transactions()
    assert [row["amount"] for row in rows] == [Decimal(20_000), Decimal(90_000)]
    assert [row["metadata"]["priceOf"] for row in rows] == ["day", "first-seen"]
    (account,) = (await bank.accounts()).values()
    assert account["balance"] == Decimal(2)


async def test_a_missing_price_keeps_the_balance_and_is_named(bank: Bank) -> None:
    """Never zero; the history waits, and comes with the price."""
    await wallet(bank, "cold", "btc", BTC, balance=Decimal("777"))
    bank.world.bitcoin[BTC] = [payment(1, 100_000_000)]

    result = await sync_wallets_of(bank.store, bank.providers, "ana")

    (account,) = (await bank.accounts()).values()
    assert (result.synced, result.missing_prices, result.errors) == (1, ["BTC"], 0)
    assert account["balance"] == Decimal(777)
    assert account["metadata"]["cryptoBalance"] == "1"
    bank.world.prices = {"bitcoin": 90_000.0}
    assert (await sync_wallets_of(bank.store, bank.providers, "ana")).transactions == 1


async def test_ethereums_blocks_are_read_once_for_all_wallets(bank: Bank) -> None:
    """Directions right, failed transactions not counted, gas that was used, only confirmed blocks."""
    await wallet(bank, "hot", "eth", ETH)
    await wallet(bank, "dust", "eth", STRANGER)
    chain = bank.world.ethereum
    chain.head, chain.first_time = 1000, NOW
    chain.balances = {ETH.lower(): 3 * ETHER}
    elsewhere = "0x1111111111111111111111111111111111111111"
    chain.blocks = {
        950: [_transfer("a", elsewhere, ETH, 5 * ETHER), _transfer("b", ETH, elsewhere, 2 * ETHER)],
        951: [_transfer("c", ETH, elsewhere, ETHER), _transfer("d", elsewhere, elsewhere, ETHER)],
        952: [_transfer("e", ETH, STRANGER, ETHER // 2), _transfer("f", ETH, None, 0)],
        995: [_transfer("g", elsewhere, ETH, ETHER)],
    }
    chain.failed = {_hash("c")}
    bank.world.prices = {"ethereum": 3000.0}

    result = await sync_wallets_of(bank.store, bank.providers, "ana")
    calls = len(bank.world.asked_of("/ethereum"))
    chain.head = 1010
    again = await sync_wallets_of(bank.store, bank.providers, "ana")

    rows = await bank.transactions()
    assert (result.transactions, again.transactions) == (4, 1)
    assert [(row["provider_transaction_id"][-1], row["amount"]) for row in rows] == [
        ("a", Decimal(15_000)),
        ("b", Decimal(-6_000)),
        ("e", Decimal(1_500)),
        ("e", Decimal(-1_500)),
        ("g", Decimal(3_000)),
    ]
    assert rows[0]["metadata"]["fee"] == "0.000021"
    # Two balances, the head, and at most one call for each twenty blocks and for the receipts of each.
    assert calls <= 2 + 1 + 5 + 5
    balances = {row["id"]: row["balance"] for row in (await bank.accounts()).values()}
    assert balances == {"hot": Decimal(9000), "dust": Decimal(0)}


async def test_one_wallet_that_fails_leaves_the_others_alone_and_is_not_hidden(bank: Bank) -> None:
    """A provider's outage fails the job at its end; an address that can't be right is counted and named."""
    await wallet(bank, "a-bad", "btc", BTC.lower())
    await wallet(bank, "b-down", "btc", SEGWIT)
    await wallet(bank, "c-good", "btc", BTC)
    await wallet(bank, "d-doge", "doge", "D8vFz4p1L37jdg47HXKtSHA5uYLYxbGgPD")
    bank.world.bitcoin = {BTC: [payment(1, 100_000_000)], SEGWIT: [payment(2, 1, to=SEGWIT)]}
    bank.world.prices = {"bitcoin": 90_000.0}
    bank.world.faults.append(Fault(path=f"/bitcoin/address/{SEGWIT}", status=503))

    with pytest.raises(ProviderUnavailable):
        await sync_wallets_of(bank.store, bank.providers, "ana")
    balances = {row["id"]: row["balance"] for row in (await bank.accounts()).values()}
    result = await sync_wallets_of(bank.store, bank.providers, "ana")

    assert balances["c-good"] == Decimal(90_000)
    assert (result.synced, result.total, result.errors) == (2, 4, 2)
    assert [text.split(":")[0] for text in result.failures] == ["account a-bad", "account d-doge"]
    states = await bank.store.provider_connections.account_states(["a-bad", "b-down", "c-good"])
    assert [states[each][0] for each in ("a-bad", "b-down", "c-good")] == ["error", "active", "active"]


async def test_only_read_only_wallet_accounts_are_synced(bank: Bank) -> None:
    """Not cash, not deleted or removed wallets, not other people's, not those of spaces that one only views."""
    await bank.store.accounts.upsert([{"id": "cash", "space_id": "home", "name": "Cash", "type": "other"}])
    await wallet(bank, "gone", "btc", BTC, metadata={"deletedAt": "2026-01-01"})
    await wallet(bank, "mine", "btc", SEGWIT, metadata={"readOnly": False})
    await wallet(bank, "viewed", "eth", ETH, space_id="other")

    result = await sync_wallets_of(bank.store, bank.providers, "ana")

    assert (result.total, bank.world.asked) == (0, [])
    assert await bank.store.wallets.owners() == ["eva"]


def test_addresses_are_checked_with_their_checksums() -> None:
    """Base58 with its case, bech32 and bech32m, EIP-55; a single wrong letter is found."""
    taproot = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
    good = [BTC, "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", SEGWIT, SEGWIT.upper(), taproot]

    assert all(map(is_bitcoin, good))
    assert not any(map(is_bitcoin, [BTC.lower(), BTC[:-1] + "U", SEGWIT[:-1] + "5", SEGWIT[:-1] + "T", "", "1"]))
    assert all(map(is_ethereum, [ETH, ETH.lower(), "0x" + ETH[2:].upper()]))
    assert not any(map(is_ethereum, [ETH.replace("A", "a", 1), ETH[:-1], ETH[2:], ""]))
    assert checksummed("0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359") == "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"


def _hash(name: str) -> str:
    return f"0x{'0' * 63}{name}"


def _transfer(name: str, sender: str, to: str | None, wei: int) -> Any:
    return {
        "hash": _hash(name),
        "from": sender.lower(),
        "to": to and to.lower(),
        "value": hex(wei),
        "gas": "0xf4240",
        "gasPrice": "0x3b9aca00",
        "input": "0x",
    }
