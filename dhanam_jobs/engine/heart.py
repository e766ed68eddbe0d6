"""The heart: a thread with a connection of its own that renews the leases of this process's workers.

A handler that blocks the event loop keeps its jobs, since the thread goes on; a loop that has not turned for
`loop_stall` seconds is as good as dead, and then the thread is silent too. C code that holds the interpreter's lock
stops this thread as well: heavy computing belongs in processes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import RedisError

from . import checks, defaults
from .manual_clock import LEASES_UNTIL_MS
from .routes import Routes
from .scripts import BEAT
from .servers import BlockingServers

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger(__name__)


class Row:
    """One worker's lease: the queue's root, the worker's name, what it is doing, and whom to tell when it is lost."""

    __slots__ = ("doing", "lost", "name", "root")

    def __init__(self, root: str, name: str, doing: Callable[[], dict[str, Any]], lost: Callable[[str], None]) -> None:
        self.root = root
        self.name = name
        self.doing = doing
        self.lost = lost


def heart_of(engine: Engine, lease_ms: int) -> Heart:
    """A heart for workers of this engine; one of a manual clock makes their leases outlast whatever that does."""
    until: bytes | int = b"" if engine.clock is None else LEASES_UNTIL_MS
    routes = engine.servers.routes
    return Heart(engine.url, name=engine.client_name, lease_ms=lease_ms, time_override=until, routes=routes)


class Heart:
    """Beats for its rows every third of the lease, from `start` to `stop`."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        lease_ms: int = defaults.LEASE_MS,
        loop_stall: float = defaults.LOOP_STALL,
        time_override: bytes | int = b"",
        routes: Routes | None = None,
    ) -> None:
        self._interval = checks.whole("lease_ms", lease_ms, 1) / 3000
        self._servers = BlockingServers(url, name=f"{name}:heart", routes=routes, timeout=max(self._interval, 1.0))
        self._loop_stall = loop_stall
        self._time_override = time_override
        self._rows: dict[tuple[str, str], Row] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turned = time.monotonic()
        self._turning: asyncio.TimerHandle | None = None
        self.loop_lag_ms = 0.0

    def start(self) -> None:
        """Starts the thread; a second call does nothing."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._stop.clear()
        self._turn(self._loop.time())
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; may be called twice."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(timeout=defaults.CALL_TIMEOUT)
        self._thread = None
        if self._turning is not None:
            self._turning.cancel()

    def add(self, row: Row) -> None:
        """Beats for one more worker."""
        with self._lock:
            self._rows[row.root, row.name] = row

    def remove(self, root: str, name: str) -> None:
        """Beats for that worker no longer."""
        with self._lock:
            self._rows.pop((root, name), None)

    def _turn(self, expected: float) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self.loop_lag_ms = max(0.0, (now - expected) * 1000)
        self._turned = time.monotonic()
        interval = min(1.0, self._loop_stall / 4)
        self._turning = self._loop.call_later(interval, self._turn, now + interval)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            if time.monotonic() - self._turned > self._loop_stall:
                log.error("the event loop has not turned for %s s: the workers' leases run out", self._loop_stall)
                continue
            self._beat()
        self._servers.close()

    def _beat(self) -> None:
        with self._lock:
            rows = list(self._rows.values())
        for row in rows:
            try:
                doing = msgspec.json.encode({**row.doing(), "loop_lag_ms": round(self.loop_lag_ms, 1)})
                alive = self._servers.run(BEAT, row.root, self._time_override, row.name, doing)
            except (RedisError, OSError) as error:
                # The rest waits for the next beat, but where other queues are on other servers.
                log.warning("no beat: %s", error)
                self._servers.close()
                if not self._servers.routes.clustered:
                    return
                continue
            except Exception:
                # A thread that ended here would cost every worker of this process its lease, for good.
                log.exception("a beat failed here")
                continue
            if not alive and self._loop is not None:
                self.remove(row.root, row.name)
                self._loop.call_soon_threadsafe(row.lost, row.name)
