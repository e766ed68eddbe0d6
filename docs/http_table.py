"""Writes the tables of http.md from the table of endpoints: `python docs/http_table.py`. A test keeps them true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec

from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Endpoint, Guard
from dhanam_jobs.http.errors import CODES
from dhanam_jobs.http.openapi import ERRORS
from dhanam_jobs.http.table import ENDPOINTS

PAGE = Path(__file__).with_name("http.md")


def errors() -> str:
    """The table of statuses, codes and meanings."""
    rows = [f"| {status} | `{CODES[status]}` | {text} |" for status, text in ERRORS.items()]
    return "\n".join(["| status | code | meaning |", "|---|---|---|", *rows])


def endpoints() -> str:
    """The table of endpoints."""
    head = ["| endpoint | guard | body and query | answers | errors of its own |", "|---|---|---|---|---|"]
    return "\n".join(head + [_row(each) for each in ENDPOINTS])


def _row(row: Endpoint) -> str:
    takes = [*_fields("body", row.body), *_fields("query", row.query)]
    if row.idempotent:
        takes.append("`Idempotency-Key`")
    answers = ", ".join(f"{status} {_name(shape)}" for status, shape in row.answers.items())
    own = {*row.errors, *((409,) if row.idempotent else ()), *((403,) if row.guard in _CLOSED else ())}
    refusals = ", ".join(map(str, sorted(own))) or "–"
    return f"| `{row}`: {row.summary} | {row.guard} | {'; '.join(takes) or '–'} | {answers} | {refusals} |"


_CLOSED = (Guard.VIEWER, Guard.MEMBER, Guard.ADMIN)


def _fields(what: str, shape: type[object]) -> list[str]:
    if shape is NoFields:
        return []
    names = [
        f"`{field.encode_name}`" + ("" if field.required else "?")
        for field in msgspec.structs.fields(shape)  # type: ignore[arg-type]
    ]
    return [f"{what}: {', '.join(names)}"]


def _name(shape: object) -> str:
    if isinstance(shape, str):
        return shape
    inner = [_name(each) for each in get_args(shape)]
    name = getattr(shape, "__name__", str(shape))
    return f"{name} of {', '.join(inner)}" if inner else name


def filled(text: str) -> str:
    """The page with its tables as they are now."""
    for name, table in (("errors", errors()), ("endpoints", endpoints())):
        begin = f"<!-- {name}: made by docs/http_table.py -->\n"
        text = re.sub(
            f"({re.escape(begin)}).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.S
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
