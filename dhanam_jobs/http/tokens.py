"""Makes and checks the signed tokens (JWT) of local mode; what a token's user may do is auth.py's.

A token names its user in `sub`; `exp` is required, `iss` and `aud` must be ours, and HS256 is the only
algorithm, whatever the token's own header says. `read_token` is that check; `jwks.py` uses it with keys of others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jwk import OctKey, RSAKey
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

ALGORITHM: Final = "HS256"
DEFAULT_TTL_S: Final = 15 * 60
"""Life of a full token, in seconds."""
DEMO_TTL_S: Final = 2 * 60 * 60
"""Life of a read-only demo token, in seconds."""
REFUSED: Final = "The token is not valid here"
MIN_SECRET_CHARACTERS: Final = 32
MAX_TOKEN_CHARACTERS: Final = 8192
MAX_ID_CHARACTERS: Final = 256
CLOCK_TOLERANCE_S: Final = 30
"""How far ahead the clock of the machine that made a token may run; never lengthens a token's life."""


class TokenError(Exception):
    """Raised by `TokenRules.check`; the message says why, in words fit for the client."""


@dataclass(frozen=True)
class TokenRules:
    """What a token must satisfy, and the secret that signs it (never part of the repr).

    Raises:
        ValueError: the secret is shorter than 32 characters; the message doesn't repeat it.
    """

    secret: str = field(repr=False)
    issuer: str = "dhanam-api"
    audience: str = "dhanam-web"

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_SECRET_CHARACTERS:
            raise ValueError(
                f"JWT_SECRET: found {len(self.secret)} characters, wanted at least {MIN_SECRET_CHARACTERS}"
            )

    @cached_property
    def _key(self) -> OctKey:
        return OctKey.import_key(self.secret.encode())

    @cached_property
    def _wanted(self) -> Claims:
        return wanted_claims(self.issuer, self.audience)

    def check(self, token: str) -> Identity:
        """Return who the token speaks for.

        Raises:
            TokenError: too long, not a token, not signed by us with HS256, expired, or meant for others.
        """
        return identity_of(read_token(token, self._key, ALGORITHM, self._wanted))

    async def identify(self, token: str) -> Identity:
        """`check`, as the guards ask for it."""
        return self.check(token)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a valid token speaks for; the user's row still has to say whether they exist and are active."""

    user_id: str
    read_only: bool
    """True for demo-role tokens: they may look, and change nothing."""


def make_token(rules: TokenRules, user_id: str, email: str, *, ttl_s: int | None = None, demo: bool = False) -> str:
    """Return a token that `rules` accepts.

    Args:
        user_id: the user's id, 1 to 256 characters.
        email: the user's address, for the clients that show it; it decides nothing here.
        ttl_s: life in seconds, at least 1; None: 15 minutes, or 2 hours for a demo token.
        demo: make a read-only demo-role token.

    Raises:
        ValueError: `ttl_s` is below 1, or `user_id` is empty or too long.
    """
    if ttl_s is None:
        ttl_s = DEMO_TTL_S if demo else DEFAULT_TTL_S
    if ttl_s < 1:
        raise ValueError(f"the token's life: found {ttl_s} seconds, wanted at least 1")
    if not fit_for_id(user_id):
        raise ValueError(f"the user's id: found {user_id[:40]!r}, wanted 1 to {MAX_ID_CHARACTERS} printable characters")
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": user_id,
        "email": email,
        "iat": now,
        "exp": now + ttl_s,
        "iss": rules.issuer,
        "aud": rules.audience,
    }
    if demo:
        claims |= {"isDemo": True, "isGuest": True, "persona": user_id, "permissions": ["read"]}
    return jwt.encode({"alg": ALGORITHM}, claims, rules._key, algorithms=[ALGORITHM])


def fit_for_id(value: object) -> bool:
    """Whether a value from outside can be an id: 1 to 256 printable characters, so no NUL and no line end."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS and value.isprintable()


class Claims(JWTClaimsRegistry):
    """Takes `iat` and `nbf` that lie a little ahead, as clocks differ, but grants `exp` no second more."""

    def validate_iat(self, value: object) -> None:
        self._not_ahead("iat", value)

    def validate_nbf(self, value: object) -> None:
        self._not_ahead("nbf", value)

    def _not_ahead(self, claim: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidClaimError(claim)
        # Written so that NaN, which compares false with everything, is refused.
        if not value <= self.now + CLOCK_TOLERANCE_S:
            raise InvalidClaimError(claim)


def wanted_claims(issuer: str, audience: str) -> Claims:
    """What the claims of every token must satisfy: `sub` and `exp` are there, `iss` and `aud` are these."""
    required = ClaimsOption(essential=True)
    return Claims(
        sub=required,
        exp=required,
        iss=ClaimsOption(essential=True, value=issuer),
        aud=ClaimsOption(essential=True, value=audience),
    )


def read_token(token: str, key: OctKey | RSAKey, algorithm: str, wanted: Claims) -> dict[str, Any]:
    """Return the claims of a token that `key` signed with this algorithm and no other.

    Raises:
        TokenError: too long, not a token, signed otherwise, expired, or with claims other than wanted.
    """
    check_length(token)
    try:
        claims = jwt.decode(token, key, algorithms=[algorithm]).claims
        wanted.validate(claims)
    except ExpiredTokenError:
        raise TokenError("The token has expired") from None
    # Which check failed helps a forger more than it helps a client, so all other refusals read alike;
    # the parser meets hostile bytes before the signature is checked, and raises more than its own errors.
    except (JoseError, ValueError, TypeError, RecursionError):
        raise TokenError(REFUSED) from None
    return claims


def check_length(token: str) -> None:
    """Raises TokenError for a token that is too long to be read."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenError(f"The token has {len(token)} characters; at most {MAX_TOKEN_CHARACTERS} are read")


def identity_of(claims: dict[str, Any]) -> Identity:
    """Return who checked claims speak for. Raises TokenError for a subject that can be no user's id."""
    user_id = claims["sub"]
    if not fit_for_id(user_id):
        raise TokenError(REFUSED)
    # Anything but a plain False counts as demo: a claim of an unexpected type must not open a door.
    read_only = claims.get("isDemo", False) is not False or claims.get("permissions") == ["read"]
    return Identity(user_id, read_only)
