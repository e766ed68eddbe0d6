"""How a handler is called: in the event loop, in a thread or in a process of its own, with the middleware around it.

What comes of the call is the executor's to judge; when to interrupt it is the worker's.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .context import Cause, JobContext
from .middleware import Middleware, Run, around_run
from .process_pool import ProcessPool
from .registry import Handler, JobType

#: Threads are made when they are needed; the worker's slots say how many can be busy at once.
_MOST_THREADS = 1000


class Invoker:
    """Makes calls of handlers for one worker, and owns the threads and processes that they run in."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._middleware = middleware
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPool | None = None

    def call_of(self, job_type: JobType) -> Run:
        """What runs the handler of this job: the handler itself where nothing stands in between."""
        if job_type.process:
            inner = self._process_call(job_type)
        elif job_type.is_async:
            inner = job_type.handler
        else:
            inner = self._thread_call(job_type)
        return around_run(self._middleware, inner)

    async def close(self) -> None:
        """Ends the processes, and lets go of the threads; one that still runs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            await self._processes.close()

    def _thread_call(self, job_type: JobType) -> Run:
        async def call(context: JobContext, payload: Any) -> Any:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="job")
            run = contextvars.copy_context().run
            arguments = (_contained, job_type.handler, context, payload)
            future = asyncio.get_running_loop().run_in_executor(self._threads, run, *arguments)
            return await _until_it_ends(future, context)

        return call

    def _process_call(self, job_type: JobType) -> Run:
        async def call(context: JobContext, payload: Any) -> Any:
            if self._processes is None:
                self._processes = ProcessPool()
            return await self._processes.run(job_type, context, payload)

        return call


def _contained(handler: Handler, context: JobContext, payload: Any) -> Any:
    # A future takes no StopIteration: it would never be done, and its slot never free.
    try:
        return handler(context, payload)
    except StopIteration as error:
        raise RuntimeError("handler raised StopIteration") from error


async def _until_it_ends(future: asyncio.Future[Any], context: JobContext) -> Any:
    # A thread can't be stopped: interrupted or not, the slot stays taken until it ends, so that no retry starts beside
    # it. Only a worker that stops doesn't wait.
    interrupted: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            interrupted = error
            if context.cause is Cause.RELEASED or context.cause is None:
                break
    if interrupted is not None:
        if future.done() and not future.cancelled():
            future.exception()  # retrieved: the interruption is what counts
        raise interrupted
    return future.result()
