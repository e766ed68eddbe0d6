"""Pooled clients of the server, or of each server of a Redis Cluster that was needed, with a loop and without.

For everything that isn't on the path of a job: jobs travel by links (`link.py`), one connection for one caller.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError

from . import defaults
from .link import Argument, connection_options, located, routes_of
from .routes import MOST_MOVES, Address, Routes
from .scripts import Script

_GONE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class Servers:
    """Clients for an event loop, made when they are needed.

    Their sockets have no time-out of their own: on Python 3.11 redis-py would send through `wait_for`, which can
    swallow a cancellation. Whoever calls sets the limit, as `run` does. Raises ValueError for a URL that can't be read.
    """

    def __init__(self, url: str, *, name: str) -> None:
        self.routes = routes_of(url)
        self._options = connection_options(url, name=name)
        self._clients: dict[Address | None, redis.asyncio.Redis] = {}
        self.home = self._client(self.routes.home)

    def at(self, key: str) -> redis.asyncio.Redis:
        """The client of the server that holds a key, as far as is known."""
        return self._client(self.routes.of(key))

    async def command(self, key: str, *words: Argument) -> Any:
        """One command about a key, sent to the server that holds it. Raises redis-py's errors."""
        for _ in range(MOST_MOVES):
            address = self.routes.of(key)
            execute: Callable[..., Awaitable[Any]] = self._client(address).execute_command
            try:
                return await execute(*words)
            except MovedError as moved:
                self.routes.moved(moved, address)
            except _GONE:
                self.routes.left(key, address)
                raise
        raise redis.exceptions.ConnectionError(f"{MOST_MOVES} servers said that another one holds {key!r}")

    async def run(self, script: Script, root: str, *arguments: Argument) -> Any:
        """Runs a script whose only key is a queue's root, within `CALL_TIMEOUT`. Raises redis-py's errors."""
        try:
            async with asyncio.timeout(defaults.CALL_TIMEOUT):
                try:
                    return await self.command(root, "EVALSHA", script.sha, 1, root, *arguments)
                except NoScriptError:
                    return await self.command(root, "EVAL", script.text, 1, root, *arguments)
        except redis.exceptions.ReadOnlyError:
            # Demoted: the address may lead to another server by now, and open connections don't.
            await self.at(root).connection_pool.disconnect(inuse_connections=False)
            raise
        except TimeoutError:
            self.routes.left(root, self.routes.of(root))
            raise

    async def aclose(self) -> None:
        """Closes all connections. May be called twice."""
        for client in list(self._clients.values()):
            await client.aclose()

    def _client(self, address: Address | None) -> redis.asyncio.Redis:
        client = self._clients.get(address)
        if client is None:
            pool: redis.asyncio.BlockingConnectionPool = redis.asyncio.BlockingConnectionPool(
                max_connections=32, timeout=5, socket_timeout=None, **located(self._options, address)
            )
            client = self._clients[address] = redis.asyncio.Redis.from_pool(pool)
        return client


class BlockingServers:
    """Clients for code without an event loop; threads may share them, and they survive a fork.

    `timeout` is in seconds and holds for each answer. Raises ValueError for a URL that can't be read.
    """

    def __init__(
        self, url: str, *, name: str, routes: Routes | None = None, timeout: float = defaults.CALL_TIMEOUT
    ) -> None:
        self.routes = routes or routes_of(url)
        self._options = connection_options(url, name=name)
        self._options.update(redis.connection.parse_url(url))  # type: ignore[no-untyped-call]
        self._options.update(
            retry=redis.retry.Retry(NoBackoff(), 0), max_connections=32, timeout=5, socket_timeout=timeout
        )
        self._clients: dict[Address | None, redis.Redis] = {}
        self._making = threading.Lock()

    def command(self, key: str, *words: Argument) -> Any:
        """One command about a key, sent to the server that holds it. Raises redis-py's errors."""
        for _ in range(MOST_MOVES):
            address = self.routes.of(key)
            execute: Callable[..., Any] = self._client(address).execute_command
            try:
                return execute(*words)
            except MovedError as moved:
                self.routes.moved(moved, address)
            except _GONE:
                self.routes.left(key, address)
                raise
        raise redis.exceptions.ConnectionError(f"{MOST_MOVES} servers said that another one holds {key!r}")

    def run(self, script: Script, root: str, *arguments: Argument) -> Any:
        """Runs a script whose only key is a queue's root. Raises redis-py's errors."""
        try:
            return self.command(root, "EVALSHA", script.sha, 1, root, *arguments)
        except NoScriptError:
            return self.command(root, "EVAL", script.text, 1, root, *arguments)

    def close(self) -> None:
        """Closes all connections; the next call opens what it needs. May be called twice."""
        for client in list(self._clients.values()):
            client.close()

    def _client(self, address: Address | None) -> redis.Redis:
        with self._making:
            client = self._clients.get(address)
            if client is None:
                pool = redis.BlockingConnectionPool(**located(self._options, address))  # type: ignore[no-untyped-call]
                client = self._clients[address] = redis.Redis.from_pool(pool)
            return client
