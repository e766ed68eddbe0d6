"""What all parts of the service's methods stand on: the engine, and what else the process has."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dhanam_jobs.engine import ConfigurationError, Engine, InvalidPayload, Queue, Supervisor, UnknownQueue
from dhanam_jobs.handlers.envelope import envelope_of
from dhanam_jobs.handlers.queues import QUEUE_NAMES

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store

_Payload = TypeVar("_Payload", bound=msgspec.Struct)


class ServiceBase:
    """Holds an engine; a store and a supervisor where the process has them."""

    def __init__(self, engine: Engine, *, store: Store | None = None, supervisor: Supervisor | None = None) -> None:
        self._engine = engine
        self._store = store
        self._supervisor = supervisor

    def _queue(self, name: str) -> Queue:
        if name not in QUEUE_NAMES:
            raise UnknownQueue(f"queue {name!r}: wanted one of {', '.join(QUEUE_NAMES)}")
        return self._engine.queue(name)

    def _books(self) -> Store:
        if self._store is None:
            raise ConfigurationError(
                "this JobsService was made without a store, which users' spaces and connections are in"
            )
        return self._store


def typed(kind: type[_Payload], job_name: str, given: _Payload | Mapping[str, Any]) -> _Payload:
    """Give a payload as its type, out of its envelope where it comes in one; raises InvalidPayload."""
    if isinstance(given, kind):
        return given
    try:
        return msgspec.convert(envelope_of(job_name)(given), kind)
    except msgspec.ValidationError as error:
        raise InvalidPayload(f"payload of {job_name!r}: {error}") from None


def iso(moment_ms: int | None) -> str | None:
    """Give milliseconds since 1970 as ISO 8601 in UTC, `2026-05-20T16:00:00.000Z`."""
    if moment_ms is None:
        return None
    moment = dt.datetime.fromtimestamp(moment_ms // 1000, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment_ms % 1000:03}Z"
