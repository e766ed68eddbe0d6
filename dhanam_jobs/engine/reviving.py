"""Putting ended jobs back to work: what `retry.lua` takes, from the record that remained of each job.

The payload and everything else that a caller gave goes back as the text that it was. The script is told which record
was read, so that a job which changed meanwhile is neither broken nor doubled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from . import defaults, scripts

if TYPE_CHECKING:
    from .link import Argument
    from .queue import Queue

Source = Literal["ended", "dead"]
_NONE = msgspec.Raw()


class _Kept(msgspec.Struct):
    """The part of a record that a revived job takes with it: all but what its attempts left behind."""

    id: str
    name: str
    priority: int
    created_ms: int
    payload: msgspec.Raw
    unique: str | None = None
    key: str | None = None
    errors: msgspec.Raw = _NONE
    options: msgspec.Raw = _NONE
    meta: msgspec.Raw = _NONE


_decode = msgspec.json.Decoder(_Kept).decode
_encode = msgspec.json.Encoder().encode


def name_in(record: bytes) -> str:
    """The job's name."""
    return _decode(record).name


async def revive(queue: Queue, source: Source, records: Sequence[bytes], payload: bytes | None = None) -> list[str]:
    """Revives the jobs of these records, in order, in bounded steps. `payload` (JSON) takes the place of their own.

    Returns a verdict for each, as the header of `retry.lua` says. Attempts, stalls and snoozes start anew; the history
    of failed attempts, metadata, options and the time of creation stay.
    """
    verdicts: list[str] = []
    for step in _steps(records):
        arguments: list[Argument] = []
        for record in step:
            arguments += _arguments(record, payload)
        reply = await queue.engine.run(scripts.RETRY, queue.root, source, *arguments)
        verdicts += [verdict.decode() for verdict in reply]
    return verdicts


def fields_to_keep(kept: _Kept) -> list[str]:
    """The further fields of a revived job's entry, flat."""
    fields = ["created", str(kept.created_ms)]
    if kept.key is not None:
        fields += ["key", kept.key]
    for name in ("errors", "options", "meta"):
        text = bytes(getattr(kept, name))
        if text and text not in (b"[]", b"null"):
            fields += [name, text.decode()]
    return fields


def _arguments(record: bytes, payload: bytes | None) -> tuple[Argument, ...]:
    kept = _decode(record)
    return (
        kept.id,
        hashlib.sha1(record, usedforsecurity=False).hexdigest(),
        kept.priority,
        kept.unique or "",
        kept.name,
        bytes(kept.payload) if payload is None else payload,
        _encode(fields_to_keep(kept)),
    )


def _steps(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    step: list[bytes] = []
    size = 0
    for record in records:
        if step and (len(step) == defaults.BULK or size + len(record) > defaults.ENQUEUE_CHUNK_BYTES):
            yield step
            step, size = [], 0
        step.append(record)
        size += len(record)
    if step:
        yield step
