"""Providers of money matters: Bitso, Belvo, Plaid, two chains and coin prices, by thin clients of our own.

One file per provider speaks its wire format; `Providers` is what handlers get. Keeping what they tell is syncs/.
"""

from dhanam_jobs.handlers.providers.errors import (
    AuthFailed,
    BudgetSpent,
    CircuitOpen,
    InstitutionUnavailable,
    ProviderError,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    SyncFailed,
    SyncRefused,
    as_signal,
    rest_of,
)
from dhanam_jobs.handlers.providers.providers import Endpoints, Providers, Side

__all__ = [
    "AuthFailed",
    "BudgetSpent",
    "CircuitOpen",
    "Endpoints",
    "InstitutionUnavailable",
    "ProviderError",
    "ProviderNotConfigured",
    "ProviderTimeout",
    "ProviderUnavailable",
    "Providers",
    "RateLimited",
    "Side",
    "SyncFailed",
    "SyncRefused",
    "as_signal",
    "rest_of",
]
