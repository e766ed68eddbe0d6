"""The table of templates: what each letter holds, how urgent it is, and which preference can switch it off.

The words are in templates/, one file per letter and language.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from dhanam_jobs.handlers.mail import letters


class Urgency(enum.StrEnum):
    """How soon a letter goes; `level` is the engine's priority for it."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def level(self) -> int:
        """1, 5 or 8 of the engine's levels 0 (first) to 9."""
        return {"high": 1, "normal": 5, "low": 8}[self.value]


class Consent(enum.StrEnum):
    """Whose say it is whether a letter is sent."""

    ESSENTIAL = "essential"
    """Security and what the reader has just asked for: always sent."""
    NOTIFICATIONS = "email_notifications"
    WEEKLY = "weekly_reports"
    MONTHLY = "monthly_reports"


class Template(msgspec.Struct, frozen=True):
    """One row: the name on the wire, the type of its data, its urgency where the producer names none."""

    name: str
    letter: type[letters.Letter]
    urgency: Urgency = Urgency.NORMAL
    consent: Consent = Consent.NOTIFICATIONS


_HIGH, _LOW = Urgency.HIGH, Urgency.LOW
_ESSENTIAL, _WEEKLY, _MONTHLY = Consent.ESSENTIAL, Consent.WEEKLY, Consent.MONTHLY

TEMPLATES: Final = (
    Template("welcome", letters.Named, _HIGH, _ESSENTIAL),
    Template("email-verification", letters.EmailVerification, _HIGH, _ESSENTIAL),
    Template("onboarding-complete", letters.OnboardingComplete, _HIGH),
    Template("password-reset", letters.PasswordReset, _HIGH, _ESSENTIAL),
    Template("password-changed", letters.PasswordChanged, _HIGH, _ESSENTIAL),
    Template("two-factor-enabled", letters.Named, _HIGH, _ESSENTIAL),
    Template("two-factor-disabled", letters.Named, _HIGH, _ESSENTIAL),
    Template("login-alert", letters.LoginAlert, _HIGH, _ESSENTIAL),
    Template("budget-alert", letters.BudgetAlert),
    Template("transaction-categorized", letters.TransactionCategorized, _LOW),
    Template("sync-completed", letters.SyncCompleted, _LOW),
    Template("sync-failed", letters.SyncFailed),
    Template("weekly-summary", letters.WeeklySummary, _LOW, _WEEKLY),
    Template("monthly-report", letters.MonthlyReport, consent=_MONTHLY),
    Template("investor-report", letters.InvestorReport, consent=_ESSENTIAL),
    Template("drip-day-1-connect", letters.Drip, _LOW),
    Template("drip-day-3-budget", letters.Drip, _LOW),
    Template("drip-day-7-summary", letters.Drip, _LOW),
    Template("drip-day-14-trial", letters.Drip, _LOW),
    Template("drip-reengagement-day-7", letters.Drip, _LOW),
    Template("drip-reengagement-day-14", letters.Drip, _LOW),
    Template("connection-health-alert", letters.ConnectionHealthAlert),
    # Both speak of what happens to the reader's estate: a preference about newsletters must not silence them.
    Template("life-beat-inactivity-warning", letters.LifeBeatInactivityWarning, consent=_ESSENTIAL),
    Template("life-beat-executor-alert", letters.LifeBeatExecutorAlert, consent=_ESSENTIAL),
    Template("scheduled-weekly-report", letters.ScheduledReport, consent=_WEEKLY),
    Template("scheduled-monthly-report", letters.ScheduledReport, consent=_MONTHLY),
)

_BY_NAME = {row.name: row for row in TEMPLATES}


class UnknownTemplate(ValueError):
    """No template of that name; the text lists those there are."""


class BadLetter(ValueError):
    """The data doesn't fill in the template; the text names the template and the key."""


def template_of(name: str) -> Template:
    """Return a template's row. Raises UnknownTemplate."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownTemplate(f"template {name[:80]!r}: wanted one of {', '.join(_BY_NAME)}") from None


def fill(template: Template, data: dict[str, Any]) -> letters.Letter:
    """Read the data of a letter. Raises BadLetter."""
    try:
        return msgspec.convert(data, template.letter)
    except msgspec.ValidationError as error:
        # The name comes last: before a colon, that of a letter about passwords would make the rest look like one.
        raise BadLetter(f"data: {error} (template {template.name!r})") from None
