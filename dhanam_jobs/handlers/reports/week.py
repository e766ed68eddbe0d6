"""The weekly summary of a space: Monday to Sunday, against the week before, and this month's budgets so far."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from dhanam_jobs.handlers.mail.letters import Insight, WeeklySummary
from dhanam_jobs.handlers.reports import figures

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Space, Store


def week_before(day: dt.date) -> tuple[dt.date, dt.date]:
    """Monday and Sunday of the last week that was over before `day`."""
    monday = day - dt.timedelta(days=day.weekday() + 7)
    return monday, monday + dt.timedelta(days=6)


async def week_summary(store: Store, space: Space, day: dt.date, name: str = "") -> WeeklySummary | None:
    """The week before `day` as the letter to `name` tells it; None where no money moved."""
    first, last = week_before(day)
    flows = await store.reports.flows(space.id, first, last)
    if not flows:
        return None
    before = await store.reports.flows(space.id, first - dt.timedelta(days=7), first - dt.timedelta(days=1))
    month = await store.reports.flows(space.id, last.replace(day=1), last)
    budgets = figures.standings(month, await store.reports.budgeted(space.id), space.currency)
    totals = figures.totals_of(flows, space.currency)
    top = figures.top_categories(flows, space.currency)
    largest = [
        Insight(kind="largest", name=row.name, percent=row.percentage)
        for row in top[:1]
        if row.name is not None and row.percentage is not None
    ]
    return WeeklySummary(
        name=name,
        space_name=space.name,
        week_start=first.isoformat(),
        week_end=last.isoformat(),
        currency=space.currency,
        total_spent=totals.outflow,
        net_change=totals.net,
        top_categories=top,
        budgets=budgets,
        insights=[
            *figures.change(totals.outflow, figures.totals_of(before, space.currency).outflow),
            *figures.over_budget(budgets),
            *largest,
            *figures.uncategorized(totals),
        ],
        other_currencies=figures.other_currencies(flows, space.currency),
    )
