"""A Bitso client's wallets and trades into the owner's personal space.

Cash that Dhanam keeps books in (MXN, USD, EUR, CAD) is a checking account in its own currency; everything else is
valued in US dollars by Bitso's books, else by the price server. A trade has two legs, one in each wallet; a leg's
amount is what was paid or got in the money of the book, exactly. Trades change no wealth and stay out of the totals.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dhanam_jobs.handlers.providers.amounts import FIAT, decimal, money, plain
from dhanam_jobs.handlers.providers.bitso import Balance, BitsoClient, Trade
from dhanam_jobs.handlers.providers.errors import AuthFailed
from dhanam_jobs.handlers.providers.providers import token_of
from dhanam_jobs.handlers.store.synced_books import SyncedAccount, SyncedTransaction
from dhanam_jobs.handlers.syncs.ground import Ground, Synced
from dhanam_jobs.handlers.syncs.worth import Worth

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store.synced_books import AccountRef

_OTHER_CASH = frozenset({"ars", "brl", "cop", "clp", "pen", "gbp"})


class _Wallet(msgspec.Struct, frozen=True):
    """A balance that can be kept: exact amounts in its own currency."""

    currency: str
    total: Decimal
    available: Decimal | None
    locked: Decimal | None


async def sync_bitso(ground: Ground) -> Synced:
    """Bring the wallets and all trades since the last sync (all of them in a full one) into the books."""
    return await _BitsoSync(ground).run()


class _BitsoSync:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._synced = Synced()
        connection = ground.connection
        sealed = connection.details.get("encryptedApiSecret")
        if not isinstance(sealed, str):
            raise AuthFailed("bitso", "the connection has no API secret: it must be connected again")
        self._client = BitsoClient(
            ground.transport,
            token_of(ground.providers, "bitso", connection.encrypted_token),
            token_of(ground.providers, "bitso", sealed),
        )
        self._worth = Worth({})
        self._prices: dict[str, Decimal] = {}

    async def run(self) -> Synced:
        wallets = await self._wallets()
        last = {each.book: price for each in await self._client.tickers() if (price := decimal(each.last)) is not None}
        self._worth = Worth(last)
        await self._price({each.currency for each in wallets if each.total})
        accounts = await self._write_wallets(wallets)
        self._synced.accounts = len(accounts)
        self._synced.account_ids = sorted(account.id for account in accounts.values())
        await self._trades(accounts)
        return self._synced

    async def _wallets(self) -> list[_Wallet]:
        balances, unread = await self._client.balances()
        self._synced.skipped += unread
        wallets: dict[str, _Wallet] = {}
        for balance in balances:
            wallet = _wallet(balance)
            if wallet is None:
                self._synced.skipped += 1
            else:
                wallets[wallet.currency] = wallet
        return [wallets[currency] for currency in sorted(wallets)]

    async def _price(self, currencies: set[str]) -> None:
        """Ask the price server for what Bitso's books don't tell."""
        unknown = {each for each in currencies if _own_cash(each) is None and self._worth.rate(each, "usd") is None}
        if unknown and self._ground.side.prices is not None:
            self._prices = await self._ground.side.prices.in_usd(unknown)
        self._synced.missing_prices = sorted(each.upper() for each in unknown - self._prices.keys())

    def _in_usd(self, amount: Decimal, currency: str) -> Decimal | None:
        value = self._worth.value(amount, currency, "usd")
        if value is None and currency in self._prices:
            value = amount * self._prices[currency]
        return value

    async def _write_wallets(self, wallets: list[_Wallet]) -> dict[str, AccountRef]:
        """Write the wallets; give the accounts by currency."""
        known = await self._ground.store.synced_books.accounts_of(self._ground.space.id, "bitso")
        existing = {account.provider_account_id for account in known}
        rows = []
        for wallet in wallets:
            row = self._account(wallet)
            if row.provider_account_id in existing or wallet.total > 0:
                rows.append(row)
        written = await self._ground.store.synced_books.write_accounts(self._ground.space.id, "bitso", rows)
        return {key.split("_")[1]: account for key, account in written.items()}

    def _account(self, wallet: _Wallet) -> SyncedAccount:
        client, now = self._ground.connection.provider_user_id, self._ground.providers.now()
        cash = _own_cash(wallet.currency)
        metadata: dict[str, Any] = {
            "connectionId": self._ground.connection.id,
            "clientId": client,
            "availableAmount": None if wallet.available is None else plain(wallet.available),
            "lockedAmount": None if wallet.locked is None else plain(wallet.locked),
        }
        if cash is not None or wallet.currency in _OTHER_CASH:
            metadata |= {"fiatCurrency": wallet.currency.upper(), "fiatAmount": plain(wallet.total)}
        else:
            metadata |= {"cryptoCurrency": wallet.currency.upper(), "cryptoAmount": plain(wallet.total)}
        if cash is not None:
            balance = money(wallet.total)
        else:
            price = self._in_usd(Decimal(1), wallet.currency)
            balance = money(self._in_usd(wallet.total, wallet.currency))
            if price is not None:
                metadata |= {"usdPrice": plain(round(price, 12)), "lastPriceUpdate": now.isoformat()}
                # More than the books can hold: the old value stays.
                self._synced.skipped += balance is None
        crypto = "cryptoCurrency" in metadata
        return SyncedAccount(
            provider_account_id=f"bitso_{wallet.currency}_{client}",
            name=f"{wallet.currency.upper()} Wallet",
            type="crypto" if crypto else "checking",
            subtype="crypto" if crypto else "fiat",
            currency=cash or "USD",
            balance=balance,
            owner_id=self._ground.connection.user_id,
            metadata=metadata,
        )

    async def _trades(self, accounts: dict[str, AccountRef]) -> None:
        kept = self._ground.connection.details.get("tradesMarker")
        marker = kept if isinstance(kept, int) and not self._ground.full else None
        newest = kept if isinstance(kept, int) else 0
        async for page, unread in self._client.trades(marker):
            self._synced.skipped += unread
            if not page:
                continue
            await self._open_wallets(page, accounts)
            rows = [leg for trade in page for leg in self._legs(trade, accounts)]
            written = await self._ground.store.synced_books.write_transactions(rows)
            self._synced.transactions += written.new + written.changed
            newest = max(newest, *(trade.tid for trade in page))
        if newest:
            self._synced.metadata["tradesMarker"] = newest
            self._synced.cursor = str(newest)

    async def _open_wallets(self, page: list[Trade], accounts: dict[str, AccountRef]) -> None:
        """Make empty wallets for currencies that were traded and are held no more."""
        traded = {currency for trade in page for currency in trade.book.lower().split("_")}
        sold = [self._account(_Wallet(each, Decimal(0), None, None)) for each in sorted(traded - accounts.keys())]
        written = await self._ground.store.synced_books.write_accounts(self._ground.space.id, "bitso", sold)
        accounts |= {key.split("_")[1]: account for key, account in written.items()}

    def _legs(self, trade: Trade, accounts: dict[str, AccountRef]) -> list[SyncedTransaction]:
        """The trade's rows, one in each wallet."""
        major, _, minor = trade.book.lower().partition("_")
        when = _moment(trade.created_at)
        paid, currency, rate = self._paid(trade, minor)
        if not minor or when is None or paid is None:
            self._synced.skipped += 1
            return []
        side = "buy" if trade.major > 0 else "sell"
        metadata = {
            "tradeId": trade.tid,
            "orderId": trade.oid,
            "symbol": trade.book,
            "side": side,
            "price": trade.price,
            "majorAmount": plain(trade.major),
            "minorAmount": plain(trade.minor),
            "fees": {"amount": trade.fees_amount, "currency": trade.fees_currency},
            "exchangeRate": None if rate is None else plain(round(rate, 12)),
        }
        legs = []
        # What the major wallet gains the minor one has paid, and the other way round.
        for name, amount in ((major, -paid), (minor, paid)):
            account = accounts.get(name)
            if account is not None:
                legs.append(
                    SyncedTransaction(
                        account_id=account.id,
                        provider_transaction_id=f"bitso_trade_{trade.tid}",
                        amount=amount,
                        currency=currency,
                        date=when.astimezone(self._ground.zone).date(),
                        description=f"{side.upper()} {trade.book.upper()}",
                        merchant="Bitso Exchange",
                        metadata=metadata,
                        exclude_from_totals=True,
                    )
                )
        return legs

    def _paid(self, trade: Trade, minor: str) -> tuple[Decimal | None, str, Decimal | None]:
        """What the minor wallet gained (negative: paid), in which currency, and by which rate of today if by one."""
        cash = _own_cash(minor)
        if cash is not None:
            return money(trade.minor), cash, None
        rate = self._in_usd(Decimal(1), minor)
        return (None if rate is None else money(trade.minor * rate)), "USD", rate


def _own_cash(currency: str) -> str | None:
    """The currency's code where Dhanam keeps books in it."""
    return currency.upper() if currency.upper() in FIAT else None


def _wallet(balance: Balance) -> _Wallet | None:
    total = decimal(balance.total)
    currency = balance.currency.lower()
    if total is None or total < 0 or not currency or "_" in currency:
        return None
    return _Wallet(currency, total, decimal(balance.available), decimal(balance.locked))


def _moment(text: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
