"""Reads the events of queues from an offset and live, as an async iterator with a connection of its own.

Each queue's events come in the order in which they happened, so those of a job do as well; those of several queues are
merged by Redis's clock, as far as they were read together. The stream is bounded: a reader that fell behind is told so
by a `Gap`. What the events mean is in `events.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import checks, defaults
from .errors import ConfigurationError, EngineUnavailable
from .events import Event, Gap, events_of
from .link import Backoff, Unreachable

if TYPE_CHECKING:
    from .engine import Engine
    from .queue import Queue

log = logging.getLogger(__name__)
_BLOCK_MS = 4_000
_PER_READ = 200
_OFFSET = re.compile(r"(\d{1,20}-\d{1,20})(?::(\d{1,9}))?\Z")
Since = str | datetime | Mapping[str, str] | None


class Place:
    """How far one queue's stream was read. `exact` says that `entry` is one that was in the stream, so that whatever is
    missing behind it was lost; without `watched`, nothing is missed (there was no stream, or the oldest was asked for).
    """

    __slots__ = ("entry", "exact", "offset", "queue", "stream", "watched")

    def __init__(self, queue: Queue) -> None:
        self.queue = queue.name
        self.stream = f"{queue.root}:events"
        self.entry = "0-0"
        self.exact = False
        self.watched = False
        self.offset = "0-0"


class EventReader:
    """Made by `Engine.events`; yields events until it is closed.

    `async with engine.events("mail") as events:` begins to listen on entering; a bare `async for` begins at the first
    step, and holds its connection until `aclose`, or until the engine closes. An outage of Redis takes only time;
    afterwards it goes on where it was.
    """

    def __init__(
        self,
        engine: Engine,
        queues: Sequence[Queue],
        since: Since,
        gone: Callable[[EventReader], None],
        *,
        follow: bool = True,
    ) -> None:
        self._places = [Place(queue) for queue in queues]
        self._since = {place.queue: _since_of(place.queue, since) for place in self._places}
        self._link = engine.link("events")
        self._follow = follow
        self._ready: deque[Event] = deque()
        self._opened = False
        self._closed = False
        self._reading: asyncio.Task[Any] | None = None
        self._gone = gone

    @property
    def offsets(self) -> dict[str, str]:
        """For each queue the offset behind the last event that was handed out: what `since` takes to go on there."""
        return {place.queue: place.offset for place in self._places}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event; waits for one. Raises EngineUnavailable where Redis doesn't answer at the start."""
        await self.open()
        while not self._ready:
            if self._closed or not await self._read():
                raise StopAsyncIteration
        event = self._ready.popleft()
        for place in self._places:
            if place.queue == event.queue:
                place.offset = event.offset
        return event

    async def open(self) -> None:
        """Finds where to begin; what happens from now on is read. A second call does nothing."""
        if self._opened or self._closed:
            return
        try:
            for place in self._places:
                await self._begin(place, self._since[place.queue])
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer for the events: {error}") from error
        self._opened = True

    async def aclose(self) -> None:
        """Ends the iteration, also where it waits in another task. May be called twice."""
        self._closed = True
        self._gone(self)
        if self._reading is not None:
            self._reading.cancel()
        else:
            await self._link.close()

    # -- where to begin -------------------------------------------------------------------------------------------

    async def _begin(self, place: Place, since: str | int | None) -> None:
        if since is None:
            newest = await self._link.call("XREVRANGE", place.stream, "+", "-", "COUNT", 1)
            if newest:
                place.entry = newest[0][0].decode()
                place.exact = place.watched = True
        elif isinstance(since, int):
            # An entry of that very millisecond is still to come.
            place.entry = f"{max(0, since - 1)}-{2**64 - 1}"
            place.watched = True
        elif since != "0-0":
            entry, _, read = since.partition(":")
            place.entry = entry
            place.exact = place.watched = True
            if read:
                await self._rest_of(place, int(read))
        place.offset = place.entry if not isinstance(since, str) else since

    async def _rest_of(self, place: Place, read: int) -> None:
        found = await self._link.call("XRANGE", place.stream, place.entry, place.entry)
        if found:
            self._ready.extend(events_of(place.queue, place.entry, found[0][1])[read:])
        else:
            self._ready.append(Gap(place.queue, f"{place.entry}:{read}", _ms(place.entry), place.entry))

    # -- reading --------------------------------------------------------------------------------------------------

    async def _read(self) -> bool:
        """One read; False where the reader was closed meanwhile, or has read all that it was to read."""
        backoff = Backoff()
        self._reading = asyncio.current_task()
        try:
            while not self._closed:
                try:
                    return await self._read_once() or self._follow
                except Unreachable as error:
                    log.warning("events: %s: %s", type(error).__name__, error)
                    await asyncio.sleep(backoff.next(random.random()))
            return False
        except asyncio.CancelledError:
            if not self._closed or self._reading is None:
                raise
            self._reading.uncancel()
            return False
        finally:
            self._reading = None
            if self._closed:
                await self._link.close()

    async def _read_once(self) -> bool:
        """Whether there was anything."""
        streams = [place.stream for place in self._places]
        block = ("BLOCK", _BLOCK_MS) if self._follow else ()
        reply = await self._link.call(
            "XREAD",
            *block,
            "COUNT",
            _PER_READ,
            "STREAMS",
            *streams,
            *(place.entry for place in self._places),
            timeout=_BLOCK_MS / 1000 + defaults.CALL_TIMEOUT,
        )
        read: list[tuple[tuple[int, int], list[Event]]] = []
        gaps: list[Event] = []
        for stream, entries in reply or ():
            place = self._places[streams.index(stream.decode())]
            # Where the entry read last is still there, or one older, none behind it can have been trimmed.
            if gap := await self._gap(place):
                gaps.append(gap)
            for entry, fields in entries:
                name = entry.decode()
                read.append((_key(name), events_of(place.queue, name, fields)))
        # Nothing is marked as read before all calls were answered: an error reads the same again.
        for stream, entries in reply or ():
            place = self._places[streams.index(stream.decode())]
            place.entry = entries[-1][0].decode()
            place.exact = place.watched = True
        self._ready.extend(gaps)
        for _, events in sorted(read, key=lambda one: one[0]):
            self._ready.extend(events)
        return bool(reply)

    async def _gap(self, place: Place) -> Gap | None:
        if not place.watched:
            return None
        found = await self._link.call("XRANGE", place.stream, "-", "+", "COUNT", 1)
        oldest = found[0][0].decode() if found else place.entry
        if _key(oldest) <= _key(place.entry):
            return None
        if not place.exact:
            flat = await self._link.call("XINFO", "STREAM", place.stream)
            about = dict(zip(flat[::2], flat[1::2], strict=True))
            if about[b"entries-added"] == about[b"length"]:
                return None  # nothing was ever trimmed
        return Gap(place.queue, place.entry, _ms(oldest), oldest)


async def recent_events(engine: Engine, queues: Sequence[Queue], limit: int) -> list[Event]:
    """The newest events of these queues, at most `limit`, the oldest first. Raises EngineUnavailable."""
    checks.whole("limit", limit, 0)
    found: list[tuple[tuple[int, int], list[Event]]] = []
    for queue in queues:
        try:
            async with asyncio.timeout(defaults.CALL_TIMEOUT):
                words = ("XREVRANGE", f"{queue.root}:events", "+", "-", "COUNT", limit)
                entries: list[tuple[bytes, dict[bytes, bytes]]] = await engine.servers.command(queue.root, *words)
        except Unreachable as error:
            raise EngineUnavailable(f"Redis did not answer for the events: {error}") from error
        for entry, fields in entries or ():
            name = entry.decode()
            found.append((_key(name), events_of(queue.name, name, [part for pair in fields.items() for part in pair])))
    events = [event for _, told in sorted(found, key=lambda one: one[0]) for event in told]
    return events[-limit:]


def _key(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number)


def _ms(entry: str) -> int:
    return _key(entry)[0]


def _since_of(queue: str, since: Since) -> str | int | None:
    """Where to begin in one queue: an offset, a moment in ms, or None for now. Raises ConfigurationError."""
    if isinstance(since, Mapping):
        since = since.get(queue)
    if since is None:
        return None
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ConfigurationError(f"events since {since!r}: wanted an aware datetime")
        return round(since.timestamp() * 1000)
    if since == "0":
        return "0-0"
    if not isinstance(since, str) or not _OFFSET.match(since):
        raise ConfigurationError(
            f"events since {since!r}: wanted an event's offset, '0' for the oldest kept, an aware datetime, or None"
        )
    return since
