"""Brings ESG scores up to date: those not told lately, or all by force, and keeps them with source and date.

A score is what the provider tells, else what its metrics make, weighed by our own weights. Where the provider doesn't
know a coin, or can't be asked, a score that is there stays, and the built-in table stands in where there is none.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from dhanam_jobs.handlers.esg.built_in import BUILT_IN, DATED, SOURCE
from dhanam_jobs.handlers.esg.scoring import WEIGHTS, Scores, Weights, score_metrics
from dhanam_jobs.handlers.providers.errors import ProviderError, ProviderNotConfigured
from dhanam_jobs.handlers.providers.esg import Asset, fetch_asset
from dhanam_jobs.handlers.store.esg_scores import EsgScore

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import Providers
    from dhanam_jobs.handlers.providers.transport import Transport
    from dhanam_jobs.handlers.store import Store

CACHE_FOR: Final = dt.timedelta(hours=1)
CACHE_SIZE: Final = 500
"""Scores told within CACHE_FOR are left alone, the newest CACHE_SIZE of them."""

MIN_CONFIDENCE: Final = Decimal(60)
_AT_ONCE: Final = 10
_SKEW: Final = dt.timedelta(minutes=5)


class Updated(msgspec.Struct, kw_only=True):
    """What came of an update, by symbol in capitals; every symbol is in exactly one list.

    `told`: the provider's new score is kept. `cached`: told lately. `built_in`: the table's score stands in. `stayed`:
    the provider told none, and the older one stays. `unavailable`: nobody has a score. `refused` says why an answer
    of the provider was not taken, `failures` why it could not be asked; such symbols are in one of the last three too.
    """

    told: list[str] = []
    cached: list[str] = []
    built_in: list[str] = []
    stayed: list[str] = []
    unavailable: list[str] = []
    refused: dict[str, str] = {}
    failures: dict[str, str] = {}


async def update_scores(
    store: Store, providers: Providers, symbols: Sequence[str], *, told_since: dt.datetime, weights: Weights = WEIGHTS
) -> Updated:
    """Update the scores of the symbols that were not told since a moment.

    Raises the first ProviderError when not one of the symbols could be asked for; what the table has is kept before.
    """
    wanted = list(dict.fromkeys(symbol.strip().upper() for symbol in symbols if symbol.strip()))
    cache = await store.esg_scores.told_since(told_since, without=SOURCE, limit=CACHE_SIZE)
    updated = Updated(cached=[symbol for symbol in wanted if symbol in cache])
    asked = [symbol for symbol in wanted if symbol not in cache]
    answers = await _ask(providers, asked)
    now = providers.now()
    known = await store.esg_scores.latest(asked)
    scores = []
    for symbol, answer in answers.items():
        if isinstance(answer, ProviderError):
            updated.failures[symbol] = str(answer)
        elif answer is not None:
            score = _score_of(symbol, answer, now, _source(providers), weights)
            if isinstance(score, EsgScore):
                scores.append(score)
                updated.told.append(symbol)
                continue
            updated.refused[symbol] = score
        if symbol in known:
            (updated.built_in if known[symbol].source == SOURCE else updated.stayed).append(symbol)
        elif symbol in BUILT_IN:
            scores.append(_kept(symbol, BUILT_IN[symbol], SOURCE, DATED, now, weights))
            updated.built_in.append(symbol)
        else:
            updated.unavailable.append(symbol)
    await store.esg_scores.write(scores)
    errors = [answer for answer in answers.values() if isinstance(answer, ProviderError)]
    if errors and len(errors) == len(answers):
        raise errors[0]
    return updated


async def cached_count(store: Store, now: dt.datetime) -> int:
    """How many scores would not be asked for now."""
    return len(await store.esg_scores.told_since(now - CACHE_FOR, without=SOURCE, limit=CACHE_SIZE))


async def _ask(providers: Providers, symbols: Sequence[str]) -> dict[str, Asset | ProviderError | None]:
    if not symbols:
        return {}
    turn = asyncio.Semaphore(_AT_ONCE)

    async def ask(transport: Transport, symbol: str) -> Asset | ProviderError | None:
        async with turn:
            try:
                return await fetch_asset(transport, symbol)
            except ProviderError as error:
                return error

    side = providers.configured_side("esg", demo=False) or providers.configured_side("esg", demo=True)
    try:
        if side is None:
            raise ProviderNotConfigured("esg", "no address is set (ESG_URL)")
        async with providers.guarded(side, "esg") as transport:
            answers = await asyncio.gather(*(ask(transport, symbol) for symbol in symbols))
    except ProviderError as error:
        return dict.fromkeys(symbols, error)
    return dict(zip(symbols, answers, strict=True))


def _source(providers: Providers) -> str:
    side = providers.configured_side("esg", demo=False) or providers.configured_side("esg", demo=True)
    return "esg" if side is None else side.source("esg")


def _score_of(symbol: str, asset: Asset, now: dt.datetime, source: str, weights: Weights) -> EsgScore | str:
    """The score to keep, or why the answer is not taken."""
    told = asset.score
    if told is not None:
        scores = Scores(told.environmental, told.social, told.governance, told.confidence)
        moment = told.last_updated or now
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    elif asset.metrics is not None:
        scores, moment = score_metrics(asset.metrics), now
        source = f"{source}, from metrics"
    else:
        return "found neither scores nor metrics"
    if wrong := scores.wrong:
        return wrong
    if moment > now + _SKEW:
        return f"found a score of {moment.isoformat()}, which is to come"
    if scores.confidence < MIN_CONFIDENCE:
        return f"found confidence {scores.confidence}, wanted at least {MIN_CONFIDENCE}"
    kept = _kept(symbol, scores, source, moment, now, weights)
    if told is None:
        return kept
    return msgspec.structs.replace(kept, metadata={"methodology": told.methodology, "sources": told.sources})


def _kept(
    symbol: str, scores: Scores, source: str, moment: dt.datetime, now: dt.datetime, weights: Weights
) -> EsgScore:
    return EsgScore(
        asset_symbol=symbol,
        environmental_score=scores.environmental,
        social_score=scores.social,
        governance_score=scores.governance,
        composite_score=scores.overall(weights),
        confidence=scores.confidence,
        source=source,
        calculated_at=moment,
        fetched_at=now,
    )
