"""Carries jobs that are enqueued through an application's middleware, one by one, and stores them together.

Where no middleware has a say in enqueuing, nobody comes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from .middleware import Middleware, around_enqueue

if TYPE_CHECKING:
    from .request import JobRequest
    from .results import Job

Store = Callable[[Sequence["JobRequest"]], Awaitable[list["Job"]]]


class Passage:
    """One call's jobs on their way. `store` stores those that the middleware lets pass, in order and at once."""

    def __init__(self, middleware: Sequence[Middleware], store: Store) -> None:
        self._middleware = middleware
        self._store = store
        self._passed: dict[int, tuple[JobRequest, asyncio.Future[Job]]] = {}
        self._under_way = 0
        self._stored = False
        self._all_passed = asyncio.Event()

    async def carry(self, requests: Sequence[JobRequest]) -> list[Job]:
        """The jobs, in the order of the requests. Where the middleware refuses one before anything was stored, nothing
        is; its error is raised, as are those of `store`."""
        self._under_way = len(requests)
        tasks = [
            asyncio.create_task(self._one(position, request), name="enqueue middleware")
            for position, request in enumerate(requests)
        ]
        try:
            if tasks:
                await self._all_passed.wait()
            for task in tasks:
                if task.done():
                    task.result()  # raises what the middleware did
            await self._store_passed()
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
                for task in tasks:
                    if not task.cancelled():
                        task.exception()  # seen: one error is raised for all

    async def _one(self, position: int, request: JobRequest) -> Job:
        arrived = False

        def arrive() -> None:
            nonlocal arrived
            if not arrived:
                arrived = True
                self._under_way -= 1
                if self._under_way == 0:
                    self._all_passed.set()

        async def store(changed: JobRequest) -> Job:
            if self._stored or position in self._passed:
                return (await self._store([changed]))[0]
            future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
            self._passed[position] = (changed, future)
            arrive()
            return await future

        call = around_enqueue(self._middleware, store)
        try:
            return await (store(request) if call is None else call(request))
        finally:
            arrive()

    async def _store_passed(self) -> None:
        self._stored = True
        passed = [self._passed[position] for position in sorted(self._passed)]
        try:
            jobs = await self._store([request for request, _ in passed])
        except Exception as error:
            for _, future in passed:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), job in zip(passed, jobs, strict=True):
            if not future.done():
                future.set_result(job)


def passes(middleware: Sequence[Middleware]) -> bool:
    """True where any layer has a say in enqueuing."""
    return bool(middleware) and any(type(layer).enqueue is not Middleware.enqueue for layer in middleware)
