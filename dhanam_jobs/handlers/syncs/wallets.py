"""A wallet's balance and its history on Bitcoin into its account; Ethereum's history is eth_scan.py's.

The amounts of transactions are in US dollars at the day's price where the price server tells it; else at the price of
the first time that they were seen, and marked so. They are never valued anew: a later price is not theirs.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dhanam_jobs.handlers.providers.addresses import is_bitcoin, is_ethereum
from dhanam_jobs.handlers.providers.amounts import money, plain
from dhanam_jobs.handlers.providers.bitcoin import BitcoinClient, Movement
from dhanam_jobs.handlers.providers.errors import SyncRefused
from dhanam_jobs.handlers.providers.ethereum import EthereumClient
from dhanam_jobs.handlers.providers.prices import History
from dhanam_jobs.handlers.store.synced_books import SyncedTransaction

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import Providers, Side
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.wallets import Wallet

NETWORKS: Final = {"btc": "bitcoin", "eth": "ethereum"}
MAX_PAGES: Final = 400
"""Pages of one wallet's history in one run; the next run goes on where it ended."""


class Unpriced(Exception):
    """A transaction has no price at all: it waits, and all that would come after it."""


class WalletSynced(msgspec.Struct, frozen=True):
    """What came of one wallet: new and changed transactions, and the coin whose price was missing, if it was."""

    transactions: int
    missing_price: str | None = None


def check_wallet(wallet: Wallet) -> str:
    """The wallet's network. Raises SyncRefused for a coin or an address that can't be right."""
    network = NETWORKS.get(wallet.coin)
    if network is None:
        raise SyncRefused("wallet", f"found coin {wallet.coin!r}, wanted one of {', '.join(NETWORKS)}")
    valid = is_bitcoin(wallet.address) if wallet.coin == "btc" else is_ethereum(wallet.address)
    if not valid:
        raise SyncRefused(network, f"{wallet.address!r} is no address of its network")
    return network


async def sync_wallet(store: Store, providers: Providers, wallet: Wallet) -> WalletSynced:
    """Bring one wallet's balance, and on Bitcoin its history, up to date. Raises ProviderError."""
    network = check_wallet(wallet)
    side = providers.side(demo=wallet.is_demo)
    transactions, unpriced = 0, False
    changes: dict[str, Any] = {"network": network}
    async with providers.guarded(side, network) as transport:
        if wallet.coin == "btc":
            client = BitcoinClient(transport)
            coins = await client.balance(wallet.address)
            try:
                transactions, kept = await _history(store, providers, side, client, wallet)
                changes |= kept
            except Unpriced:
                unpriced = True
        else:
            coins = await EthereumClient(transport).balance(wallet.address)
    price = (await side.prices.in_usd([wallet.coin])).get(wallet.coin) if side.prices is not None else None
    value = Decimal(0) if coins == 0 else None if price is None else money(coins * price)
    changes["cryptoBalance"] = plain(coins)
    if price is not None:
        changes |= {"lastPriceUpdate": providers.now().isoformat(), "usdPrice": plain(price)}
    await store.synced_books.update_balance(wallet.account_id, value, changes)
    return WalletSynced(transactions, wallet.coin.upper() if value is None or unpriced else None)


async def _history(
    store: Store, providers: Providers, side: Side, client: BitcoinClient, wallet: Wallet
) -> tuple[int, dict[str, Any]]:
    """Import what is new since the last run, and what an earlier run has left over; give the count and the marks."""
    newest, left = wallet.metadata.get("newestTxid"), wallet.metadata.get("olderThanTxid")
    count, pages = 0, 0
    changes: dict[str, Any] = {}
    legs: list[tuple[str | None, str | None]] = [(None, newest)]
    if isinstance(left, str):
        legs.append((left, None))
    for begin, end in legs:
        oldest = begin
        async for page in client.history(wallet.address, begin):
            pages += 1
            confirmed = [movement for movement in page if movement.confirmed]
            if begin is None and "newestTxid" not in changes and confirmed:
                changes["newestTxid"] = confirmed[0].txid
                changes["lastBlock"] = confirmed[0].block
            count += await _import(store, providers, side, wallet, page)
            if confirmed:
                oldest = confirmed[-1].txid
            if end is not None and any(movement.txid == end for movement in confirmed):
                break
            if pages >= MAX_PAGES:
                return count, {**changes, "olderThanTxid": oldest}
        if begin is not None:
            changes["olderThanTxid"] = None
    return count, changes


async def _import(store: Store, providers: Providers, side: Side, wallet: Wallet, page: list[Movement]) -> int:
    known = await store.wallets.known_values(wallet.account_id, [movement.txid for movement in page])
    fresh = [movement.at or providers.now() for movement in page if movement.txid not in known]
    values = await Valuation.load(side, providers, wallet.coin, fresh)
    rows = []
    for movement in page:
        at = movement.at or providers.now()
        amount = known.get(movement.txid)
        marks: dict[str, Any] = {}
        if amount is None:
            amount, marks = values.of(movement.net, at)
        if amount is None:
            raise Unpriced(movement.txid)
        incoming = movement.net >= 0
        own, others = wallet.address, movement.others
        rows.append(
            SyncedTransaction(
                account_id=wallet.account_id,
                provider_transaction_id=movement.txid,
                amount=amount,
                currency="USD",
                date=at.astimezone(wallet.zone).date(),
                description=f"{'Received' if incoming else 'Sent'} {plain(abs(movement.net))} BTC",
                merchant="Blockchain Transfer",
                pending=not movement.confirmed,
                metadata={
                    "txHash": movement.txid,
                    "from": others if incoming else [own],
                    "to": [own] if incoming else others,
                    "cryptoAmount": plain(movement.net),
                    "cryptoCurrency": "BTC",
                    "fee": plain(movement.fee),
                    "blockNumber": movement.block,
                    "status": "confirmed" if movement.confirmed else "pending",
                    "network": "bitcoin",
                    **marks,
                },
            )
        )
    written = await store.synced_books.write_transactions(rows)
    return written.new + written.changed


class Valuation:
    """What coins were worth at past moments, as far as that can be known."""

    def __init__(self, history: History, today: Decimal | None) -> None:
        self._history = history
        self._today = today

    @classmethod
    async def load(cls, side: Side, providers: Providers, coin: str, moments: list[dt.datetime]) -> Valuation:
        """Ask for the prices of a coin around these moments, in one call, and for today's."""
        if side.prices is None or not moments:
            return cls(History([]), None)
        day = dt.timedelta(days=1)
        now = providers.now()
        today = (await side.prices.in_usd([coin])).get(coin)
        if min(moments) > now - day:
            return cls(History([]), today)
        return cls(await side.prices.history(coin, min(moments) - day, max(moments) + day), today)

    def of(self, coins: Decimal, at: dt.datetime) -> tuple[Decimal | None, dict[str, Any]]:
        """The worth of an amount at a moment, and how it was found; None without any price."""
        price = self._history.at(at)
        source = "day"
        if price is None:
            price, source = self._today, "first-seen"
        if price is None:
            return (Decimal(0), {}) if coins == 0 else (None, {})
        return money(coins * price), {"usdPrice": plain(price), "priceOf": source}
