"""What the store can refuse or fail at, as a small tree of errors; what a caller answers is the caller's."""

from __future__ import annotations


class StoreError(Exception):
    """Base of all: the message names the thing, the value found and the value wanted, and no secret."""


class StoreUnavailable(StoreError):
    """The database didn't answer or broke off; trying again later may succeed."""


class StoreConflict(StoreError):
    """The database refused a row: a unique key is taken, or what the row refers to isn't there."""


class StoreMismatch(StoreError):
    """The database's schema is not one that this release can read; raised when the store is opened."""


class UnknownAccount(StoreError):
    """No live account of that id in that space, or not one that must be meant; the message lists them."""


class UnknownSpace(StoreError):
    """No live space of that id."""


class MoneyError(StoreError, ValueError):
    """An amount that decimal(19,4) can't hold exactly: too large, too fine, or not a finite Decimal."""
