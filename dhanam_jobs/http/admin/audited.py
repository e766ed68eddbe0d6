"""Ties an endpoint to the deed that the audit log has of it: who, what, to which thing, and how it ended."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from dhanam_jobs.handlers.service.deeds import Act, Deed
from dhanam_jobs.http.endpoint import Body, Call, Query
from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.idempotency import Replay

Answered = TypeVar("Answered")


def audited(
    deed: Deed, thing: str | None
) -> Callable[
    [Callable[[Call[Query, Body], Act], Awaitable[Answered]]],
    Callable[[Call[Query, Body]], Coroutine[Any, Any, Answered]],
]:
    """Make an endpoint's function of one that also takes the `Act`, which it tells what it changed.

    `thing` is what the deed is done to, made of the path's parameters: `{queue}/{id}`. None: of no thing in particular.
    """

    def decorate(
        run: Callable[[Call[Query, Body], Act], Awaitable[Answered]],
    ) -> Callable[[Call[Query, Body]], Coroutine[Any, Any, Answered]]:
        @functools.wraps(run)
        async def run_audited(call: Call[Query, Body]) -> Answered:
            async with call.context.jobs.acting(
                deed,
                None if thing is None else thing.format_map(call.path),
                user_id=call.caller.id,
                request_id=call.request.state.request_id,
                refusals=(ApiError, Replay),
            ) as act:
                return await run(call, act)

        run_audited.deed = deed  # type: ignore[attr-defined]
        return run_audited

    return decorate
