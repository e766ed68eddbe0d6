"""A Belvo link's accounts and transactions into the connection's space."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from dhanam_jobs.handlers.providers import belvo
from dhanam_jobs.handlers.providers.amounts import currency_code, money
from dhanam_jobs.handlers.providers.belvo import BelvoClient
from dhanam_jobs.handlers.providers.providers import token_of
from dhanam_jobs.handlers.store.synced_books import SyncedAccount, SyncedTransaction
from dhanam_jobs.handlers.syncs.ground import Ground, Synced, date_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store.synced_books import AccountRef

WINDOW: Final = dt.timedelta(days=90)
OVERLAP: Final = dt.timedelta(days=7)
"""How far back a sync looks behind its cursor: banks book and correct movements days later."""

_TYPES: Final = {
    "CHECKING_ACCOUNT": "checking",
    "SAVINGS_ACCOUNT": "savings",
    "CREDIT_CARD": "credit",
    "INVESTMENT_ACCOUNT": "investment",
}


async def sync_belvo(ground: Ground) -> Synced:
    """Bring the link's accounts, and its transactions of the window or since the cursor, into the books."""
    link = token_of(ground.providers, "belvo", ground.connection.encrypted_token)
    client = BelvoClient(
        ground.transport,
        ground.side.key("belvo", "belvo_secret_key_id"),
        ground.side.key("belvo", "belvo_secret_key_password"),
    )
    accounts, unread = await client.accounts(link)
    synced = Synced(skipped=unread)
    rows = []
    for account in accounts:
        row = _account(account, ground, link)
        if row is None:
            synced.skipped += 1
        else:
            rows.append(row)
    kept = await ground.store.synced_books.write_accounts(ground.space.id, "belvo", rows)
    today = ground.today()
    transactions, unread = await client.transactions(link, _first_day(ground, today), today)
    synced.skipped += unread
    written = []
    for transaction in transactions:
        entry = _transaction(transaction, kept)
        if entry is None:
            synced.skipped += 1
        else:
            written.append(entry)
    counts = await ground.store.synced_books.write_transactions(written)
    synced.transactions = counts.new + counts.changed
    synced.accounts = len(kept)
    synced.account_ids = sorted(account.id for account in kept.values())
    synced.cursor = today.isoformat()
    synced.metadata["syncCursor"] = synced.cursor
    return synced


def _first_day(ground: Ground, today: dt.date) -> dt.date:
    cursor = ground.connection.details.get("syncCursor")
    since = date_of(cursor) if isinstance(cursor, str) else None
    if ground.full or since is None or since > today:
        return today - WINDOW
    return since - OVERLAP


def _account(account: belvo.Account, ground: Ground, link: str) -> SyncedAccount | None:
    kind = _TYPES.get(account.category or "", "other")
    current = account.balance.current if account.balance is not None else None
    balance = money(current if current is not None else Decimal(0))
    if balance is None:
        return None
    owed = kind == "credit" or account.balance_type == "LIABILITY" or account.category == "LOAN_ACCOUNT"
    if owed:
        # Belvo tells what is owed without a sign; in the books debts are negative.
        balance = -abs(balance)
    return SyncedAccount(
        provider_account_id=account.id,
        name=(account.name or "").strip() or (account.institution.name if account.institution else None) or "Belvo",
        type=kind,
        subtype=account.type,
        currency=currency_code(account.currency, "MXN"),
        balance=balance,
        owner_id=ground.connection.user_id,
        metadata={
            "connectionId": ground.connection.id,
            "linkId": ground.connection.provider_user_id,
            "institution": account.institution.name if account.institution else None,
            "number": account.number,
        },
        liability=_liability(account, owed),
    )


def _liability(account: belvo.Account, owed: bool) -> dict[str, Any]:
    if not owed:
        return {}
    if (credit := account.credit_data) is not None:
        return {
            "liability_type": "credit_card" if account.category == "CREDIT_CARD" else "line_of_credit",
            "apr": _fraction(credit.interest_rate),
            "minimum_payment": money(credit.minimum_payment),
            "credit_limit": money(credit.credit_limit),
            "next_payment_due_date": date_of(credit.next_payment_date),
            "last_payment_date": date_of(credit.last_payment_date),
        }
    if (loan := account.loan_data) is not None:
        return {
            "liability_type": "loan",
            "apr": _fraction(loan.interest_rate),
            "minimum_payment": money(loan.monthly_payment),
            "original_principal": money(loan.principal),
            "credit_limit": money(loan.credit_limit),
            "next_payment_due_date": date_of(loan.next_payment_date),
            "origination_date": date_of(loan.contract_start_date),
        }
    return {"liability_type": "credit_card" if account.category == "CREDIT_CARD" else "loan"}


def _fraction(percentage: Decimal | None) -> Decimal | None:
    return None if percentage is None else money(percentage / 100)


def _transaction(entry: belvo.Transaction, accounts: dict[str, AccountRef]) -> SyncedTransaction | None:
    account = accounts.get(entry.account.id)
    amount = money(entry.amount)
    if account is None or amount is None or entry.type not in ("INFLOW", "OUTFLOW"):
        return None
    merchant = entry.merchant.name if entry.merchant else None
    return SyncedTransaction(
        account_id=account.id,
        provider_transaction_id=entry.id,
        amount=amount if entry.type == "INFLOW" else -amount,
        currency=account.currency,
        date=entry.value_date,
        description=(entry.description or "").strip() or merchant or entry.category or "Belvo",
        merchant=merchant,
        pending=entry.status == "PENDING",
        metadata={
            "belvoId": entry.id,
            "category": entry.category,
            "type": entry.type,
            "status": entry.status,
            "mcc": entry.mcc,
        },
    )
