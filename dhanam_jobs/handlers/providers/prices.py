"""Prices of coins in US dollars, from a server that speaks CoinGecko's HTTP API.

A price that is missing is missing: nothing is made up, and no old one is passed off as new. What a missing price means
for an account is the sync's matter.
"""

from __future__ import annotations

import bisect
import datetime as dt
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

import msgspec

from dhanam_jobs.handlers.providers.errors import ProviderError, SyncFailed
from dhanam_jobs.handlers.providers.transport import Transport

CACHE_S: Final = 60.0

COINS: Final = {
    "aave": "aave",
    "ada": "cardano",
    "algo": "algorand",
    "ape": "apecoin",
    "avax": "avalanche-2",
    "axs": "axie-infinity",
    "bat": "basic-attention-token",
    "bch": "bitcoin-cash",
    "btc": "bitcoin",
    "comp": "compound-governance-token",
    "crv": "curve-dao-token",
    "dai": "dai",
    "doge": "dogecoin",
    "dot": "polkadot",
    "enj": "enjincoin",
    "eth": "ethereum",
    "gala": "gala",
    "imx": "immutable-x",
    "link": "chainlink",
    "ltc": "litecoin",
    "mana": "decentraland",
    "matic": "matic-network",
    "sand": "the-sandbox",
    "shib": "shiba-inu",
    "sol": "solana",
    "tusd": "true-usd",
    "uni": "uniswap",
    "usdc": "usd-coin",
    "usdt": "tether",
    "xrp": "ripple",
    "yfi": "yearn-finance",
}
"""Symbols to the ids that the prices' server knows them by."""


class _Price(msgspec.Struct, frozen=True):
    usd: Decimal | None = None


class _Chart(msgspec.Struct, frozen=True):
    prices: list[tuple[Decimal, Decimal]]


class History(msgspec.Struct):
    """A coin's prices over time, oldest first: milliseconds since 1970, and US dollars."""

    points: list[tuple[int, Decimal]]

    def at(self, moment: dt.datetime) -> Decimal | None:
        """The price nearest to the moment, if there is one within two days of it."""
        wanted = int(moment.timestamp() * 1000)
        index = bisect.bisect(self.points, (wanted, Decimal(0)))
        near = self.points[max(0, index - 1) : index + 1]
        if not near:
            return None
        when, price = min(near, key=lambda point: abs(point[0] - wanted))
        return price if abs(when - wanted) <= 2 * 86_400_000 else None


class Prices:
    """Current and past prices; current ones are kept for a minute."""

    def __init__(self, transport: Transport, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._clock = clock
        self._kept: dict[str, tuple[float, Decimal]] = {}

    async def in_usd(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """The prices of those of the symbols (any case) that have one; keys in lower case.

        A server that doesn't answer, or wants no more calls, gives none.
        """
        wanted = {symbol.lower() for symbol in symbols}
        now = self._clock()
        found = {
            symbol: self._kept[symbol][1]
            for symbol in wanted
            if symbol in self._kept and now - self._kept[symbol][0] < CACHE_S
        }
        asked = {COINS[symbol]: symbol for symbol in wanted - found.keys() if symbol in COINS}
        if not asked:
            return found
        request = self._transport.build(
            "GET", "/simple/price", params={"ids": ",".join(sorted(asked)), "vs_currencies": "usd"}
        )
        try:
            answer = await self._transport.send(request)
            if answer.status >= 300:
                raise SyncFailed(self._transport.provider, f"it answered {answer.status}")
            prices: dict[str, _Price] = answer.decode(dict[str, _Price], self._transport.provider)
        except ProviderError:
            return found
        for coin, symbol in asked.items():
            price = prices.get(coin, _Price()).usd
            if price is not None and price.is_finite() and price > 0:
                self._kept[symbol] = (now, price)
                found[symbol] = price
        return found

    async def history(self, symbol: str, first: dt.datetime, last: dt.datetime) -> History:
        """What the coin has cost between two moments; empty where the server doesn't tell."""
        coin = COINS.get(symbol.lower())
        if coin is None:
            return History([])
        asked = {
            "vs_currency": "usd",
            "from": str(int(first.timestamp())),
            "to": str(int(last.timestamp())),
        }
        request = self._transport.build("GET", f"/coins/{coin}/market_chart/range", params=asked)
        try:
            answer = await self._transport.send(request)
            if answer.status >= 300:
                return History([])
            chart: _Chart = answer.decode(_Chart, self._transport.provider)
        except ProviderError:
            return History([])
        return History(sorted((int(when), price) for when, price in chart.prices if price > 0))
