"""Canaries in the settings of a real process: its log, its answers and its commands tell none of them, in good times
and when its servers fail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.cli.conftest import Service, own_environ

if TYPE_CHECKING:
    from tests.cli.conftest import RunCommand
    from tests.conftest import StartRedis

SECRETS = {
    "JWT_SECRET": "canary-jwt-secret-of-more-than-32-characters",
    "ENCRYPTION_KEY": "canary-encryption-key-of-32-char",
    "ENCRYPTION_KEY_PREVIOUS": "canary-previous-key-of-32-charac",
    "SMTP_PASSWORD": "canary-smtp-password",
    "PLAID_SECRET": "canary-plaid-secret",
    "BELVO_SECRET_KEY_PASSWORD": "canary-belvo-password",
}
REDIS_PASSWORD = "canary-redis-password"
ADMIN = {"users": [{"id": "root", "email": "root@example.test", "name": "Root", "isAdmin": True}]}


@pytest.mark.long
def test_no_setting_that_is_a_secret_is_told(start_redis: StartRedis, command: RunCommand, tmp_path: Path) -> None:
    """Start, work, failing mail and providers, a Redis that goes away, and the end; every page of /openapi.json."""
    server = start_redis("--requirepass", REDIS_PASSWORD, tcp=True)
    environ = {
        **own_environ(tmp_path / "data"),
        **SECRETS,
        "REDIS_URL": server.tcp_url.replace("redis://", f"redis://:{REDIS_PASSWORD}@"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'store.db'}",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": "1",
        "SMTP_USER": "canary-smtp-user",
        "BITSO_URL": "http://bitso:canary-bitso-password@127.0.0.1:1",
        "LOG_LEVEL": "debug",
    }
    told = []

    def call(*arguments: str) -> str:
        done = command(*arguments, **environ)
        told.append(f"{arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    (tmp_path / "books.json").write_text(json.dumps(ADMIN))
    call("load", str(tmp_path / "books.json"))
    service = Service([], environ)
    try:
        service.wait_ready()
        token = command("token", "--user", "root", "--admin", **environ).stdout.strip()
        data = {"name": "Ana", "resetUrl": "https://app.example.test/reset?token=canary-of-a-letter"}
        letter = {"to": "ana@example.test", "template": "password-reset", "data": data}
        call("enqueue", "email-notifications", "send-email", json.dumps(letter), "--wait", "3")
        for look in ("stats", "workers", "schedules", "events", "doctor", "dead"):
            call(look)
            call(look, "--json")
        for queue in ("email-notifications", "esg-updates"):
            for row in json.loads(call("jobs", queue, "--json"))["jobs"]:
                call("job", queue, row["id"], "--json")
        headers = {"Authorization": f"Bearer {token}"}
        document = httpx2.get(f"{service.url}/openapi.json").json()
        asked = 0
        for path, methods in document["paths"].items():
            if "get" not in methods or "text/event-stream" in str(methods["get"]["responses"].get("200")):
                continue
            filled = re.sub(r"\{queue\}", "email-notifications", path)
            filled = re.sub(r"\{\w+\}", "x", filled)
            for sent in (headers, {}):
                answer = httpx2.get(f"{service.url}{filled}", headers=sent, timeout=30)
                told.append(f"{path}: {answer.status_code} {answer.headers} {answer.text}")
                asked += 1
        assert asked > 10
        server.kill()
        for path in ("/readyz", "/metrics", "/admin/queues/stats"):
            answer = httpx2.get(f"{service.url}{path}", headers=headers, timeout=30)
            told.append(f"{path} without Redis: {answer.text}")
        call("stats")
        server.start()
    finally:
        if service.process.poll() is None:
            service.process.terminate()
        service.wait()
    told.append(service.logs)
    found = [
        text[max(0, match.start() - 200) : match.end() + 20] for text in told for match in re.finditer("canary-", text)
    ]
    assert not found, found[:5]
    assert "run_failed" in service.logs, "the letter could not be sent, and that was logged"
