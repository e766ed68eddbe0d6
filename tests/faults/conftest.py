"""Gives fault tests a proxy that loses, holds and swallows, engines with short leases, and processes to kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, JobContext, Queue, Registry, Retention, RetryPolicy, Worker, scripts
from dhanam_jobs.engine.inspection import inspect_queue
from dhanam_jobs.engine.sweeper import Sweeper

if TYPE_CHECKING:
    from tests.conftest import RedisServer, StartRedis, WaitUntil

LEASE_MS = 1_500
SWEEP_MS = 150
WORKER_PROCESS = Path(__file__).with_name("worker_process.py")


class Intercept:
    """What a proxy does to the next request that contains `text`.

    `how`: "lose" lets the server run it and cuts the connection instead of answering; "swallow" lets it run and never
    answers on that connection again; "hold" keeps the request until `deliver`, also when its client has hung up.
    `seen` is set when the request has come in, and for "lose" and "swallow" once the server has run it.
    """

    def __init__(self, text: bytes, how: str) -> None:
        self.text = text
        self.how = how
        self.seen = asyncio.Event()
        self.reply = b""
        self._held: tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._client: asyncio.StreamWriter | None = None

    def hold(
        self,
        request: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        """The proxy keeps `request` here instead of passing it on."""
        self._held, self._client = (request, reader, writer), client
        self.seen.set()

    def hang_up(self) -> None:
        """Breaks the connection of the held request's client, which gives up on it."""
        assert self._client is not None, "nothing is held"
        self._client.transport.abort()

    async def deliver(self) -> bytes:
        """Gives the held request to the server, and returns the reply that nobody waits for any more."""
        assert self._held is not None, "nothing is held"
        request, reader, writer = self._held
        writer.write(request)
        async with asyncio.timeout(10):
            self.reply = await reader.read(65_536)
        writer.close()
        return self.reply


class Proxy:
    """Stands between an engine and a server, both on unix sockets, and does as it is told."""

    def __init__(self, server_socket: Path) -> None:
        self._server_socket = server_socket
        self._socket = server_socket.with_name("proxy.sock")
        self.url = f"unix://{self._socket}"
        self._listening: asyncio.Server | None = None
        self._intercepts: list[Intercept] = []
        self._pipes: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._refusing = False
        self._mute = False
        self.muted = 0

    async def start(self) -> None:
        self._listening = await asyncio.start_unix_server(self._serve, self._socket)

    async def stop(self) -> None:
        assert self._listening is not None
        self._listening.close()
        for task in list(self._pipes):
            task.cancel()
        if self._pipes:
            await asyncio.wait(list(self._pipes))
        await self._listening.wait_closed()

    def lose_reply(self, text: bytes | str) -> Intercept:
        return self._intercept(text, "lose")

    def swallow(self, text: bytes | str) -> Intercept:
        return self._intercept(text, "swallow")

    def hold(self, text: bytes | str) -> Intercept:
        return self._intercept(text, "hold")

    def _intercept(self, text: bytes | str, how: str) -> Intercept:
        intercept = Intercept(text.encode() if isinstance(text, str) else text, how)
        self._intercepts.append(intercept)
        return intercept

    def cut(self) -> None:
        """Every connection breaks now, and new ones are refused until `mend`."""
        self._refusing = True
        for writer in self._pipes.values():
            writer.transport.abort()

    def mute(self) -> None:
        """Every connection, also a new one, stays open and is never answered, until `mend` (for new ones)."""
        self._mute = True

    def mend(self) -> None:
        """New connections work again."""
        self._refusing = self._mute = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._pipes[task] = writer
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._server_socket)
            await self._pipe(reader, writer, up_reader, up_writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._pipes.pop(task)
            writer.transport.abort()

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        silent = False
        lost: Intercept | None = None
        held = False

        async def down() -> None:
            while answer := await up_reader.read(65_536):
                if lost is not None:
                    lost.reply = answer
                    lost.seen.set()
                    if lost.how == "lose":
                        break
                if silent or self._mute:
                    self.muted += 1
                    continue
                writer.write(answer)
            writer.transport.abort()

        answering = asyncio.create_task(down())
        try:
            while request := await reader.read(65_536):
                intercept = next((i for i in self._intercepts if i.text in request), None)
                if intercept is not None:
                    self._intercepts.remove(intercept)
                    if intercept.how == "hold":
                        held = True
                        answering.cancel()
                        await asyncio.wait([answering])
                        intercept.hold(request, up_reader, up_writer, writer)
                        await reader.read()
                        return
                    lost = intercept
                    silent = intercept.how == "swallow"
                up_writer.write(request)
        finally:
            answering.cancel()
            if not held:
                up_writer.transport.abort()


@pytest.fixture
def server(start_redis: StartRedis) -> RedisServer:
    """A server of this test's own."""
    return start_redis()


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[redis_async.Redis]:
    """A client of the test's own server, past the proxy."""
    client = redis_async.Redis.from_url(server.url, protocol=2, socket_timeout=None)
    for script in vars(scripts).values():
        if isinstance(script, scripts.Script):
            await client.script_load(script.text)  # so that the first request of each is the script's run
    yield client
    await client.aclose()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy in front of the test's own server."""
    proxy = Proxy(server.socket)
    await proxy.start()
    yield proxy
    await proxy.stop()


class Handlers:
    """The jobs of queue `work`, which note what they do; all keep their records.

    `echo` returns its number, `flaky` fails once before it does, `gate` puts its number and context into `begun` and
    waits until `open_gate`; `count` and `hold` are here for what worker_process.py does under these names. `runs`
    counts executions by number, `interrupted` lists contexts of cancelled gates.
    """

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.queue("work", concurrency=5, retention=Retention(completed=None, failed=None))
        self.runs: Counter[int] = Counter()
        self.begun: asyncio.Queue[tuple[int, JobContext]] = asyncio.Queue()
        self.interrupted: list[JobContext] = []
        self._ran = asyncio.Condition()
        self._gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.registry.job("echo", queue="work")(self._echo)
        self.registry.job("count", queue="work")(self._echo)
        self.registry.job("hold", queue="work")(self._hold)
        self.registry.job("flaky", queue="work", retry=RetryPolicy(attempts=3, base=0.0))(self._flaky)
        self.registry.job("gate", queue="work")(self._gate)

    async def ran(self, count: int) -> None:
        """Returns when that many different jobs have begun; at once, so that what follows hits the rest."""
        async with asyncio.timeout(30), self._ran:
            await self._ran.wait_for(lambda: len(self.runs) >= count)

    async def _echo(self, ctx: JobContext, number: int) -> int:
        self.runs[number] += 1
        async with self._ran:
            self._ran.notify_all()
        return number

    async def _hold(self, ctx: JobContext, payload: Any) -> None:
        await asyncio.Event().wait()

    async def _flaky(self, ctx: JobContext, number: int) -> int:
        self.runs[number] += 1
        if ctx.attempt == 1:
            raise RuntimeError("fails once")
        return number

    async def _gate(self, ctx: JobContext, number: int) -> int:
        self.runs[number] += 1
        self.begun.put_nowait((number, ctx))
        try:
            await self._gates[number].wait()
        except asyncio.CancelledError:
            self.interrupted.append(ctx)
            raise
        return number

    def open_gate(self, *numbers: int) -> None:
        """Lets these gates end, those that begin later too."""
        for number in numbers:
            self._gates[number].set()

    async def all_begun(self, count: int) -> dict[int, JobContext]:
        """The next `count` gates that begin."""
        async with asyncio.timeout(20):
            return dict([await self.begun.get() for _ in range(count)])


@pytest.fixture
def handlers() -> Handlers:
    """Jobs that note what they do."""
    return Handlers()


class Connect(Protocol):
    """`await connect(url)`: queue `work` of an open engine, which is closed when the test ends."""

    async def __call__(self, url: str) -> Queue: ...


@pytest.fixture
async def connect(handlers: Handlers, client: redis_async.Redis) -> AsyncIterator[Connect]:
    """Queue `work` through as many engines as a test wants."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_engine(url: str) -> Queue:
            engine = await stack.enter_async_context(Engine.connect(url, registry=handlers.registry))
            return engine.queue("work")

        yield open_engine


class DeclareDead(Protocol):
    """`await declare_dead(worker)`: a sweep that takes every beat for too old, until the worker's row is gone."""

    async def __call__(self, worker: Worker) -> None: ...


@pytest.fixture
def declare_dead(
    client: redis_async.Redis, wait_until: WaitUntil, connect: Connect, server: RedisServer
) -> DeclareDead:
    """Takes the row of a worker that is alive."""

    async def declare(worker: Worker) -> None:
        name = worker.name
        sweeper = Sweeper([await connect(server.url)], interval_ms=1, lease_ms=0)

        async def gone() -> bool:
            await sweeper.run_once()
            return not await client.exists(f"{worker.queue.root}:worker:{name}")

        await wait_until(gone, f"{name} is declared dead")

    return declare


MakeWorker = Callable[..., Worker]


@pytest.fixture
def make_worker() -> MakeWorker:
    """`make_worker(queue, concurrency=…)`: a worker with a lease short enough to wait for, not yet started."""

    def make(queue: Queue, **options: Any) -> Worker:
        return Worker(queue, **{"lease_ms": LEASE_MS, "sweep_ms": SWEEP_MS, "drain_timeout": 5.0, **options})

    return make


class Problems(Protocol):
    """`await problems(queue)`: what `inspect` finds wrong."""

    async def __call__(self, queue: Queue) -> list[str]: ...


@pytest.fixture
def problems() -> Problems:
    return inspect_queue


class WorkerProcess:
    """A supervisor in a process of its own; see worker_process.py for what its handlers do."""

    def __init__(self, url: str, **options: Any) -> None:
        options = {"url": url, "lease_ms": LEASE_MS, "sweep_ms": SWEEP_MS, **options}
        self._process = subprocess.Popen(
            [sys.executable, f"{WORKER_PROCESS}", json.dumps(options)], env={**os.environ, "PYTHONWARNINGS": "error"}
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._process.kill()
        self._process.wait(10)

    async def ended(self, timeout: float = 20.0) -> int:
        """Its exit status."""
        return await asyncio.to_thread(self._process.wait, timeout)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()


StartWorkerProcess = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker_process() -> Iterator[StartWorkerProcess]:
    """`start_worker_process(url, concurrency=…)`; all are killed when the test ends."""
    with contextlib.ExitStack() as stack:

        def start(url: str, **options: Any) -> WorkerProcess:
            process = WorkerProcess(url, **options)
            stack.callback(process.close)
            return process

        yield start
