"""Plaid's HTTP API: accounts, liabilities, and the changes of an item since a cursor. Meaning is the sync's matter."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

import msgspec

from dhanam_jobs.handlers.providers.errors import (
    AuthFailed,
    InstitutionUnavailable,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    SyncFailed,
    SyncRefused,
)
from dhanam_jobs.handlers.providers.transport import DEFAULT_RETRY_AFTER_S, Answer, Transport, read_each, retry_after_s

PAGE_ROWS: Final = 500
MAX_PAGES: Final = 2000
RESTARTS: Final = 3
"""How often the paging may begin again because the item's data changed under it."""

_RECONNECT = frozenset(
    {
        "ACCESS_NOT_GRANTED",
        "INVALID_ACCESS_TOKEN",
        "INVALID_CREDENTIALS",
        "INVALID_MFA",
        "INVALID_SEND_METHOD",
        "INSUFFICIENT_CREDENTIALS",
        "ITEM_LOCKED",
        "ITEM_LOGIN_REQUIRED",
        "ITEM_NOT_FOUND",
        "MFA_NOT_SUPPORTED",
        "NO_ACCOUNTS",
        "PASSWORD_RESET_REQUIRED",
        "USER_ACCOUNT_REVOKED",
        "USER_PERMISSION_REVOKED",
        "USER_SETUP_REQUIRED",
    }
)
_OUR_KEYS = frozenset({"INVALID_API_KEYS", "UNAUTHORIZED_ENVIRONMENT", "MISSING_FIELDS"})
_NO_LIABILITIES = frozenset(
    {
        "ADDITIONAL_CONSENT_REQUIRED",
        "INVALID_PRODUCT",
        "NO_LIABILITY_ACCOUNTS",
        "PRODUCT_NOT_ENABLED",
        "PRODUCT_NOT_READY",
        "PRODUCTS_NOT_SUPPORTED",
    }
)
_MUTATED = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


class Balances(msgspec.Struct, frozen=True):
    """What an account holds or owes; either currency code may be missing."""

    available: Decimal | None = None
    current: Decimal | None = None
    limit: Decimal | None = None
    iso_currency_code: str | None = None
    unofficial_currency_code: str | None = None


class Account(msgspec.Struct, frozen=True):
    """An account of an item."""

    account_id: str
    balances: Balances = Balances()
    name: str | None = None
    official_name: str | None = None
    mask: str | None = None
    type: str | None = None
    subtype: str | None = None


class Transaction(msgspec.Struct, frozen=True):
    """A movement; `amount` is positive for money that leaves the account."""

    transaction_id: str
    account_id: str
    amount: Decimal
    date: dt.date
    name: str | None = None
    original_description: str | None = None
    merchant_name: str | None = None
    pending: bool = False
    pending_transaction_id: str | None = None
    iso_currency_code: str | None = None
    unofficial_currency_code: str | None = None
    category: list[str] | None = None
    category_id: str | None = None
    account_owner: str | None = None
    authorized_date: str | None = None
    location: dict[str, Any] | None = None
    payment_meta: dict[str, Any] | None = None


class _Removed(msgspec.Struct, frozen=True):
    transaction_id: str


class _Page(msgspec.Struct, frozen=True):
    next_cursor: str
    has_more: bool
    added: list[msgspec.Raw] = []
    modified: list[msgspec.Raw] = []
    removed: list[_Removed] = []


class Changes(msgspec.Struct):
    """All that changed since a cursor: transactions by id in the order told, ids taken back, the cursor after it."""

    written: dict[str, Transaction] = {}
    removed: set[str] = set()
    cursor: str = ""
    unread: int = 0


class Apr(msgspec.Struct, frozen=True):
    apr_percentage: Decimal | None = None
    apr_type: str | None = None


class Credit(msgspec.Struct, frozen=True):
    account_id: str | None = None
    aprs: list[Apr] | None = None
    is_overdue: bool | None = None
    last_payment_amount: Decimal | None = None
    last_payment_date: str | None = None
    minimum_payment_amount: Decimal | None = None
    next_payment_due_date: str | None = None


class Student(msgspec.Struct, frozen=True):
    account_id: str | None = None
    interest_rate_percentage: Decimal | None = None
    is_overdue: bool | None = None
    last_payment_amount: Decimal | None = None
    last_payment_date: str | None = None
    minimum_payment_amount: Decimal | None = None
    next_payment_due_date: str | None = None
    origination_date: str | None = None
    origination_principal_amount: Decimal | None = None


class _Rate(msgspec.Struct, frozen=True):
    percentage: Decimal | None = None


class Mortgage(msgspec.Struct, frozen=True):
    account_id: str | None = None
    interest_rate: _Rate | None = None
    last_payment_amount: Decimal | None = None
    last_payment_date: str | None = None
    next_monthly_payment: Decimal | None = None
    next_payment_due_date: str | None = None
    origination_date: str | None = None
    origination_principal_amount: Decimal | None = None
    past_due_amount: Decimal | None = None


class Liabilities(msgspec.Struct, frozen=True):
    """The debts of an item, by kind; a kind that there is none of is None."""

    credit: list[Credit] | None = None
    student: list[Student] | None = None
    mortgage: list[Mortgage] | None = None


class _Accounts(msgspec.Struct, frozen=True):
    accounts: list[msgspec.Raw]


class _Liabilities(msgspec.Struct, frozen=True):
    liabilities: Liabilities


class _Problem(msgspec.Struct, frozen=True):
    error_code: str | None = None
    error_type: str | None = None


class _Mutated(Exception):
    """The data changed while it was paged through."""


class PlaidClient:
    """One item's view of Plaid."""

    def __init__(self, transport: Transport, client_id: str, secret: str, access_token: str) -> None:
        self._transport = transport
        self._headers = {
            "PLAID-CLIENT-ID": client_id,
            "PLAID-SECRET": secret,
            "Content-Type": "application/json",
        }
        self._token = access_token

    async def accounts(self) -> tuple[list[Account], int]:
        """The item's accounts, and how many entries could not be read."""
        found = await self._ask("/accounts/get", {}, _Accounts)
        return read_each(found.accounts, Account)

    async def liabilities(self) -> Liabilities:
        """The item's debts; empty where the bank doesn't tell them, or the person hasn't allowed it."""
        try:
            found: _Liabilities = await self._ask("/liabilities/get", {}, _Liabilities, without=_NO_LIABILITIES)
        except _Without:
            return Liabilities()
        return found.liabilities

    async def changes(self, cursor: str) -> Changes:
        """What changed since the cursor ("" for everything there is), all pages of it.

        Begins again from the same cursor where the data change under the paging, RESTARTS times at most.
        """
        for _ in range(RESTARTS + 1):
            try:
                return await self._pages(cursor)
            except _Mutated:
                continue
        raise SyncFailed(self._transport.provider, f"its data changed under the paging {RESTARTS + 1} times")

    async def _pages(self, cursor: str) -> Changes:
        changes = Changes(cursor=cursor)
        for _ in range(MAX_PAGES):
            page: _Page = await self._ask("/transactions/sync", {"cursor": changes.cursor, "count": PAGE_ROWS}, _Page)
            for raw in (page.added, page.modified):
                read, unread = read_each(raw, Transaction)
                changes.unread += unread
                for transaction in read:
                    changes.written[transaction.transaction_id] = transaction
                    changes.removed.discard(transaction.transaction_id)
            for removed in page.removed:
                changes.written.pop(removed.transaction_id, None)
                changes.removed.add(removed.transaction_id)
            changes.cursor = page.next_cursor
            if not page.has_more:
                return changes
        raise SyncFailed(self._transport.provider, f"its paging does not end after {MAX_PAGES} pages")

    async def _ask(self, path: str, asked: dict[str, Any], kind: Any, without: frozenset[str] = frozenset()) -> Any:
        body = msgspec.json.encode({"access_token": self._token, **asked})
        request = self._transport.build("POST", path, content=body, headers=self._headers)
        answer = await self._transport.send(request)
        if answer.status < 300:
            return answer.decode(kind, self._transport.provider)
        raise self._problem(answer, without)

    def _problem(self, answer: Answer, without: frozenset[str]) -> Exception:
        name = self._transport.provider
        problem = _problem_of(answer.body)
        code = (problem.error_code or "")[:60]
        said = f"it answered {answer.status}" + (f" ({code})" if code else "")
        if code == _MUTATED:
            return _Mutated()
        if code in without:
            return _Without()
        if code in _RECONNECT:
            return AuthFailed(name, f"{said}: the bank must be connected again")
        if code in _OUR_KEYS:
            return ProviderNotConfigured(name, f"{said}: PLAID_CLIENT_ID or PLAID_SECRET is wrong")
        if code == "RATE_LIMIT_EXCEEDED" or code.endswith("_LIMIT") or problem.error_type == "RATE_LIMIT_EXCEEDED":
            wait = retry_after_s(answer.headers.get("retry-after"))
            return RateLimited(name, said, retry_after=wait, scope="connection")
        if code == "PRODUCT_NOT_READY":
            return RateLimited(name, said, retry_after=DEFAULT_RETRY_AFTER_S / 2, scope="connection")
        if code.startswith("INSTITUTION_"):
            return InstitutionUnavailable(name, said)
        if code in ("INTERNAL_SERVER_ERROR", "PLANNED_MAINTENANCE"):
            slow = b"timeout" in answer.body.lower() or b"timed out" in answer.body.lower()
            return ProviderTimeout(name, said) if slow else ProviderUnavailable(name, said)
        return SyncRefused(name, said)


class _Without(Exception):
    """The item has nothing of what was asked for."""


def _problem_of(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Problem()
