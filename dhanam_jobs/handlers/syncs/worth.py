"""What a currency of an exchange is worth in another, by its books' last prices. Pure.

Books are edges between currencies: the shortest way counts, of equal ones the first by name, so that the same prices
always give the same worth. A stablecoin is worth what its book says, not what its name says.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final

_PRECISE = Context(prec=40)
MAX_BOOKS: Final = 3
"""Books that a conversion may go through."""


class Worth:
    """Rates between currencies, from `{"btc_mxn": price of one btc in mxn}`."""

    def __init__(self, last_prices: Mapping[str, Decimal]) -> None:
        self._rates: dict[str, dict[str, Decimal]] = {}
        for book in sorted(last_prices):
            major, _, minor = book.partition("_")
            price = last_prices[book]
            if major and minor and price.is_finite() and price > 0:
                self._rates.setdefault(major, {})[minor] = price
                self._rates.setdefault(minor, {}).setdefault(major, _PRECISE.divide(Decimal(1), price))

    def rate(self, currency: str, wanted: str) -> Decimal | None:
        """What one unit of a currency is worth in another; None where no books lead there."""
        currency, wanted = currency.lower(), wanted.lower()
        if currency == wanted:
            return Decimal(1)
        reached = {currency: Decimal(1)}
        edge = [currency]
        for _ in range(MAX_BOOKS):
            further = []
            for name in edge:
                for other in sorted(self._rates.get(name, {})):
                    if other not in reached:
                        reached[other] = _PRECISE.multiply(reached[name], self._rates[name][other])
                        further.append(other)
            if wanted in reached:
                return reached[wanted]
            edge = sorted(further)
        return None

    def value(self, amount: Decimal, currency: str, wanted: str) -> Decimal | None:
        """What an amount is worth in another currency; None where that isn't known. Nothing is worth nothing."""
        if amount == 0:
            return Decimal(0)
        rate = self.rate(currency, wanted)
        return None if rate is None else _PRECISE.multiply(amount, rate)
