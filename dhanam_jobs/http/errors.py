"""Turns every exception into an answer: one table of statuses and codes, one envelope. Logs nothing itself.

The envelope is `{"success": false, "error": {code, message, details?, retryable?, retryAfterMs?}, "meta":
{status, timestamp, path, method, requestId, correlationId}}`; `details`, `retryable` and `retryAfterMs` are
left out where they say nothing. A message never holds a stack trace, an address or a secret.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType
from redis import exceptions as redis_errors
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from dhanam_jobs.engine import errors as engine
from dhanam_jobs.handlers import rules_service
from dhanam_jobs.handlers.rules.writing import RuleRefused
from dhanam_jobs.handlers.service.fleet import NotAlive
from dhanam_jobs.handlers.store.errors import StoreUnavailable
from dhanam_jobs.http import codec
from dhanam_jobs.http.jwks import KeysUnavailable

CODES: Final[Mapping[int, str]] = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
    500: "INTERNAL_SERVER_ERROR",
    502: "BAD_GATEWAY",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}
"""Status → the envelope's code."""


class Said(msgspec.Struct, rename="camel", kw_only=True):
    """What went wrong: a code of `CODES`, a message for people, facts for programs, and whether to try again."""

    code: str
    message: str
    details: Mapping[str, Any] | UnsetType = UNSET
    retryable: bool | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET


class Meta(msgspec.Struct, rename="camel", kw_only=True):
    """Which request it was, and when (ISO 8601, UTC)."""

    status: int
    timestamp: str
    path: str
    method: str
    request_id: str | None
    correlation_id: str | None


class Envelope(msgspec.Struct):
    """Every error's body."""

    success: Literal[False]
    error: Said
    meta: Meta


class ApiError(Exception):
    """An answer other than success, raised by endpoints and guards.

    Args:
        status: one of `CODES`.
        message: for the client: names the thing, the value found and the value wanted.
        details: further facts for programs.
        retry_after_s: seconds after which the same request may succeed; None: repeating it is no use.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


class _Row(msgspec.Struct, frozen=True):
    """How one kind of exception is answered; without a message, its own text is fit for clients."""

    status: int
    message: str | None = None
    retry_after_s: float | None = None


_TAKES_NOTHING: Final = _Row(503, "The job store takes nothing now", 5.0)
_REFUSING: Final = ("MISCONF ", "NOREPLICAS ", "BUSY ")
"""How Redis's words begin while its disk is full, its replicas are away or a script runs: an outage, no mistake."""

_TABLE: Final[Mapping[type[Exception], _Row]] = {
    engine.UnknownQueue: _Row(404),
    engine.JobNotFound: _Row(404),
    engine.ScheduleNotFound: _Row(404),
    engine.WrongState: _Row(409),
    engine.QueueActive: _Row(409),
    engine.ScheduleOwned: _Row(409),
    engine.ConfigurationError: _Row(422),
    engine.UnknownJobName: _Row(422),
    engine.InvalidPayload: _Row(422),
    engine.QueueFull: _Row(503, retry_after_s=30.0),
    engine.Draining: _Row(503, "The service is shutting down and takes no new jobs", 30.0),
    # The engine's text may name the server's address.
    engine.EngineUnavailable: _Row(503, "The job store does not answer", 5.0),
    redis_errors.OutOfMemoryError: _TAKES_NOTHING,
    redis_errors.ReadOnlyError: _TAKES_NOTHING,
    redis_errors.ClusterDownError: _TAKES_NOTHING,
    redis_errors.MasterDownError: _TAKES_NOTHING,
    NotAlive: _Row(404),
    rules_service.NotAllowed: _Row(403),
    rules_service.NotFound: _Row(404),
    RuleRefused: _Row(422),
    StoreUnavailable: _Row(503, "The database does not answer", 5.0),
    KeysUnavailable: _Row(503, "The keys that tokens are checked with can't be fetched", 15.0),
    engine.ResultTimeout: _Row(504, "The job has not ended in time", 5.0),
}
"""Exception → answer, the nearest class in its family wins; what stands in no row is answered with 500."""

INTERNAL: Final = "Something went wrong on our side; the request id finds it in our logs"


def as_api_error(error: Exception) -> ApiError:
    """Return the answer that `error` deserves."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, codec.BodyError):
        return ApiError(error.status, str(error))
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, error.detail, headers=error.headers)
    for kind in type(error).__mro__:
        if row := _TABLE.get(kind):
            return ApiError(row.status, row.message or str(error), retry_after_s=row.retry_after_s)
    if isinstance(error, redis_errors.ResponseError) and str(error).startswith(_REFUSING):
        return ApiError(503, _TAKES_NOTHING.message or "", retry_after_s=_TAKES_NOTHING.retry_after_s)
    return ApiError(500, INTERNAL)


def error_response(scope: Scope, error: ApiError) -> Response:
    """Return the envelope for `error`, raised while `scope`'s request was served."""
    said = Said(code=CODES.get(error.status, "ERROR"), message=error.message)
    headers = dict(error.headers)
    if error.details:
        said.details = error.details
    if error.retry_after_s is not None:
        said.retryable, said.retry_after_ms = True, round(error.retry_after_s * 1000)
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    state = scope.get("state", {})
    meta = Meta(
        status=error.status,
        timestamp=codec.iso_time(time.time_ns() // 1_000_000),
        path=scope["path"],
        method=scope["method"],
        request_id=state.get("request_id"),
        correlation_id=state.get("correlation_id"),
    )
    return codec.json_response(Envelope(success=False, error=said, meta=meta), error.status, headers)
