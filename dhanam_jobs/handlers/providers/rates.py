"""Rates between currencies, from a server that answers `GET /latest?base=USD&symbols=…` with `{base, date, rates}`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from dhanam_jobs.handlers.providers.errors import AuthFailed, SyncFailed, SyncRefused
from dhanam_jobs.handlers.providers.transport import Transport

BASE: Final = "USD"
SYMBOLS: Final = ("MXN", "EUR", "CAD")
_LARGEST: Final = Decimal(10) ** 9
_SMALLEST: Final = Decimal(10) ** -6
"""What eight decimals still tell with some precision."""


class Quote(msgspec.Struct, frozen=True):
    """On `date` one unit of `base` is `rates` of the others; `missing` were asked for and not told."""

    base: str
    date: dt.date
    rates: dict[str, Decimal]
    missing: list[str]


class _Latest(msgspec.Struct):
    base: str
    date: dt.date
    rates: dict[str, msgspec.Raw]


async def latest_rates(transport: Transport, today: dt.date, symbols: Sequence[str] = SYMBOLS) -> Quote:
    """Ask for the newest rates. A rate that is no number above 0 counts as missing.

    Raises ProviderError, also for an answer in another base or of a day to come.
    """
    params = {"base": BASE, "symbols": ",".join(symbols)}
    answer = await transport.send(transport.build("GET", "/latest", params=params))
    if answer.status in (401, 403):
        raise AuthFailed(transport.provider, f"it answered {answer.status}")
    if answer.status >= 300:
        raise SyncRefused(transport.provider, f"it answered {answer.status}")
    told: _Latest = answer.decode(_Latest, transport.provider)
    if told.base.upper() != BASE:
        raise SyncFailed(transport.provider, f"found rates of {told.base[:10]!r}, wanted {BASE}")
    # Where the day begins first it is a day later than here.
    if told.date > today + dt.timedelta(days=1):
        raise SyncFailed(transport.provider, f"found rates of {told.date}, which is to come")
    rates = {code: rate for code in symbols if (rate := _rate(told.rates.get(code))) is not None}
    return Quote(BASE, told.date, rates, [code for code in symbols if code not in rates])


def _rate(raw: msgspec.Raw | None) -> Decimal | None:
    try:
        rate = None if raw is None else msgspec.json.decode(raw, type=Decimal)
    except msgspec.DecodeError:
        return None
    return rate if rate is not None and rate.is_finite() and _SMALLEST <= rate <= _LARGEST else None
