"""Bitso's HTTP API: signed requests, its envelope and its paging. What the balances are worth is the sync's matter."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from dhanam_jobs.handlers.providers.errors import AuthFailed, ProviderUnavailable, RateLimited, SyncFailed, SyncRefused
from dhanam_jobs.handlers.providers.transport import DEFAULT_RETRY_AFTER_S, Answer, Transport, read_each

PAGE_ROWS: Final = 100


class Balance(msgspec.Struct, frozen=True):
    """One currency that a client holds; amounts in that currency, as decimal texts."""

    currency: str
    total: str
    available: str | None = None
    locked: str | None = None


class Ticker(msgspec.Struct, frozen=True):
    """A book such as `btc_mxn` and its last price in the second currency."""

    book: str
    last: str | None = None


class Trade(msgspec.Struct, frozen=True):
    """A trade of the client's: `major` and `minor` are signed, in the book's first and second currency."""

    book: str
    tid: int
    major: Decimal
    minor: Decimal
    created_at: str
    price: str | None = None
    fees_amount: str | None = None
    fees_currency: str | None = None
    oid: str | None = None
    side: str | None = None


class _Error(msgspec.Struct, frozen=True):
    code: str | int | None = None
    message: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    success: bool = False
    payload: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class _Balances(msgspec.Struct, frozen=True):
    balances: list[msgspec.Raw]


class _Nonces:
    """Numbers that only rise, per key, also when the clock stands still or goes back within this process."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def next(self, key: str) -> int:
        with self._lock:
            nonce = max(time.time_ns() // 1000, self._last.get(key, 0) + 1)
            self._last[key] = nonce
            return nonce


_nonces = _Nonces()


class BitsoClient:
    """One client's view of Bitso, through a transport whose base URL ends in the API's version (`/v3`)."""

    def __init__(self, transport: Transport, key: str, secret: str) -> None:
        self._transport = transport
        self._key = key
        self._secret = secret.encode()

    async def balances(self) -> tuple[list[Balance], int]:
        """All balances, zero ones too, and how many entries could not be read."""
        payload = await self._signed("/balance/", {}, _Balances)
        return read_each(payload.balances, Balance)

    async def trades(self, marker: int | None) -> AsyncIterator[tuple[list[Trade], int]]:
        """Pages of trades, oldest first, from behind the trade `marker` (None: from the first) to the newest.

        Each page comes with how many of its entries could not be read.
        """
        while True:
            query = {"limit": str(PAGE_ROWS), "sort": "asc"}
            if marker is not None:
                query["marker"] = str(marker)
            raw = await self._signed("/user_trades/", query, list[msgspec.Raw])
            page, unread = read_each(raw, Trade)
            fresh = [trade for trade in page if marker is None or trade.tid > marker]
            yield fresh, unread
            if len(raw) < PAGE_ROWS or not fresh:
                return
            marker = max(trade.tid for trade in fresh)

    async def tickers(self) -> list[Ticker]:
        """The last prices of all books; public, so a limit here speaks of all our clients."""
        request = self._transport.build("GET", "/ticker/")
        answer = await self._transport.send(request, scope="provider")
        return read_each(self._opened(answer, list[msgspec.Raw], scope="provider"), Ticker)[0]

    async def _signed(self, path: str, query: dict[str, str], kind: Any) -> Any:
        request = self._transport.build("GET", path, params=query or None)
        # Exactly the bytes that go over the wire, query included.
        target = request.url.raw_path.decode("ascii")
        nonce = str(_nonces.next(self._key))
        message = f"{nonce}{request.method}{target}".encode()
        signature = hmac.new(self._secret, message, hashlib.sha256).hexdigest()
        request.headers["Authorization"] = f"Bitso {self._key}:{nonce}:{signature}"
        return self._opened(await self._transport.send(request, scope="connection"), kind, scope="connection")

    def _opened(self, answer: Answer, kind: Any, *, scope: str) -> Any:
        name = self._transport.provider
        envelope = self._envelope(answer)
        if envelope.success and answer.status < 400:
            try:
                return msgspec.json.decode(envelope.payload, type=kind)
            except msgspec.DecodeError as problem:
                raise SyncFailed(name, f"its payload can't be read: {problem}") from None
        error = envelope.error or _Error()
        code = str(error.code or "").zfill(4)
        said = f"it answered {answer.status}, code {code}"
        if answer.status in (401, 403) or code.startswith("02"):
            raise AuthFailed(name, f"{said}: the API key is no longer accepted")
        if code.startswith("08"):
            raise RateLimited(name, said, retry_after=DEFAULT_RETRY_AFTER_S, scope=scope)
        if code.startswith("01"):
            raise ProviderUnavailable(name, said)
        if answer.status >= 400:
            raise SyncRefused(name, said)
        raise SyncFailed(name, said)

    def _envelope(self, answer: Answer) -> _Envelope:
        if answer.status < 400:
            envelope: _Envelope = answer.decode(_Envelope, self._transport.provider)
            return envelope
        try:
            return msgspec.json.decode(answer.body, type=_Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _Envelope()
