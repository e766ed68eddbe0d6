"""The sandbox as a command, and inside the service: a newcomer's whole sync without an account anywhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from tests.cli.conftest import RunCommand, StartService


def test_the_sandbox_is_a_server_of_its_own_that_fails_when_told(environ: dict[str, str]) -> None:
    """It prints the variables that lead to it, tells what it was asked, and ends on a signal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dhanam_jobs", "sandbox", "--port", "0"],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        given = dict(process.stdout.readline().strip().split("=", 1) for _ in range(10))
        root = given["BITSO_URL"].removesuffix("/bitso/v3")
        with httpx2.Client(trust_env=False) as client:
            assert client.get(given["BITSO_URL"] + "/ticker/").json()["success"] is True
            unsigned = client.get(given["BITSO_URL"] + "/balance/")
            fault = {"path": "/prices", "status": 429, "headers": {"Retry-After": "9"}}
            assert client.post(f"{root}/_sandbox/faults", json=fault).status_code == 201
            limited = client.get(given["PRICES_URL"] + "/simple/price", params={"ids": "bitcoin"})
            priced = client.get(given["PRICES_URL"] + "/simple/price", params={"ids": "bitcoin"})
            asked = client.get(f"{root}/_sandbox/asked", params={"path": "/prices"}).json()
            wrong = client.post(f"{root}/_sandbox/faults", json={"path": "/", "typo": 1})
        assert (unsigned.status_code, unsigned.json()["error"]["code"]) == (401, "0201")
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "9")
        assert priced.json()["bitcoin"]["usd"] > 0
        assert [each["target"] for each in asked] == ["/prices/simple/price?ids=bitcoin"] * 2
        assert wrong.status_code == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_the_demo_service_syncs_everything_from_its_own_sandbox(
    start_service: StartService, command: RunCommand
) -> None:
    """Exchange, banks and wallets, by commands that a newcomer types."""
    service = start_service("--no-http")
    service.wait_ready()

    def run(name: str, payload: Mapping[str, object]) -> dict[str, object]:
        done = command("enqueue", "sync-transactions", name, json.dumps(payload), "--wait", "40")
        assert done.returncode == 0, done.stderr + service.logs
        result: dict[str, object] = json.loads(done.stdout)
        return result

    portfolio = run("sync-portfolio", {"userId": "user_maria"})
    wallets = run("sync-wallets", {"userId": "user_maria"})
    belvo = {"provider": "belvo", "userId": "user_admin", "connectionId": "conn_belvo"}
    bank = run("sync-transactions", belvo)
    everybody = run("sync-portfolio", {})

    assert portfolio == {"syncedUsers": 1, "errors": 0}
    assert (wallets["synced"], wallets["errors"]) == (2, 0)
    assert (bank["accounts"], bank["transactions"]) == (3, 96)
    assert everybody == {"syncedUsers": 0, "errors": 0}
