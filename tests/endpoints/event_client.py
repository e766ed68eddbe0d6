"""Reads server-sent events as a browser does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service


class Message(NamedTuple):
    """One event: its name, its data, and the id that a client would come back with."""

    name: str
    data: Any
    id: str


class Stream:
    """An open stream; `last_id` also moves without an event, and `comments` counts the signs of life."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.last_id = ""
        self.comments = 0
        self.retry_ms = 0
        self.placed = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self.reading = asyncio.create_task(self._read())

    async def next(self) -> Message:
        """The next event."""
        async with asyncio.timeout(10):
            message = await self._messages.get()
        assert message is not None, "the stream has ended"
        return message

    async def take(self, count: int) -> list[Message]:
        """The next events."""
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Message]:
        """All until the stream ends, as it should."""
        told: list[Message] = []
        async with asyncio.timeout(10):
            while (message := await self._messages.get()) is not None:
                told.append(message)
        await self.reading
        return told

    async def _read(self) -> None:
        try:
            await self._read_lines()
        finally:
            self._messages.put_nowait(None)

    async def _read_lines(self) -> None:
        name = "message"
        data: list[str] = []
        async for line in self.response.aiter_lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "":
                if data:
                    self._messages.put_nowait(Message(name, json.loads("\n".join(data)), self.last_id))
                name, data = "message", []
            elif field == "":
                self.comments += 1
            elif field == "id":
                self.last_id = value
                self.placed.set()
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            else:
                assert field == "retry", line
                self.retry_ms = int(value)


@contextlib.asynccontextmanager
async def following(
    service: Service, path: str, user: str, *, last_id: str | None = None, **params: str
) -> AsyncIterator[Stream]:
    """A stream that was answered with 200."""
    name, demo, _ = user.partition("+demo")
    headers = {"Authorization": f"Bearer {service.token(name, demo=bool(demo))}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    async with service.client.stream("GET", path, headers=headers, params=params) as response:
        assert response.status_code == 200, await response.aread()
        stream = Stream(response)
        async with asyncio.timeout(10):
            await stream.placed.wait()
        try:
            yield stream
        finally:
            stream.reading.cancel()
            await asyncio.wait({stream.reading})
            if not stream.reading.cancelled():
                stream.reading.exception()
