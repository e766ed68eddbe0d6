"""From an HTTP request through the enqueue to the run, in one trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dhanam_jobs.engine.tracing import Tracing
from dhanam_jobs.handlers import build_registry

if TYPE_CHECKING:
    from tests.endpoints.conftest import StartService

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_a_trigger_its_enqueue_and_its_run_are_one_trace(start_service: StartService) -> None:
    """The client's own, where it sends one."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    service = await start_service(build_registry(around=[Tracing(provider)]), traced=provider)
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    async with service.worker():
        answer = await service.ask("POST", "/jobs/categorize/space-1", "olivia", headers=headers)
    assert answer.status_code == 200
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request = spans["POST /jobs/categorize/{spaceId}"]
    send, run = spans["send categorize-transactions"], spans["process categorize-transactions"]
    assert request.kind is SpanKind.SERVER
    found = []
    for span in (request, send, run):
        assert span.context is not None
        assert span.parent is not None
        assert format(span.context.trace_id, "032x") == TRACE
        found.append((format(span.parent.span_id, "016x"), format(span.context.span_id, "016x")))
    assert [parent for parent, _ in found] == [CALLER, found[0][1], found[1][1]]
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/jobs/categorize/{spaceId}",
    }
    exporter.clear()
    await service.ask("GET", "/healthz")
    await service.ask("GET", "/nothing/here")
    assert [(span.name, span.status.status_code) for span in exporter.get_finished_spans()] == [
        ("GET", StatusCode.UNSET)
    ]
