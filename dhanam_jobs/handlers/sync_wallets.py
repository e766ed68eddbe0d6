"""The job `sync-wallets`: balances and history of read-only wallets, of one user or of all, one child job each.

What a wallet's sync does is syncs/'s. One wallet that fails leaves the others alone; the job says so by failing at its
end where trying again may help, and by its counts where not. When nothing more is tried, the space's members are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dhanam_jobs.engine import Child, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.queues import QUEUES

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import ProviderError, Providers
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.wallets import Wallet

JOB_NAME: Final = "sync-wallets"
TIMEOUT_S: Final = 900.0
_ATTEMPTS: Final = next(row.retry.attempts for row in QUEUES if row.name == "sync-transactions")


class SyncWallets(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whose wallets; None means everybody's but the demo's."""

    user_id: str | None = None


class WalletsSynced(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many wallets (for all users: users) were synced, of how many, and how many failed.

    `transactions` counts new and changed ones; `missingPrices` names coins that kept their old value; `failures` says
    why each failed.
    """

    synced: int
    total: int
    errors: int
    transactions: int = 0
    missing_prices: list[str] = []
    failures: list[str] = []


class Trouble(msgspec.Struct, frozen=True):
    """A wallet that could not be synced, and why."""

    wallet: Wallet
    error: ProviderError


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...

    @property
    def providers(self) -> Providers: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time per user, and one for all."""
    registry.job(
        JOB_NAME,
        queue="sync-transactions",
        unique=lambda payload: f"wallets:{payload.user_id or ''}",
        accept=envelope_of(JOB_NAME),
        timeout=TIMEOUT_S,
    )(sync_wallets)


async def sync_wallets(ctx: JobContext, payload: SyncWallets) -> WalletsSynced:
    """Run the job."""
    from dhanam_jobs.handlers.providers import ProviderError, as_signal, rest_of

    resources: Resources = ctx.resources
    if payload.user_id is None:
        return await _all_users(ctx, resources.store)
    troubles: list[Trouble] = []
    try:
        result = await sync_wallets_of(resources.store, resources.providers, payload.user_id, troubles)
    except ProviderError as error:
        await _tell(ctx, troubles, last=ctx.attempt >= _ATTEMPTS and rest_of(error) is None)
        raise as_signal(error) from error
    await _tell(ctx, troubles, last=True)
    return result


async def _tell(ctx: JobContext, troubles: list[Trouble], *, last: bool) -> None:
    """Write to the members of the wallets' spaces about those for which nothing more will be tried by itself."""
    from dhanam_jobs.handlers.mail import notices
    from dhanam_jobs.handlers.mail.letters import AccountHealth

    spaces: dict[str, dict[str, AccountHealth]] = {}
    for each in troubles:
        if each.error.permanent or last:
            row = AccountHealth(
                type="connection_error",
                account_id=each.wallet.account_id,
                account_name=each.wallet.name[:200],
                message=each.error.reason[:500],
            )
            spaces.setdefault(each.wallet.space_id, {}).setdefault(row.account_id, row)
    for space_id, rows in spaces.items():
        await notices.connection_health(ctx, space_id=space_id, accounts=list(rows.values()))


async def _all_users(ctx: JobContext, store: Store) -> WalletsSynced:
    users = await store.wallets.owners()
    options = {"priority": ctx.job.priority}
    await ctx.add_children(Child(each, SyncWallets(each), on_failure="ignore", options=options) for each in users)
    ended = await ctx.wait_children()
    done = [each.result_as(WalletsSynced) for each in ended if each.completed]
    failed = [each for each in ended if not each.completed]
    return WalletsSynced(
        synced=len(done),
        total=len(users),
        errors=len(failed) + sum(each.errors for each in done),
        transactions=sum(each.transactions for each in done),
        missing_prices=sorted({coin for each in done for coin in each.missing_prices}),
        failures=[f"{each.key}: {each.reason}" for each in failed] + [text for each in done for text in each.failures],
    )


async def sync_wallets_of(
    store: Store, providers: Providers, user_id: str, troubles: list[Trouble] | None = None
) -> WalletsSynced:
    """Sync the wallets of a user's spaces; what is wrong with which of them is added to `troubles`.

    Raises the first ProviderError that trying again may mend, after all wallets have had their turn.
    """
    from dhanam_jobs.handlers.providers import ProviderError, rest_of
    from dhanam_jobs.handlers.syncs.eth_scan import scan_ethereum
    from dhanam_jobs.handlers.syncs.wallets import sync_wallet

    wallets = await store.wallets.of_user(user_id)
    failures: list[str] = []
    again: list[ProviderError] = []
    missing: set[str] = set()
    transactions = synced = 0

    async def failed(name: str, concerned: list[Wallet], error: ProviderError) -> None:
        failures.append(f"{name}: {error}")
        if rest_of(error) is not None:
            # Nothing is wrong with the wallets.
            again.append(error)
            return
        ids = [wallet.account_id for wallet in concerned]
        await store.provider_connections.set_account_states(ids, "error", str(error))
        if troubles is not None:
            troubles.extend(Trouble(wallet, error) for wallet in concerned)
        if not error.permanent:
            again.append(error)

    for wallet in wallets:
        try:
            one = await sync_wallet(store, providers, wallet)
        except ProviderError as error:
            await failed(f"account {wallet.account_id}", [wallet], error)
            continue
        synced += 1
        transactions += one.transactions
        missing |= {one.missing_price} if one.missing_price else set()
        await store.provider_connections.set_account_states([wallet.account_id], "active")
    for demo in sorted({wallet.is_demo for wallet in wallets if wallet.coin == "eth"}):
        try:
            scanned = await scan_ethereum(store, providers, demo=demo)
        except ProviderError as error:
            concerned = [wallet for wallet in wallets if wallet.coin == "eth" and wallet.is_demo is demo]
            await failed("the chain's history", concerned, error)
            continue
        transactions += scanned.transactions
        missing |= {"ETH"} if scanned.missing_price else set()
    if again:
        raise again[0]
    return WalletsSynced(
        synced=synced,
        total=len(wallets),
        errors=len(failures),
        transactions=transactions,
        missing_prices=sorted(missing),
        failures=failures,
    )
