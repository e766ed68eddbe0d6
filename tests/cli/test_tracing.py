"""Traces leave the service where OpenTelemetry's variables ask for it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import RunCommand, StartService


class Collector:
    """Takes traces as OTLP over HTTP; `bodies` by path."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        taken = self.bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def test_a_request_its_enqueue_and_its_run_arrive_at_the_collector(
    start_service: StartService, command: RunCommand, collector: Collector
) -> None:
    """At the latest when the service ends; uncompressed here, so that the names can be read."""
    service = start_service(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url).wait_ready()
    headers = {"Authorization": f"Bearer {command('token').stdout.strip()}"}
    answer = httpx2.post(f"{service.url}/jobs/categorize/space_123", headers=headers, timeout=30)
    assert answer.json()["categorized"] == 45
    assert service.end() == 0
    assert {path for path, _ in collector.bodies} == {"/v1/traces"}
    whole = b"".join(body for _, body in collector.bodies)
    for name in ("POST /jobs/categorize/{spaceId}", "send categorize-transactions", "process categorize-transactions"):
        assert name.encode() in whole
    assert b"dhanam-jobs" in whole
