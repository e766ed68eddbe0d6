"""What each template needs to be filled in: one Struct per kind of letter, checked before a letter is enqueued.

Amounts are numbers or decimal texts and become Decimals; dates and moments are ISO 8601 texts (anything else is shown
as it stands); addresses of pages are http or https. Keys that a letter doesn't know are ignored, since producers may
say more than is printed. How a letter looks is the templates'.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s<>\"']+$", max_length=2000)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{2,12}$")]
Line = Annotated[str, msgspec.Meta(max_length=1000)]
Rows = msgspec.Meta(max_length=200)


class Letter(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Base of all letters' data."""


class Named(Letter, frozen=True, kw_only=True):
    """A letter that needs no more than the reader's name."""

    name: Line


class EmailVerification(Letter, frozen=True, kw_only=True):
    """Asks to confirm an address."""

    user_name: Line
    verification_url: Url


class OnboardingComplete(Letter, frozen=True, kw_only=True):
    """`completion_time`: seconds, or a text that is shown as it stands."""

    user_name: Line
    completion_time: Line | float | None = None
    steps_completed: int | None = None
    dashboard_url: Url | None = None
    skip_optional: bool = False


class PasswordReset(Named, frozen=True, kw_only=True):
    """A link that sets a new password."""

    reset_url: Url


class PasswordChanged(Named, frozen=True, kw_only=True):
    """`changed_at`: a moment."""

    changed_at: Line


class LoginAlert(Named, frozen=True, kw_only=True):
    """A login from somewhere new; `login_time` is a moment."""

    browser: Line | None = None
    device: Line | None = None
    ip_address: Line | None = None
    location: Line | None = None
    login_time: Line | None = None


class BudgetAlert(Named, frozen=True, kw_only=True):
    """`percentage` of `limit` that is spent; negative `remaining` is an excess."""

    budget_name: Line
    budget_id: Line | None = None
    percentage: Decimal
    spent: Decimal
    limit: Decimal
    remaining: Decimal
    currency: Currency


class CategorizedRow(Letter, frozen=True, kw_only=True):
    """One transaction with its new category; the colour is `#rgb` or `#rrggbb`."""

    description: Line
    amount: Decimal
    currency: Currency
    date: Line
    category: Line
    category_color: str | None = None


class TransactionCategorized(Named, frozen=True, kw_only=True):
    """`count` may be larger than the rows shown."""

    count: int
    transactions: Annotated[list[CategorizedRow], Rows] = []


class SyncCompleted(Named, frozen=True, kw_only=True):
    """`sync_time`: a moment."""

    provider: Line
    accounts_updated: int
    transactions_added: int
    sync_time: Line | None = None


class SyncFailed(Named, frozen=True, kw_only=True):
    """With `needs_reauth` the reader is asked to authorise again, at `action_url`."""

    provider: Line
    error: Line
    failed_at: Line
    needs_reauth: bool = False
    action_url: Url | None = None


class CategorySpending(Letter, frozen=True, kw_only=True):
    """What a category took; `percentage` of everything spent. A None name is money without a category."""

    name: Line | None
    amount: Decimal
    percentage: Decimal | None = None


class BudgetStanding(Letter, frozen=True, kw_only=True):
    """A budget (category) and what of it is spent."""

    name: Line
    spent: Decimal
    limit: Decimal
    percentage: Decimal


class OtherCurrency(Letter, frozen=True, kw_only=True):
    """Totals in a currency that isn't the letter's; they are in none of its other figures."""

    currency: Currency
    total_spent: Decimal
    net_change: Decimal


class Insight(Letter, frozen=True, kw_only=True):
    """Something worth saying, worded by the template in the reader's language.

    `kind`: spending-up, spending-down (`percent` against the time before), over-budget (`name`, `percent`), largest
    (`name`, `percent` of the spending), uncategorized (`count` transactions), saved, overspent (`amount`), esg-drag
    (`name`: the coin that pulls the score down most).
    """

    kind: Annotated[str, msgspec.Meta(max_length=40)]
    name: Line | None = None
    percent: Decimal | None = None
    amount: Decimal | None = None
    count: int | None = None


Insights = Annotated[list[Insight | str], Rows]


class WeeklySummary(Named, frozen=True, kw_only=True):
    """A space's week; both dates belong to it."""

    space_name: Line | None = None
    week_start: Line
    week_end: Line
    currency: Currency
    total_spent: Decimal
    net_change: Decimal
    top_categories: Annotated[list[CategorySpending], Rows] = []
    budgets: Annotated[list[BudgetStanding], Rows] = []
    insights: Insights = []
    other_currencies: Annotated[list[OtherCurrency], Rows] = []


class TrendPoint(Letter, frozen=True, kw_only=True):
    """Net worth at the end of a date."""

    date: Line
    value: Decimal


class EsgData(Letter, frozen=True, kw_only=True):
    """The portfolio's overall ESG score, 0 to 100."""

    score: Decimal
    insight: Insight | Line | None = None


class MonthlyReport(Named, frozen=True, kw_only=True):
    """A space's month; `month` is its name or an ISO month, `savings_rate` a percentage of the income.

    `missing_rates` names currencies that are in no figure of the net worth, for want of a rate.
    """

    space_name: Line | None = None
    month: Line
    month_number: int | None = None
    year: int
    currency: Currency
    total_income: Decimal
    total_expenses: Decimal
    net_savings: Decimal
    savings_rate: Decimal | None = None
    top_categories: Annotated[list[CategorySpending], Rows] = []
    budget_performance: Annotated[list[BudgetStanding], Rows] = []
    net_worth_trend: Annotated[list[TrendPoint], Rows] | Line | None = None
    current_net_worth: Decimal | None = None
    net_worth_change: Decimal | None = None
    net_worth_change_percent: Decimal | None = None
    missing_rates: Annotated[list[Currency], Rows] = []
    esg_data: EsgData | None = None
    recommendations: Insights = []
    other_currencies: Annotated[list[OtherCurrency], Rows] = []
    has_attachment: bool = False


class InvestorReport(Letter, frozen=True, kw_only=True):
    """A report that somebody shares with somebody who may have no account."""

    report_name: Line
    space_name: Line
    start_date: Line
    end_date: Line
    expires_at: Line | None = None
    message: Annotated[str, msgspec.Meta(max_length=5000)] | None = None
    public_url: Url
    sender_name: Line
    sender_email: Line | None = None


class Drip(Named, frozen=True, kw_only=True):
    """The letters of the first weeks, and those to people who haven't come for a while."""

    account_count: int | None = None
    budget_count: int | None = None
    has_goals: bool | None = None
    days_remaining: int | None = None
    tier: Line | None = None
    days_inactive: int | None = None
    total_balance: Decimal | None = None
    currency: Currency = "MXN"
    unreviewed_count: int | None = None


class AccountHealth(Letter, frozen=True, kw_only=True):
    """`type`: connection_error, connection_reauth or connection_degraded (others are shown as errors)."""

    type: Line
    account_id: Line
    account_name: Line
    message: Line | None = None


class ConnectionHealthAlert(Letter, frozen=True, kw_only=True):
    """Accounts of a space whose connection needs attention."""

    name: Line | None = None
    space_name: Line
    summary_message: Line | None = None
    accounts: Annotated[list[AccountHealth], Rows]
    action_url: Url


class LifeBeatInactivityWarning(Named, frozen=True, kw_only=True):
    """Asks whether the reader is well before the executors are told."""

    days_inactive: int
    alert_level: int | Line | None = None
    is_warning: bool = False
    is_final: bool = False
    executor_count: int = 0
    check_in_url: Url
    settings_url: Url | None = None


class LifeBeatExecutorAlert(Letter, frozen=True, kw_only=True):
    """Tells an executor that the account's holder has been inactive."""

    executor_name: Line
    account_holder_name: Line
    days_inactive: int
    access_request_url: Url
    relationship: Line | None = None


class ScheduledReport(Letter, frozen=True, kw_only=True):
    """Comes with the report as an attachment."""

    space_name: Line
    report_type: Line | None = None
    start_date: Line
    end_date: Line
