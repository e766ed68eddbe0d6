"""Writes JSON answers with exact digits and reads bodies and queries strictly; errors.py tells of refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dhanam_jobs.handlers.misfit import misfit

T = TypeVar("T")

# Amounts are Decimals; they go out as numbers with the digits that they have.
_encoder = msgspec.json.Encoder(decimal_format="number")

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class BodyError(Exception):
    """Raised by `read_json` and `read_query`: the status to answer with, and a text fit for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoFields(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an endpoint that takes none (nothing at all, or `{}`), and the query of one without parameters."""


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` (built of Structs, dicts, lists, scalars and Decimals) as a JSON answer."""
    return Response(json_bytes(value), status, headers, media_type="application/json")


def json_bytes(value: object) -> bytes:
    """Return `value` as JSON, on one line."""
    return _encoder.encode(value)


async def read_json(request: Request, shape: type[T]) -> T:
    """Return the request's body as `shape`; an empty body reads as `{}`.

    Raises:
        BodyError: 415 for a body that isn't announced as JSON in UTF-8, 400 for one that isn't JSON (a name that
            stands twice in an object included), 422 for JSON of another shape (the text names the field).
    """
    body = await request.body()
    if body:
        _check_announced(request.headers.get("content-type", ""))
        _check_names(body)
        if _NUL.search(body):
            raise BodyError(422, "The body does not fit: a text holds a NUL character")
    try:
        return msgspec.json.decode(body or b"{}", type=shape, strict=True)
    except msgspec.ValidationError as error:
        raise BodyError(422, f"The body does not fit: {_explain(error, _anything(body or b'{}'), shape)}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BodyError(400, f"The body is not JSON: {error}") from None


def read_query(request: Request, shape: type[T]) -> T:
    """Return the request's query as `shape`, its numbers and booleans read from their texts.

    Raises:
        BodyError: 422 for a parameter that is unknown, stands twice, or doesn't fit; the text names it.
    """
    given: dict[str, str] = {}
    known = [field.encode_name for field in msgspec.structs.fields(shape)]  # type: ignore[arg-type]
    for name, value in request.query_params.multi_items():
        if name not in known:
            wanted = f"wanted one of {', '.join(known)}" if known else "wanted none"
            raise BodyError(422, f"The query does not fit: found the parameter {name[:80]!r}, {wanted}")
        if name in given:
            raise BodyError(422, f"The query does not fit: {name} stands there twice")
        if "\0" in value:
            raise BodyError(422, f"The query does not fit: {name} holds a NUL character")
        given[name] = value
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise BodyError(422, f"The query does not fit: {_explain(error, given, shape)}") from None


def _anything(body: bytes) -> object:
    """Return what a body holds, read without a shape; None where what follows the misfit is no JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _explain(error: msgspec.ValidationError, document: object, shape: Any) -> str:
    """Return what msgspec says, with what was found or wanted where it doesn't tell.

    A value is repeated because no typed field holds a secret: payloads, which may, are of any shape here.
    """
    text = str(error)
    place = misfit(error, document, shape)
    if place is None:
        return text
    if "unknown field" in place.reason:
        return f"{text}, wanted one of {', '.join(place.fields)}" if place.fields else text
    if "enum value" in place.reason:
        return f"{text}, wanted one of {', '.join(place.choices)}" if place.choices else text
    if isinstance(place.found, (str, int, float)):
        found = json.dumps(place.found, ensure_ascii=False)
        return f"{text}, found {found if len(found) <= 60 else found[:57] + '...'}"
    return text


def iso_time(at_ms: int) -> str:
    """Return a moment (ms since 1970, UTC) as ISO 8601 with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_announced(content_type: str) -> None:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise BodyError(415, f"Content-Type: found {content_type[:80]!r}, wanted application/json")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            raise BodyError(415, f"Content-Type: found {parameter[:80]!r}, wanted charset=utf-8")


def _check_names(body: bytes) -> None:
    """Refuse a name that stands twice in one object (readers differ in which value counts) and what is not UTF-8.

    Whatever else is wrong with the text, the reader after this one says so.
    """
    try:
        json.loads(body.decode(), object_pairs_hook=_object_of, parse_int=str, parse_float=str)
    except UnicodeDecodeError as error:
        raise BodyError(400, f"The body is not JSON: byte {error.start} is not UTF-8") from None
    except (ValueError, RecursionError):
        return


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyError(400, f"The body is not JSON as we read it: {twice[:80]!r} stands twice in one object")
    return made
