"""The job `refresh-exchange-rates`: asks for the day's rates between currencies and keeps them.

The real provider's rates value everybody's spaces, the sandbox's the demo's alone.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dhanam_jobs.engine import Discard, JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import Providers
    from dhanam_jobs.handlers.store import Store

QUEUE_NAME: Final = "system-maintenance"
JOB_NAME: Final = "refresh-exchange-rates"


class RefreshExchangeRates(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """With `dryRun` the rates are asked for and not kept."""

    dry_run: bool = False


class RatesRefreshed(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many rates were told for `date`, of one unit of `base`; `missing` names those that were not.

    With a sandbox beside the real provider these are the real one's, and `demoRates` counts the sandbox's.
    """

    rates: int
    base: str
    date: dt.date
    source: str
    missing: list[str]
    demo_rates: int
    dry_run: bool


class Resources(Protocol):
    """What the handler needs of the worker's resources."""

    @property
    def store(self) -> Store: ...

    @property
    def providers(self) -> Providers: ...


def register(registry: Registry) -> None:
    """Add the job to the registry: one at a time."""
    registry.job(
        JOB_NAME, queue=QUEUE_NAME, unique=lambda payload: f"rates:{payload.dry_run}", accept=envelope_of(JOB_NAME)
    )(refresh_exchange_rates)


async def refresh_exchange_rates(ctx: JobContext, payload: RefreshExchangeRates) -> RatesRefreshed:
    """Run the job; it fails when the real provider does, after the sandbox's rates are kept."""
    from dhanam_jobs.handlers.providers import ProviderError, as_signal
    from dhanam_jobs.handlers.providers.rates import Quote, latest_rates

    resources: Resources = ctx.resources
    providers = resources.providers
    told: dict[bool, tuple[Quote, str]] = {}
    for demo in (True, False):
        side = providers.configured_side("rates", demo=demo)
        if side is None:
            continue
        try:
            async with providers.guarded(side, "rates") as transport:
                quote = await latest_rates(transport, providers.now().date())
        except ProviderError as error:
            raise as_signal(error) from error
        source = side.source("rates")
        if not quote.rates:
            raise Discard(f"{source}: found none of the rates {', '.join(quote.missing)}")
        if not payload.dry_run:
            await resources.store.exchange_rates.write(quote.base, quote.date, quote.rates, source, demo=demo)
        told[demo] = (quote, source)
    if not told:
        raise Discard("no provider of exchange rates is set (RATES_URL)")
    quote, source = told.get(False) or told[True]
    return RatesRefreshed(
        rates=len(quote.rates),
        base=quote.base,
        date=quote.date,
        source=source,
        missing=quote.missing,
        demo_rates=len(told[True][0].rates) if True in told else 0,
        dry_run=payload.dry_run,
    )
