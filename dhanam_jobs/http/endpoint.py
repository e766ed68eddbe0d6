"""What one endpoint is: its row in the table (`Endpoint`) and what its function is called with (`Call`).

A function takes a `Call[Query, Body]`, whose two types are what the request is read as, and returns one of the answers
that its row declares: the value itself (200), or `Answer` with a status. Reading and guarding are dispatch.py's.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar, get_args, get_type_hints

from starlette.requests import Request

from dhanam_jobs.http.auth import Caller
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.context import Context
from dhanam_jobs.http.idempotency import Once

Query = TypeVar("Query")
Body = TypeVar("Body")
Shape: TypeAlias = Any
"""The type of an answer's JSON, or the media type (a string) of one that is not JSON."""


class Guard(enum.StrEnum):
    """Who is let in."""

    PUBLIC = "public"
    """Everybody, without a token."""
    CALLER = "caller"
    """Whoever has a valid token and an active user; the function may ask for more."""
    VIEWER = "viewer"
    """Members of the path's space, of any role."""
    MEMBER = "member"
    """Members of the path's space who may work there: owner, admin, member."""
    ADMIN = "admin"
    """Users whose row says administrator."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """One request that was let in and read.

    Attributes:
        query: the typed query parameters.
        body: the typed body.
        once: enqueues under the request's `Idempotency-Key`; see `Endpoint.idempotent`.
    """

    context: Context
    request: Request
    query: Query
    body: Body
    once: Once
    sender: Caller | None

    @property
    def caller(self) -> Caller:
        """Who calls; endpoints that are public have nobody to ask for."""
        assert self.sender is not None, "a public endpoint has no caller"
        return self.sender

    @property
    def path(self) -> Mapping[str, str]:
        """The path's parameters, by name, decoded."""
        return self.request.path_params


@dataclass(frozen=True, slots=True)
class Answer:
    """A value to send as JSON with a status other than 200, or with headers."""

    value: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


_PARAMETER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Endpoint:
    """A row of the table.

    Args:
        method: GET where it only looks; every other method changes something and is refused to demo tokens.
        path: with `{camelCase}` parameters.
        run: the function, which returns a value, an `Answer` or a Starlette `Response`.
        guard: who is let in, before anything is read.
        summary: what it does, in a few words.
        tag: the heading that the document shows it under.
        answers: status → type of the JSON, or a media type.
        errors: statuses of refusals that are this endpoint's own; those of guards and bodies are known.
        idempotent: enqueues by `call.once`, so that an `Idempotency-Key` is honoured.
        stream: the answer goes on until somebody ends it.
        rate_limited: counts as a request of its caller.

    Raises:
        TypeError: a row that can't work; the text names it.
    """

    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[object]]
    guard: Guard
    summary: str
    tag: str
    answers: Mapping[int, Shape]
    errors: tuple[int, ...] = ()
    idempotent: bool = False
    stream: bool = False
    rate_limited: bool = True
    query: type[Any] = field(init=False)
    body: type[Any] = field(init=False)

    def __post_init__(self) -> None:
        query, body = get_args(get_type_hints(self.run)["call"]) or (None, None)
        if query is None or body is None:
            raise TypeError(f"{self}: {self.run.__name__} takes no `call: Call[Query, Body]`")
        object.__setattr__(self, "query", query)
        object.__setattr__(self, "body", body)
        if self.guard in (Guard.VIEWER, Guard.MEMBER) and "spaceId" not in self.parameters:
            raise TypeError(f"{self}: the guard {self.guard} needs {{spaceId}} in the path")
        if not self.changes and (body is not NoFields or self.idempotent):
            raise TypeError(f"{self}: GET takes neither a body nor an Idempotency-Key")
        if self.changes and self.guard is Guard.PUBLIC:
            raise TypeError(f"{self}: what changes something can't be public")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return _PARAMETER.findall(self.path)
