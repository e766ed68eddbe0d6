"""Tokens of an identity provider: which are accepted, and what its outages and new keys do. Over HTTP on both sides."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dhanam_jobs.http import jwks
from dhanam_jobs.http.jwks import JwksRules, KeyRing, read_keys
from dhanam_jobs.http.serve import HttpServer, bind

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service, StartService

LOOK = "/jobs/categorize-transactions/5-1-0"
FOUND_NOTHING = 404
"""The answer of LOOK to a token that is good."""


class Provider:
    """An identity provider: publishes keys, counts who asks, and can be away."""

    def __init__(self) -> None:
        self.key = new_key("first")
        self.published = [self.key]
        self.asked = 0
        self.away = False
        app = Starlette(routes=[Route("/keys", self._answer)])
        self.server = HttpServer(app, bind("127.0.0.1", 0), closing=asyncio.Event())
        self.url = f"{self.server.url}/keys"

    async def _answer(self, request: Request) -> Response:
        self.asked += 1
        if self.away:
            return Response(status_code=503)
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published]})

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """A token for the space's owner, right but for what is changed; a change to None leaves one out."""
        key = key or self.key
        now = int(time.time())
        claims = {"sub": "olivia", "iat": now, "exp": now + 60, "iss": "https://id.example", "aud": "jobs"} | changed
        kept = {name: value for name, value in claims.items() if value is not None}
        head = {"alg": "RS256", "kid": key.kid} | (header or {})
        return jwt.encode({k: v for k, v in head.items() if v is not None}, kept, key, algorithms=[head["alg"]])


def new_key(key_id: str) -> RSAKey:
    """A key pair as a provider makes one."""
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig", "alg": "RS256"})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.server.start()
    yield provider
    await provider.server.stop()


@pytest.fixture
async def keys(provider: Provider) -> AsyncIterator[KeyRing]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        ring = KeyRing(provider.url, client)
        yield ring
        await ring.close()


@pytest.fixture
async def service(start_service: StartService, keys: KeyRing) -> Service:
    """The service in JWKS mode."""
    return await start_service(tokens=JwksRules(keys, "https://id.example", "jobs"))


async def ask(service: Service, token: str) -> int:
    """The status of a look with that token."""
    return (await service.client.get(LOOK, headers={"Authorization": f"Bearer {token}"})).status_code


async def test_a_token_of_the_provider_opens_the_door_for_the_user_of_that_id(
    service: Service, provider: Provider
) -> None:
    """One fetch serves all tokens."""
    for _ in range(3):
        assert await ask(service, provider.token()) == FOUND_NOTHING
    assert provider.asked == 1
    assert (await service.client.get("/admin/queues/stats", headers=bearer(provider.token(sub="root")))).is_success


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"iss": "https://another.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"sub": "nobody"},
        {"sub": "inez"},
        {"sub": "olivia@example.test", "email": "olivia@example.test"},
        {"sub": "nobody", "email": "olivia@example.test", "email_verified": False},
        {"sub_status": "suspended"},
    ],
    ids=repr,
)
async def test_a_wrong_claim_and_a_user_who_may_not_in_are_401(
    service: Service, provider: Provider, changed: dict[str, Any]
) -> None:
    """Inez is inactive; an e-mail address, verified or not, leads to no row."""
    assert await ask(service, provider.token(**changed)) == 401


async def test_a_token_with_the_public_key_as_an_hmac_secret_is_401(service: Service, provider: Provider) -> None:
    """The attack on checkers that let the header choose: the public key, in any form, signs nothing."""
    for secret in (
        provider.key.as_pem(private=False),
        provider.key.as_pem(private=False).strip(),
        provider.key.as_der(private=False),
        json.dumps(provider.key.as_dict(private=False)).encode(),
    ):
        for alg in ("HS256", "RS256"):
            head = _part({"alg": alg, "kid": "first"})
            body = _part({"sub": "root", "exp": int(time.time()) + 60, "iss": "https://id.example", "aud": "jobs"})
            text = f"{head}.{body}"
            signature = base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), "sha256")).rstrip(b"=").decode()
            assert await ask(service, f"{text}.{signature}") == 401


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, ["RS256"]])
async def test_an_unsigned_token_is_401(service: Service, provider: Provider, alg: object) -> None:
    head, body = _part({"alg": alg, "kid": "first"}), provider.token().split(".")[1]
    for signature in ("", "eA"):
        assert await ask(service, f"{head}.{body}.{signature}") == 401
    assert provider.asked == 0, "a token that could never be good is no reason to fetch"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_local_mode_is_no_way_round(service: Service, provider: Provider) -> None:
    """A token that the service's own secret signed has no standing here, and there is no other algorithm."""
    assert await ask(service, service.token("olivia")) == 401
    assert await ask(service, provider.token(OctKey.import_key(b"x" * 40), {"alg": "HS256", "kid": "first"})) == 401
    bare = RSAKey.import_key(provider.key.as_pem(private=True))
    for alg in ("RS384", "RS512", "PS256"):
        assert await ask(service, provider.token(bare, {"alg": alg, "kid": "first"})) == 401
    assert await ask(service, provider.token(bare, {"kid": "first"})) == FOUND_NOTHING
    assert await ask(service, provider.token(ECKey.generate_key("P-256"), {"alg": "ES256", "kid": "first"})) == 401
    assert await ask(service, provider.token(new_key("first"))) == 401, "another pair under a known id"
    assert await ask(service, provider.token(header={"kid": None})) == 401
    for garbage in ("a.b.c", "..", "x" * 9000, "[" * 3000):
        assert await ask(service, garbage) == 401


async def test_a_new_key_is_fetched_when_a_token_names_it(service: Service, provider: Provider) -> None:
    assert await ask(service, provider.token()) == FOUND_NOTHING
    second = new_key("second")
    assert await ask(service, provider.token(second)) == 401
    provider.published = [second]
    assert await ask(service, provider.token(second)) == FOUND_NOTHING
    assert await ask(service, provider.token()) == 401, "the provider has withdrawn the first key"


async def test_unknown_keys_cause_few_fetches(service: Service, provider: Provider) -> None:
    """However many tokens name keys that nobody has; a flood of them does not lock anybody out."""
    answers = await asyncio.gather(*(ask(service, provider.token(header={"kid": f"k{n}"})) for n in range(30)))
    assert set(answers) == {401}
    assert provider.asked <= jwks.FETCHES_PER_MINUTE
    assert await ask(service, provider.token()) == FOUND_NOTHING


async def test_many_first_requests_share_a_fetch(service: Service, provider: Provider) -> None:
    answers = await asyncio.gather(*(ask(service, provider.token()) for _ in range(20)))
    assert set(answers) == {FOUND_NOTHING}
    assert provider.asked == 1


async def test_known_keys_outlast_an_outage(
    service: Service, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when they are old enough to be fetched anew."""
    assert await ask(service, provider.token()) == FOUND_NOTHING
    provider.away = True
    monkeypatch.setattr(jwks, "MAX_AGE_S", -1.0)
    for _ in range(3):
        assert await ask(service, provider.token()) == FOUND_NOTHING
    assert await ask(service, provider.token(new_key("second"))) == 401
    assert provider.asked > 1


async def test_without_any_keys_the_answer_is_503(service: Service, provider: Provider, keys: KeyRing) -> None:
    """Nobody can be judged, so it is not the token's fault; readiness says so too, and neither tells the address."""
    service.checks["keys"] = keys.check
    provider.away = True
    answer = await service.client.get(LOOK, headers=bearer(provider.token()))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "15"
    assert provider.url not in answer.text
    ready = await service.ask("GET", "/readyz")
    assert ready.json()["error"]["details"]["parts"]["keys"] == "failing"
    assert await ask(service, "no.token.here") == 401
    provider.away = False
    assert await ask(service, provider.token()) == FOUND_NOTHING
    assert (await service.ask("GET", "/readyz")).json()["parts"]["keys"] == "ok"


async def test_keys_are_old_after_ten_minutes_and_fetched_beside_the_request(
    service: Service, provider: Provider, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await ask(service, provider.token()) == FOUND_NOTHING
    provider.published = [new_key("second")]
    monkeypatch.setattr(jwks, "MAX_AGE_S", -1.0)
    assert await ask(service, provider.token()) == FOUND_NOTHING, "good until newer ones are there"
    await keys.find("second")
    assert await ask(service, provider.token()) == 401


def test_only_fit_keys_are_taken_and_nothing_private() -> None:
    good = new_key("good")
    rows = [
        good.as_dict(private=True),
        {"kty": "RSA", "kid": "short", "e": "AQAB", "n": base64.urlsafe_b64encode(b"\xff" * 128).decode().rstrip("=")},
        {**new_key("enc").as_dict(private=False), "use": "enc"},
        {**new_key("other").as_dict(private=False), "alg": "RS512"},
        ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False),
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": 7},
        {name: value for name, value in new_key("none").as_dict(private=False).items() if name != "kid"},
    ]
    found = read_keys(json.dumps({"keys": rows}).encode())
    assert list(found) == ["good"]
    assert not found["good"].is_private


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer is no JWK set|none of the"):
        read_keys(document)


async def test_an_answer_without_end_and_a_redirect_are_refused(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, keys: KeyRing
) -> None:
    monkeypatch.setattr(jwks, "MAX_BODY_BYTES", 10)
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        await keys.fetch()
    provider.away = True
    with pytest.raises(httpx2.HTTPError, match="answered 503"):
        await keys.fetch()
