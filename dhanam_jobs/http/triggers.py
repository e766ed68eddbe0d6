"""The triggers: endpoints of `/jobs` that enqueue a job, or join an equal one, and answer with what it did.

Which job, for whom and how urgent is JobsService's; waiting, 202 and 502 are jobs.py's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from dhanam_jobs.handlers.categorize_all import AllCategorized
from dhanam_jobs.handlers.service.deeds import SYNC_PORTFOLIOS, Act
from dhanam_jobs.handlers.snapshot_valuations import SpaceValued
from dhanam_jobs.handlers.sync_connections import ConnectionsSynced
from dhanam_jobs.handlers.sync_portfolio import PortfolioSynced
from dhanam_jobs.handlers.sync_transactions import Provider
from dhanam_jobs.handlers.update_esg import EsgUpdate, EsgUpdated
from dhanam_jobs.http.admin.audited import audited
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Answer, Call, Endpoint, Guard
from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.jobs import JobAccepted, answer_of


class Categorized(msgspec.Struct):
    """What a categorisation did: `categorized` of the `total` transactions without a category, in so many spaces."""

    message: str
    categorized: int
    total: int
    spaces: int


class SpacesCategorized(Categorized):
    """The sums over all `spaces`; `errors` counts those that failed and is there only where some did."""

    errors: int | UnsetType = UNSET


class PortfolioAnswer(msgspec.Struct, rename="camel"):
    """How many users had all their exchange accounts synced, and how many accounts failed."""

    message: str
    synced_users: int
    errors: int


class WhichConnections(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Connections to which provider, by default to all; `fullSync` asks for everything instead of what is new."""

    provider: Provider | UnsetType = UNSET
    full_sync: bool = False


class SyncAnswer(msgspec.Struct, rename="camel"):
    """How many connections were synced, how many failed, and how many transactions are new or changed."""

    message: str
    synced_connections: int
    errors: int
    transactions: int


class ScoresAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """How many scores of the `requested` coins are new, and how many were told within the hour.

    `builtIn` names coins for which the built-in table stands in, `stayed` those that keep an older score, `unavailable`
    those without any; `failures` says why.
    """

    message: str
    symbols_updated: int
    requested: int
    from_cache: int
    force_refresh: bool
    built_in: list[str]
    stayed: list[str]
    unavailable: list[str]
    failures: list[str]


_EAST: Final = dt.timedelta(hours=14)
"""How far the clocks of Kiritimati, where days begin first, are ahead of UTC."""
Day = Annotated[dt.date, msgspec.Meta(extra_json_schema={"example": "2026-05-20"})]


class WhichDay(msgspec.Struct, forbid_unknown_fields=True):
    """Which day, by default today in the space's time zone."""

    date: Day | UnsetType = UNSET


class ValuationAnswer(msgspec.Struct, rename="camel", kw_only=True):
    """What the space is worth in `currency` on the day.

    Of its accounts `snapshots` were kept for the first time and `updated` kept again; `missingRates` names currencies
    whose accounts are in no sum, `failures` says why accounts have no value.
    """

    message: str
    date: dt.date
    currency: str
    net_worth: Decimal
    total_assets: Decimal
    total_liabilities: Decimal
    accounts: int
    snapshots: int
    updated: int
    missing_rates: list[str]
    failures: list[str]


class _Counts(msgspec.Struct):
    categorized: int
    total: int


async def categorize_space(call: Call[NoFields, NoFields]) -> Answer:
    """Categorise a space, or join the run that waits or runs already."""
    space_id, user_id = call.path["spaceId"], call.caller.id
    job = await call.once(lambda: call.context.jobs.trigger_space_categorization(space_id, user_id=user_id))
    return await answer_of(call, job, _Counts, _of_one_space)


async def categorize_spaces(call: Call[NoFields, NoFields]) -> Answer:
    """Categorise the caller's spaces; an administrator's are all there are."""
    caller = call.caller
    job = await call.once(
        lambda: call.context.jobs.trigger_categorization_for(caller.id, everywhere=caller.is_admin),
    )
    return await answer_of(call, job, AllCategorized, _of_many_spaces)


async def sync_portfolio(call: Call[NoFields, NoFields]) -> Answer:
    """Sync the caller's exchange accounts."""
    user_id = call.caller.id
    job = await call.once(lambda: call.context.jobs.trigger_portfolio_sync(user_id))
    return await answer_of(call, job, PortfolioSynced, _of_a_portfolio)


@audited(SYNC_PORTFOLIOS, None)
async def sync_all_portfolios(call: Call[NoFields, NoFields], act: Act) -> Answer:
    """Sync everybody's exchange accounts."""
    user_id = call.caller.id
    job = await call.once(lambda: call.context.jobs.trigger_portfolio_sync(requested_by=user_id))
    act.note(queue=job.queue, job=job.id)
    return await answer_of(call, job, PortfolioSynced, _of_all_portfolios)


async def sync_connections(call: Call[NoFields, WhichConnections]) -> Answer:
    """Sync the caller's connections."""
    user_id, wanted = call.caller.id, call.body
    provider = None if wanted.provider is UNSET else wanted.provider
    job = await call.once(
        lambda: call.context.jobs.trigger_connections_sync(user_id, provider, wanted.full_sync),
    )
    return await answer_of(call, job, ConnectionsSynced, _of_connections)


async def update_esg(call: Call[NoFields, EsgUpdate]) -> Answer:
    """Refresh coins' scores."""
    user_id, wanted = call.caller.id, call.body
    job = await call.once(
        lambda: call.context.jobs.trigger_esg_refresh(wanted.symbols, wanted.force_refresh, user_id=user_id),
    )
    return await answer_of(call, job, EsgUpdated, _of_scores)


async def snapshot_valuation(call: Call[NoFields, WhichDay]) -> Answer:
    """Value a space."""
    space_id, user_id, day = call.path["spaceId"], call.caller.id, call.body.date
    latest = (dt.datetime.now(dt.UTC) + _EAST).date()
    if day is not UNSET and day > latest:
        # Nowhere on earth has it come. Where it is a matter of the space's zone, the job says so.
        raise ApiError(422, f"The body does not fit: date: found {day}, wanted today or an earlier day")
    date = None if day is UNSET else day.isoformat()
    job = await call.once(lambda: call.context.jobs.trigger_valuation_snapshot(space_id, date, user_id=user_id))
    return await answer_of(call, job, SpaceValued, _of_a_valuation)


def _of_one_space(done: _Counts) -> Categorized:
    message = f"Categorized {done.categorized} out of {done.total} transactions"
    return Categorized(message, done.categorized, done.total, spaces=1)


def _of_many_spaces(done: AllCategorized) -> SpacesCategorized:
    message = f"Categorized {done.categorized} out of {done.total} transactions across {done.spaces} spaces"
    return SpacesCategorized(message, done.categorized, done.total, done.spaces, done.errors or UNSET)


def _of_a_portfolio(done: PortfolioSynced) -> PortfolioAnswer:
    return PortfolioAnswer(f"Portfolio sync completed with {done.errors} errors", done.synced_users, done.errors)


def _of_all_portfolios(done: PortfolioSynced) -> PortfolioAnswer:
    message = f"Portfolio sync completed for {done.synced_users} users with {done.errors} errors"
    return PortfolioAnswer(message, done.synced_users, done.errors)


def _of_connections(done: ConnectionsSynced) -> SyncAnswer:
    message = f"Sync completed for {done.synced_connections} connections with {done.errors} errors"
    return SyncAnswer(message, done.synced_connections, done.errors, done.transactions)


def _of_scores(done: EsgUpdated) -> ScoresAnswer:
    return ScoresAnswer(
        message=f"Updated the scores of {done.symbols_updated} out of {done.requested} symbols",
        symbols_updated=done.symbols_updated,
        requested=done.requested,
        from_cache=done.from_cache,
        force_refresh=done.force_refresh,
        built_in=done.built_in,
        stayed=done.stayed,
        unavailable=done.unavailable,
        failures=done.failures,
    )


def _of_a_valuation(done: SpaceValued) -> ValuationAnswer:
    return ValuationAnswer(
        message=f"Valued {done.snapshots + done.updated} out of {done.accounts} accounts on {done.date.isoformat()}",
        date=done.date,
        currency=done.currency,
        net_worth=_decimal(done.net_worth),
        total_assets=_decimal(done.total_assets),
        total_liabilities=_decimal(done.total_liabilities),
        accounts=done.accounts,
        snapshots=done.snapshots,
        updated=done.updated,
        missing_rates=done.missing_rates,
        failures=done.failures,
    )


def _decimal(number: msgspec.Raw) -> Decimal:
    return Decimal(bytes(number).decode())


def _trigger(path: str, run: Callable[..., Awaitable[Answer]], guard: Guard, summary: str, answer: Any) -> Endpoint:
    return Endpoint(
        "POST",
        path,
        run,
        guard,
        summary,
        tag="Jobs",
        answers={200: answer, 202: JobAccepted},
        errors=(502,),
        idempotent=True,
    )


ROWS: Final = (
    _trigger(
        "/jobs/categorize/{spaceId}",
        categorize_space,
        Guard.MEMBER,
        "Categorise a space's transactions, or join the run that waits or runs already",
        Categorized,
    ),
    _trigger(
        "/jobs/categorize",
        categorize_spaces,
        Guard.CALLER,
        "Categorise the spaces in which the caller is at least member; an administrator's call covers all",
        SpacesCategorized,
    ),
    _trigger(
        "/jobs/sync-portfolio", sync_portfolio, Guard.CALLER, "Sync the caller's exchange accounts", PortfolioAnswer
    ),
    _trigger(
        "/jobs/sync-portfolio/all",
        sync_all_portfolios,
        Guard.ADMIN,
        "Sync everybody's exchange accounts",
        PortfolioAnswer,
    ),
    _trigger(
        "/jobs/sync",
        sync_connections,
        Guard.CALLER,
        "Sync the caller's connections, to one provider or to all",
        SyncAnswer,
    ),
    _trigger("/jobs/esg-update", update_esg, Guard.CALLER, "Bring coins' ESG scores up to date", ScoresAnswer),
    _trigger(
        "/jobs/valuation-snapshot/{spaceId}",
        snapshot_valuation,
        Guard.MEMBER,
        "Keep what a space's accounts are worth on a day",
        ValuationAnswer,
    ),
)
"""The triggers, each of which may be sent again under an `Idempotency-Key`."""
