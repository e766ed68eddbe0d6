"""The shape of a load file, and reading one: JSON in, checked structs out; writing them is load.py's.

One object with any of the lists `users`, `spaces`, `members`, `accounts`, `budgets`, `categories`, `rules`,
`transactions` and `connections`; the structs below are their entries, in camelCase. A field that an entry leaves out
keeps what the store has, or takes the default on a new row. Unknown fields are refused. docs/load-format.md has an
example.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.handlers.misfit import misfit

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:@-]+$", max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=500)]
Email = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Currency = Literal["MXN", "USD", "EUR", "CAD"]
Provider = Literal["belvo", "plaid", "mx", "finicity", "bitso", "blockchain", "manual"]
AccountType = Literal["checking", "savings", "credit", "investment", "crypto", "other"]


class LoadError(Exception):
    """The file can't be loaded, and nothing was; the message has the JSON path, what was found, what is wanted."""


class _Entry(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Base of all entries."""


class Preferences(_Entry):
    email_notifications: bool | UnsetType = UNSET
    push_notifications: bool | UnsetType = UNSET
    weekly_reports: bool | UnsetType = UNSET
    monthly_reports: bool | UnsetType = UNSET
    auto_categorize_txns: bool | UnsetType = UNSET
    export_format: Literal["csv", "json", "pdf"] | UnsetType = UNSET
    default_currency: Currency | UnsetType = UNSET


class User(_Entry):
    id: Id
    email: Email
    name: Name
    locale: Literal["es", "en"] | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    is_admin: bool | UnsetType = UNSET
    subscription_tier: Literal["community", "pro", "enterprise"] | UnsetType = UNSET
    preferences: Preferences | UnsetType = UNSET


class Space(_Entry):
    id: Id
    name: Name
    type: Literal["personal", "business"] | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    timezone: str | UnsetType = UNSET


class Member(_Entry):
    user_id: Id
    space_id: Id
    role: Literal["owner", "admin", "member", "viewer"]


class Account(_Entry):
    id: Id
    space_id: Id
    name: Name
    type: AccountType
    subtype: str | UnsetType | None = UNSET
    provider: Provider | UnsetType = UNSET
    provider_account_id: str | UnsetType | None = UNSET
    currency: Currency | UnsetType = UNSET
    balance: Decimal | UnsetType = UNSET
    ownership: Literal["individual", "joint", "trust"] | UnsetType = UNSET
    owner_id: Id | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    liability_type: str | UnsetType | None = UNSET
    apr: Decimal | UnsetType | None = UNSET
    minimum_payment: Decimal | UnsetType | None = UNSET
    next_payment_due_date: dt.date | UnsetType | None = UNSET
    last_payment_amount: Decimal | UnsetType | None = UNSET
    last_payment_date: dt.date | UnsetType | None = UNSET
    is_overdue: bool | UnsetType | None = UNSET
    credit_limit: Decimal | UnsetType | None = UNSET
    origination_date: dt.date | UnsetType | None = UNSET
    original_principal: Decimal | UnsetType | None = UNSET


class Budget(_Entry):
    id: Id
    space_id: Id
    name: Name


class Category(_Entry):
    id: Id
    budget_id: Id
    name: Name
    is_income: bool | UnsetType = UNSET
    budgeted_amount: Decimal | UnsetType = UNSET


class Rule(_Entry):
    id: Id
    space_id: Id
    name: Name
    conditions: list[Any] | dict[str, Any]
    category_id: Id | UnsetType | None = UNSET
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Transaction(_Entry):
    id: Id
    account_id: Id
    amount: Decimal
    date: dt.date
    description: str
    currency: Currency | UnsetType = UNSET
    merchant: str | UnsetType | None = UNSET
    category_id: Id | UnsetType | None = UNSET
    provider_transaction_id: str | UnsetType | None = UNSET
    pending: bool | UnsetType = UNSET
    reviewed: bool | UnsetType = UNSET
    exclude_from_totals: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


class Connection(_Entry):
    """`token` and `api_secret` (of Bitso) are plain texts here; they are sealed before anything is stored."""

    id: Id
    user_id: Id
    provider: Literal["belvo", "plaid", "bitso"]
    provider_user_id: Annotated[str, Meta(min_length=1, max_length=500)]
    token: Annotated[str, Meta(min_length=1, max_length=5000)] | UnsetType = UNSET
    api_secret: Annotated[str, Meta(min_length=1, max_length=5000)] | UnsetType = UNSET
    space_id: Id | UnsetType | None = UNSET
    status: Literal["active", "disconnected"] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


class Document(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A whole file; lists left out are empty."""

    users: tuple[User, ...] = ()
    spaces: tuple[Space, ...] = ()
    members: tuple[Member, ...] = ()
    accounts: tuple[Account, ...] = ()
    budgets: tuple[Budget, ...] = ()
    categories: tuple[Category, ...] = ()
    rules: tuple[Rule, ...] = ()
    transactions: tuple[Transaction, ...] = ()
    connections: tuple[Connection, ...] = ()


def read_document(path: Path) -> Document:
    """Read a file; raises LoadError."""
    try:
        return decode_document(path.read_bytes(), str(path))
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from None


def decode_document(raw: bytes, name: str) -> Document:
    """Read JSON and check its shape; `name` is what an error calls it. Raises LoadError.

    Money may be written as a number or as a text; both are read digit for digit.
    """
    # A byte order mark is what Windows' editors put before JSON.
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        document = msgspec.json.decode(raw, type=Document)
    except msgspec.ValidationError as error:
        # It is raised at the first thing of another shape; what follows may be no JSON at all.
        raise LoadError(_explain(error, _decode_anything(raw, name))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(name, error) from None
    json.loads(raw, object_pairs_hook=_object_of, parse_int=str, parse_float=str)
    if b"\\u0000" in raw:
        _refuse_nul(msgspec.json.decode(raw), "$")
    return document


def _decode_anything(raw: bytes, name: str) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(name, error) from None


def _no_json(name: str, error: Exception) -> LoadError:
    return LoadError(f"{name}: found text that is no JSON, wanted one object: {error}")


def _object_of(pairs: list[tuple[str, Any]]) -> None:
    # A reader would keep the last of two lists, and lose the first without a word.
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LoadError(f"{excerpt(twice)} stands twice in one object, wanted once")


def row_of(entry: msgspec.Struct) -> dict[str, Any]:
    """Give an entry's fields as a row: only those that the file has."""
    fields = ((name, getattr(entry, name)) for name in entry.__struct_fields__)
    return {name: value for name, value in fields if value is not UNSET}


def excerpt(value: object) -> str:
    """Give a found value as JSON, cut to what fits in a message."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _explain(error: msgspec.ValidationError, document: object) -> str:
    """Add the value found, and the legal ones of a choice, to what msgspec says."""
    place = misfit(error, document, Document)
    if place is None:
        return str(error)
    reason = place.reason.replace("Expected ", "wanted ", 1)
    if isinstance(place.found, dict):
        known = f"; there are: {', '.join(place.fields)}" if "unknown" in reason else ""
        return f"{place.path}: {reason}{known}"
    if place.choices:
        reason = f"wanted one of {', '.join(place.choices)}"
    return f"{place.path}: found {excerpt(place.found)}, {reason}"


def _refuse_nul(value: object, path: str) -> None:
    if isinstance(value, str) and "\0" in value:
        raise LoadError(f"{path}: found {excerpt(value)}, wanted a text without the character U+0000")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(key, f"{path}.{excerpt(key)}")
            _refuse_nul(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nul(inner, f"{path}[{index}]")
