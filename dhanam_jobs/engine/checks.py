"""Checks of what callers give: each returns the value, or raises a ConfigurationError that names the thing, what was
found and what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .errors import ConfigurationError

KindT = TypeVar("KindT")
MOST = 1_000_000_000
"""The largest number of anything: jobs, records, attempts."""
YEAR_S = 365 * 86_400.0


def whole(what: str, value: Any, least: int, or_none: str = "") -> int:
    """A whole number from `least` to a thousand million; True and 5.0 are none. `or_none` says what None would mean,
    where the caller takes that too."""
    if type(value) is not int or not least <= value <= MOST:
        end = f", or None{or_none and ' '}{or_none}" if or_none else ""
        raise ConfigurationError(f"{what} {shown(value)}: wanted a whole number of at least {least}{end}")
    return value


def seconds(what: str, value: Any, least: float, most: float, wanted: str) -> float:
    """A number from `least` to `most`; NaN fails every comparison, and True is no number that anybody meant."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigurationError(f"{what} {shown(value)}: wanted {wanted}")
    return value


def wait(what: str, value: Any) -> float:
    """Seconds from 0 to a year that somebody is ready to wait."""
    return seconds(what, value, 0, YEAR_S, "seconds from 0 to a year")


def timeout(value: Any) -> float | None:
    """Seconds up to a year until somebody gives up, or None; less than none where a deadline has passed."""
    if value is not None:
        seconds("timeout", value, -YEAR_S, YEAR_S, "seconds up to a year, or None")
    return value  # type: ignore[no-any-return]


def kind(what: str, value: Any, wanted: type[KindT]) -> KindT:
    """An instance of a class."""
    if not isinstance(value, wanted):
        raise ConfigurationError(f"{what} {shown(value)}: wanted a {wanted.__name__}")
    return value


def function(what: str, value: Any) -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise ConfigurationError(f"{what} {shown(value)}: wanted a function")
    return value  # type: ignore[no-any-return]


def text(what: str, value: Any, most: int, least: int = 1) -> str:
    """A text of `least` to `most` characters that UTF-8 can hold."""
    if not isinstance(value, str) or not least <= len(value) <= most or not utf8(value):
        raise ConfigurationError(f"{what} {shown(value)}: wanted a text of {least} to {most} characters")
    return value


def utf8(value: str) -> bool:
    """False where the text holds half a character, as arguments and file names that are no UTF-8 do."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """A value as an error shows it: short, whatever it is."""
    try:
        return repr(value)[:80]
    except Exception:  # a number of thousands of digits, an object that can't say what it is
        return f"a {type(value).__name__}"
