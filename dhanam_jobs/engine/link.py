"""One connection to Redis that one caller uses, one call at a time; and the settings that all connections share.

redis-py connects, authenticates and parses. Commands are packed here by hiredis, since packing an argument in Python
costs more than running the job that it belongs to. Nothing is retried silently: a lost reply may belong to a command
that took effect, and only the caller knows how to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Any

import hiredis
import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from . import defaults
from .routes import MOST_MOVES, Address, Routes
from .scripts import Script

Argument = bytes | str | int
_SOCKET_READ_BYTES = 262_144
_pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]

#: What a call raises when the server can't be reached, gave no answer, or refuses writes for a while.
Unreachable = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,  # the slot is on its way to another server of the cluster (routes.py)
    OSError,
    TimeoutError,
)


def connection_options(url: str, *, name: str) -> dict[str, Any]:
    """Keyword arguments for any redis-py connection to `url`: RESP2, bytes, no silent retries."""
    options: dict[str, Any] = dict(parse_url(url))
    options.update(
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        client_name=name,
    )
    return options


def routes_of(url: str) -> Routes:
    """What is known before anything was asked: the server that the URL names."""
    options = parse_url(url)
    return Routes(None if "path" in options else (options.get("host", "localhost"), options.get("port", 6379)))


def located(options: dict[str, Any], address: Address | None) -> dict[str, Any]:
    """The options of a connection to another server of the cluster, otherwise as they are."""
    return options if address is None else {**options, "host": address[0], "port": address[1]}


class Link:
    """A connection of one caller. It connects at the first call and again after every error, and follows its keys to
    the server of a cluster that holds them; so all keys that one caller names are to be in one slot.

    `name` is shown by CLIENT LIST; `routes` is the process's knowledge of a cluster.
    """

    def __init__(self, url: str, *, name: str, routes: Routes | None = None) -> None:
        self._options = connection_options(url, name=name)
        self._kind = self._options.pop("connection_class", redis.asyncio.Connection)
        self._routes = routes or routes_of(url)
        self._address = self._routes.home
        self._connection = self._made()

    def _made(self) -> AbstractConnection:
        # One time-out stands around the whole of each call; one on the socket would cost a wait_for for every send.
        options = located(self._options, self._address)
        connection: AbstractConnection = self._kind(socket_timeout=None, socket_read_size=_SOCKET_READ_BYTES, **options)
        return connection

    async def call(
        self,
        *arguments: Argument,
        timeout: float = defaults.CALL_TIMEOUT,
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        """Sends one command and returns its reply. Raises redis-py's errors; after any but a reply error, and after a
        cancellation, the connection is closed and the command may or may not have taken effect. `meanwhile` is called
        once the command is on its way."""
        for _ in range(MOST_MOVES):
            try:
                return await self._call(arguments, timeout, meanwhile)
            except redis.exceptions.MovedError as moved:
                await self._go_to(self._routes.moved(moved, self._address))
        raise redis.exceptions.ConnectionError(f"{MOST_MOVES} servers said that another one holds the key")

    async def _call(
        self, arguments: tuple[Argument, ...], timeout: float, meanwhile: Callable[[], object] | None
    ) -> Any:
        connection = self._connection
        try:
            async with asyncio.timeout(timeout):
                if connection.is_connected and connection._reader.at_eof():  # type: ignore[union-attr]
                    # The server hung up between two calls: nothing was sent yet, so this call need not fail.
                    await self._drop()
                if not connection.is_connected:
                    await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command(_pack(arguments), check_health=False)
                if meanwhile is not None:
                    meanwhile()
                # Not redis-py's time-out for a read: it returns None, and leaves a reply for the next call to mistake.
                return await connection.read_response()
        except redis.exceptions.MovedError:
            raise
        except redis.exceptions.ResponseError as error:
            if isinstance(error, Unreachable):
                await self._leave()  # demoted: the address may lead to another server by now
            raise
        except TimeoutError:
            await self._leave()
            raise redis.exceptions.TimeoutError(f"no answer within {timeout:g} s") from None
        except (redis.exceptions.ConnectionError, OSError):
            await self._leave()
            raise
        except BaseException:
            await self._drop()
            raise

    async def run(
        self,
        script: Script,
        *arguments: Argument,
        timeout: float = defaults.CALL_TIMEOUT,
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        """Runs a script whose only key is the first of `arguments`."""
        try:
            return await self.call("EVALSHA", script.sha, 1, *arguments, timeout=timeout, meanwhile=meanwhile)
        except NoScriptError:
            return await self.call("EVAL", script.text, 1, *arguments, timeout=timeout)

    async def _leave(self) -> None:
        """Closes the connection; on a cluster another server is asked next, which knows who holds the keys now."""
        await self._go_to(self._routes.after(self._address))

    async def _go_to(self, address: Address | None) -> None:
        await self._drop()
        if address != self._address:
            self._address = address
            self._connection = self._made()

    async def _drop(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Closes the connection; the next call would open it again."""
        await self._drop()


class Backoff:
    """Waits between attempts to reach a server: doubling from `first` to `most` seconds, with half of it at random."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._first = first
        self._most = most
        self._failures = 0

    def reset(self) -> None:
        """The server answered."""
        self._failures = 0

    def next(self, draw: float) -> float:
        """Seconds to wait after one more failure; `draw` is a random number in [0, 1)."""
        wait = min(self._most, self._first * math.pow(2, min(self._failures, 16)))
        self._failures += 1
        return wait * (0.5 + draw / 2)


async def sleep_or(event: asyncio.Event, seconds: float) -> bool:
    """Waits until `event` is set or `seconds` have passed; True where it is set."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
