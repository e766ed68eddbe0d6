"""The jobs `valuation-snapshot` and `snapshot-all`: what a space, or every space, is worth on a day.

How a day is valued is valuations/'s.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from dhanam_jobs.engine import Child, Discard, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store

QUEUE_NAME: Final = "valuation-snapshots"
ONE: Final = "valuation-snapshot"
ALL: Final = "snapshot-all"
TIMEOUT_S: Final = 600.0


def _day(text: str | None) -> str | None:
    """The day of an ISO date or moment, as it is written there. Raises ValueError."""
    if text is None:
        return None
    try:
        return dt.datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        raise ValueError(f"date: found {text!r}, wanted YYYY-MM-DD") from None


class ValuationSnapshot(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which space, and which day (an ISO date; of a moment its date); None: today in the space's time zone."""

    space_id: str
    date: str | None = None

    def __post_init__(self) -> None:
        self.date = _day(self.date)


class SnapshotAll(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which spaces, None: all but the demo's; which day, None: today in each space's own time zone."""

    space_ids: list[str] | None = None
    date: str | None = None

    def __post_init__(self) -> None:
        self.date = _day(self.date)


class SpaceValued(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What the space is worth in `currency`; the three sums are JSON numbers with all their decimals.

    `snapshots` counts accounts whose value of that day was kept for the first time, `updated` those kept again.
    `missingRates` names currencies whose accounts are in no sum; `failures` says why accounts have no value.
    """

    accounts: int
    snapshots: int
    net_worth: msgspec.Raw
    total_assets: msgspec.Raw
    total_liabilities: msgspec.Raw
    updated: int
    currency: str
    date: dt.date
    missing_rates: list[str]
    failures: list[str]


class SpacesValued(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many values were kept for the first time, in how many spaces, and how many spaces failed, and why.

    `missingRates` names currencies that were missing somewhere.
    """

    snapshots_created: int
    spaces: int
    errors: int
    updated: int = 0
    missing_rates: list[str] = []
    failures: list[str] = []


class _ChildResult(msgspec.Struct, rename="camel"):
    snapshots: int
    updated: int
    missing_rates: list[str]
    failures: list[str]


class Resources(Protocol):
    """What the handlers need of the worker's resources."""

    @property
    def store(self) -> Store: ...


def _key_of_all(payload: SnapshotAll) -> str:
    spaces = "" if payload.space_ids is None else ",".join(sorted(payload.space_ids))
    return f"all:{payload.date or ''}:{spaces}"


def register(registry: Registry) -> None:
    """Add both jobs: one at a time per space and day, and one for all spaces."""
    registry.job(
        ONE,
        queue=QUEUE_NAME,
        unique=lambda payload: f"snapshot:{payload.space_id}:{payload.date or ''}",
        accept=envelope_of(ONE),
        timeout=TIMEOUT_S,
    )(snapshot_valuation)
    registry.job(ALL, queue=QUEUE_NAME, unique=_key_of_all, accept=envelope_of(ALL), timeout=TIMEOUT_S)(snapshot_all)


async def snapshot_valuation(ctx: JobContext, payload: ValuationSnapshot) -> SpaceValued:
    """Run the job for one space; a space that isn't there, or a day that can't be told, is refused at once."""
    from dhanam_jobs.handlers.valuations import NothingValued, take_snapshot

    resources: Resources = ctx.resources
    space = await resources.store.spaces.get(payload.space_id)
    if space is None or space.deleted:
        raise Discard(f"space {payload.space_id!r} {'was deleted' if space else 'does not exist'}")
    today = dt.datetime.now(ZoneInfo(space.timezone)).date()
    day = today if payload.date is None else dt.date.fromisoformat(payload.date)
    try:
        taken = await take_snapshot(resources.store, space, day, today)
    except NothingValued as error:
        if error.permanent:
            raise Discard(str(error)) from error
        raise
    totals = taken.totals
    return SpaceValued(
        accounts=taken.accounts,
        snapshots=taken.created,
        net_worth=_number(totals.net_worth),
        total_assets=_number(totals.assets),
        total_liabilities=_number(totals.liabilities),
        updated=taken.updated,
        currency=space.currency,
        date=taken.date,
        missing_rates=totals.missing_rates,
        failures=taken.failures,
    )


async def snapshot_all(ctx: JobContext, payload: SnapshotAll) -> SpacesValued:
    """Run a child per space; one that fails leaves the others alone. All having failed, the job has failed."""
    resources: Resources = ctx.resources
    wanted = payload.space_ids
    if wanted is None:
        wanted = await resources.store.spaces.live_ids(with_demo=False)
    options = {"priority": ctx.job.priority}
    await ctx.add_children(
        Child(each, ValuationSnapshot(each, payload.date), on_failure="ignore", options=options)
        for each in dict.fromkeys(wanted)
    )
    ended = await ctx.wait_children()
    done = {each.key: each.result_as(_ChildResult) for each in ended if each.completed}
    failed = [f"space {each.key}: {each.reason}" for each in ended if not each.completed]
    if failed and not done:
        # The children have had their attempts.
        raise Discard(f"all {len(failed)} spaces failed: {'; '.join(failed)}"[:2000])
    return SpacesValued(
        snapshots_created=sum(each.snapshots for each in done.values()),
        spaces=len(ended),
        errors=len(failed),
        updated=sum(each.updated for each in done.values()),
        missing_rates=sorted({code for each in done.values() for code in each.missing_rates}),
        failures=failed + [f"space {key}: {text}" for key, each in done.items() for text in each.failures],
    )


def _number(amount: Decimal) -> msgspec.Raw:
    """The amount as a JSON number: exact, where a float would not be."""
    from dhanam_jobs.handlers.providers.amounts import plain

    return msgspec.Raw(plain(amount or Decimal(0)).encode())
