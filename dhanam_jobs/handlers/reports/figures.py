"""The figures of a time: totals in the space's currency, shares, budgets, and what is worth saying. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import msgspec

from dhanam_jobs.handlers.mail.letters import BudgetStanding, CategorySpending, Insight, OtherCurrency
from dhanam_jobs.handlers.store.reports import BudgetedCategory, Flow

TOP_CATEGORIES = 5
MENTIONED_BUDGETS = 3
NOTABLE_CHANGE = Decimal(5)
"""Per cent by which spending must have changed to be worth a sentence."""
_ZERO = Decimal(0)


class Totals(msgspec.Struct, frozen=True):
    """Money of one currency: both positive, and the number of transactions without a category."""

    inflow: Decimal
    outflow: Decimal
    uncategorized: int

    @property
    def net(self) -> Decimal:
        """What came in less what went out."""
        return self.inflow - self.outflow


def totals_of(flows: Sequence[Flow], currency: str) -> Totals:
    """The totals of one currency; others aren't converted, they are told apart (`other_currencies`)."""
    own = [flow for flow in flows if flow.currency == currency]
    return Totals(
        sum((flow.inflow for flow in own), _ZERO),
        sum((flow.outflow for flow in own), _ZERO),
        sum(flow.count for flow in own if flow.category_id is None),
    )


def other_currencies(flows: Sequence[Flow], currency: str) -> list[OtherCurrency]:
    """The totals of every other currency, by code."""
    codes = sorted({flow.currency for flow in flows} - {currency})
    found = [(code, totals_of(flows, code)) for code in codes]
    return [OtherCurrency(currency=code, total_spent=total.outflow, net_change=total.net) for code, total in found]


def top_categories(flows: Sequence[Flow], currency: str) -> list[CategorySpending]:
    """The categories that took most, with their share of all spending."""
    spent = totals_of(flows, currency).outflow
    own = [flow for flow in flows if flow.currency == currency and flow.outflow > 0]
    own.sort(key=lambda flow: (-flow.outflow, flow.category or ""))
    return [
        CategorySpending(name=flow.category, amount=flow.outflow, percentage=share(flow.outflow, spent))
        for flow in own[:TOP_CATEGORIES]
    ]


def standings(flows: Sequence[Flow], budgeted: Sequence[BudgetedCategory], currency: str) -> list[BudgetStanding]:
    """Each budget and what of it is spent; money that came back into a category counts as not spent."""
    net = {flow.category_id: flow.outflow - flow.inflow for flow in flows if flow.currency == currency}
    rows = [(budget, max(net.get(budget.id, _ZERO), _ZERO)) for budget in budgeted]
    return [
        BudgetStanding(
            name=budget.name, spent=spent, limit=budget.monthly, percentage=share(spent, budget.monthly) or _ZERO
        )
        for budget, spent in rows
    ]


def over_budget(rows: Sequence[BudgetStanding]) -> list[Insight]:
    """The budgets that are overspent, the worst first."""
    over = sorted((row for row in rows if row.spent > row.limit), key=lambda row: -row.percentage)
    return [Insight(kind="over-budget", name=row.name, percent=row.percentage) for row in over[:MENTIONED_BUDGETS]]


def change(now: Decimal, before: Decimal) -> list[Insight]:
    """How spending moved against the time before, where that is worth saying."""
    moved = share(now - before, before)
    if moved is None or abs(moved) < NOTABLE_CHANGE:
        return []
    return [Insight(kind="spending-up" if moved > 0 else "spending-down", percent=abs(moved))]


def uncategorized(totals: Totals) -> list[Insight]:
    """A word on transactions without a category."""
    return [Insight(kind="uncategorized", count=totals.uncategorized)] if totals.uncategorized else []


def share(part: Decimal, whole: Decimal) -> Decimal | None:
    """`part` in per cent of `whole`, to one decimal; None of nothing."""
    return (part * 100 / whole).quantize(Decimal("0.1"), ROUND_HALF_UP) if whole > 0 else None
