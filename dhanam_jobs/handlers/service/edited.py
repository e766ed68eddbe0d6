"""Payloads that people were shown, changed and sent back: what was hidden or cut stays as it was."""

from __future__ import annotations

from typing import Any

import msgspec

from dhanam_jobs.engine import InvalidPayload
from dhanam_jobs.handlers.redaction import MAX_DEPTH_MARK, REDACTED, redact


def restored(sent: Any, payload: bytes) -> Any:
    """Return `sent` with each value that is shown exactly so of `payload` (JSON) as it is there.

    Raises:
        InvalidPayload: `sent` holds a mark of something hidden that was not there.
    """
    before = msgspec.json.decode(payload)
    whole = _restored(sent, before, redact(before))
    _check(whole, before, "payload")
    return whole


def _restored(sent: Any, before: Any, shown: Any) -> Any:
    if sent == shown and type(sent) is type(shown):
        return before
    if isinstance(sent, dict) and isinstance(before, dict) and isinstance(shown, dict):
        return {
            key: _restored(value, before[key], shown[key]) if key in before else value for key, value in sent.items()
        }
    if isinstance(sent, list) and isinstance(before, list) and isinstance(shown, list) and len(before) == len(shown):
        pairs = zip(sent[: len(before)], before, shown, strict=False)
        return [_restored(*each) for each in pairs] + sent[len(before) :]
    return sent


def _check(value: Any, before: Any, place: str) -> None:
    """Refuse marks of what is hidden, but for those that the job itself has."""
    if value == before:
        return
    if isinstance(value, dict):
        known = before if isinstance(before, dict) else {}
        for key, item in value.items():
            _check(item, known.get(key), f"{place}.{key}")
    elif isinstance(value, list):
        there = before if isinstance(before, list) else []
        for number, item in enumerate(value):
            _check(item, there[number] if number < len(there) else None, f"{place}[{number}]")
    elif isinstance(value, str) and (REDACTED in value or MAX_DEPTH_MARK in value):
        raise InvalidPayload(f"{place}: found a mark of what is hidden, wanted a value of its own")
