"""Processes that run CPU-bound handlers: started when needed, kept for the next job, killed when one must end.

A worker's event loop talks to each over a socket, in frames that hold JSON: nothing is pickled, and a process that dies
(a segmentation fault, `os._exit`, a kill) is seen at once, as the end of the stream. The other side is
`process_child.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .children import Child, ChildEnd
from .context import JobContext
from .errors import ConfigurationError, Discard, Limited, ProcessDied, RemoteError, RetryLater, Snooze, WaitForChildren
from .registry import JobType
from .whereabouts import whereabouts

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_HEAD = struct.Struct(">IB")
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from dhanam_jobs.engine.process_child import main; main(int(sys.argv[2]))"
)
#: Jobs after which a process is replaced, so that what handlers leak doesn't add up.
_JOBS_PER_PROCESS = 1000


class _Process:
    """One process, and the socket to it."""

    def __init__(self, popen: subprocess.Popen[bytes], link: socket.socket) -> None:
        self.popen = popen
        self.jobs = 0
        self._socket = link
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)

    def send(self, kind: bytes, body: bytes) -> None:
        assert self._writer is not None
        self._writer.write(_HEAD.pack(len(body), kind[0]) + body)

    async def receive(self) -> tuple[bytes, bytes]:
        """The next frame: kind and body. Raises ProcessDied at the end of the stream."""
        assert self._reader is not None
        try:
            length, kind = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
            return bytes([kind]), await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            raise ProcessDied(await self._last_words()) from None

    async def _last_words(self) -> str:
        status = await self.end()
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"the process that ran the handler was ended by {signal.Signals(-status).name}"
        return f"the process that ran the handler ended with status {status}"

    async def end(self) -> int:
        """Kills it, with whatever it started, unless it has ended; returns its exit status once it is reaped."""
        if self._writer is not None:
            self._writer.transport.abort()
        # A process that hung up is about to end by itself; its own status says more than our kill.
        try:
            return await asyncio.to_thread(self.popen.wait, 0.2) if self._hung_up() else await self._kill()
        except subprocess.TimeoutExpired:
            return await self._kill()

    def _hung_up(self) -> bool:
        return self._reader is not None and self._reader.at_eof()

    async def _kill(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        return await asyncio.to_thread(self.popen.wait)


class ProcessPool:
    """Processes of one worker. As many run at once as the worker has jobs that want one."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._starting: set[asyncio.Task[_Process]] = set()
        self._closed = False

    async def run(self, job_type: JobType, context: JobContext, payload: Any) -> Any:
        """Runs the handler in a process and returns its result (JSON). Raises what the handler raised (RemoteError
        where that was no signal to the engine), and ProcessDied. A cancellation kills the process."""
        process = await self._take()
        ended = False
        try:
            script, name = whereabouts(job_type.handler)
            head = {"main": script, "handler": name, "job": context.job, "attempt": context.attempt}
            process.send(b"h", _encode(head))
            process.send(b"p", _encode(payload))
            result = await self._listen(process, context)
            ended = True
            return result
        except (RemoteError, Discard, Limited, RetryLater, Snooze, WaitForChildren):
            ended = True
            raise
        finally:
            process.jobs += 1
            if ended and not self._closed and process.jobs < _JOBS_PER_PROCESS:
                self._idle.append(process)
            else:
                # Shielded: the kill must be carried out, and the process reaped, however often we are cancelled.
                await asyncio.shield(asyncio.get_running_loop().create_task(self._end(process)))

    async def _listen(self, process: _Process, context: JobContext) -> Any:
        while True:
            kind, body = await process.receive()
            if kind == b"r":
                return msgspec.Raw(body)
            if kind == b"e":
                raise _raised(json.loads(body))
            if kind == b"l":
                context.log(json.loads(body))
            elif kind == b"n":
                with contextlib.suppress(ConfigurationError):  # checked on the other side
                    await context.progress(msgspec.Raw(body))
                process.send(b"a", b"null")
            elif kind in _ASKED:
                process.send(*await _answer(_ASKED[kind], context, body))

    async def _take(self) -> _Process:
        while self._idle:
            process = self._idle.pop()
            if process.popen.poll() is None:
                return process
            await self._end(process)
        # Shielded: a process that is being started when its job is interrupted is not lost, but kept for another.
        starting = asyncio.get_running_loop().create_task(self._start(), name="start a process")
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise

    def _keep(self, started: asyncio.Task[_Process]) -> None:
        if not started.cancelled() and started.exception() is None:
            self._idle.append(started.result())

    async def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno())]
            # A session of its own: Ctrl-C at our terminal is ours to answer, and a kill reaches what it started.
            popen = await asyncio.to_thread(
                subprocess.Popen,
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        process = _Process(popen, ours)
        self._all.add(process)
        await process.connect()
        return process

    async def _end(self, process: _Process) -> None:
        await process.end()
        self._all.discard(process)

    async def close(self) -> None:
        """Ends all processes and reaps them."""
        self._closed = True
        if self._starting:
            await asyncio.wait(self._starting)
        self._idle.clear()
        await asyncio.gather(*(self._end(process) for process in list(self._all)))


class ResultNotEncodable(Discard):
    """The handler returned what JSON can't hold; running it again would give the same."""


def _raised(error: dict[str, Any]) -> Exception:
    signal_name = error.get("signal")
    if signal_name == "Discard":
        return Discard(error["message"])
    if signal_name == "ResultNotEncodable":
        return ResultNotEncodable(error["message"])
    if signal_name == "RetryLater":
        return RetryLater(error["delay"], error["message"])
    if signal_name == "Snooze":
        return Snooze(error["delay"])
    if signal_name == "Limited":
        return Limited(error["delay"], error["scope"])
    if signal_name == "WaitForChildren":
        return WaitForChildren()
    return RemoteError(error["type"], error["message"], error.get("traceback"))


# What a handler in a process asks for, which its worker does. A refusal travels back as a text.


class _Asked(msgspec.Struct):
    job: str
    payload: Any
    queue: str | None
    options: dict[str, Any]
    children: list[Child] = []


async def _enqueue(context: JobContext, body: bytes) -> str:
    asked = msgspec.json.decode(body, type=_Asked)
    return (await context.enqueue(asked.job, asked.payload, queue=asked.queue, **asked.options)).id


async def _enqueue_parent(context: JobContext, body: bytes) -> str:
    asked = msgspec.json.decode(body, type=_Asked)
    children, queue = asked.children, asked.queue
    return (await context.enqueue_parent(asked.job, asked.payload, children=children, queue=queue, **asked.options)).id


async def _add_children(context: JobContext, body: bytes) -> int:
    return await context.add_children(msgspec.json.decode(body, type=list[Child]))


async def _wait_children(context: JobContext, body: bytes) -> list[ChildEnd] | None:
    try:
        return await context.wait_children()
    except WaitForChildren:
        return None


_ASKED: dict[bytes, Callable[[JobContext, bytes], Awaitable[Any]]] = {
    b"q": _enqueue,
    b"f": _enqueue_parent,
    b"c": _add_children,
    b"w": _wait_children,
}


async def _answer(
    do: Callable[[JobContext, bytes], Awaitable[Any]], context: JobContext, body: bytes
) -> tuple[bytes, bytes]:
    try:
        return b"a", _encode(await do(context, body))
    except Exception as error:
        return b"x", _encode({"type": type(error).__name__, "message": str(error)})
