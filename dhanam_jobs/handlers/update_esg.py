"""The jobs `esg-update` and `esg-update-all`: bring the ESG scores of some coins, or of all that are held, up to date.

What is asked, kept and refused is esg/'s.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec

from dhanam_jobs.engine import JobContext, Registry
from dhanam_jobs.handlers.envelope import envelope_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import Providers
    from dhanam_jobs.handlers.store import Store

QUEUE_NAME: Final = "esg-updates"
SOME: Final = "esg-update"
ALL: Final = "esg-update-all"
ALWAYS: Final = ("BTC", "ETH", "ADA", "DOT", "SOL", "ALGO", "MATIC", "AVAX")
"""Coins that are kept up to date though nobody holds them."""

Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.$_-]{0,19}$")]


class EsgUpdate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which coins, in any case; with `forceRefresh` also those whose scores were told within the hour."""

    symbols: Annotated[list[Symbol], msgspec.Meta(max_length=1000)]
    force_refresh: bool = False


class EsgUpdateAll(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """All coins that are held but the demo's, and the popular ones."""

    force_refresh: bool = False


class CacheStats(msgspec.Struct, rename="camel", frozen=True):
    """Scores that would not be asked for now, and how many there can be."""

    size: int
    max_size: int


class EsgUpdated(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many scores the provider told that are kept now, of `requested` coins, of which `fromCache` were not asked.

    `builtIn` names coins for which the built-in table stands in, `stayed` those that keep an older score, `unavailable`
    those without any; `failures` says why the provider's answers were missing or not taken.
    """

    symbols_updated: int
    cache_stats: CacheStats
    force_refresh: bool
    requested: int
    from_cache: int
    built_in: list[str]
    stayed: list[str]
    unavailable: list[str]
    failures: list[str]


class Resources(Protocol):
    """What the handlers need of the worker's resources."""

    @property
    def store(self) -> Store: ...

    @property
    def providers(self) -> Providers: ...


def _key(payload: EsgUpdate) -> str:
    symbols = ",".join(sorted({symbol.upper() for symbol in payload.symbols}))
    return f"esg:{payload.force_refresh}:{hashlib.sha256(symbols.encode()).hexdigest()[:32]}"


def register(registry: Registry) -> None:
    """Add both jobs: one at a time for the same coins, and one for all."""
    registry.job(SOME, queue=QUEUE_NAME, unique=_key, accept=envelope_of(SOME), timeout=600.0)(update_esg)
    registry.job(
        ALL,
        queue=QUEUE_NAME,
        unique=lambda payload: f"esg-all:{payload.force_refresh}",
        accept=envelope_of(ALL),
        timeout=600.0,
    )(update_all_esg)


async def update_esg(ctx: JobContext, payload: EsgUpdate) -> EsgUpdated:
    """Run the job for the coins that are named."""
    return await _update(ctx, payload.symbols, force=payload.force_refresh)


async def update_all_esg(ctx: JobContext, payload: EsgUpdateAll) -> EsgUpdated:
    """Run the job for the coins that are held, and the popular ones."""
    from dhanam_jobs.handlers.providers.amounts import FIAT

    resources: Resources = ctx.resources
    held = await resources.store.esg_scores.held_symbols()
    return await _update(ctx, [*ALWAYS, *sorted(held - FIAT - set(ALWAYS))], force=payload.force_refresh)


async def _update(ctx: JobContext, symbols: list[str], *, force: bool) -> EsgUpdated:
    from dhanam_jobs.handlers.esg.update import CACHE_FOR, CACHE_SIZE, cached_count, update_scores
    from dhanam_jobs.handlers.providers import ProviderError, as_signal

    resources: Resources = ctx.resources
    now = resources.providers.now()
    # Forced, what an earlier attempt of this job was told need not be asked again.
    since = dt.datetime.fromtimestamp(ctx.job.created_ms / 1000, dt.UTC) if force else now - CACHE_FOR
    try:
        updated = await update_scores(resources.store, resources.providers, symbols, told_since=since)
    except ProviderError as error:
        raise as_signal(error) from error
    return EsgUpdated(
        symbols_updated=len(updated.told),
        cache_stats=CacheStats(await cached_count(resources.store, resources.providers.now()), CACHE_SIZE),
        force_refresh=force,
        requested=len({symbol.upper() for symbol in symbols}),
        from_cache=len(updated.cached),
        built_in=updated.built_in,
        stayed=updated.stayed,
        unavailable=updated.unavailable,
        failures=[f"{symbol}: {text}" for symbol, text in {**updated.refused, **updated.failures}.items()],
    )
