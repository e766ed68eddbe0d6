"""What can go wrong with a provider, by the service's codes; what a job does about each is in `as_signal`."""

from __future__ import annotations

from dhanam_jobs.engine import Discard, Snooze


class ProviderError(Exception):
    """Base of all. `code` is the service's (P001…); the text names provider and reason, and holds no secret.

    Attributes:
        permanent: no later attempt will end otherwise without a person's doing.
        breaks: it speaks against the provider as a whole and counts for its circuit breaker.
    """

    code = "P004"
    permanent = False
    breaks = False

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{self.code} {provider}: {reason}")
        self.provider = provider
        self.reason = reason


class ProviderUnavailable(ProviderError):
    """It can't be reached, or answers that it is down."""

    code = "P001"
    breaks = True


class InstitutionUnavailable(ProviderError):
    """One bank behind the provider is down; the provider itself answers."""

    code = "P001"


class ProviderNotConfigured(ProviderError):
    """There is no such provider here, or its address or key isn't set."""

    code = "P001"
    permanent = True


class AuthFailed(ProviderError):
    """The person's credentials or consent are no longer good: they must connect again."""

    code = "P002"
    permanent = True


class RateLimited(ProviderError):
    """The provider wants no calls for `retry_after` seconds.

    `scope` says of whom: `connection` (this person's) or `provider` (everybody's of ours).
    """

    code = "P003"

    def __init__(self, provider: str, reason: str, *, retry_after: float, scope: str) -> None:
        super().__init__(provider, f"{reason}; try again in {retry_after:g} s")
        self.retry_after = retry_after
        self.scope = scope


class SyncFailed(ProviderError):
    """Any other refusal or an answer that can't be understood."""


class SyncRefused(SyncFailed):
    """A refusal that will be the same next time: an unknown code, a wrong request."""

    permanent = True


class ProviderTimeout(ProviderError):
    """It didn't answer in time."""

    code = "P007"
    breaks = True


class CircuitOpen(ProviderError):
    """It failed so often lately that no call is made before `retry_after` seconds have passed."""

    code = "P008"

    def __init__(self, provider: str, *, retry_after: float) -> None:
        super().__init__(provider, f"it has failed too often lately; no calls for {retry_after:.0f} s")
        self.retry_after = retry_after


class BudgetSpent(ProviderError):
    """We have used up the calls that we allow ourselves; nothing was asked."""

    code = "P003"

    def __init__(self, provider: str, *, wait: float) -> None:
        super().__init__(provider, f"our own budget of calls is spent for {wait:.0f} s")
        self.wait = wait


def as_signal(error: ProviderError) -> Exception:
    """Give what a handler raises for the error.

    Permanent ones end the job; limits, open circuits and a spent budget wait as long as they say, which costs no
    attempt; everything else is raised as it is and follows the retry policy.
    """
    if error.permanent:
        return Discard(str(error))
    wait = rest_of(error)
    return error if wait is None else Snooze(wait)


def rest_of(error: ProviderError) -> float | None:
    """Seconds for which nothing is to be asked, where that is all that is wrong; else None."""
    if isinstance(error, RateLimited | CircuitOpen):
        return error.retry_after
    return error.wait if isinstance(error, BudgetSpent) else None
