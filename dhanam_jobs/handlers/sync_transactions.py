"""The job `sync-transactions`: brings one connection's accounts and transactions up to date.

It checks whose connection it is, guards the provider, and keeps how the sync ended where the person sees it. What
each provider's answers mean is syncs/; when to try again is the queue's, told by the kind of error.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from dhanam_jobs.engine import Discard, JobContext, Limited, Registry, Snooze
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.queues import QUEUES

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import ProviderError, Providers
    from dhanam_jobs.handlers.store import Space, Store
    from dhanam_jobs.handlers.store.provider_connections import ProviderConnection
    from dhanam_jobs.handlers.syncs.ground import Ground, Synced

QUEUE_NAME: Final = "sync-transactions"
JOB_NAME = "sync-transactions"
TIMEOUT_S: Final = 900.0
_ATTEMPTS: Final = next(row.retry.attempts for row in QUEUES if row.name == QUEUE_NAME)

Provider = Literal["belvo", "plaid", "bitso", "mx", "finicity", "blockchain", "manual"]


class SyncTransactions(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whose connection to which provider; `fullSync` asks for everything instead of what is new."""

    provider: Provider
    user_id: str
    connection_id: str
    full_sync: bool = False


class SyncResult(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What a sync has brought.

    `transactions` counts new and changed ones, `removed` those that the provider took back, `skipped` entries that
    couldn't be kept; `missingPrices` names coins whose accounts kept their old value. `cursor` is where the next sync
    begins, None for providers that have none.
    """

    provider: str
    transactions: int
    accounts: int
    cursor: str | None
    removed: int
    skipped: int
    missing_prices: list[str]
    duration_ms: int


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...

    @property
    def providers(self) -> Providers: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one sync at a time per connection, several connections at once; a provider that
    wants a rest is a key that rests."""
    registry.job(
        JOB_NAME,
        queue=QUEUE_NAME,
        unique=lambda payload: f"connection:{payload.connection_id}",
        key="provider",
        accept=envelope_of(JOB_NAME),
        timeout=TIMEOUT_S,
    )(sync_transactions)


async def sync_transactions(ctx: JobContext, payload: SyncTransactions) -> SyncResult:
    """Run the job. What a person must mend fails it for good; the rest is tried again.

    A limit costs no attempt: one of this connection, or of this process's own budget, makes the job wait; one of all of
    us, or an open circuit, lets no job of the provider start.
    """
    from dhanam_jobs.handlers.providers import ProviderError

    resources: Resources = ctx.resources
    connection = await _checked(resources.store, payload)
    until = connection.rate_limited_until
    if until is not None and (wait := (until - resources.providers.now()).total_seconds()) > 0:
        raise Snooze(wait)
    try:
        return await sync_connection(resources.store, resources.providers, connection, full=payload.full_sync)
    except ProviderError as error:
        await _tell(ctx, connection, error)
        raise _signal(error, demo=connection.is_demo) from error


def _signal(error: ProviderError, *, demo: bool) -> Exception:
    from dhanam_jobs.handlers.providers import CircuitOpen, RateLimited, as_signal

    # The sandbox must not hold up those whom the real provider answers.
    if not demo and (isinstance(error, CircuitOpen) or (isinstance(error, RateLimited) and error.scope == "provider")):
        return Limited(error.retry_after)
    return as_signal(error)


async def _tell(ctx: JobContext, connection: ProviderConnection, error: ProviderError) -> None:
    """Write to the connection's owner when nothing more will be tried by itself."""
    from dhanam_jobs.handlers.mail import notices
    from dhanam_jobs.handlers.providers import AuthFailed, rest_of

    if rest_of(error) is not None or not (error.permanent or ctx.attempt >= _ATTEMPTS):
        return
    await notices.sync_failed(
        ctx,
        user_id=connection.user_id,
        connection_id=connection.id,
        provider=connection.provider,
        error=error.reason,
        needs_reauth=isinstance(error, AuthFailed),
        failed_at=ctx.resources.providers.now(),
    )


async def _checked(store: Store, payload: SyncTransactions) -> ProviderConnection:
    connection = await store.provider_connections.get(payload.connection_id)
    if connection is None or connection.user_id != payload.user_id:
        # The same words for both, so that nobody learns which ids exist.
        raise Discard(f"I001 connection {payload.connection_id!r}: user {payload.user_id!r} has none of that id")
    if connection.provider != payload.provider:
        raise Discard(
            f"I001 connection {connection.id!r}: found provider {connection.provider!r}, wanted {payload.provider!r}"
        )
    if connection.status == "disconnected":
        raise Discard(f"I001 connection {connection.id!r} was disconnected")
    user = await store.users.get(connection.user_id)
    if user is None or not user.is_active:
        raise Discard(f"I001 connection {connection.id!r}: its user is gone or inactive")
    return connection


async def sync_connection(
    store: Store, providers: Providers, connection: ProviderConnection, *, full: bool = False
) -> SyncResult:
    """Sync one connection and keep how it ended, on the connection and in its history.

    Raises ProviderError, after it was kept.
    """
    from dhanam_jobs.handlers.providers import ProviderError
    from dhanam_jobs.handlers.syncs.ground import space_of

    started = time.monotonic()
    space = None
    try:
        sync = _sync_of(connection.provider)
        space = await space_of(store, connection)
        synced = await _synced(store, providers, connection, space, sync, full=full)
    except ProviderError as error:
        await _keep_failure(store, providers, connection, space, error, _ms_since(started))
        raise
    result = SyncResult(
        provider=connection.provider,
        transactions=synced.transactions,
        accounts=synced.accounts,
        cursor=synced.cursor,
        removed=synced.removed,
        skipped=synced.skipped,
        missing_prices=synced.missing_prices,
        duration_ms=_ms_since(started),
    )
    await _keep_success(store, providers, connection, space, synced, result)
    return result


def _sync_of(provider: str) -> Callable[[Ground], Awaitable[Synced]]:
    from dhanam_jobs.handlers.providers import ProviderNotConfigured
    from dhanam_jobs.handlers.syncs.belvo import sync_belvo
    from dhanam_jobs.handlers.syncs.bitso import sync_bitso
    from dhanam_jobs.handlers.syncs.plaid import sync_plaid

    syncs: Mapping[str, Callable[[Ground], Awaitable[Synced]]] = {
        "belvo": sync_belvo,
        "bitso": sync_bitso,
        "plaid": sync_plaid,
    }
    if provider not in syncs:
        raise ProviderNotConfigured(provider, f"there are syncs of {', '.join(syncs)} only")
    return syncs[provider]


async def _synced(
    store: Store,
    providers: Providers,
    connection: ProviderConnection,
    space: Space,
    sync: Callable[[Ground], Awaitable[Synced]],
    *,
    full: bool,
) -> Synced:
    from dhanam_jobs.handlers.syncs.ground import Ground

    side = providers.side(demo=connection.is_demo)
    async with providers.guarded(side, connection.provider) as transport:
        ground = Ground(
            store=store,
            providers=providers,
            side=side,
            transport=transport,
            connection=connection,
            space=space,
            full=full,
        )
        return await sync(ground)


async def _keep_success(
    store: Store,
    providers: Providers,
    connection: ProviderConnection,
    space: Space,
    synced: Synced,
    result: SyncResult,
) -> None:
    from dhanam_jobs.handlers.store.provider_connections import Attempt

    changes: dict[str, Any] = {
        **synced.metadata,
        "lastSyncAt": providers.now().isoformat(),
        "lastSyncResult": msgspec.to_builtins(result),
        "lastSyncDurationMs": result.duration_ms,
    }
    async with store.transaction() as tx:
        await tx.provider_connections.set_synced(connection.id, changes)
        await tx.provider_connections.set_account_states(synced.account_ids, "active")
        await tx.provider_connections.record_attempt(
            Attempt(
                connection_id=connection.id,
                provider=connection.provider,
                space_id=space.id,
                status="success",
                response_time_ms=result.duration_ms,
            )
        )


async def _keep_failure(
    store: Store,
    providers: Providers,
    connection: ProviderConnection,
    space: Space | None,
    error: ProviderError,
    duration_ms: int,
) -> None:
    """Keep a failure where the person sees it; a limit or a provider's outage is not the connection's own."""
    from dhanam_jobs.handlers.providers import BudgetSpent, CircuitOpen, ProviderTimeout, RateLimited
    from dhanam_jobs.handlers.store.provider_connections import Attempt

    if isinstance(error, BudgetSpent | CircuitOpen):
        return
    attempt = Attempt(
        connection_id=connection.id,
        provider=connection.provider,
        space_id=None if space is None else space.id,
        status="timeout" if isinstance(error, ProviderTimeout) else "failure",
        error_code=error.code,
        error_message=error.reason,
        response_time_ms=duration_ms,
    )
    async with store.transaction() as tx:
        await tx.provider_connections.record_attempt(attempt)
        if isinstance(error, RateLimited):
            if error.scope == "connection":
                until = providers.now() + dt.timedelta(seconds=error.retry_after)
                await tx.provider_connections.set_rate_limited(connection.id, until)
            return
        await tx.provider_connections.set_failed(connection.id, error.code, error.reason)
        if space is not None:
            fed = await tx.synced_books.accounts_of(space.id, connection.provider)
            own = [each.id for each in fed if (each.metadata or {}).get("connectionId") == connection.id]
            await tx.provider_connections.set_account_states(own, "error", f"{error.code} {error.reason}")


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
