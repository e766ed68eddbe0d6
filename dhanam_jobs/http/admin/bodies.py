"""What several administrators' endpoints take and answer, and the small decisions about how it is read."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dhanam_jobs.http.errors import ApiError

Value = TypeVar("Value")
Confirmation = Annotated[Any, Meta(description="`true`: it is meant.", extra_json_schema={"const": True})]
Force = Annotated[bool, Meta(description="Also while jobs run: their outcomes no longer count.")]
QueueName = Annotated[str, Meta(description="A queue's name.", max_length=64)]
Name = Annotated[str, Meta(description="Only jobs of this name.", min_length=1, max_length=128)]
Text = Annotated[
    str,
    Meta(
        description="Only jobs with this text in id, payload, result, errors or metadata; A to Z in any case.",
        min_length=1,
        max_length=256,
    ),
]
Priority = Annotated[int, Meta(description="A level, 0 (first) to 9.", ge=0, le=9)]
OlderThan = Annotated[
    float, Meta(description="Created, or for ended jobs ended, at least so many seconds ago.", ge=0, le=1e9)
]
Limit = Annotated[int, Meta(description="Jobs on one page.", ge=1, le=100)]
Cursor = Annotated[str, Meta(description="Go on where a page ended, which told this.", max_length=1024)]
AnyPayload = Annotated[
    Any, Meta(description="Takes the place of the job's own; what was shown `[REDACTED]` stays as it was.")
]

_DEFAULT_FAILED: Final = 25


class Confirm(msgspec.Struct, forbid_unknown_fields=True):
    """Takes no more than the word that it is meant."""

    confirm: Confirmation = UNSET


class ClearedCount(msgspec.Struct, rename="camel"):
    """How many were removed."""

    cleared_count: int


class RetriedCount(msgspec.Struct, rename="camel"):
    """How many run once more."""

    retried_count: int


class PromotedCount(msgspec.Struct, rename="camel"):
    """How many became runnable."""

    promoted_count: int


class RemovedCount(msgspec.Struct, rename="camel"):
    """How many were removed."""

    removed_count: int


def given(value: Value | UnsetType) -> Value | None:
    """What was given, or None."""
    return None if isinstance(value, UnsetType) else value


def check_confirmed(confirm: Any) -> None:
    """Raise ApiError 400 for anything but true itself."""
    if confirm is not True:
        raise ApiError(400, 'This removes for good: wanted {"confirm": true}')


def failed_limit(text: str) -> int:
    """Read how many failed jobs are wanted: a number is brought into 1 to 100, anything else is 25."""
    try:
        number = float(text)
    except ValueError:
        return _DEFAULT_FAILED
    return _DEFAULT_FAILED if math.isnan(number) else int(max(1, min(number, 100)))
