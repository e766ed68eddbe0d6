"""Reads the days that were kept of a space as a line of its net worth."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from dhanam_jobs.handlers.valuations.totals import RATES_HOLD, RateBook, Totals, add_up

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Space, Store


class NetWorth(msgspec.Struct, frozen=True):
    """One day: its totals in the space's currency at that day's rates, of so many accounts."""

    date: dt.date
    accounts: int
    totals: Totals


async def net_worth_trend(store: Store, space: Space, first: dt.date, last: dt.date) -> list[NetWorth]:
    """The days from `first` to `last` on which something was kept, oldest first; no day is made up."""
    rows = await store.valuations.between(space.id, first, last)
    book = RateBook(await store.exchange_rates.between(first - RATES_HOLD, last, demo=space.is_demo))
    days = []
    for day, valued in groupby(rows, key=lambda row: row.date):
        holdings = [each.holding for each in valued]
        days.append(NetWorth(day, len(holdings), add_up(holdings, space.currency, book.on(day))))
    return days
