"""Events of several queues of a Redis Cluster: a reader for each, since a connection reads one slot's keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .event_reader import EventReader, Since
from .events import Event

if TYPE_CHECKING:
    from .engine import Engine
    from .queue import Queue


class MergedEvents(EventReader):
    """An `EventReader` whose queues are in several slots. Each queue's events come in order; those of different queues
    come as they arrive, since different servers have different clocks."""

    def __init__(
        self,
        engine: Engine,
        queues: Sequence[Queue],
        since: Since,
        gone: Callable[[EventReader], None],
        *,
        follow: bool = True,
    ) -> None:
        super().__init__(engine, queues, since, gone, follow=follow)
        self._parts = [EventReader(engine, [queue], since, lambda _: None, follow=follow) for queue in queues]
        self._read_out: set[EventReader] = set()
        self._steps: dict[asyncio.Task[Event], EventReader] = {}

    async def open(self) -> None:
        """Finds where to begin, in all queues; a second call does nothing. Raises EngineUnavailable."""
        if not self._opened:
            await asyncio.gather(*(part.open() for part in self._parts))
            self._opened = True
            for place, part in zip(self._places, self._parts, strict=True):
                place.offset = part.offsets[place.queue]

    async def __anext__(self) -> Event:
        """The next event of any queue; waits for one."""
        await self.open()
        while True:
            idle = set(self._parts) - set(self._steps.values()) - self._read_out
            for part in idle if not self._closed else ():
                self._steps[asyncio.ensure_future(_step(part))] = part
            if not self._steps:
                raise StopAsyncIteration
            done, _ = await asyncio.wait(self._steps, return_when=asyncio.FIRST_COMPLETED)
            # What else has come stays for the next step.
            step = done.pop()
            part = self._steps.pop(step)
            if self._closed:
                raise StopAsyncIteration
            try:
                event = step.result()
            except StopAsyncIteration:
                self._read_out.add(part)
                continue
            break
        for place in self._places:
            if place.queue == event.queue:
                place.offset = event.offset
        return event

    async def aclose(self) -> None:
        """Ends the iteration, also where it waits in another task. May be called twice."""
        self._closed = True
        self._gone(self)
        for part in self._parts:
            await part.aclose()
        for step in self._steps:
            step.cancel()
        if self._steps:
            await asyncio.wait(self._steps)
        for step in self._steps:
            if not step.cancelled():
                step.exception()


async def _step(part: EventReader) -> Event:
    return await anext(part)
