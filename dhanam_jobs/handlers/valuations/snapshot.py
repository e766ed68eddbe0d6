"""Keeps what each account of a space was worth on a day, and adds it up in the space's currency.

Today's values are the balances. An earlier day's come from history, account by account, or are refused by name: what
was kept on that day stays; otherwise a balance is taken back through the transactions booked since, which needs
transactions that reach back to the day and a worth that moves by transactions alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from dhanam_jobs.handlers.valuations.totals import RATES_HOLD, RateBook, Totals, add_up

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Space, Store
    from dhanam_jobs.handlers.store.valuations import Holding, Movements

PRICED: Final = ("crypto", "investment")
"""Types of accounts whose worth moves by prices as well."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A day of a space: how many accounts it has, how many were kept for the first time and again, and their totals.

    `failures` says of each account that could not be valued why not.
    """

    date: dt.date
    accounts: int
    created: int
    updated: int
    totals: Totals
    failures: list[str]


class NothingValued(Exception):
    """No account of the space could be valued; `permanent` where a later attempt would find the same."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


async def take_snapshot(store: Store, space: Space, day: dt.date, today: dt.date) -> Snapshot:
    """Value the space's live accounts on `day`; `today` is the day it is in the space's time zone.

    Raises NothingValued where the space has accounts and every one failed, or `day` is still to come.
    """
    if day > today:
        raise NothingValued(f"date {day}: wanted today in the space ({today}) or an earlier day", permanent=True)
    holdings = await store.valuations.holdings(space.id)
    failures: list[str] = []
    if day == today:
        valued = fresh = holdings
    else:
        valued, fresh = await _from_history(store, space, day, holdings, failures)
    created, updated, lost = await _write(store, day, fresh, failures)
    valued = [each for each in valued if each.account_id not in lost]
    if holdings and not valued:
        raise NothingValued(
            f"space {space.id!r}, {day}: none of {len(holdings)} accounts could be valued: {'; '.join(failures)}"[
                :2000
            ],
            permanent=day != today,
        )
    rates = await store.exchange_rates.between(day - RATES_HOLD, day, demo=space.is_demo)
    totals = add_up(valued, space.currency, RateBook(rates).on(day))
    return Snapshot(
        date=day, accounts=len(holdings), created=created, updated=updated, totals=totals, failures=failures
    )


async def _from_history(
    store: Store, space: Space, day: dt.date, holdings: Sequence[Holding], failures: list[str]
) -> tuple[list[Holding], list[Holding]]:
    """What the holdings were on `day`: all that is known, and of those the ones that are not kept yet."""
    live = {each.account_id for each in holdings}
    kept = {each.holding.account_id: each.holding for each in await store.valuations.between(space.id, day, day)}
    movements = await store.valuations.movements(space.id, day)
    known = [each for account_id, each in kept.items() if account_id in live]
    reckoned = []
    for holding in holdings:
        if holding.account_id in kept:
            continue
        found = _taken_back(holding, day, movements.get(holding.account_id))
        if isinstance(found, str):
            failures.append(f"account {holding.account_id} ({holding.name}): {found}")
        else:
            reckoned.append(found)
    return [*known, *reckoned], reckoned


def _taken_back(holding: Holding, day: dt.date, moved: Movements | None) -> Holding | str:
    """The holding as it was on `day`, or why that can't be told."""
    if holding.type in PRICED:
        return f"nothing was kept on {day}, and transactions don't tell what prices were"
    if moved is None or moved.first > day:
        begun = "it has no transactions" if moved is None else f"its transactions begin on {moved.first}"
        return f"nothing was kept on {day}, and {begun}"
    foreign = sorted(set(moved.after) - {holding.currency})
    if foreign:
        return f"transactions since {day} are in {', '.join(foreign)}, wanted {holding.currency}"
    return msgspec.structs.replace(holding, balance=holding.balance - moved.after.get(holding.currency, Decimal(0)))


async def _write(
    store: Store, day: dt.date, holdings: Sequence[Holding], failures: list[str]
) -> tuple[int, int, set[str]]:
    """Keep the holdings; gives how many were new and known, and the ids of those that could not be kept."""
    from dhanam_jobs.handlers.store import MoneyError, StoreConflict

    try:
        written = await store.valuations.write(day, holdings)
    except (StoreConflict, MoneyError):
        # One of them spoils them all: one by one it can be told which.
        created = updated = 0
        lost: set[str] = set()
        for holding in holdings:
            try:
                written = await store.valuations.write(day, [holding])
            except (StoreConflict, MoneyError) as error:
                failures.append(f"account {holding.account_id} ({holding.name}): {error}")
                lost.add(holding.account_id)
            else:
                created, updated = created + written.created, updated + written.updated
        return created, updated, lost
    return written.created, written.updated, set()
