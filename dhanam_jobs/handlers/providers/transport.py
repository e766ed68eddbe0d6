"""One provider's HTTP: time limits, our budget, and the errors that every provider shares.

What an answer below 500 means is the provider's client's to say. Nothing is repeated here: the queue retries.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2
import msgspec

from dhanam_jobs.handlers.providers.breaker import Tally
from dhanam_jobs.handlers.providers.budget import Budget
from dhanam_jobs.handlers.providers.errors import ProviderTimeout, ProviderUnavailable, RateLimited, SyncFailed

CALL_TIMEOUT_S: Final = 30.0
"""One call as a whole; connecting may take a third of it."""

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
DEFAULT_RETRY_AFTER_S: Final = 60.0
MAX_RETRY_AFTER_S: Final = 3600.0
_LIMITS = (420, 429)
_SILENT = (408, 504)
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class Answer(msgspec.Struct, frozen=True):
    """What came back: the status, the headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def decode(self, kind: Any, provider: str) -> Any:
        """The body as JSON of that type; raises SyncFailed, naming where it differs but nothing of its content."""
        try:
            return msgspec.json.decode(_without_nul(self.body), type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SyncFailed(provider, f"an answer of status {self.status} can't be read: {error}") from None


class Transport:
    """Calls one provider and keeps a tally of how that went.

    Args:
        client: shared by all; its own time-outs don't matter.
        base_url: without a slash at its end.
        scope: of whom a 420 or 429 speaks, `provider` or `connection`.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        provider: str,
        base_url: str,
        budget: Budget,
        *,
        scope: str = "provider",
        timeout: float = CALL_TIMEOUT_S,
    ) -> None:
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self.tally = Tally()
        self._client = client
        self._budget = budget
        self._scope = scope
        self._timeout = timeout

    def build(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Request:
        """Make the request to `path`, which begins with a slash; nothing is sent yet."""
        return self._client.build_request(
            method, f"{self.base_url}{path}", params=params, content=content, headers=headers
        )

    async def send(self, request: httpx2.Request, *, scope: str | None = None) -> Answer:
        """Send it and give the answer, if that is no limit and nothing above 499.

        Raises ProviderUnavailable, ProviderTimeout, RateLimited, BudgetSpent, SyncFailed (too large an answer).
        """
        await self._budget.take()
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._exchange(request)
        except (TimeoutError, httpx2.TimeoutException):
            raise self._failed(
                ProviderTimeout(self.provider, f"no answer within {self._timeout:g} s"), started
            ) from None
        except httpx2.HTTPError as error:
            reason = f"it can't be reached ({type(error).__name__})"
            raise self._failed(ProviderUnavailable(self.provider, reason), started) from None
        if answer.status in _SILENT:
            raise self._failed(ProviderTimeout(self.provider, f"it answered {answer.status}"), started)
        if answer.status >= 500:
            raise self._failed(ProviderUnavailable(self.provider, f"it answered {answer.status}"), started)
        self.tally.answered += 1
        self._time(started)
        if answer.status in _LIMITS:
            raise RateLimited(
                self.provider,
                f"it answered {answer.status}",
                retry_after=retry_after_s(answer.headers.get("retry-after")),
                scope=scope or self._scope,
            )
        return answer

    async def _exchange(self, request: httpx2.Request) -> Answer:
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise SyncFailed(self.provider, f"an answer is larger than {MAX_BODY_BYTES} bytes")
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(body))

    def _failed(self, error: ProviderTimeout | ProviderUnavailable, started: float) -> Exception:
        self.tally.failed += 1
        self.tally.last_error = str(error)
        self._time(started)
        return error

    def _time(self, started: float) -> None:
        self.tally.total_ms += (time.monotonic() - started) * 1000


def retry_after_s(header: str | None, now: dt.datetime | None = None) -> float:
    """The seconds of a Retry-After header, whether a number or a date: from 1 to MAX_RETRY_AFTER_S, 60 without one.

    >>> retry_after_s("7"), retry_after_s(None), retry_after_s("soon")
    (7.0, 60.0, 60.0)
    """
    if header is None:
        return DEFAULT_RETRY_AFTER_S
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(header)
        except (TypeError, ValueError):
            return DEFAULT_RETRY_AFTER_S
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        seconds = (moment - (now or dt.datetime.now(dt.UTC))).total_seconds()
    if seconds != seconds:
        return DEFAULT_RETRY_AFTER_S
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_S)


def _without_nul(body: bytes) -> bytes:
    # Legal in JSON, and refused by PostgreSQL in texts.
    return _NUL.sub(rb"\1", body) if b"\\u0000" in body else body


def read_each(raw: Sequence[msgspec.Raw], kind: Any) -> tuple[list[Any], int]:
    """The entries that are of the kind, and how many are not: one odd entry must not cost the others."""
    read = []
    for entry in raw:
        try:
            read.append(msgspec.json.decode(entry, type=kind))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return read, len(raw) - len(read)
