"""What a document was found to hold where msgspec says that it does not fit a shape, and what was wanted there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, get_args, get_type_hints

import msgspec

_MESSAGE: Final = re.compile(r"(?P<reason>.*?)(?: - at `(?P<path>\$.*)`)?\Z", re.DOTALL)
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
_PLAIN: Final = re.compile(r"\$(?:\.\w+|\[\d+\])*")


class Misfit(msgspec.Struct, frozen=True):
    """A place that does not fit: `reason` in msgspec's words, `path` such as `$.rules[0].name`, the value `found`
    there, the texts that are legal there (`choices`), and the fields that an object there may have (`fields`); both
    may be empty."""

    reason: str
    path: str
    found: Any
    choices: list[str]
    fields: list[str]


def misfit(error: msgspec.ValidationError, document: object, shape: Any) -> Misfit | None:
    """Tell what `error`, raised as `document` was read as the struct `shape`, speaks of.

    `document` is what the JSON holds, read without a shape. None where the path leads through keys that it doesn't
    name.
    """
    match = _MESSAGE.match(str(error))
    assert match is not None
    path = match["path"] or "$"
    if not _PLAIN.fullmatch(path):
        return None
    steps = _STEP.findall(path)
    found: Any = document
    hint: Any = shape
    try:
        for key, index in steps:
            found = found[key] if key else found[int(index)]
            hint = _field(hint, key) if key else _item(hint)
    except (KeyError, IndexError, TypeError, NameError, StopIteration):
        return None
    choices = [choice for part in _parts(hint) for choice in get_args(part) if isinstance(choice, str)]
    struct = next(_structs(hint), None)
    return Misfit(match["reason"], path, found, choices, list(struct.__struct_encode_fields__) if struct else [])


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in getattr(hint, "__args__", ()):
        yield from _parts(part)


def _structs(hint: Any) -> Iterator[Any]:
    return (part for part in _parts(hint) if hasattr(part, "__struct_encode_fields__"))


def _field(hint: Any, key: str) -> Any:
    struct = next(_structs(hint))
    names = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
    return get_type_hints(struct)[names[key]]


def _item(hint: Any) -> Any:
    """What a list's or tuple's elements are: all that stands inside, as the struct there is found among it."""
    return next(part for part in _parts(hint) if getattr(part, "__origin__", None) in (list, tuple))
