"""Middleware: what an application puts around every enqueue, every run and every final failure.

Given to a registry with `registry.use(...)`; the first is the outermost. One that overrides nothing of a kind costs
nothing there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import JobContext
    from .job import Record
    from .request import JobRequest
    from .results import Job

Run = Callable[["JobContext", Any], Awaitable[Any]]
Enqueue = Callable[["JobRequest"], Awaitable["Job"]]


class Middleware:
    """Override what you need; each method's default changes nothing."""

    async def run(self, ctx: JobContext, payload: Any, proceed: Run) -> Any:
        """Around a handler: `return await proceed(ctx, payload)` runs it (in the loop, its thread or its process) and
        returns its result. What is raised here is what the attempt ended with. The attempt's time limit includes it."""
        return await proceed(ctx, payload)

    async def enqueue(self, request: JobRequest, proceed: Enqueue) -> Job:
        """Around each job that is enqueued from asynchronous code: `request` (job, payload, options) may be changed
        before `return await proceed(request)`, which stores it and raises as `Queue.enqueue`. What is raised here goes
        to who enqueues, and nothing is stored. The blocking client and the outbox pass it by."""
        return await proceed(request)

    def meta(self) -> dict[str, Any] | None:
        """What is kept in the metadata of every job that is enqueued here, also of children and with the blocking
        client and the outbox, unless the job's own says otherwise; not of schedules' runs. Called for each."""
        return None

    async def failed(self, ctx: JobContext, record: Record) -> None:
        """A job that this worker knows has failed for good, in a run or outside of one, and that is settled. `ctx` can
        still enqueue. What is raised here is logged. Called at least once: where a process dies before it has returned,
        another one's is called."""


def around_run(middleware: Sequence[Middleware], call: Run) -> Run:
    """The call with the middleware around it; the call itself where none overrides `run`."""
    for layer in reversed(middleware):
        if type(layer).run is not Middleware.run:
            call = _run_layer(layer, call)
    return call


def _run_layer(layer: Middleware, inner: Run) -> Run:
    async def run(ctx: JobContext, payload: Any) -> Any:
        return await layer.run(ctx, payload, inner)

    return run


def around_enqueue(middleware: Sequence[Middleware], store: Enqueue) -> Enqueue | None:
    """`store` with the middleware around it; None where none overrides `enqueue`."""
    call = store
    for layer in reversed(middleware):
        if type(layer).enqueue is not Middleware.enqueue:
            call = _enqueue_layer(layer, call)
    return None if call is store else call


def _enqueue_layer(layer: Middleware, inner: Enqueue) -> Enqueue:
    async def enqueue(request: JobRequest) -> Job:
        return await layer.enqueue(request, inner)

    return enqueue
