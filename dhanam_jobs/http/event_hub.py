"""Shares one reader of all queues' events among all who listen in this process, each with a place of its own.

A listener keeps up from a bounded buffer. One who falls behind it, or begins in the past, reads what is missing from
Redis at its own speed and then joins the others again, so nothing is skipped that is still kept; where something is
not, a `Gap` says so. The reader, and its connection, are there as long as anybody listens.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from dhanam_jobs.engine import Event, EventReader
from dhanam_jobs.engine.events import Gap
from dhanam_jobs.handlers.jobs_service import JobsService
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.http.errors import ApiError

if TYPE_CHECKING:
    from dhanam_jobs.engine.event_reader import Since

log = structlog.get_logger("dhanam_jobs.http")

BUFFERED: Final = 1_000
"""Events that wait for a listener; with more, it has fallen behind."""
RECOVERING: Final = 8
"""Listeners that read from Redis what they missed at a time, each over a connection of its own."""
PER_STEP: Final = 200
"""Most events of one step."""
MOST_OF_ONE_USER: Final = 20
"""Listeners that one user may have in a process."""
MOST: Final = 1_000
"""Listeners that a process has."""


class Told(NamedTuple):
    """An event, and the listener's places behind it: queue to offset."""

    event: Event
    places: dict[str, str]


class EventHub:
    """The shared reader, over the service's events."""

    def __init__(self, jobs: JobsService, *, buffered: int = BUFFERED) -> None:
        self._jobs = jobs
        self.buffered = buffered
        self.recovering = asyncio.Semaphore(RECOVERING)
        self._listeners: set[Listener] = set()
        self._users: Counter[str] = Counter()
        self._reader: EventReader | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    @property
    def listening(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def reads(self) -> bool:
        """Whether the shared reader has its connection."""
        return self._reader is not None

    async def listen(self, user_id: str, queues: Sequence[str] = (), since: Since = None) -> Listener:
        """Return a user's listener to those queues (default: all) from `since` on, as `Engine.events` takes it. Whoever
        gets it closes it.

        Raises:
            ApiError: 429 where the user, 503 where the process has too many.
            UnknownQueue: there is no such queue.
            EngineUnavailable: Redis doesn't answer.
        """
        chosen = tuple(dict.fromkeys(queues)) or QUEUE_NAMES
        for name in chosen:
            self._jobs.job(name, "")
        async with self._changing:
            if self._users[user_id] >= MOST_OF_ONE_USER:
                raise ApiError(429, f"You follow {MOST_OF_ONE_USER} streams already, the most", retry_after_s=60)
            if len(self._listeners) >= MOST:
                raise ApiError(503, "Too many follow streams here; another process may have room", retry_after_s=30)
            reader = self._reader
            if reader is None or self._reading is None or self._reading.done():
                reader = await self._begin()
            now = {name: reader.offsets[name] for name in chosen}
            listener = Listener(self, user_id, now, since)
            self._listeners.add(listener)
            self._users[user_id] += 1
        return listener

    async def leave(self, listener: Listener) -> None:
        """Forget a listener; the last one takes the reader along."""
        if listener not in self._listeners:
            return
        self._listeners.discard(listener)
        self._users -= Counter([listener.user_id])
        async with self._changing:
            if self._listeners or self._reader is None or self._reading is None:
                return
            await self._reader.aclose()
            await asyncio.wait({self._reading})
            self._reader = self._reading = None

    def past(self, queues: Sequence[str], since: Since) -> EventReader:
        """Return a reader of what has happened since, up to now."""
        return self._jobs.events(*queues, since=since, follow=False)

    async def _begin(self) -> EventReader:
        reader = self._jobs.events()
        try:
            await reader.open()
        except BaseException:
            await reader.aclose()
            raise
        self._reader = reader
        self._reading = asyncio.create_task(self._read(reader), name="event-hub")
        return reader

    async def _read(self, reader: EventReader) -> None:
        try:
            async for event in reader:
                for listener in self._listeners:
                    listener.put(event)
        except Exception:
            log.exception("event_hub_failed")
        finally:
            for listener in self._listeners:
                listener.end()


class Listener:
    """One who listens: an async iterator of steps, each of one to `PER_STEP` events, that ends with the hub's reader.

    `places` is how far each queue's events were handed out; empty as long as that isn't known.
    """

    def __init__(self, hub: EventHub, user_id: str, now: dict[str, str], since: Since) -> None:
        self._hub = hub
        self.user_id = user_id
        self.places = now
        if isinstance(since, Mapping):
            self.places = {**now, **since}
        elif since is not None:
            self.places = {}
        self._queues = tuple(now)
        # How far they were read: what waits below was read, and not handed out.
        self._reached = self.places
        self._since = since
        self._behind = since is not None
        self._recovered: deque[Told] = deque()
        self._buffer: deque[Event] = deque()
        self._ended = False
        self._news = asyncio.Event()

    def put(self, event: Event) -> None:
        """Take what the hub has read."""
        if self._behind or event.queue not in self._queues:
            return
        if len(self._buffer) >= self._hub.buffered:
            self._fall_behind()
        else:
            self._buffer.append(event)
        self._news.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._news.set()

    def __aiter__(self) -> AsyncIterator[list[Told]]:
        return self

    async def __anext__(self) -> list[Told]:
        while True:
            if self._recovered:
                count = min(PER_STEP, len(self._recovered))
                step = [self._recovered.popleft() for _ in range(count)]
            elif self._behind and not self._ended:
                await self._recover()
                continue
            else:
                step = self._of_the_buffer()
            if step:
                self.places = step[-1].places
                return step
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Listen no more."""
        await self._hub.leave(self)

    def _fall_behind(self) -> None:
        self._buffer.clear()
        self._behind = True

    async def _recover(self) -> None:
        """Read what is missing, as much as may wait; with all of it, the listener is among the others again."""
        since = self._reached if self._since is None else self._since
        async with self._hub.recovering:
            # From here on what happens waits in the buffer, beside what is read now.
            self._behind, self._since = False, None
            async with self._hub.past(self._queues, since) as past:
                async for event in past:
                    self._reached = {**self._reached, **past.offsets}
                    self._recovered.append(Told(event, self._reached))
                    if len(self._recovered) >= self._hub.buffered:
                        self._fall_behind()
                        break
                self._reached = {**self._reached, **past.offsets}
        if not self._recovered:
            self.places = self._reached

    def _of_the_buffer(self) -> list[Told]:
        step: list[Told] = []
        while self._buffer and len(step) < PER_STEP:
            event = self._buffer.popleft()
            place = order_of(self._reached[event.queue])
            # What was read from the past already comes once more.
            if isinstance(event, Gap):
                if order_of(event.oldest) <= place:
                    continue
            elif order_of(event.offset) <= place:
                continue
            else:
                self._reached = {**self._reached, event.queue: event.offset}
            step.append(Told(event, self._reached))
        return step


def order_of(offset: str) -> tuple[int, int, float]:
    """What orders a queue's offsets: `<entry>:<n>` is within an entry, `<entry>` behind it."""
    entry, _, read = offset.partition(":")
    ms, _, number = entry.partition("-")
    return int(ms), int(number), int(read) if read else float("inf")
