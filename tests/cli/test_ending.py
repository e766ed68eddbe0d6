"""The end of a real service while a long job runs and people listen: SIGTERM, and what is heard until the exit."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import RunCommand, Service, StartService

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
SYNC = {"provider": "bitso", "userId": "user_maria", "connectionId": "conn_bitso"}


class Follower(threading.Thread):
    """Reads a stream to its end; `fault` is what broke it, if anything did."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(daemon=True)
        self.heard: list[tuple[str, Any]] = []
        self.fault: Exception | None = None
        self.begun, self.active = threading.Event(), threading.Event()
        self._url, self._token = url, token
        self.start()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            with (
                httpx2.Client(trust_env=False, timeout=60) as client,
                client.stream("GET", self._url, headers=headers) as response,
            ):
                assert response.status_code == 200
                self._read(response.iter_lines())
        except Exception as error:
            self.fault = error

    def _read(self, lines: Iterator[str]) -> None:
        name = ""
        for line in lines:
            field, _, value = line.partition(": ")
            if field == "id":
                self.begun.set()
            elif field == "event":
                name = value
            elif field == "data":
                self.heard.append((name, json.loads(value)))
                if name == "active":
                    self.active.set()


@contextmanager
def asking(service: Service, token: str) -> Iterator[httpx2.Client]:
    """A client with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=service.url, trust_env=False, timeout=30, headers=headers) as client:
        yield client


def test_sigterm_lets_a_long_job_end_and_tells_those_who_listen(
    start_service: StartService, command: RunCommand
) -> None:
    """New triggers are refused, health is well and readiness is not, the job completes, both streams end as they
    should, and the exit code is 0."""
    service = start_service().wait_ready()
    token, admin = command("token").stdout.strip(), command("token", "--admin").stdout.strip()
    sandbox = re.search(r"sandbox answers for the demo at (http://[\d.:]+)", service.logs)
    assert sandbox is not None, service.logs
    with httpx2.Client(trust_env=False) as client:
        pesos = [{"currency": "mxn", "total": "5", "available": "5", "locked": "0"}]
        late = {"success": True, "payload": {"balances": pesos}}
        slow = {"path": "/bitso/v3/balance", "hang": 10, "times": 1, "status": 200, "body": late}
        assert client.post(f"{sandbox[1]}/_sandbox/faults", json=slow).status_code == 201
    queues = Follower(f"{service.url}/admin/events", admin)
    assert queues.begun.wait(20)
    job_id = command("enqueue", "sync-transactions", "sync-transactions", json.dumps(SYNC)).stdout.strip()
    job = Follower(f"{service.url}/jobs/sync-transactions/{job_id}/events", token)
    assert queues.active.wait(20)
    assert job.begun.wait(20)

    service.process.send_signal(signal.SIGTERM)
    with asking(service, token) as client:
        # The first look may come before the signal is heard.
        while client.get("/healthz").json()["status"] == "ok":
            pass
        refused = client.post("/jobs/sync-portfolio")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
        assert client.get("/healthz").json() == {"status": "draining"}
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["error"]["details"]["parts"]["accepting"]) == (503, "draining")
        assert client.get(f"/jobs/sync-transactions/{job_id}").json()["state"] == "active"
        job.join(60)

    assert service.wait() == 0, service.logs
    queues.join(20)
    assert (job.fault, queues.fault) == (None, None)
    assert [name for name, _ in job.heard][-2:] == ["completed", "job"]
    assert job.heard[-1][1]["result"]["accounts"] > 0
    assert [name for name, data in queues.heard if data.get("job_id") == job_id] == ["waiting", "active", "completed"]
    assert "Traceback" not in service.logs
