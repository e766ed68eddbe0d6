"""Adds up holdings in one currency: what is owned, what is owed, and what could not be converted. Pure."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from typing import Final

import msgspec

from dhanam_jobs.handlers.providers.amounts import money
from dhanam_jobs.handlers.store.exchange_rates import ExchangeRate
from dhanam_jobs.handlers.store.valuations import Holding
from dhanam_jobs.handlers.syncs.worth import Worth

RATES_HOLD: Final = dt.timedelta(days=10)
"""How long a day's rates stand in for those of later days: over weekends and holidays, not for ever."""

_ZERO = Decimal(0)
# Sums of many amounts of 19 digits stay exact.
_EXACT = Context(prec=60)


class RateBook:
    """Rates of many days; a day has the newest of each pair that is no older than RATES_HOLD."""

    def __init__(self, rates: Iterable[ExchangeRate]) -> None:
        self._rates = sorted(rates, key=lambda rate: rate.date)
        self._days = [rate.date for rate in self._rates]

    def on(self, day: dt.date) -> Worth:
        """The rates of a day, crossed and inverted."""
        first, last = bisect.bisect_left(self._days, day - RATES_HOLD), bisect.bisect_right(self._days, day)
        # Later ones replace earlier ones of the same pair.
        return Worth(
            {f"{rate.from_currency}_{rate.to_currency}".lower(): rate.rate for rate in self._rates[first:last]}
        )


class Totals(msgspec.Struct, frozen=True):
    """Sums in one currency, both positive; `missing_rates` names the currencies that are in neither."""

    assets: Decimal
    liabilities: Decimal
    missing_rates: list[str]

    @property
    def net_worth(self) -> Decimal:
        """What would be left if everything were paid."""
        return self.assets - self.liabilities


def owed(holding: Holding) -> Decimal | None:
    """What of the holding is debt, negative when it was paid beyond that; None for what is no debt at all.

    A provider's balances are negative where something is owed. People write their debts with either sign.
    """
    if holding.type != "credit" and not holding.liability_type:
        return None
    return abs(holding.balance) if holding.provider == "manual" else -holding.balance


def add_up(holdings: Sequence[Holding], currency: str, worth: Worth) -> Totals:
    """Add the holdings up in `currency`; each is converted by itself and rounded to four decimals.

    What was paid beyond a debt is owned, and an overdrawn account takes from what is owned. A holding of nothing needs
    no rate.
    """
    assets = liabilities = _ZERO
    missing: set[str] = set()
    for holding in holdings:
        debt = owed(holding)
        amount = holding.balance if debt is None else debt
        # None too where the amount is beyond what money can be.
        value = worth.value(amount, holding.currency, currency)
        converted = None if value is None else money(value)
        if converted is None:
            missing.add(holding.currency)
        elif debt is None:
            assets = _EXACT.add(assets, converted)
        elif converted >= 0:
            liabilities = _EXACT.add(liabilities, converted)
        else:
            assets = _EXACT.subtract(assets, converted)
    return Totals(assets, liabilities, sorted(missing))
