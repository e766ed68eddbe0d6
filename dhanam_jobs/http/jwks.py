"""Checks tokens that an identity provider signed (AUTH_MODE=jwks), with the public keys that it publishes (RFC 7517).

RS256 is the only algorithm and `kid` must name a published RSA key, so a token signed with HS256 and somebody's public
key, or not at all, meets no key that could check it. The subject is the id of the user's row in our store: no row is
found by an e-mail address, which its owner may never have verified.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import httpx2
import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import RSAKey

from dhanam_jobs.http.tokens import (
    REFUSED,
    Claims,
    Identity,
    TokenError,
    check_length,
    identity_of,
    read_token,
    wanted_claims,
)

log = logging.getLogger(__name__)

ALGORITHM: Final = "RS256"
FETCHES_PER_MINUTE: Final = 5
"""However many tokens name keys that we don't know."""
MAX_AGE_S: Final = 600.0
"""After which the keys are fetched anew when they are next used, so that a withdrawn one goes."""
FETCH_TIMEOUT_S: Final = 5.0
MAX_BODY_BYTES: Final = 1_000_000
MIN_KEY_BITS: Final = 2048


class KeysUnavailable(Exception):
    """No key was ever fetched from JWKS_URL, so no token can be judged. The text is for the log."""


class JwksRules:
    """What a token must satisfy in JWKS mode.

    Args:
        keys: where the issuer's keys are.
        issuer: what `iss` must be.
        audience: what `aud` must be or name.
    """

    def __init__(self, keys: KeyRing, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    @cached_property
    def _wanted(self) -> Claims:
        return wanted_claims(self._issuer, self._audience)

    async def identify(self, token: str) -> Identity:
        """Return who the token speaks for.

        Raises:
            TokenError: as `TokenRules.check`, by an unknown key, or for a subject whose `sub_status` is suspended.
            KeysUnavailable: no keys were ever had.
        """
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise TokenError(REFUSED)
        claims = read_token(token, key, ALGORITHM, self._wanted)
        if claims.get("sub_status") == "suspended":
            raise TokenError("The token's user is suspended")
        return identity_of(claims)


class KeyRing:
    """The keys published at one address, fetched when they are needed and kept through the address's outages.

    Args:
        url: JWKS_URL.
        client: the HTTP client to fetch with; its owner closes it.
    """

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._keys: Mapping[str, RSAKey] = {}
        self._fetched_s: float | None = None
        self._tried: deque[float] = deque(maxlen=FETCHES_PER_MINUTE)
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> RSAKey | None:
        """Return the key of that id, or None where none is published or none could be fetched again.

        Raises:
            KeysUnavailable: no keys were ever had.
        """
        key = self._keys.get(key_id)
        if key is None:
            await self._refresh()
            key = self._keys.get(key_id)
        elif self._fetched_s is None or time.monotonic() - self._fetched_s > MAX_AGE_S:
            self._begin()  # nobody waits for it: the old keys are good until newer ones are there
        if not self._keys:
            raise KeysUnavailable("no keys could be fetched from JWKS_URL so far")
        return key

    async def check(self) -> None:
        """Raise KeysUnavailable where no keys were ever had and none can be fetched now."""
        if not self._keys:
            await self.find("")

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    async def fetch(self) -> Mapping[str, RSAKey]:
        """Fetch the keys now, by id, and return those that can check RS256; nothing is kept.

        Raises:
            ValueError: what came is no set of keys, or has none for RS256.
            httpx2.HTTPError, TimeoutError: the address can't be reached, or answers otherwise than with 200.
        """
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            request = self._client.build_request("GET", self._url, headers={"Accept": "application/json"})
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code != 200:
                    raise httpx2.HTTPError(f"it answered {response.status_code}, wanted 200")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise ValueError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
            finally:
                await response.aclose()
        return read_keys(bytes(body))

    async def _refresh(self) -> None:
        self._begin()
        if self._fetching is not None:
            # Whoever asks may leave; the others still wait for the same answer.
            await asyncio.wait({self._fetching})

    def _begin(self) -> None:
        if self._fetching is not None:
            return
        now = time.monotonic()
        if len(self._tried) == FETCHES_PER_MINUTE and now - self._tried[0] < 60:
            return
        self._tried.append(now)
        self._fetching = asyncio.get_running_loop().create_task(self._fetch_and_keep(), name="jwks")
        self._fetching.add_done_callback(self._fetched)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch_and_keep(self) -> None:
        try:
            self._keys = await self.fetch()
            self._fetched_s = time.monotonic()
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, OSError) as error:
            reason = str(error) or type(error).__name__
            log.warning("the keys that check tokens can't be fetched, %d known ones stay: %s", len(self._keys), reason)


def read_keys(document: bytes) -> dict[str, RSAKey]:
    """Return the keys of a JWK set that can check RS256, by id; others are passed over.

    Raises:
        ValueError: no JWK set, or none of its keys is for RS256.
    """
    try:
        found = msgspec.json.decode(document, type=_KeySet).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the answer is no JWK set: {error}") from None
    keys: dict[str, RSAKey] = {}
    for row in found:
        key_id = row.get("kid")
        usable = row.get("use", "sig") == "sig" and row.get("alg", ALGORITHM) == ALGORITHM
        if row.get("kty") != "RSA" or not isinstance(key_id, str) or not usable:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of keys that are too short, which are passed over
                # Only what is public: a set that leaks its private parts doesn't make us hold them.
                key = RSAKey.import_key({name: row[name] for name in ("kty", "n", "e")})
            if key.public_key.key_size >= MIN_KEY_BITS:
                keys[key_id] = key
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not keys:
        raise ValueError(f"none of the {len(found)} keys there is an RSA key for {ALGORITHM} with an id")
    return keys


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _key_id(token: str) -> str:
    """What the token's header names; raises TokenError where it isn't a token for our algorithm that names a key."""
    check_length(token)
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm, key_id = header.get("alg"), header.get("kid")
    except (JoseError, ValueError, TypeError, RecursionError, AttributeError):
        raise TokenError(REFUSED) from None
    if algorithm != ALGORITHM or not isinstance(key_id, str):
        raise TokenError(REFUSED)
    return key_id
