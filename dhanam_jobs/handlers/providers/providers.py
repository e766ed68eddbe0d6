"""What handlers get to reach providers: addresses and keys, one HTTP client, budgets, and each provider's health.

The demo's connections are answered by the sandbox alone, everybody else's by the real providers alone.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2
import msgspec

from dhanam_jobs.handlers.providers import breaker
from dhanam_jobs.handlers.providers.budget import ALLOWANCES, Allowance, Budget, Share
from dhanam_jobs.handlers.providers.errors import (
    CircuitOpen,
    ProviderError,
    ProviderNotConfigured,
    RateLimited,
)
from dhanam_jobs.handlers.providers.prices import Prices
from dhanam_jobs.handlers.providers.transport import CALL_TIMEOUT_S, Transport

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.provider_health import Health
    from dhanam_jobs.handlers.token_cipher import TokenCipher

BITSO_URL: Final = "https://api.bitso.com/v3"
BELVO_URL: Final = "https://api.belvo.com"
PLAID_URL: Final = "https://production.plaid.com"
BTC_API_URL: Final = "https://blockstream.info/api"
PRICES_URL: Final = "https://api.coingecko.com/api/v3"
ESG_URL: Final = "https://api.dhanam.ai/v1"
RATES_URL: Final = "https://api.frankfurter.dev/v1"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where providers are, and our own keys to them. None: not configured. The repr shows no key."""

    bitso: str | None = BITSO_URL
    belvo: str | None = BELVO_URL
    plaid: str | None = PLAID_URL
    ethereum: str | None = None
    bitcoin: str | None = BTC_API_URL
    prices: str | None = PRICES_URL
    esg: str | None = ESG_URL
    rates: str | None = RATES_URL
    belvo_secret_key_id: str | None = None
    belvo_secret_key_password: str | None = None
    plaid_client_id: str | None = None
    plaid_secret: str | None = None

    def __repr__(self) -> str:
        return f"Endpoints(bitso={self.bitso!r}, belvo={self.belvo!r}, plaid={self.plaid!r}, …)"


class Side:
    """One set of providers: the real ones, or the sandbox's."""

    def __init__(
        self,
        endpoints: Endpoints,
        client: httpx2.AsyncClient,
        allowances: Mapping[str, Allowance] | None,
        *,
        name: str,
        timeout: float,
        share: Share | None = None,
    ) -> None:
        self.endpoints = endpoints
        self.name = name
        self._client = client
        self._timeout = timeout
        limits = allowances or {}
        self._budgets = {each: Budget(each, limits.get(each), share=share) for each in ALLOWANCES}
        self.prices = Prices(self.transport("prices")) if endpoints.prices else None

    def transport(self, provider: str) -> Transport:
        """A transport with a tally of its own. Raises ProviderNotConfigured."""
        url: str | None = getattr(self.endpoints, provider)
        if not url:
            raise ProviderNotConfigured(provider, f"no address is set ({provider.upper()})")
        return Transport(self._client, provider, url, self._budgets[provider], timeout=self._timeout)

    def source(self, provider: str) -> str:
        """Where what the provider tells is from, for people: the server's name, or that it is the sandbox."""
        return self.name or urlsplit(getattr(self.endpoints, provider) or "").hostname or provider

    def key(self, provider: str, name: str) -> str:
        """One of our own keys to a provider. Raises ProviderNotConfigured, naming the variable."""
        value: str | None = getattr(self.endpoints, name)
        if not value:
            raise ProviderNotConfigured(provider, f"{name.upper()} is not set")
        return value


class Providers:
    """Both sides, the cipher for tokens, and the guard around every sync.

    Args:
        live: the real providers.
        sandbox: the stand-ins that answer for the demo; None where none runs.
        cipher: opens the connections' tokens; None where no ENCRYPTION_KEY is set.
        allowances: calls that we allow ourselves at the real providers; None for no limit.
        timeout: seconds for one call.
        processes: counts those that share the allowances; None: this one has them for itself.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        store: Store,
        *,
        cipher: TokenCipher | None,
        live: Endpoints,
        sandbox: Endpoints | None = None,
        allowances: Mapping[str, Allowance] | None = ALLOWANCES,
        timeout: float = CALL_TIMEOUT_S,
        processes: Callable[[], Awaitable[int]] | None = None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.cipher = cipher
        self.now = now
        self.scanning = asyncio.Lock()
        """Held while a chain is read block by block: one reader of this process at a time."""
        self._store = store
        self._live = Side(live, client, allowances, name="", timeout=timeout, share=Share(processes))
        self._sandbox = None
        if sandbox is not None:
            # A stand-in on this machine needs no sparing.
            self._sandbox = Side(sandbox, client, None, name="sandbox", timeout=timeout)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: Store,
        *,
        cipher: TokenCipher | None,
        live: Endpoints,
        sandbox: Endpoints | None = None,
        allowances: Mapping[str, Allowance] | None = ALLOWANCES,
        timeout: float = CALL_TIMEOUT_S,
        processes: Callable[[], Awaitable[int]] | None = None,
    ) -> AsyncIterator[Providers]:
        """Providers with a client of their own, closed at the end."""
        limits = httpx2.Limits(max_connections=50, max_keepalive_connections=20)
        connecting = httpx2.Timeout(timeout, connect=timeout / 3)
        # Proxies and .netrc of the environment are not ours: a token goes where the settings say, or nowhere.
        async with httpx2.AsyncClient(limits=limits, timeout=connecting, trust_env=False) as client:
            yield cls(
                client,
                store,
                cipher=cipher,
                live=live,
                sandbox=sandbox,
                allowances=allowances,
                timeout=timeout,
                processes=processes,
            )

    def side(self, *, demo: bool) -> Side:
        """The sandbox for the demo, else the real ones. Raises ProviderNotConfigured."""
        if not demo:
            return self._live
        if self._sandbox is None:
            raise ProviderNotConfigured("sandbox", "no sandbox runs here, and nothing else answers for the demo")
        return self._sandbox

    def configured_side(self, provider: str, *, demo: bool) -> Side | None:
        """The side as `side` gives it, if it is there and knows an address of the provider."""
        side = self._sandbox if demo else self._live
        return side if side is not None and getattr(side.endpoints, provider) else None

    @asynccontextmanager
    async def guarded(self, side: Side, provider: str) -> AsyncIterator[Transport]:
        """The provider's transport for one sync, within its circuit breaker and limits.

        Raises CircuitOpen and RateLimited before anything is asked; what the sync meets is recorded at its end.
        """
        transport = side.transport(provider)
        region = side.name or breaker.region_of(provider)
        await self._enter(provider, region)
        limit: RateLimited | None = None
        try:
            yield transport
        except RateLimited as error:
            limit = error if error.scope == "provider" else None
            raise
        finally:
            until = None if limit is None else self.now() + dt.timedelta(seconds=limit.retry_after)
            await self._record(provider, region, transport.tally, until)

    async def _enter(self, provider: str, region: str) -> None:
        health = await self._store.provider_health.get(provider, region)
        if health is None or not (health.circuit_breaker_open or health.rate_limited):
            return
        now = self.now()
        if limited := breaker.limit_s(health, now):
            raise RateLimited(provider, "it asked for a pause", retry_after=limited, scope="provider")
        refused = 0.0

        def enter(row: Health) -> Health:
            nonlocal refused
            refused = breaker.wait_s(row, now)
            return row if refused else breaker.entered(row, now)

        await self._store.provider_health.change(provider, region, enter)
        if refused:
            raise CircuitOpen(provider, retry_after=refused)

    async def _record(self, provider: str, region: str, tally: breaker.Tally, until: dt.datetime | None) -> None:
        now = self.now()

        def record(row: Health) -> Health:
            after = breaker.recorded(row, tally, now)
            return after if until is None else breaker.limited(after, until)

        await self._store.provider_health.change(provider, region, record)


def token_of(providers: Providers, provider: str, sealed: str) -> str:
    """Open a sealed token. Raises ProviderError where there is no key or it doesn't fit."""
    from dhanam_jobs.handlers.token_cipher import TokenError

    if providers.cipher is None:
        raise ProviderNotConfigured(provider, "ENCRYPTION_KEY is not set, which opens its tokens")
    try:
        return providers.cipher.decrypt(sealed)
    except TokenError as error:
        raise _Unreadable(provider, str(error)) from None


class _Unreadable(ProviderError):
    """The stored token can't be opened; the person must connect again, or the operator find the key."""

    code = "P002"
    permanent = True
