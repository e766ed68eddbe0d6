"""Listing a queue's jobs by state: pages that survive change, and filters that search in bounded steps.

A page's cursor names the last job that was looked at, not a position, so that jobs which come and go meanwhile make no
other job appear twice or not at all. What is done with the jobs is the operators' part (`operations.py`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from . import checks, defaults, scripts
from .errors import ConfigurationError
from .found import job_info
from .job import JobInfo
from .keys import check_priority

if TYPE_CHECKING:
    from .queue import Queue

State = Literal["waiting", "active", "delayed", "blocked", "parked", "completed", "failed", "cancelled"]
STATES: tuple[State, ...] = (
    "waiting",
    "active",
    "delayed",
    "blocked",
    "parked",
    "completed",
    "failed",
    "cancelled",
)
DEAD: Literal["dead"] = "dead"


_LONGEST_SEARCH = 10_000
"""Characters of a text that a filter looks for."""
_COUNT = re.compile(r"[0-9]{1,15}")
_SCORE = r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?"
_IN_STREAMS = re.compile(rf"[a-z]+:[0-9] [0-9]{{1,19}}-[0-9]{{1,19}}|keyed (|{_SCORE} .+)", re.DOTALL)
"""A place and the last entry that was looked at, or the last of the jobs that wait by key."""
_IN_SET = re.compile(rf"{_SCORE} .+", re.DOTALL)
"""The score and the member that were looked at last."""


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are meant; what is None doesn't matter.

    `name`: the job's. `text`: occurs in the id, payload, result, errors or meta, as JSON, without regard to the case of
    A to Z. `priority`: the level. `older_than` and `younger_than`: seconds since the job was created, for ended ones
    since it ended.
    """

    name: str | None = None
    text: str | None = None
    priority: int | None = None
    older_than: float | None = None
    younger_than: float | None = None

    def __post_init__(self) -> None:
        if self.priority is not None:
            check_priority(self.priority)
        for name in ("older_than", "younger_than"):
            value = getattr(self, name)
            if value is not None:
                checks.seconds(name, value, 0, 100 * checks.YEAR_S, "seconds from 0 to a century, or None")
        for name in ("name", "text"):
            value = getattr(self, name)
            if value is not None:
                checks.text(name, value, _LONGEST_SEARCH, least=0)


class Page(msgspec.Struct, frozen=True):
    """Some jobs of a state. `cursor` leads to the next page; None: there is none. `searched` jobs were looked at so
    far, earlier pages included, of the `total` that the state has now."""

    jobs: list[JobInfo]
    cursor: str | None
    searched: int
    total: int


class _Step:
    """One reply of `list.lua`."""

    __slots__ = ("cursor", "items", "looked", "now_ms", "total")

    def __init__(self, reply: list[Any]) -> None:
        self.cursor: bytes = reply[0]
        self.looked: int = reply[1]
        self.total: int = reply[2]
        self.now_ms: int = reply[3]
        self.items: list[tuple[str, list[Any]]] = [
            (job_id.decode("utf-8", "replace"), item) for job_id, item in zip(reply[4::2], reply[5::2], strict=True)
        ]


class Listing:
    """Lists one queue's jobs."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def page(
        self,
        state: str,
        *,
        where: JobFilter | None = None,
        limit: int = defaults.PAGE,
        cursor: str | None = None,
        search: int = defaults.SEARCH,
    ) -> Page:
        """At most `limit` jobs of a state that match, after at most about `search` were looked at.

        Waiting and active jobs come in the order in which they are claimed, delayed ones by due time, blocked ones
        oldest first, parked ones by name, ended ones newest first. Raises ConfigurationError for an unknown state, an
        illegal number or a cursor that no page gave.
        """
        check_state(state)
        _check_positive("limit", limit)
        _check_positive("search", search)
        searched, at = _read_cursor(cursor, state)
        where = wanted_jobs(where)
        jobs: list[JobInfo] = []
        looked = 0
        while True:
            step = await self._step(
                state, at, where, want=limit - len(jobs), look=min(defaults.SEARCH_STEP, search - looked)
            )
            jobs += [info for job_id, item in step.items if (info := self._matching(job_id, item, where)) is not None]
            looked += step.looked
            at = step.cursor
            if not at or len(jobs) >= limit or looked >= search:
                following = f"{state}:{searched + looked}:{at.decode('utf-8', 'replace')}" if at else None
                return Page(jobs, following, searched + looked, step.total)

    async def ids(self, state: str, where: JobFilter) -> AsyncIterator[list[str]]:
        """The ids of all jobs of a state that match and were there at the first step, in pieces of a few hundred,
        oldest first. Taking jobs away meanwhile disturbs nothing."""
        async for step in self._walk(state, where, brief=where.text is None):
            found = [
                job_id
                for job_id, item in step.items
                if where.text is None or self._matching(job_id, item, where) is not None
            ]
            if found:
                yield found

    async def records(self, state: str, where: JobFilter) -> AsyncIterator[list[bytes]]:
        """The records (JSON) of all ended jobs that match and were there at the first step, in pieces, oldest first."""
        async for step in self._walk(state, where):
            found = [item[1] for job_id, item in step.items if self._matching(job_id, item, where) is not None]
            if found:
                yield found

    async def _walk(self, state: str, where: JobFilter, *, brief: bool = False) -> AsyncIterator[_Step]:
        check_state(state)
        at = b""
        until_ms: int | None = None
        while True:
            step = await self._step(
                state,
                at,
                where,
                want=defaults.BULK,
                look=defaults.SEARCH_STEP,
                until_ms=until_ms,
                brief=brief,
                oldest_first=True,
            )
            if until_ms is None:
                until_ms = step.now_ms
            yield step
            at = step.cursor
            if not at:
                return

    async def _step(
        self,
        state: str,
        cursor: bytes,
        where: JobFilter,
        *,
        want: int,
        look: int,
        until_ms: int | None = None,
        brief: bool = False,
        oldest_first: bool = False,
    ) -> _Step:
        wanted: dict[str, Any] = {}
        if where.name is not None:
            wanted["name"] = where.name
            wanted["named"] = f'"name":{msgspec.json.encode(where.name).decode()}'
        if where.text is not None:
            wanted["text"] = _lower(where.text)
        if where.priority is not None:
            wanted["level"] = where.priority
        if where.older_than is not None:
            wanted["older"] = round(where.older_than * 1000)
        if where.younger_than is not None:
            wanted["younger"] = round(where.younger_than * 1000)
        if until_ms is not None:
            wanted["until_ms"] = until_ms
        reply = await self._queue.engine.run(
            scripts.LIST,
            self._queue.root,
            state,
            cursor,
            want,
            look,
            msgspec.json.encode(wanted),
            int(brief),
            int(oldest_first),
        )
        return _Step(reply)

    def _matching(self, job_id: str, item: list[Any], where: JobFilter) -> JobInfo | None:
        info = job_info(self._queue.name, job_id, item)
        if info is None or (where.name is not None and info.name != where.name):
            return None
        if where.priority is not None and info.priority != where.priority:
            return None
        if where.text is not None and _lower(where.text) not in _lower(_searchable(info)):
            return None
        return info


def wanted_jobs(where: JobFilter | None) -> JobFilter:
    """The filter, or one that takes all; raises ConfigurationError."""
    return JobFilter() if where is None else checks.kind("where", where, JobFilter)


def check_state(state: str) -> str:
    """Returns the state, or raises ConfigurationError."""
    if state not in STATES and state != DEAD:
        raise ConfigurationError(f"state {state!r}: wanted one of {', '.join(STATES)}")
    return state


def _check_positive(name: str, value: int) -> None:
    checks.whole(name, value, 1)


def _read_cursor(cursor: str | None, state: str) -> tuple[int, bytes]:
    if cursor is None:
        return 0, b""
    checks.kind("cursor", cursor, str)
    of, _, rest = cursor.partition(":")
    searched, _, at = rest.partition(":")
    fits = _IN_STREAMS if state in ("waiting", "active") else _IN_SET
    if of != state or not _COUNT.fullmatch(searched) or not fits.fullmatch(at):
        raise ConfigurationError(f"cursor {cursor[:80]!r}: wanted one that a page of {state} jobs gave")
    return int(searched), at.encode()


def _lower(text: str) -> str:
    # As the script does: A to Z and nothing else.
    return text.translate(_ASCII_LOWER)


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _searchable(info: JobInfo) -> str:
    parts = [info.id, bytes(info.payload).decode("utf-8", "replace")]
    if info.result is not None:
        parts.append(bytes(info.result).decode("utf-8", "replace"))
    if info.error is not None:
        parts += [info.error.type, info.error.message]
    parts += [f"{line.type} {line.message}" for line in info.errors]
    if info.meta is not None:
        parts.append(msgspec.json.encode(info.meta).decode())
    return "\n".join(parts)
