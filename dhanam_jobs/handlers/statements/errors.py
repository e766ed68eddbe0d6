"""What can be wrong with a statement: the file as a whole (raised) or one row (collected, never raised)."""

from __future__ import annotations

import msgspec

_SHOWN_CHARACTERS = 80


class StatementError(Exception):
    """The file as a whole can't be read; nothing of it is kept.

    The message is for the person who imports it: it names the place, what was found and what is wanted.
    """


class AmbiguousStatement(StatementError):
    """Every row fits more than one reading, or the rows contradict each other; a person has to say which.

    option: the command-line option that settles it, e.g. `--date-format`; the message names its values.
    """

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.option = option


class BadRow(msgspec.Struct, frozen=True):
    """One row that wasn't taken.

    line: physical line of the file on which the row begins, from 1.
    column: position of the cell in its row, from 1; None when the row as a whole is wrong.
    header: the header above that cell as the file spells it; None with `column`.
    value: what stands there, cut to 80 characters.
    reason: what is wrong and what is wanted, one clause without the value.
    """

    line: int
    column: int | None
    header: str | None
    value: str
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}"
        if self.column is not None:
            place += f', column {self.column} "{self.header}"'
        return f'{place}: "{self.value}": {self.reason}'


def shown(value: str) -> str:
    """The value on one line, at most 80 characters, safe to print on a terminal."""
    text = "".join(c if c.isprintable() else " " for c in value[: _SHOWN_CHARACTERS + 1])
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
