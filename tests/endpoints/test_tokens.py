"""Which tokens are accepted and which are refused, before any user is looked up."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from dhanam_jobs.http.tokens import Identity, TokenError, TokenRules, make_token

SECRET = "a-secret-of-the-tests-with-40-characters"
RULES = TokenRules(SECRET)
KEY = OctKey.import_key(SECRET.encode())


def claims(**changed: Any) -> dict[str, Any]:
    """Claims that are accepted as they are; a change to `None` leaves one out."""
    now = int(time.time())
    whole = {
        "sub": "user-1",
        "email": "user-1@example.test",
        "iat": now,
        "exp": now + 60,
        "iss": "dhanam-api",
        "aud": "dhanam-web",
    } | changed
    return {name: value for name, value in whole.items() if value is not None}


def signed(payload: dict[str, Any], alg: str = "HS256", key: Any = KEY) -> str:
    """A token signed as asked, whatever our own rules say."""
    return jwt.encode({"alg": alg}, payload, key, algorithms=[alg])


def encoded(part: object) -> str:
    """One part of a token, as JSON in unpadded base64url."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def hmac_signed(header: dict[str, Any]) -> str:
    """A token with any header over good claims, and the HMAC-SHA256 that our secret gives for the two."""
    text = f"{encoded(header)}.{encoded(claims())}"
    digest = hmac.digest(SECRET.encode(), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_a_token_made_here_is_accepted_here() -> None:
    """What `make_token` signs names its user and may change things."""
    assert RULES.check(make_token(RULES, "user-1", "u@example.test")) == Identity("user-1", read_only=False)


def test_a_made_token_has_the_claims_of_the_specification() -> None:
    """The claims are those of Dhanam's own tokens, and the life is 15 minutes unless told otherwise."""
    made = jwt.decode(make_token(RULES, "user-1", "u@example.test"), KEY, algorithms=["HS256"])
    assert made.header == {"typ": "JWT", "alg": "HS256"}
    assert set(made.claims) == {"sub", "email", "iat", "exp", "iss", "aud"}
    assert made.claims["exp"] - made.claims["iat"] == 15 * 60
    short = jwt.decode(make_token(RULES, "u", "u@example.test", ttl_s=7), KEY, algorithms=["HS256"]).claims
    assert short["exp"] - short["iat"] == 7


def test_a_demo_token_is_read_only_and_lives_two_hours() -> None:
    """The demo role's claims are all there, and the check reads them."""
    token = make_token(RULES, "user-1", "u@example.test", demo=True)
    made = jwt.decode(token, KEY, algorithms=["HS256"]).claims
    assert made["isDemo"] is True
    assert made["isGuest"] is True
    assert made["permissions"] == ["read"]
    assert made["exp"] - made["iat"] == 2 * 60 * 60
    assert RULES.check(token).read_only


@pytest.mark.parametrize(
    ("extra", "read_only"),
    [
        ({"isDemo": True}, True),
        ({"permissions": ["read"]}, True),
        ({"isDemo": "true"}, True),
        ({"isDemo": False, "permissions": ["read", "write"]}, False),
        ({"isDemo": False}, False),
    ],
)
def test_either_demo_claim_alone_makes_a_token_read_only(extra: dict[str, Any], read_only: bool) -> None:
    """A token needs only one of the two claims to be held to looking."""
    assert RULES.check(signed(claims(**extra))).read_only is read_only


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"exp": True},
        {"iss": "somebody-else"},
        {"iss": None},
        {"aud": "another-app"},
        {"aud": ["another-app"]},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 17},
        {"sub": "user\x00"},
        {"sub": "u" * 257},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"iat": float("nan")},
    ],
    ids=repr,
)
def test_a_wrong_claim_is_refused(changed: dict[str, Any]) -> None:
    """Each claim that we rely on is checked, for its value and for its type."""
    RULES.check(signed(claims()))
    with pytest.raises(TokenError):
        RULES.check(signed(claims(**changed)))


def test_an_audience_list_that_names_us_is_accepted() -> None:
    """A token may be meant for several, if we are one of them."""
    assert RULES.check(signed(claims(aud=["another-app", "dhanam-web"]))).user_id == "user-1"


def test_a_clock_that_runs_a_little_ahead_is_forgiven() -> None:
    """Dhanam's API makes the tokens on another machine, whose clock may be seconds ahead of ours."""
    assert RULES.check(signed(claims(iat=int(time.time()) + 5))).user_id == "user-1"


@pytest.mark.parametrize("alg", ["HS384", "HS512"])
def test_another_hmac_with_our_secret_is_refused(alg: str) -> None:
    """The algorithm is pinned: the right secret with another hash isn't enough."""
    with pytest.raises(TokenError):
        RULES.check(signed(claims(), alg))


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
def test_public_key_algorithms_are_refused(alg: str) -> None:
    """A token signed with somebody's private key has no standing here."""
    key = ECKey.generate_key("P-256") if alg == "ES256" else RSAKey.generate_key(2048)
    with pytest.raises(TokenError):
        RULES.check(signed(claims(), alg, key))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, "hs256", ["HS256"]])
def test_an_unsigned_token_is_refused(alg: object) -> None:
    """Neither the algorithm "none", in any spelling, nor an empty signature opens anything."""
    for signature in ("", encoded("x")):
        with pytest.raises(TokenError):
            RULES.check(f"{encoded({'alg': alg, 'typ': 'JWT'})}.{encoded(claims())}.{signature}")


def test_a_tampered_payload_is_refused() -> None:
    """The signature covers the claims: another user's id under it doesn't pass."""
    head, _, signature = signed(claims()).split(".")
    with pytest.raises(TokenError):
        RULES.check(f"{head}.{encoded(claims(sub='user-2'))}.{signature}")


def test_another_secret_is_refused() -> None:
    """A token signed with a secret that isn't ours doesn't pass."""
    with pytest.raises(TokenError):
        RULES.check(signed(claims(), key=OctKey.import_key(b"x" * 40)))


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "Bearer",
        "é" * 50,
        "\x00",
        "x" * 9000,
        "[" * 5000,
        f"{encoded([])}.{encoded([])}.",
    ],
    ids=lambda value: value[:12],
)
def test_garbage_is_refused_not_raised(garbage: str) -> None:
    """Whatever bytes come, the answer is a refusal."""
    with pytest.raises(TokenError):
        RULES.check(garbage)


def test_a_critical_header_that_nobody_knows_is_refused() -> None:
    """A token that demands an extension we don't have isn't taken as if it didn't."""
    assert RULES.check(hmac_signed({"alg": "HS256"})).user_id == "user-1"
    with pytest.raises(TokenError):
        RULES.check(hmac_signed({"alg": "HS256", "crit": ["made-up"], "made-up": 1}))


@pytest.mark.parametrize("alg", ["RS256", "none", "HS512", None])
def test_a_header_that_lies_about_the_algorithm_is_refused(alg: object) -> None:
    """A good HS256 signature under a header that names another algorithm doesn't pass."""
    with pytest.raises(TokenError):
        RULES.check(hmac_signed({"alg": alg}))


def test_only_expiry_is_told_apart() -> None:
    """A client learns that it needs a new token; a forger doesn't learn which check failed."""
    with pytest.raises(TokenError, match="expired"):
        RULES.check(signed(claims(exp=int(time.time()) - 60)))
    with pytest.raises(TokenError) as wrong_issuer:
        RULES.check(signed(claims(iss="x")))
    with pytest.raises(TokenError) as wrong_key:
        RULES.check(signed(claims(), key=OctKey.import_key(b"x" * 40)))
    assert str(wrong_issuer.value) == str(wrong_key.value)


def test_the_secret_is_not_in_the_repr() -> None:
    """Rules that end up in a log or a traceback don't give the secret away."""
    assert SECRET not in repr(RULES)


def test_a_short_secret_is_refused_without_repeating_it() -> None:
    """A secret under 32 characters is an error that names the variable, not the value."""
    with pytest.raises(ValueError, match="JWT_SECRET: found 9 characters") as refused:
        TokenRules("too-short")
    assert "too-short" not in str(refused.value)


@pytest.mark.parametrize(("user_id", "ttl_s"), [("", 60), ("u" * 257, 60), ("u\n", 60), ("user-1", 0), ("user-1", -5)])
def test_a_token_that_could_never_be_used_is_not_made(user_id: str, ttl_s: int) -> None:
    """A life below a second and an unfit user id are errors where the token is made."""
    with pytest.raises(ValueError, match="wanted"):
        make_token(RULES, user_id, "u@example.test", ttl_s=ttl_s)
