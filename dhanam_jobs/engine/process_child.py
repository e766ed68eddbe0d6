"""The inside of a process that runs handlers: takes a job from its socket, calls the handler, sends what came of it.

A thread reads the socket, so that the process ends with its worker even while a handler computes.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import queue
import runpy
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from . import defaults
from .children import Child, ChildEnd
from .context import JobView
from .errors import ConfigurationError, Discard, EngineError, Limited, RetryLater, Snooze, WaitForChildren
from .executor import legible, told
from .registry import payload_type_of
from .whereabouts import SCRIPT

_encode = msgspec.json.Encoder().encode
_HEAD = struct.Struct(">IB")


class _Head(msgspec.Struct):
    """What comes before a payload."""

    main: str | None
    handler: str
    job: JobView
    attempt: int


class ProcessContext:
    """What a handler in a process is given besides its payload: the blocking half of JobContext.

    There are no `resources`: what a process needs, it opens. A cancellation is a kill, which no handler sees.

    Attributes: `job` (a JobView), `attempt` (from 1), `resources` (always None).
    """

    def __init__(self, job: JobView, attempt: int, line: _Line) -> None:
        self.job = job
        self.attempt = attempt
        self.resources: Any = None
        self._line = line

    def log(self, line: str) -> None:
        """Keeps a line with the job, of which the last 1,000 stay, each at most 4,096 characters; as JobContext.log."""
        self._line.send(b"l", _encode(str(line)[: defaults.LOG_LINE_LENGTH]))

    def progress_sync(self, value: Any) -> None:
        """Keeps how far the job is, and waits until that is stored; as JobContext.progress. Raises ConfigurationError
        for a value that can't be encoded or has more than 10,000 bytes."""
        try:
            encoded = _encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"progress of job {self.job.id} can't be encoded: {error}") from None
        if len(encoded) > defaults.MAX_PROGRESS_BYTES:
            raise ConfigurationError(
                f"progress of job {self.job.id} has {len(encoded)} bytes; wanted at most {defaults.MAX_PROGRESS_BYTES}"
            )
        self._line.ask(b"n", encoded)

    def enqueue_sync(self, job: str, payload: Any = None, *, queue: str | None = None, **options: Any) -> str:
        """Stores another job by its name and returns its id; options that JSON can hold, as `Queue.enqueue`. Raises
        EngineError with the text of what the worker refused."""
        request = {"job": _named(job), "payload": payload, "queue": queue, "options": options}
        answer: str = self._line.ask(b"q", _encode(request))
        return answer

    def enqueue_parent_sync(
        self, job: str, payload: Any = None, *, children: Sequence[Child], queue: str | None = None, **options: Any
    ) -> str:
        """Stores another job that waits for its children first, and returns its id; as JobContext.enqueue_parent, by
        names as `enqueue_sync`."""
        request = {"job": _named(job), "payload": payload, "queue": queue, "options": options}
        answer: str = self._line.ask(b"f", _encode({**request, "children": _children_named(children)}))
        return answer

    def add_children_sync(self, children: Iterable[Child]) -> int:
        """Gives this job children, named as in `enqueue_sync`, and returns how many are new; as
        JobContext.add_children."""
        answer: int = self._line.ask(b"c", _encode(_children_named(children)))
        return answer

    def wait_children_sync(self) -> list[ChildEnd]:
        """How this job's children ended, once all have; as JobContext.wait_children, and like it ends this run by
        raising WaitForChildren until then: let it through."""
        ends: list[ChildEnd] | None = self._line.ask(b"w", b"null", list[ChildEnd] | None)
        if ends is None:
            raise WaitForChildren
        return ends


def _named(job: Any) -> str:
    if not isinstance(job, str):
        raise ConfigurationError("a process enqueues by name: wanted a job's name and its payload")
    return job


def _children_named(children: Iterable[Child]) -> list[Child]:
    found = []
    for child in children:
        if not isinstance(child, Child):
            raise ConfigurationError(f"child {child!r}: wanted a Child")
        _named(child.job)
        found.append(msgspec.structs.replace(child, children=_children_named(child.children)))
    return found


class _Line:
    """The socket to the worker."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._frames: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name="line", daemon=True).start()

    def _read(self) -> None:
        while True:
            head = self._exactly(_HEAD.size)
            length, kind = _HEAD.unpack(head)
            self._frames.put((bytes([kind]), self._exactly(length)))

    def _exactly(self, length: int) -> bytes:
        parts = []
        while length:
            try:
                part = self._socket.recv(min(length, 1 << 20))
            except OSError:
                part = b""
            if not part:
                os._exit(0)  # the worker is gone: nobody waits for what we do
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def receive(self) -> tuple[bytes, bytes]:
        return self._frames.get()

    def send(self, kind: bytes, body: bytes) -> None:
        with self._lock:
            try:
                self._socket.sendall(_HEAD.pack(len(body), kind[0]) + body)
            except OSError:
                os._exit(0)  # as above

    def ask(self, kind: bytes, body: bytes, wanted: Any = Any) -> Any:
        """Sends a frame and waits for its answer, of the type wanted."""
        self.send(kind, body)
        answer, reply = self.receive()
        if answer == b"x":
            value = msgspec.json.decode(reply)
            raise EngineError(f"{value['type']}: {value['message']}")
        return msgspec.json.decode(reply, type=wanted)


def main(fd: int) -> None:
    """Runs jobs until the worker hangs up."""
    line = _Line(fd)
    while True:
        head = msgspec.json.decode(line.receive()[1], type=_Head)
        payload = line.receive()[1]
        line.send(*_run(head, payload, line))


def _run(head: _Head, payload: bytes, line: _Line) -> tuple[bytes, bytes]:
    try:
        handler = _find(head)
        decoded = msgspec.json.decode(payload, type=payload_type_of(handler))
        context = ProcessContext(head.job, head.attempt, line)
        value = handler(context, decoded)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    except BaseException as error:
        return b"e", _encode(_described(error))
    try:
        return b"r", _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        about = {"type": "ResultNotEncodable", "message": f"the result can't be encoded: {error}"}
        return b"e", _encode({**about, "signal": "ResultNotEncodable"})


def _find(head: _Head) -> Any:
    module, _, name = head.handler.partition(":")
    if head.main is not None and module not in sys.modules:
        assert module == SCRIPT
        found = type(sys)(module)
        found.__dict__.update(runpy.run_path(head.main, run_name=module))
        sys.modules[module] = found
    value: Any = sys.modules[module] if module in sys.modules else importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _described(error: BaseException) -> dict[str, Any]:
    about: dict[str, Any] = {"type": type(error).__name__, "message": told(error) or type(error).__name__}
    if isinstance(error, Limited):
        return {**about, "signal": "Limited", "delay": error.seconds, "scope": error.scope}
    if isinstance(error, Discard | RetryLater | Snooze | WaitForChildren):
        about["signal"] = type(error).__name__
        about["delay"] = getattr(error, "delay", 0)
        return about
    # The first frame is this file's own.
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    text = legible("".join(traceback.format_exception(type(error), error, frames)))
    about["traceback"] = text[-defaults.TRACEBACK_BYTES :]
    return about
