"""Limits how many requests one sender may make: so many in any window of time, counted in Redis for all processes.

The moments of the requests are kept (`take_turn.lua`), so no window holds more than the limit, wherever it begins. A
sender is a user where a token says who that is, else the address that the connection comes from.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis.exceptions import NoScriptError, RedisError
from starlette.requests import Request

from dhanam_jobs.http.errors import ApiError

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.5
"""How long Redis may take to count a request; then it is let through."""
PAUSE_S: Final = 5.0
"""After Redis did not answer, nobody is counted for so long, so that its outage slows no request down."""

_SCRIPT: Final = Path(__file__).with_name("take_turn.lua").read_text()
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RateLimit(msgspec.Struct, frozen=True):
    """At most `requests` in any `window_s` seconds; 0 requests for no limit."""

    requests: int = 300
    window_s: int = 900


class RateLimiter:
    """Counts requests.

    Args:
        redis: the engine's client.
        prefix: what all keys begin with.
        limit: the same for every sender.
    """

    def __init__(self, redis: Redis, prefix: str, limit: RateLimit) -> None:
        self._redis = redis
        self._prefix = prefix
        self._limit = limit
        self._paused_until = 0.0

    async def count(self, request: Request) -> None:
        """Count a request; the answer will say how many are left (`RateLimit`, `RateLimit-Policy`).

        Where Redis is away, the request is let through: nobody is locked out by an outage.

        Raises:
            ApiError: 429 where its sender has made too many.
        """
        if not self._limit.requests or time.monotonic() < self._paused_until:
            return
        try:
            allowed, left, reset_ms = await self._take(f"{self._prefix}:requests:{sender_of(request)}")
        except (RedisError, OSError, TimeoutError) as error:
            self._paused_until = time.monotonic() + PAUSE_S
            log.warning("requests are not counted for %g s: Redis: %s", PAUSE_S, str(error) or type(error).__name__)
            return
        seconds = math.ceil(reset_ms / 1000)
        # draft-ietf-httpapi-ratelimit-headers-10: what is left of the quota, and in how many seconds some comes back
        headers = {
            "RateLimit-Policy": f'"default";q={self._limit.requests};w={self._limit.window_s}',
            "RateLimit": f'"default";r={left};t={seconds}',
        }
        request.scope["state"].setdefault("answer_headers", {}).update(headers)
        if not allowed:
            raise ApiError(
                429,
                f"More than {self._limit.requests} requests in {self._limit.window_s} s",
                retry_after_s=reset_ms / 1000,
            )

    async def _take(self, key: str) -> Any:
        arguments = (1, key, self._limit.requests, self._limit.window_s * 1000)
        execute: Callable[..., Any] = self._redis.execute_command
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await execute("EVALSHA", _SHA, *arguments)
            except NoScriptError:
                return await execute("EVAL", _SCRIPT, *arguments)


def sender_of(request: Request) -> str:
    """Return who is counted: `user:<id>` once a guard knows them, else `address:<address>`.

    Of an IPv6 address only the network (/64) counts, since one sender may have all of it.
    """
    user_id = getattr(request.state, "user_id", None)
    if user_id is not None:
        return f"user:{user_id}"
    host = request.client.host if request.client is not None else "unknown"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return f"address:{host}"
    if address.version == 6 and address.ipv4_mapped is None:
        return f"address:{ipaddress.ip_network((address, 64), strict=False)}"
    return f"address:{address if address.version == 4 else address.ipv4_mapped}"
