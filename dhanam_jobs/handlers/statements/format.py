"""Decides the order of dates and the decimal mark of a file from all its rows, or asks; builds no rows."""

from __future__ import annotations

from collections.abc import Callable

from dhanam_jobs.handlers.statements.amounts import DecimalMark, Figure, read_figure
from dhanam_jobs.handlers.statements.dates import DateOrder, read_date
from dhanam_jobs.handlers.statements.decide import Evidence
from dhanam_jobs.handlers.statements.drafts import Draft, Drafts
from dhanam_jobs.handlers.statements.errors import AmbiguousStatement, StatementError, shown
from dhanam_jobs.handlers.statements.headers import Column

_MARKS: dict[str, DecimalMark] = {"point": ".", ".": ".", "comma": ",", ",": ","}


def decimal_mark(text: str) -> DecimalMark:
    """Mark named by `--decimal`: `point` or `comma`, also `.` or `,`. Raises StatementError for anything
    else.
    """
    if mark := _MARKS.get(text.strip().lower()):
        return mark
    raise StatementError(f'--decimal "{text}" is not known; wanted: point or comma')


def decide_dates(drafts: Drafts) -> DateOrder | None:
    """The order of day and month that the rows prove; None where no row leaves a choice.

    The language of the headers has no say: banks in Mexico print English month orders under Spanish headers
    and the other way round. Raises AmbiguousStatement where the rows prove nothing or contradict each other.
    """
    evidence = Evidence()
    column = drafts.columns["date"]
    for draft in drafts.drafts:
        date = draft.date
        if date.plain is not None or date.dmy == date.mdy:
            continue
        value = draft.cells[column.position]
        if date.mdy is None:
            evidence.for_first(draft.line, value)
        elif date.dmy is None:
            evidence.for_second(draft.line, value)
        else:
            evidence.for_neither(draft.line, value)
    if evidence.open:
        question = _question(evidence, column, ("dd/mm", "mm/dd"), _dates_meant)
        raise AmbiguousStatement(
            f"{question}; say which with --date-format dmy or --date-format mdy", option="--date-format"
        )
    if not evidence.speaks:
        return None
    return "mdy" if evidence.prefers_second else "dmy"


def decide_decimals(drafts: Drafts) -> DecimalMark | None:
    """The decimal mark that the amounts prove, else the balances; None where no row leaves a choice.

    A debit and a credit column are one column here. Raises AmbiguousStatement as `decide_dates`.
    """
    evidence = Evidence()
    column = drafts.amounts[0]
    for draft in drafts.drafts:
        for position, figure in enumerate(draft.figures):
            if _weigh(evidence, draft, figure, drafts.amounts[position]):
                column = drafts.amounts[position]
    balance = drafts.columns.get("balance")
    if balance and evidence.open and not evidence.contradicts:
        witness = Evidence()
        for draft in drafts.drafts:
            _weigh(witness, draft, draft.balance, balance)
        if not witness.open and witness.speaks:
            evidence = witness
    if evidence.open:
        question = _question(evidence, column, ("a decimal point", "a decimal comma"), _amounts_meant)
        raise AmbiguousStatement(f"{question}; say which with --decimal point or --decimal comma", option="--decimal")
    if not evidence.speaks:
        return None
    return "," if evidence.prefers_second else "."


def _weigh(evidence: Evidence, draft: Draft, figure: Figure | None, column: Column) -> bool:
    """Counts a figure; True when it is the first undecided one, the example that a question will show."""
    if figure is None or (figure.point and figure.comma and not figure.undecided):
        return False
    value = draft.cells[column.position]
    if not figure.comma:
        evidence.for_first(draft.line, value)
    elif not figure.point:
        evidence.for_second(draft.line, value)
    else:
        evidence.for_neither(draft.line, value)
        return evidence.undecided == 1
    return False


def _dates_meant(value: str) -> str:
    date = read_date(value)
    return f"{date.dmy} or {date.mdy}"


def _amounts_meant(value: str) -> str:
    figure = read_figure(value)
    assert figure is not None
    return f"{figure.value('.')} or {figure.value(',')}"


def _question(evidence: Evidence, column: Column, names: tuple[str, str], meant: Callable[[str], str]) -> str:
    place = f'column {column.position + 1} "{column.header}"'
    first, second, undecided = (
        evidence.first_example,
        evidence.second_example,
        evidence.undecided_example,
    )
    if first and second:
        return (
            f'{place}: the rows contradict each other: line {first.line} "{shown(first.value)}" fits only '
            f'{names[0]}, line {second.line} "{shown(second.value)}" only {names[1]} '
            f"({evidence.first} against {evidence.second} rows)"
        )
    assert undecided is not None
    return (
        f"{place}: every row fits both {names[0]} and {names[1]}: line {undecided.line} "
        f'"{shown(undecided.value)}" is {meant(undecided.value)}'
    )
