"""A Plaid item's accounts, debts and changed transactions into the connection's space.

The cursor moves in the same transaction as the rows that it stands for: a sync that fails half way has changed
nothing, and the next begins where the last whole one ended.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from dhanam_jobs.handlers.providers import plaid
from dhanam_jobs.handlers.providers.amounts import currency_code, money
from dhanam_jobs.handlers.providers.plaid import Liabilities, PlaidClient
from dhanam_jobs.handlers.providers.providers import token_of
from dhanam_jobs.handlers.store.synced_books import SyncedAccount, SyncedTransaction
from dhanam_jobs.handlers.syncs.ground import Ground, Synced, date_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store.synced_books import AccountRef

_TYPES: Final = {"depository": "checking", "credit": "credit", "investment": "investment", "brokerage": "investment"}
_SAVINGS: Final = frozenset({"savings", "money market", "cd"})
_OWED: Final = ("credit", "loan")


async def sync_plaid(ground: Ground) -> Synced:
    """Bring the item's accounts, and what changed since its cursor (all there is in a full sync), into the books."""
    side, connection = ground.side, ground.connection
    client = PlaidClient(
        ground.transport,
        side.key("plaid", "plaid_client_id"),
        side.key("plaid", "plaid_secret"),
        token_of(ground.providers, "plaid", connection.encrypted_token),
    )
    found, unread = await client.accounts()
    synced = Synced(skipped=unread)
    debts = Liabilities()
    if any(account.type in _OWED for account in found):
        debts = await client.liabilities()
    cursor = connection.details.get("cursor")
    changes = await client.changes(cursor if isinstance(cursor, str) and not ground.full else "")
    synced.skipped += changes.unread
    rows = []
    for account in found:
        row = _account(account, _debt(debts, account.account_id), ground)
        if row is None:
            synced.skipped += 1
        else:
            rows.append(row)
    async with ground.store.transaction() as tx:
        kept = await tx.synced_books.write_accounts(ground.space.id, "plaid", rows)
        written = []
        for transaction in changes.written.values():
            entry = _transaction(transaction, kept)
            if entry is None:
                synced.skipped += 1
            else:
                written.append(entry)
        counts = await tx.synced_books.write_transactions(written)
        own = [
            account.id
            for account in await tx.synced_books.accounts_of(ground.space.id, "plaid")
            if (account.metadata or {}).get("connectionId") == connection.id
        ]
        synced.removed = await tx.synced_books.remove_transactions(own, changes.removed)
        await tx.provider_connections.set_metadata(connection.id, {"cursor": changes.cursor})
    synced.transactions = counts.new + counts.changed
    synced.accounts = len(kept)
    synced.account_ids = sorted(account.id for account in kept.values())
    synced.cursor = changes.cursor
    return synced


def _account(account: plaid.Account, liability: dict[str, Any], ground: Ground) -> SyncedAccount | None:
    kind = _TYPES.get(account.type or "", "other")
    if kind == "checking" and (account.subtype or "") in _SAVINGS:
        kind = "savings"
    balances = account.balances
    current = balances.current if balances.current is not None else balances.available
    balance = money(current if current is not None else Decimal(0))
    if balance is None:
        return None
    owed = account.type in _OWED
    if owed:
        # Plaid tells a debt as a positive number, an overpaid one as a negative; in the books it is the other way.
        balance = -balance
        liability = {"credit_limit": money(balances.limit), **liability}
        liability.setdefault("liability_type", "credit_card" if account.type == "credit" else "loan")
    return SyncedAccount(
        provider_account_id=account.account_id,
        name=account.name or account.official_name or "Plaid",
        type=kind,
        subtype=account.subtype,
        currency=currency_code(balances.iso_currency_code or balances.unofficial_currency_code, "USD"),
        balance=balance,
        owner_id=ground.connection.user_id,
        metadata={
            "connectionId": ground.connection.id,
            "mask": account.mask,
            "officialName": account.official_name,
            "itemId": ground.connection.provider_user_id,
            "balances": {
                "available": _text(balances.available),
                "current": _text(balances.current),
                "limit": _text(balances.limit),
                "iso_currency_code": balances.iso_currency_code,
                "unofficial_currency_code": balances.unofficial_currency_code,
            },
        },
        liability=liability if owed else {},
    )


def _debt(debts: Liabilities, account_id: str) -> dict[str, Any]:
    """The liability columns of an account; empty where Plaid tells none."""
    for card in debts.credit or ():
        if card.account_id == account_id:
            aprs = sorted(card.aprs or (), key=lambda apr: apr.apr_type != "purchase_apr")
            return {
                "liability_type": "credit_card",
                "apr": _fraction(aprs[0].apr_percentage if aprs else None),
                "minimum_payment": money(card.minimum_payment_amount),
                **_payments(card),
                "is_overdue": card.is_overdue,
            }
    for student in debts.student or ():
        if student.account_id == account_id:
            return {
                "liability_type": "student_loan",
                "apr": _fraction(student.interest_rate_percentage),
                "minimum_payment": money(student.minimum_payment_amount),
                **_payments(student),
                **_origin(student),
                "is_overdue": student.is_overdue,
            }
    for mortgage in debts.mortgage or ():
        if mortgage.account_id == account_id:
            due = mortgage.past_due_amount
            return {
                "liability_type": "mortgage",
                "apr": _fraction(mortgage.interest_rate.percentage if mortgage.interest_rate else None),
                "minimum_payment": money(mortgage.next_monthly_payment),
                **_payments(mortgage),
                **_origin(mortgage),
                "is_overdue": None if due is None else due > 0,
            }
    return {}


def _payments(debt: plaid.Credit | plaid.Student | plaid.Mortgage) -> dict[str, Any]:
    return {
        "next_payment_due_date": date_of(debt.next_payment_due_date),
        "last_payment_amount": money(debt.last_payment_amount),
        "last_payment_date": date_of(debt.last_payment_date),
    }


def _origin(debt: plaid.Student | plaid.Mortgage) -> dict[str, Any]:
    return {
        "origination_date": date_of(debt.origination_date),
        "original_principal": money(debt.origination_principal_amount),
    }


def _fraction(percentage: Decimal | None) -> Decimal | None:
    return None if percentage is None else money(percentage / 100)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _transaction(entry: plaid.Transaction, accounts: dict[str, AccountRef]) -> SyncedTransaction | None:
    account = accounts.get(entry.account_id)
    amount = money(entry.amount)
    if account is None or amount is None:
        return None
    return SyncedTransaction(
        account_id=account.id,
        provider_transaction_id=entry.transaction_id,
        amount=-amount,
        currency=currency_code(entry.iso_currency_code or entry.unofficial_currency_code, account.currency),
        date=entry.date,
        description=entry.name or entry.original_description or entry.merchant_name or "Plaid",
        merchant=entry.merchant_name,
        pending=entry.pending,
        replaces=entry.pending_transaction_id,
        metadata={
            "plaidCategory": entry.category,
            "plaidCategoryId": entry.category_id,
            "accountOwner": entry.account_owner,
            "authorizedDate": entry.authorized_date,
            "location": entry.location,
            "paymentMeta": entry.payment_meta,
        },
    )
