"""Whose tokens count, as the settings say, with real processes."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from dhanam_jobs.handlers.demo.people import DEMO_ADMIN_ID, DEMO_USER_ID

if TYPE_CHECKING:
    from tests.cli.conftest import RunCommand, StartService

KEY = RSAKey.generate_key(2048, {"kid": "k", "alg": "RS256"})


@pytest.fixture
def jwks_url() -> Iterator[str]:
    """An identity provider that publishes one key."""

    class Provider(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": [KEY.as_dict(private=False)]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    thread.join()
    server.server_close()


def signed(user: str) -> str:
    """What the provider gives a user."""
    claims = {"sub": user, "exp": int(time.time()) + 60, "iss": "https://id.example", "aud": "jobs"}
    return jwt.encode({"alg": "RS256", "kid": "k"}, claims, KEY, algorithms=["RS256"])


def test_an_identity_providers_tokens_open_the_service_and_ours_do_not(
    start_service: StartService, command: RunCommand, jwks_url: str
) -> None:
    """`token` refuses and says why, the greeting doesn't offer it, `doctor` has fetched the keys."""
    settings = {
        "AUTH_MODE": "jwks",
        "JWKS_URL": jwks_url,
        "JWT_ISSUER": "https://id.example",
        "JWT_AUDIENCE": "jobs",
    }
    service = start_service(**settings).wait_ready()
    assert not any(line.lstrip().startswith(("token", "try")) for line in service.stdout)
    admin = command("token", "--admin", JWT_ISSUER="https://id.example", JWT_AUDIENCE="jobs").stdout.strip()
    refused = command("token", **settings)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "in local mode only" in refused.stderr
    answers = [
        httpx2.get(f"{service.url}/admin/queues/stats", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in (signed(DEMO_ADMIN_ID), signed(DEMO_USER_ID), admin)
    ]
    assert answers == [200, 403, 401]
    findings = json.loads(command("doctor", "--json", **settings).stdout)
    assert next(row["text"] for row in findings if row["part"] == "tokens").startswith(f"{jwks_url} publishes 1 keys")


def test_the_doctor_says_that_the_keys_cannot_be_fetched(command: RunCommand) -> None:
    """And what to do; the address is shown without what may be a password."""
    done = command("doctor", AUTH_MODE="jwks", JWKS_URL="http://me:hunter2@127.0.0.1:1/keys")
    assert done.returncode == 1
    assert "http://***@127.0.0.1:1/keys" in done.stdout
    assert "correct JWKS_URL" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
