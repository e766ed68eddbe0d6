"""The table of the original's bugs: every bug has a row or a reason for none, and every test that is named is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "bugs-not-repeated.md").read_text()
BUGS = 42
NAMED = sorted(set(re.findall(r"`([\w/]+\.py(?:::\w+)?)`", PAGE.partition("Without a counterpart")[0])))


def test_every_bug_has_a_row_or_a_reason_for_none() -> None:
    """B1 to B42, in order."""
    rows, _, without = PAGE.partition("Without a counterpart")
    found = [int(number) for number in re.findall(r"^\| B(\d+)", rows, re.M)]
    also = [int(number) for number in re.findall(r"^\| B\d+[a-z]?, B(\d+)", rows, re.M)]
    elsewhere = [int(number) for number in re.findall(r"\bB(\d+)\b", without)]

    assert found == sorted(found)
    assert {*found, *also, *elsewhere} == set(range(1, BUGS + 1))
    assert not {*found, *also} & set(elsewhere)


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_the_table_names_is_there(named: str) -> None:
    """By file, and by name where one is given."""
    path, _, name = named.partition("::")
    source = (ROOT / "tests" / path).read_text()

    assert not name or re.search(rf"^(async )?def {name}\(", source, re.M)


def test_every_row_names_a_test() -> None:
    """A fact that nothing proves is only a claim."""
    rows = [line for line in PAGE.splitlines() if re.match(r"\| B\d", line)]

    assert [row for row in rows if ".py" not in row] == []
