"""Schemathesis sends what fits the document and what doesn't to every endpoint, by the document alone.

Endpoints that are added later are fuzzed too. Half of the path parameters are those of things that exist.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    from tests.endpoints.conftest import StartService

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

EXAMPLES = 60
"""Requests per endpoint and kind."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KINDS = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
STREAM = "text/event-stream"


async def test_no_request_gets_a_5xx_or_an_answer_that_the_document_does_not_promise(
    start_service: StartService,
) -> None:
    """Whoever sends it, a stranger and an administrator, with and without sense."""
    service = await start_service(wait_s=0.01)
    waiting = await service.jobs.trigger_space_categorization("space-1", user_id="olivia")
    async with service.worker():
        await waiting.result(timeout=20)
    job = await service.jobs.trigger_space_categorization("space-1", user_id="olivia")
    things = {
        "spaceId": ["space-1", "space-2"],
        "queue": [job.queue, "sync-transactions"],
        "id": [job.id, waiting.id],
    }
    tokens = [service.token("root"), service.token("olivia"), service.token("olivia", demo=True), ""]
    document = (await service.ask("GET", "/openapi.json")).json()
    fuzzed = await asyncio.to_thread(_fuzz, document, service.server.url, things, tokens)
    streams = [each for each in ENDPOINTS if each.stream]
    assert fuzzed == len(ENDPOINTS) - len(streams)


def _fuzz(document: dict[str, Any], url: str, things: dict[str, list[str]], tokens: list[str]) -> int:
    """Fuzz every operation that ends; gives how many."""
    schema = schemathesis.openapi.from_dict(document)
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    ending = [each for each in operations if STREAM not in str(each.definition.raw)]
    for operation in ending:
        for kind in KINDS:
            _fuzz_one(operation, kind, url, things, tokens)
    return len(ending)


def _fuzz_one(operation: Any, kind: Any, url: str, things: dict[str, list[str]], tokens: list[str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def send(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=kind))
        for name in case.path_parameters or {}:
            if name in things and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(things[name]))
        token = data.draw(st.sampled_from(tokens))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = case.call(base_url=url, headers=headers)
        case.validate_response(response, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        # An operation that takes nothing has nothing to be wrong in.
        assert kind is schemathesis.GenerationMode.NEGATIVE
