"""The monthly report of a space: what came in and went out, how the budgets held, what it is worth."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from dhanam_jobs.handlers.mail.letters import Insight, MonthlyReport
from dhanam_jobs.handlers.reports import figures
from dhanam_jobs.handlers.reports.worth import esg_standing, standing

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Space, Store


def month_before(day: dt.date) -> tuple[dt.date, dt.date]:
    """First and last day of the last month that was over before `day`."""
    last = day.replace(day=1) - dt.timedelta(days=1)
    return last.replace(day=1), last


async def month_report(store: Store, space: Space, day: dt.date, name: str = "") -> MonthlyReport | None:
    """The month before `day` as the letter to `name` tells it; None where no money moved."""
    first, last = month_before(day)
    flows = await store.reports.flows(space.id, first, last)
    if not flows:
        return None
    before = await store.reports.flows(space.id, *month_before(first))
    budgets = figures.standings(flows, await store.reports.budgeted(space.id), space.currency)
    totals = figures.totals_of(flows, space.currency)
    worth = await standing(store, space, first, last)
    saved = Insight(kind="saved" if totals.net > 0 else "overspent", amount=abs(totals.net))
    return MonthlyReport(
        name=name,
        space_name=space.name,
        month=f"{first:%Y-%m}",
        month_number=first.month,
        year=first.year,
        currency=space.currency,
        total_income=totals.inflow,
        total_expenses=totals.outflow,
        net_savings=totals.net,
        savings_rate=figures.share(totals.net, totals.inflow),
        top_categories=figures.top_categories(flows, space.currency),
        budget_performance=budgets,
        net_worth_trend=worth.trend if worth and len(worth.trend) > 1 else None,
        current_net_worth=worth.current if worth else None,
        net_worth_change=worth.change if worth else None,
        net_worth_change_percent=worth.change_percent if worth else None,
        missing_rates=worth.missing_rates if worth else [],
        esg_data=await esg_standing(store, space, last),
        recommendations=[
            *([saved] if totals.net else []),
            *figures.change(totals.outflow, figures.totals_of(before, space.currency).outflow),
            *figures.over_budget(budgets),
            *figures.uncategorized(totals),
        ],
        other_currencies=figures.other_currencies(flows, space.currency),
    )
