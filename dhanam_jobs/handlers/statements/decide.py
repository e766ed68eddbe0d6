"""Weighs the evidence of all rows for one of two readings of a column; knows neither dates nor amounts."""

from __future__ import annotations

import msgspec

# One slip of the bank or of an editor shouldn't hold up a file of hundreds of rows; beyond one in five the
# file may be of two minds, and the undecided rows among them would be misread without a sound.
_WITNESSES_PER_CONTRADICTION = 4


class Witness(msgspec.Struct):
    """A value seen on a line; kept as the example that an error message shows."""

    line: int
    value: str


class Evidence(msgspec.Struct):
    """What the rows of a column say about two readings.

    first, second: number of rows that fit only that reading, each with one example.
    undecided: number of rows that fit both and mean something else in each, with one example.
    Rows that mean the same in both readings, or fit neither, are no evidence and aren't counted.
    """

    first: int = 0
    second: int = 0
    undecided: int = 0
    first_example: Witness | None = None
    second_example: Witness | None = None
    undecided_example: Witness | None = None

    def for_first(self, line: int, value: str) -> None:
        """Counts a row that fits the first reading only."""
        self.first += 1
        self.first_example = self.first_example or Witness(line, value)

    def for_second(self, line: int, value: str) -> None:
        """Counts a row that fits the second reading only."""
        self.second += 1
        self.second_example = self.second_example or Witness(line, value)

    def for_neither(self, line: int, value: str) -> None:
        """Counts a row that has one meaning in the first reading and another in the second."""
        self.undecided += 1
        self.undecided_example = self.undecided_example or Witness(line, value)

    @property
    def contradicts(self) -> bool:
        """Both readings have rows of their own and neither outweighs the other four to one."""
        weaker, stronger = sorted((self.first, self.second))
        return weaker * _WITNESSES_PER_CONTRADICTION > stronger

    @property
    def open(self) -> bool:
        """Nothing decides, though it matters."""
        return self.contradicts or (self.undecided > 0 and self.first == self.second == 0)

    @property
    def speaks(self) -> bool:
        """Some row fits one reading only."""
        return self.first + self.second > 0

    @property
    def prefers_second(self) -> bool:
        """The second reading has more rows of its own; meaningless while `open`."""
        return self.second > self.first
