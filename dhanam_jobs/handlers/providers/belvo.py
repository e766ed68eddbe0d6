"""Belvo's HTTP API: accounts and transactions of a link. What becomes of them is the sync's matter."""

from __future__ import annotations

import base64
import datetime as dt
from decimal import Decimal
from typing import Any, Final

import msgspec

from dhanam_jobs.handlers.providers.errors import (
    AuthFailed,
    InstitutionUnavailable,
    ProviderNotConfigured,
    RateLimited,
    SyncFailed,
    SyncRefused,
)
from dhanam_jobs.handlers.providers.transport import DEFAULT_RETRY_AFTER_S, Answer, Transport, read_each

MAX_PAGES: Final = 1000
# Belvo's own list: https://developers.belvo.com/developer_resources/resources-belvo-api-errors
_RECONNECT = frozenset(
    {
        "consent_without_accounts",
        "invalid_link",
        "login_error",
        "not_found",
        "token_required",
        "unconfirmed_link",
        "user_blocked",
    }
)
_BUSY = frozenset(
    {"institution_down", "institution_unavailable", "institution_inactive", "request_timeout", "session_expired"}
)
_CROWDED = frozenset({"too_many_sessions"})
_OURS = frozenset({"authentication_failed", "access_to_resource_denied"})
"""About our own keys and contract: no person can mend these by connecting again."""


class _Amounts(msgspec.Struct, frozen=True):
    current: Decimal | None = None
    available: Decimal | None = None


class Institution(msgspec.Struct, frozen=True):
    name: str | None = None


class CreditData(msgspec.Struct, frozen=True):
    """What Belvo knows of a credit card or a line of credit; amounts in the account's currency, rates in percent."""

    credit_limit: Decimal | None = None
    minimum_payment: Decimal | None = None
    no_interest_payment: Decimal | None = None
    interest_rate: Decimal | None = None
    next_payment_date: str | None = None
    last_payment_date: str | None = None


class LoanData(msgspec.Struct, frozen=True):
    """What Belvo knows of a loan."""

    credit_limit: Decimal | None = None
    principal: Decimal | None = None
    outstanding_principal: Decimal | None = None
    monthly_payment: Decimal | None = None
    interest_rate: Decimal | None = None
    next_payment_date: str | None = None
    contract_start_date: str | None = None


class Account(msgspec.Struct, frozen=True):
    """An account behind a link."""

    id: str
    name: str | None = None
    category: str | None = None
    type: str | None = None
    currency: str | None = None
    balance: _Amounts | None = None
    balance_type: str | None = None
    number: str | None = None
    institution: Institution | None = None
    credit_data: CreditData | None = None
    loan_data: LoanData | None = None


class _AccountRef(msgspec.Struct, frozen=True):
    id: str


class Merchant(msgspec.Struct, frozen=True):
    name: str | None = None


class Transaction(msgspec.Struct, frozen=True):
    """A movement; `amount` has no sign, `type` is INFLOW or OUTFLOW."""

    id: str
    account: _AccountRef
    amount: Decimal
    type: str
    value_date: dt.date
    description: str | None = None
    merchant: Merchant | None = None
    category: str | None = None
    subcategory: str | None = None
    status: str | None = None
    mcc: int | str | None = None


class _Problem(msgspec.Struct, frozen=True):
    code: str | None = None


class _Page(msgspec.Struct, frozen=True):
    results: list[msgspec.Raw]
    next: str | None = None


class BelvoClient:
    """The accounts of links, with our own secret as the key to Belvo."""

    def __init__(self, transport: Transport, secret_id: str, secret_password: str) -> None:
        self._transport = transport
        pair = base64.b64encode(f"{secret_id}:{secret_password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}

    async def accounts(self, link: str) -> tuple[list[Account], int]:
        """The link's accounts, and how many entries could not be read."""
        return await self._retrieve("/api/accounts/", {"link": link}, Account)

    async def transactions(self, link: str, first: dt.date, last: dt.date) -> tuple[list[Transaction], int]:
        """The link's transactions of these days, both included, and how many entries could not be read."""
        asked = {"link": link, "date_from": first.isoformat(), "date_to": last.isoformat()}
        return await self._retrieve("/api/transactions/", asked, Transaction)

    async def _retrieve(self, path: str, asked: dict[str, str], kind: Any) -> tuple[list[Any], int]:
        request = self._transport.build(
            "POST", path, content=msgspec.json.encode({**asked, "save_data": True}), headers=self._headers
        )
        page = self._page(await self._transport.send(request))
        raw = list(page.results)
        pages = 1
        while page.next is not None:
            # Only the query is followed: our secret goes nowhere but to the address that was set.
            query = page.next.partition("?")[2]
            if not query or pages == MAX_PAGES:
                raise SyncFailed(self._transport.provider, f"its paging does not end after {pages} pages")
            follow = self._transport.build("GET", f"{path}?{query}", headers=self._headers)
            page = self._page(await self._transport.send(follow))
            raw += page.results
            pages += 1
        return read_each(raw, kind)

    def _page(self, answer: Answer) -> _Page:
        name = self._transport.provider
        if answer.status < 300:
            found = answer.decode(list[msgspec.Raw] | _Page, name)
            return found if isinstance(found, _Page) else _Page(found)
        codes = _codes(answer.body)
        said = f"it answered {answer.status}" + (f" ({', '.join(codes)})" if codes else "")
        if set(codes) & _OURS or (answer.status in (401, 403) and not set(codes) & _RECONNECT):
            wrong = "may not do this" if answer.status == 403 else "or BELVO_SECRET_KEY_PASSWORD is wrong"
            raise ProviderNotConfigured(name, f"{said}: BELVO_SECRET_KEY_ID {wrong}")
        if set(codes) & _CROWDED:
            raise RateLimited(name, said, retry_after=DEFAULT_RETRY_AFTER_S, scope="connection")
        if set(codes) & _BUSY:
            raise InstitutionUnavailable(name, said)
        if answer.status in (404, 428) or set(codes) & _RECONNECT:
            raise AuthFailed(name, f"{said}: the link must be connected again")
        raise SyncRefused(name, said)


def _codes(body: bytes) -> list[str]:
    try:
        found: Any = msgspec.json.decode(body, type=list[_Problem] | _Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    problems = found if isinstance(found, list) else [found]
    return [problem.code[:60] for problem in problems if problem.code]
