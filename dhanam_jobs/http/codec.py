"""Writes JSON answers with exact digits and reads JSON bodies strictly; errors.py tells of refusals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

T = TypeVar("T")

# Amounts are Decimals; they go out as numbers with the digits that they have.
_encoder = msgspec.json.Encoder(decimal_format="number")


class BodyError(Exception):
    """Raised by `read_json`: the status to answer with, and a text fit for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoFields(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an endpoint that takes none: nothing at all, or `{}`."""


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` (built of Structs, dicts, lists, scalars and Decimals) as a JSON answer."""
    return Response(_encoder.encode(value), status, headers, media_type="application/json")


async def read_json(request: Request, shape: type[T]) -> T:
    """Return the request's body as `shape`; an empty body reads as `{}`.

    Raises:
        BodyError: 415 for a body that isn't announced as JSON, 400 for one that isn't JSON, 422 for JSON of
            another shape (the text names the field).
    """
    body = await request.body()
    announced = request.headers.get("content-type", "")
    if body and not _says_json(announced):
        raise BodyError(415, f"Content-Type: found {announced[:80]!r}, wanted application/json")
    try:
        return msgspec.json.decode(body or b"{}", type=shape, strict=True)
    except msgspec.ValidationError as error:
        raise BodyError(422, f"The body does not fit: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BodyError(400, f"The body is not JSON: {error}") from None


def iso_time(at_ms: int) -> str:
    """Return a moment (ms since 1970, UTC) as ISO 8601 with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _says_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
