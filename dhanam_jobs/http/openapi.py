"""Describes the table of endpoints as OpenAPI 3.1, from the types in use: one document, built once, for programs.

`x-guard` says who is let in and `x-changes` whether demo tokens are refused. The page for people is document.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from dhanam_jobs import __version__
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.schedules import SCHEDULES
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Endpoint, Guard
from dhanam_jobs.http.errors import CODES, Envelope
from dhanam_jobs.http.idempotency import HEADER, MAX_CHARACTERS
from dhanam_jobs.http.tokens import MAX_ID_CHARACTERS

TITLE: Final = "Dhanam Jobs"
DESCRIPTION: Final = (
    "Background jobs of Dhanam: start them, look at them, and run their queues. Bodies are JSON in UTF-8; unknown "
    "fields and query parameters are refused. Every error is one envelope with a code, a message and a request id. "
    "Everything is also served under a prefix, /v1 by default."
)

ERRORS: Final[Mapping[int, str]] = {
    400: "The request is malformed: no JSON, a name twice in one object, a header that can't be.",
    401: "No token, one that is not valid here, or one of a user who is inactive or unknown.",
    403: "Known, and not allowed: another role, another space, or a demo token where something would change.",
    404: "There is no such thing.",
    408: "The body did not come in within a minute.",
    409: "It can't be done in the state in which the thing is.",
    413: "The body is too long.",
    415: "The body is not announced as JSON in UTF-8.",
    422: "JSON, or a query, of another shape; the message names the field.",
    429: "Too many requests; Retry-After says when to come back.",
    500: "Something went wrong on our side; the request id finds it in our logs.",
    502: "The job failed; the details name it.",
    503: "A part doesn't answer, or the service is shutting down; Retry-After says when to come back.",
    504: "The job has not ended in time.",
}
"""Status → what it means, wherever it is answered."""

_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "queue": {"description": "A queue's name.", "example": QUEUE_NAMES[1]},
    "id": {"description": "An id, as an answer gave it.", "example": "5-1780000000000-0"},
    "spaceId": {"description": "A space's id.", "example": "space_123"},
    "name": {"description": "A schedule's name.", "example": SCHEDULES[0].name},
    "worker": {"description": "A worker's name, as the list has it.", "example": "api-7-4711-5f3a9c21"},
    "supervisor": {"description": "A process, `host:pid`.", "example": "api-7:4711"},
    "ruleId": {"description": "A rule's id, as the list gives it.", "example": "rule_uber"},
}
_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_LOCATION: Final = {"Location": {"description": "Where to look for the end.", "schema": {"type": "string"}}}
_REFERENCE: Final = "#/components/schemas/{name}"

Object = dict[str, Any]


def build_document(endpoints: Iterable[Endpoint]) -> Object:
    """Return the document of all endpoints."""
    rows = list(endpoints)
    shapes = [Envelope, *_json_shapes(rows)]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REFERENCE)
    by_shape = list(zip(shapes, (_exact(schema) for schema in schemas), strict=True))

    def schema_of(shape: Any) -> Object:
        return next(schema for known, schema in by_shape if known == shape)

    paths: dict[str, Object] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schema_of)
    tags = [{"name": tag} for tag in dict.fromkeys(row.tag for row in rows)]
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": _exact(dict(components)),
            "responses": {f"Error{status}": _error(status, schema_of(Envelope)) for status in ERRORS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def statuses_of(endpoint: Endpoint) -> list[int]:
    """Return the errors that an endpoint may answer, those of guard, reading and outages included."""
    found = {422, 500, *endpoint.errors}
    if endpoint.guard is not Guard.PUBLIC:
        found |= {401, 503}
        if endpoint.rate_limited:
            found.add(429)
    if endpoint.changes:
        found |= {400, 403, 408, 413, 415}
    if endpoint.guard not in (Guard.PUBLIC, Guard.CALLER):
        found.add(403)
    if endpoint.idempotent:
        found.add(409)
    return sorted(found)


def _json_shapes(rows: Iterable[Endpoint]) -> list[Any]:
    shapes: list[Any] = []
    for row in rows:
        for shape in (row.body, row.query, *row.answers.values()):
            if not isinstance(shape, str) and shape is not NoFields and shape not in shapes:
                shapes.append(shape)
    return shapes


def _operation(row: Endpoint, schema_of: Any) -> Object:
    told: Object = {
        "operationId": row.run.__name__,
        "summary": row.summary,
        "tags": [row.tag],
        "x-guard": str(row.guard),
        "x-changes": row.changes,
        "security": [] if row.guard is Guard.PUBLIC else [{"bearer": []}],
    }
    parameters = [_path_parameter(name) for name in row.parameters] + list(_query_parameters(row.query))
    if row.idempotent:
        parameters.append(_idempotency_key())
    if row.stream:
        parameters.append(_last_event_id())
    if parameters:
        told["parameters"] = parameters
    if row.body is not NoFields:
        required = any(field.required for field in msgspec.structs.fields(row.body))
        told["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema_of(row.body)}}}
    answers: Object = {}
    for status, shape in row.answers.items():
        answers[str(status)] = _answer(status, shape, schema_of)
    for status in statuses_of(row):
        answers.setdefault(str(status), {"$ref": f"#/components/responses/Error{status}"})
    told["responses"] = answers
    return told


def _answer(status: int, shape: Any, schema_of: Any) -> Object:
    if isinstance(shape, str):
        content: Object = {shape: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": schema_of(shape)}}
    answer: Object = {"description": _WELL.get(status, "Done."), "content": content}
    if status == 202:
        answer["headers"] = _LOCATION
    return answer


_WELL: Final = {200: "Done.", 201: "Made.", 202: "Accepted: the job goes on."}


def _error(status: int, envelope: Object) -> Object:
    told: Object = {
        "description": f"{CODES[status]}: {ERRORS[status]}",
        "content": {"application/json": {"schema": envelope}},
    }
    if status in (429, 503):
        told["headers"] = _RETRY_AFTER
    return told


def _path_parameter(name: str) -> Object:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS}
    return {"name": name, "in": "path", "required": True, "schema": schema, **_PARAMETERS.get(name, {})}


def _query_parameters(query: type[Any]) -> Iterable[Object]:
    if query is NoFields:
        return
    (_,), components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    shape = components[query.__name__]
    for name, schema in shape["properties"].items():
        described = dict(_inlined(schema, components))
        text = described.pop("description", None)
        parameter: Object = {"name": name, "in": "query", "required": name in shape.get("required", ())}
        if text:
            parameter["description"] = text
        yield {**parameter, "schema": described}


def _inlined(schema: Object, components: Mapping[str, Object]) -> Object:
    reference = schema.get("$ref")
    return schema if reference is None else components[reference.rpartition("/")[2]]


def _idempotency_key() -> Object:
    return {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Your own name for this request, known for 24 hours: sent again, it gets the same job.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": r"^[\x21-\x7e]+$"},
    }


def _last_event_id() -> Object:
    return {
        "name": "Last-Event-ID",
        "in": "header",
        "required": False,
        "description": "The id of the last event that arrived: the stream goes on behind it.",
        "schema": {"type": "string"},
    }


def _exact(schema: Any) -> Any:
    """Return the schema with Decimals as what they are sent as: numbers."""
    if isinstance(schema, list):
        return [_exact(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {**{name: value for name, value in schema.items() if name != "format"}, "type": "number"}
    return {name: _exact(value) for name, value in schema.items()}
