"""A space's net worth and the ESG score of its coins, as the monthly report tells them. Reading rows is store/'s."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from dhanam_jobs.handlers.esg.scoring import WEIGHTS, Scores, score_portfolio
from dhanam_jobs.handlers.mail.letters import EsgData, Insight, TrendPoint
from dhanam_jobs.handlers.reports import figures
from dhanam_jobs.handlers.valuations import NetWorth, RateBook, net_worth_trend
from dhanam_jobs.handlers.valuations.totals import RATES_HOLD

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Space, Store

TREND_MONTHS: Final = 6
NOTABLE_DRAG: Final = Decimal(5)
"""Points by which a coin must be below the portfolio's score to be worth naming."""
_TENTH: Final = Decimal("0.1")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Net worth at the end of a month, in the space's currency, and against the end of the month before.

    `trend` has the last day that was kept of each month, oldest first. `missing_rates` names the currencies that are in
    none of the figures of the month; where they differ from those of the month before, nothing is compared.
    """

    current: Decimal
    change: Decimal | None
    change_percent: Decimal | None
    trend: list[TrendPoint]
    missing_rates: list[str]


async def standing(store: Store, space: Space, first: dt.date, last: dt.date) -> Standing | None:
    """The net worth of the month from `first` to `last`; None where no day of it was kept."""
    begin = first
    for _ in range(TREND_MONTHS - 1):
        begin = (begin - dt.timedelta(days=1)).replace(day=1)
    ends: dict[dt.date, NetWorth] = {}
    for day in await net_worth_trend(store, space, begin, last):
        ends[day.date.replace(day=1)] = day
    now = ends.get(first)
    if now is None:
        return None
    before = ends.get((first - dt.timedelta(days=1)).replace(day=1))
    change = percent = None
    if before is not None and before.totals.missing_rates == now.totals.missing_rates:
        change = now.totals.net_worth - before.totals.net_worth
        percent = figures.share(change, abs(before.totals.net_worth))
    return Standing(
        current=now.totals.net_worth,
        change=change,
        change_percent=percent,
        trend=[TrendPoint(date=day.date.isoformat(), value=day.totals.net_worth) for day in ends.values()],
        missing_rates=now.totals.missing_rates,
    )


async def esg_standing(store: Store, space: Space, day: dt.date) -> EsgData | None:
    """The score of the coins held now, weighed by their worth at the rates of `day`; None where no coin has scores."""
    held = await store.esg_scores.held_in(space.id)
    rates = await store.exchange_rates.between(day - RATES_HOLD, day, demo=space.is_demo)
    worth = RateBook(rates).on(day)
    values: defaultdict[str, Decimal] = defaultdict(Decimal)
    for coin in held:
        values[coin.symbol] += worth.value(coin.balance, coin.currency, space.currency) or Decimal(0)
    known = {
        symbol: Scores(score.environmental_score, score.social_score, score.governance_score, score.confidence)
        for symbol, score in (await store.esg_scores.latest(values)).items()
    }
    total = score_portfolio([(value, known.get(symbol)) for symbol, value in values.items()]) if known else None
    if total is None:
        return None
    overall = total.overall(WEIGHTS)
    return EsgData(score=overall.quantize(_TENTH, ROUND_HALF_UP), insight=_drag(values, known, overall))


def _drag(values: dict[str, Decimal], known: dict[str, Scores], overall: Decimal) -> Insight | None:
    """The coin that pulls the score down most, if one does so notably."""
    below = {symbol: overall - scores.overall(WEIGHTS) for symbol, scores in known.items() if values[symbol] > 0}
    found = [symbol for symbol, points in below.items() if points >= NOTABLE_DRAG]
    if not found:
        return None
    return Insight(kind="esg-drag", name=max(found, key=lambda symbol: (below[symbol] * values[symbol], symbol)))
