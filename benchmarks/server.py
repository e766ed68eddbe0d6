"""A Redis of the benchmark's own: started on a free loopback port, pinned, read and ended.

What runs against it is left to measure.py.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Any

import msgspec
import redis

from benchmarks.pinning import Pinning

# What the harness itself sends between the two readings of one stretch.
_OWN_COMMANDS = {"info", "config|resetstat", "flushall", "ping"}


class ServerFigures(msgspec.Struct, frozen=True):
    """One reading of Redis, counted from the last `reset`.

    `cpu_s` is the server's user and system time since its start in seconds; `commands` maps a command's name
    to the number of its calls, those made by Lua scripts included; `reads` are socket reads; `memory_bytes`
    is used_memory without the cache of scripts.
    """

    cpu_s: float
    commands: dict[str, int]
    reads: int
    memory_bytes: int


class RedisServer:
    """A redis-server process for one run of the benchmark; a context manager.

    `appendfsync` is None for no persistence at all, or redis-server's word for an append-only file
    ("everysec", "always", "no"). Raises RuntimeError where redis-server isn't on PATH or doesn't answer
    within 10 s.
    """

    def __init__(self, pinning: Pinning, appendfsync: str | None = None) -> None:
        self.port = _free_port()
        self.appendfsync = appendfsync
        self._pinning = pinning
        self._dir = tempfile.TemporaryDirectory(prefix="dhanam-bench-")
        self._process: subprocess.Popen[bytes] | None = None
        self._client = redis.Redis(host="127.0.0.1", port=self.port, protocol=2)

    def __enter__(self) -> "RedisServer":
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("redis-server isn't on PATH; the benchmark wants Redis 7.0 or newer there")
        durability = ["--appendonly", "no"]
        if self.appendfsync is not None:
            durability = ["--appendonly", "yes", "--appendfsync", self.appendfsync]
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._dir.name, "--save", ""]
        self._process = subprocess.Popen(
            [*self._pinning.for_server(), binary, *own, *durability], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                self._client.ping()
                return self
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__(None, None, None)
                    raise RuntimeError(f"redis-server on port {self.port} didn't answer within 10 s") from None
                time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._dir.cleanup()

    @property
    def durability(self) -> str:
        """What a reader must know about persistence: "none" or "append-only file, fsync everysec"."""
        return "none" if self.appendfsync is None else f"append-only file, fsync {self.appendfsync}"

    @property
    def version(self) -> str:
        """The server's version as it says it, as "7.0.15"."""
        return str(self._info("server")["redis_version"])

    def flush(self) -> None:
        """Drops all keys at once and sets the counters to zero."""
        self._client.flushall()
        self.reset()

    def reset(self) -> None:
        """Sets the counters of commands and reads to zero; the CPU time goes on."""
        self._client.config_resetstat()

    def figures(self) -> ServerFigures:
        """Reads the server's counters."""
        cpu, stats, memory = self._info("cpu"), self._info("stats"), self._info("memory")
        calls = {
            name.removeprefix("cmdstat_"): int(values["calls"]) for name, values in self._info("commandstats").items()
        }
        scripts = int(memory.get("used_memory_scripts_eval", 0))
        return ServerFigures(
            cpu_s=float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
            commands={name: count for name, count in calls.items() if name not in _OWN_COMMANDS},
            reads=int(stats["total_reads_processed"]),
            memory_bytes=int(memory["used_memory"]) - scripts,
        )

    def _info(self, section: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.info(section)
        return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
