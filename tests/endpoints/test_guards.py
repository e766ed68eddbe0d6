"""Who is let in where: every guard against every kind of caller, over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service

SECRET = "a-secret-of-the-tests-with-40-characters"
TRIGGER = ("POST", "/jobs/categorize/space-1")
LOOK = ("GET", "/jobs/categorize-transactions/5-1-0")
STATS = ("GET", "/admin/queues/stats")
GUARDED = [TRIGGER, LOOK, STATS]


def forged(key: Any = None, alg: str = "HS256", **changed: Any) -> str:
    """A token for the space's owner, right but for what is changed."""
    now = int(time.time())
    claims = {
        "sub": "olivia",
        "iat": now,
        "exp": now + 60,
        "iss": "dhanam-api",
        "aud": "dhanam-web",
    } | changed
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg}, kept, key or OctKey.import_key(SECRET.encode()), algorithms=[alg])


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic b2xpdmlhOng=", "Bearer garbage", "Bearer a.b.c", "Token abc"]
)
async def test_without_a_good_token_every_guarded_path_is_401(service: Service, header: str | None) -> None:
    """No token, another scheme and garbage are all refused, with the way to do it right."""
    headers = {} if header is None else {"Authorization": header}
    for method, path in GUARDED:
        for prefix in ("", "/v1"):
            answer = await service.client.request(method, prefix + path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    "token",
    [
        forged(exp=int(time.time()) - 1),
        forged(exp=None),
        forged(iss="another"),
        forged(aud="another"),
        forged(alg="HS512"),
        forged(RSAKey.generate_key(2048), "RS256"),
        forged(OctKey.import_key(b"x" * 40)),
        forged(sub="inez"),
        forged(sub="nobody"),
        forged(sub="nobody\x00"),
    ],
    ids=["expired", "no exp", "issuer", "audience", "HS512", "RS256", "secret", "inactive", "missing", "NUL"],
)
async def test_a_token_that_is_not_good_is_401(service: Service, token: str) -> None:
    """Expired, foreign, wrongly signed, or for a user who is inactive or missing: nobody is let in."""
    assert (await service.client.get("/jobs/q/1", headers={"Authorization": f"Bearer {forged()}"})).status_code == 404
    for method, path in GUARDED:
        answer = await service.client.request(method, path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert token not in answer.text


async def test_a_user_switched_off_loses_access_with_a_token_still_good(service: Service) -> None:
    """The user's row decides at every request, not the token made before."""
    headers = {"Authorization": f"Bearer {forged()}"}
    assert (await service.client.get("/jobs/q/1", headers=headers)).status_code == 404
    await service.store.users.upsert([{"id": "olivia", "is_active": False}])
    assert (await service.client.get("/jobs/q/1", headers=headers)).status_code == 401


async def test_two_authorization_headers_are_refused(service: Service) -> None:
    """Which of two tokens counts must not be left to whoever reads them first."""
    good = f"Bearer {forged()}"
    answer = await service.client.get("/jobs/q/1", headers=[("Authorization", good), ("Authorization", good)])
    assert answer.status_code == 401


async def test_who_may_not_change_a_space_is_403(service: Service) -> None:
    """Viewers, strangers to the space and demo-role tokens may not trigger, and nothing is enqueued."""
    for user in ("vera", "otto", "root", "olivia+demo", "mia+demo", "root+demo"):
        answer = await service.ask(*TRIGGER, user)
        assert answer.status_code == 403, user
        assert answer.json()["error"]["code"] == "FORBIDDEN"
    assert (await service.jobs.get_queue_stats("categorize-transactions")).waiting == 0


async def test_members_and_higher_may_trigger(service: Service) -> None:
    """Owner, admin and member of the space are let in."""
    await service.jobs.pause_queue("categorize-transactions")
    for user in ("olivia", "adam", "mia"):
        assert (await service.ask(*TRIGGER, user)).status_code == 202, user


async def test_a_space_that_is_not_ones_own_looks_like_one_that_is_not_there(service: Service) -> None:
    """The answer doesn't tell whether the space exists."""
    for space in ("no-such-space", "space-2", "%00", "a%0Ab", "x" * 300, "%F0%9F%92%B8", "%FF"):
        answer = await service.ask("POST", f"/jobs/categorize/{space}", "olivia")
        assert answer.status_code == 403, space
        assert answer.json()["error"]["message"] == "You are no member of this space"


async def test_the_admin_pages_are_for_administrators(service: Service) -> None:
    """The user's row says who is one; owning or administering a space doesn't."""
    assert (await service.ask(*STATS, "root")).status_code == 200
    for user in ("olivia", "adam", "otto", "olivia+demo"):
        assert (await service.ask(*STATS, user)).status_code == 403, user


async def test_an_is_admin_claim_counts_nothing(service: Service) -> None:
    """A token can't make its user an administrator."""
    headers = {"Authorization": f"Bearer {forged(isAdmin=True, is_admin=True, roles=['admin'])}"}
    assert (await service.client.request(*STATS, headers=headers)).status_code == 403
