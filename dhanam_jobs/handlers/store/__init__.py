"""The SQL store, the same on SQLite and PostgreSQL.

Importing it loads SQLAlchemy, which is slow: who may not need it imports it where it is used.
"""

from dhanam_jobs.handlers.store.accounts import Account
from dhanam_jobs.handlers.store.budgets import Category
from dhanam_jobs.handlers.store.errors import (
    MoneyError,
    StoreConflict,
    StoreError,
    StoreMismatch,
    StoreUnavailable,
    UnknownAccount,
    UnknownSpace,
)
from dhanam_jobs.handlers.store.rules import StoredRule
from dhanam_jobs.handlers.store.spaces import Membership, Space, SpaceRole
from dhanam_jobs.handlers.store.store import Queries, Store
from dhanam_jobs.handlers.store.transactions import Candidate, Choice, NewTransaction
from dhanam_jobs.handlers.store.users import User

__all__ = [
    "Account",
    "Candidate",
    "Category",
    "Choice",
    "Membership",
    "MoneyError",
    "NewTransaction",
    "Queries",
    "Space",
    "SpaceRole",
    "Store",
    "StoreConflict",
    "StoreError",
    "StoreMismatch",
    "StoreUnavailable",
    "StoredRule",
    "UnknownAccount",
    "UnknownSpace",
    "User",
]
