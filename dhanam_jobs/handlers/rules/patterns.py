"""Finds which of many patterns occur in a text, in one pass of RE2, whose time is linear in the text.

Which text, and what a hit means, is the rule set's.
"""

from __future__ import annotations

from typing import Any

import re2

MAX_PATTERN_CHARS = 500
"""A longer user pattern counts as invalid."""

MAX_LITERAL_CHARS = 10_000
"""A longer literal counts as one that occurs in no text."""

# RE2 takes at most time x program size: this admits programs of some 5,000 instructions.
_PATTERN_MEMORY = 128 << 10
_SET_MEMORY = 16 << 20
_PATTERNS_PER_SET = 256


def valid_regex(pattern: str, *, case_insensitive: bool) -> str | None:
    """Give the pattern as a bank takes it; None for one that is invalid, too long or too large compiled."""
    if len(pattern) > MAX_PATTERN_CHARS:
        return None
    flagged = f"(?i){pattern}" if case_insensitive else pattern
    try:
        re2.compile(pattern, _options(_PATTERN_MEMORY))
        re2.compile(flagged, _options(_PATTERN_MEMORY))
    except (re2.error, UnicodeEncodeError):
        return None
    return flagged


def literal(text: str) -> str | None:
    """Give the pattern that finds just this text; None for one that is too long."""
    return None if len(text) > MAX_LITERAL_CHARS else str(re2.escape(text))


class PatternBank:
    """Patterns over one text; add all, then ask `hits` for each text."""

    def __init__(self) -> None:
        self._patterns: list[str] = []
        self._indexes: dict[str, int] = {}
        self._searches: list[_Search] | None = None

    def add(self, pattern: str) -> int:
        """Take a pattern of `valid_regex` or `literal`; gives its number, the same for the same pattern."""
        self._searches = None
        index = self._indexes.setdefault(pattern, len(self._patterns))
        if index == len(self._patterns):
            self._patterns.append(pattern)
        return index

    def hits(self, text: str) -> list[int]:
        """Give the numbers of the patterns that occur in the text."""
        if self._searches is None:
            starts = range(0, len(self._patterns), _PATTERNS_PER_SET)
            self._searches = [_Search(self._patterns[n : n + _PATTERNS_PER_SET], n) for n in starts]
        found: list[int] = []
        for search in self._searches:
            found += search.hits(text)
        return found


class _Search:
    """A slice of a bank, numbered from `first`."""

    def __init__(self, patterns: list[str], first: int) -> None:
        self._patterns = patterns
        self._first = first
        self._compiled: list[Any] | None = None
        self._set: Any = re2.Set.SearchSet(_options(_SET_MEMORY))
        for pattern in patterns:
            self._set.Add(pattern)
        # Found in every text: where even this is missing, RE2 ran out of memory and the answer isn't one.
        self._sentinel = self._set.Add("")
        try:
            self._set.Compile()
        except re2.error:
            self._set = None

    def hits(self, text: str) -> list[int]:
        if self._set is not None:
            found = self._set.Match(text)
            if self._sentinel in found:
                return [self._first + n for n in found if n != self._sentinel]
        if self._compiled is None:
            self._compiled = [re2.compile(pattern, _options(_SET_MEMORY)) for pattern in self._patterns]
        return [self._first + n for n, regex in enumerate(self._compiled) if regex.search(text) is not None]


def _options(memory: int) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    return options
