"""Environmental, social and governance scores of crypto assets, by Dhanam's HTTP API. What is kept is esg/'s matter."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from urllib.parse import quote

import msgspec

from dhanam_jobs.handlers.providers.errors import AuthFailed, SyncRefused
from dhanam_jobs.handlers.providers.transport import Transport


class Metrics(msgspec.Struct, rename="camel", frozen=True):
    """What scores are made of: kWh and grams of CO2 per transaction, and grades from 0 to 100."""

    energy_intensity: Decimal | None = None
    carbon_intensity: Decimal | None = None
    consensus_mechanism: str | None = None
    decentralization_score: Decimal | None = None
    developer_activity: Decimal | None = None
    community_engagement: Decimal | None = None
    transparency_score: Decimal | None = None
    regulatory_compliance: Decimal | None = None


class Score(msgspec.Struct, rename="camel", frozen=True):
    """Scores from 0 to 100, as the provider gives them."""

    environmental: Decimal
    social: Decimal
    governance: Decimal
    confidence: Decimal
    last_updated: dt.datetime | None = None
    methodology: str | None = None
    sources: list[str] | None = None


class Asset(msgspec.Struct, rename="camel", frozen=True):
    """An asset; one of the two may be missing."""

    score: Score | None = None
    metrics: Metrics | None = None


async def fetch_asset(transport: Transport, symbol: str) -> Asset | None:
    """Ask for an asset; None where the provider doesn't know it. Raises ProviderError."""
    path = f"/esg/assets/{quote(symbol.lower(), safe='')}"
    answer = await transport.send(transport.build("GET", path))
    if answer.status == 404:
        return None
    if answer.status in (401, 403):
        raise AuthFailed(transport.provider, f"it answered {answer.status}")
    if answer.status >= 300:
        raise SyncRefused(transport.provider, f"it answered {answer.status} for {symbol}")
    asset: Asset = answer.decode(Asset, transport.provider)
    return asset
