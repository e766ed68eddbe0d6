"""Cuts text into records of cells and says where each begins; what the cells mean is left to others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# A quoted cell with line breaks in it spans a few lines; beyond this a quote was left open, and looking
# further for its end would make a file full of stray quotes take quadratic time.
_MAX_RECORD_LINES = 32


class Record(NamedTuple):
    """line: physical line the record begins on, from 1. cells: as they stand, unquoted.

    malformed: why the record can't be cut into cells, else None; the cells then hold the raw line alone.
    """

    line: int
    cells: list[str]
    malformed: str | None = None


class _OpenQuoteError(Exception):
    """Raised by the feed inside the reader: the record has swallowed too many lines."""


class _Feed:
    """Hands the lines to the reader one by one and knows where the present record began."""

    def __init__(self, lines: Sequence[str], position: int) -> None:
        self._lines = lines
        self.position = position
        self.limit = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        position = self.position
        if position >= self.limit:
            raise _OpenQuoteError
        if position >= len(self._lines):
            raise StopIteration
        self.position = position + 1
        return self._lines[position]


def split_lines(text: str) -> list[str]:
    """Physical lines with their ends kept: LF, CRLF or CR, and no other character ends a line."""
    return list(io.StringIO(text, newline=""))


def read_records(lines: Sequence[str], delimiter: str, *, start: int = 0, width: int | None = None) -> Iterator[Record]:
    """Records of `lines` from index `start`; quoting as RFC 4180, blanks after a delimiter dropped.

    A record with a stray quote costs its first line alone: it comes out as malformed and reading goes on with
    the next physical line. With `width` (the header's number of cells) a record of several lines with another
    number of cells counts as malformed too: two stray quotes have swallowed what stands between them.
    """
    feed = _Feed(lines, start)
    reader = _reader(feed, delimiter)
    while True:
        began = feed.position
        feed.limit = began + _MAX_RECORD_LINES
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _OpenQuoteError) as error:
            malformed = _explain(error)
        else:
            if width is None or feed.position - began == 1 or len(cells) == width:
                yield Record(began + 1, cells)
                continue
            malformed = f"a quote joins {feed.position - began} lines to {len(cells)} cells, {width} are wanted"
        yield Record(began + 1, [lines[began].rstrip("\r\n")], malformed)
        feed = _Feed(lines, began + 1)
        reader = _reader(feed, delimiter)


def _reader(feed: _Feed, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(feed, delimiter=delimiter, skipinitialspace=True, strict=True)


def _explain(error: Exception) -> str:
    text = str(error)
    if isinstance(error, _OpenQuoteError) or "unexpected end" in text:
        return "a quote is opened and not closed"
    if "field limit" in text:
        return f"a cell is longer than {csv.field_size_limit():,} characters"
    if "expected after" in text:
        return 'a quote is closed in the middle of a cell; a quote inside quotes is written twice ("")'
    return f"not readable as CSV ({text})"
