"""Takes a payload out of the specification's envelope `{type, payload}`, where it comes in one.

Checking the payload itself is the engine's, against the job's type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dhanam_jobs.engine import InvalidPayload

_ENVELOPE = frozenset({"type", "payload"})


def envelope_of(job_name: str) -> Callable[[Any], Any]:
    """Give the function that opens this job's envelopes and leaves everything else as it is.

    It raises InvalidPayload for an envelope whose type is another job's.
    """

    def open_envelope(given: Any) -> Any:
        if not isinstance(given, Mapping) or given.keys() != _ENVELOPE:
            return given
        if given["type"] != job_name:
            raise InvalidPayload(f"envelope: found type {given['type']!r}, wanted {job_name!r}")
        return given["payload"]

    return open_envelope
