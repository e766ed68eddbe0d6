"""Runs a Redis or Valkey server of our own in a directory; what is stored in it is the engine's affair.

One process owns the directory at a time, by a lock that the kernel takes back however that process ends. The
server itself outlives a killed owner; the next owner adopts it, or ends it where it doesn't answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from dhanam_jobs.engine.server_binary import EmbeddedServerError, find_server_binary

# The kernel's limit is 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_PATH_BYTES = 103
LOG_BYTES = 1_000_000


class DirectoryInUse(EmbeddedServerError):
    """Another living process owns the directory; the message names it. Use that one, or another directory."""


def find_running(directory: Path) -> str | None:
    """The address (`unix:///…`) of the server that answers in this directory, whoever owns it; else None.

    For programs that use the server for a moment beside its owner. Blocks for 1 s at most.
    """
    path = _recorded_socket(directory) or directory / "redis.sock"
    return _url(path) if _ask(path, b"PING", timeout=1.0) == b"+PONG" else None


class EmbeddedServer:
    """A server in `directory`: a unix socket and no port, every write in an append-only file.

    Shape of the directory (mode 0700): `redis.sock`, `redis.pid`, `redis.log`, `appendonlydir/`, `owner.lock`
    (the owner's process id), and `socket-path` where the directory's path is too long for a socket's name.

    The server has a session of its own, so that a Ctrl-C at the terminal reaches its owner alone, who ends
    it when its work is done. `binary` defaults to `find_server_binary()`; `timeout` is in seconds and holds
    for the first answer, not for the reading of a large file. Start and stop may be repeated.
    """

    def __init__(self, directory: Path, *, binary: Path | None = None, timeout: float = 10.0) -> None:
        self.directory = Path(directory).absolute()
        self.adopted = False
        self._binary = binary
        self._timeout = timeout
        self._turn = threading.Lock()
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._socket: Path | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def socket(self) -> Path:
        """The server's unix socket (`redis-cli -s PATH`). Raises EmbeddedServerError before `start`."""
        if self._socket is None:
            raise EmbeddedServerError(f"the embedded server in {self.directory} is not running")
        return self._socket

    @property
    def url(self) -> str:
        """The address for clients, `unix:///…`. Raises EmbeddedServerError before `start`."""
        return _url(self.socket)

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it isn't running."""
        return self._pid

    @property
    def owns_lock(self) -> bool:
        """True from start to stop: the process that owned this directory before is dead, its workers too."""
        return self._lock is not None

    async def start(self) -> None:
        """Takes the directory and returns when the server answers.

        Raises DirectoryInUse where a living process owns the directory, EmbeddedServerError for all else.
        """
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Ends the server in order, its file written out, and gives the directory back."""
        await asyncio.to_thread(self._stop)

    def _start(self) -> None:
        with self._turn:
            if self._lock is not None:
                return
            try:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.directory.chmod(0o700)
                self._lock = self._take_lock()
                self._socket = self._place_socket()
                self._pid = self._adopt() or self._spawn()
            except BaseException as error:
                self._end()
                if isinstance(error, OSError):
                    raise EmbeddedServerError(f"can't run a server in {self.directory}: {error}") from error
                raise

    def _stop(self) -> None:
        with self._turn:
            self._end()

    def _take_lock(self) -> int:
        lock = os.open(self.directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise DirectoryInUse(
                f"{self.directory} is in use by process {owner}; wanted a directory that nobody uses"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        return lock

    def _place_socket(self) -> Path:
        """Where the socket goes: in the directory, or in a short private one that is recorded there."""
        path = self.directory / "redis.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        recorded = _recorded_socket(self.directory)
        if recorded is not None:
            return recorded
        base = os.environ.get("XDG_RUNTIME_DIR", "")
        if not (base and os.access(base, os.W_OK) and len(os.fsencode(base)) < 70):
            base = tempfile.gettempdir()
        path = Path(tempfile.mkdtemp(prefix="redis-", dir=base)) / "redis.sock"
        (self.directory / "socket-path").write_text(f"{path}\n")
        return path

    def _adopt(self) -> int | None:
        """The process id of a server that an earlier owner left and that answers; ends one that doesn't."""
        told = _ask(self.socket, b"INFO server", timeout=2.0)
        while told is not None and told.startswith(b"-LOADING"):
            time.sleep(0.05)
            told = _ask(self.socket, b"INFO server", timeout=2.0)
        match = re.search(rb"\bprocess_id:(\d+)", told or b"")
        if match:
            self.adopted = True
            return int(match[1])
        left = _read_pid(self.directory / "redis.pid")
        if left is not None and _runs_in(left, self.directory):
            # Two servers must never write one file.
            _end_process(left, None, grace=2.0)
        self.socket.unlink(missing_ok=True)
        return None

    def _spawn(self) -> int:
        binary = self._binary or find_server_binary()
        log = self.directory / "redis.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        place = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        keep = [
            "--dir",
            str(self.directory),
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
        ]
        rest = ["--daemonize", "no", "--pidfile", str(self.directory / "redis.pid"), "--logfile", ""]
        self.adopted = False
        with log.open("ab") as output:
            began = output.tell()
            self._process = subprocess.Popen(
                [binary, *place, *keep, *rest, "--maxmemory-policy", "noeviction"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid = self._process.pid
        deadline = time.monotonic() + self._timeout
        while True:
            answer = _ask(self.socket, b"PING", timeout=1.0)
            if answer == b"+PONG":
                return self._process.pid
            if answer is not None and answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + self._timeout
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                how = f"gave no answer in {self._timeout} s" if code is None else f"ended with code {code}"
                raise EmbeddedServerError(f"{binary} {how}; the end of its log, {log}:\n{_tail(log, began)}")
            time.sleep(0.005)

    def _end(self) -> None:
        """Ends the server, then gives back the socket's directory and the lock, in this order."""
        if self._lock is None:
            return
        try:
            if self._pid is not None:
                _end_process(self._pid, self._process, grace=10.0)
            if self._socket is not None:
                self._socket.unlink(missing_ok=True)
                if self._socket.parent != self.directory:
                    with contextlib.suppress(OSError):
                        self._socket.parent.rmdir()
                    (self.directory / "socket-path").unlink(missing_ok=True)
        finally:
            os.close(self._lock)
            self._lock = self._pid = self._process = self._socket = None


def _url(path: Path) -> str:
    return f"unix://{quote(str(path))}"


def _recorded_socket(directory: Path) -> Path | None:
    """The recorded socket's path, if its folder is still private to us: others may write where it lies."""
    try:
        path = Path((directory / "socket-path").read_text().strip())
        folder = path.parent.lstat()
    except (OSError, ValueError):
        return None
    private = stat.S_ISDIR(folder.st_mode) and folder.st_uid == os.geteuid() and not folder.st_mode & 0o077
    return path if private else None


def _ask(path: Path, command: bytes, *, timeout: float) -> bytes | None:
    """One inline command's answer: a bulk string's text, else the line itself; None where nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(os.fspath(path))
            client.sendall(command + b"\r\n")
            with client.makefile("rb") as answer:
                line = answer.readline().rstrip()
                return answer.read(int(line[1:])) if line.startswith(b"$") else line or None
    except (OSError, ValueError):
        return None


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to look does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return not Path("/proc/self").exists()
    return state != "Z"


def _runs_in(pid: int, directory: Path) -> bool:
    """Whether the process works in this directory, as our server does: its id may have passed to another."""
    if not _alive(pid):
        return False
    if not Path("/proc/self").exists():
        raise EmbeddedServerError(
            f"process {pid}, found in {directory}/redis.pid, runs and does not answer: end it if it is a "
            "Redis server, else remove that file"
        )
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory)
    except OSError:
        return False


def _end_process(pid: int, child: subprocess.Popen[bytes] | None, *, grace: float) -> None:
    """SIGTERM, and SIGKILL where that has done nothing in `grace` seconds; returns when it is gone."""
    for signal_, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + patience
        sent = False
        while time.monotonic() < deadline:
            if child.poll() is not None if child is not None else not _alive(pid):
                return
            if not sent:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_)
                sent = True
            time.sleep(0.005)
    raise EmbeddedServerError(f"the server process {pid} did not end, not even by SIGKILL")


def _tail(log: Path, began: int) -> str:
    """The last 20 lines that the server wrote since `began` (a byte offset)."""
    with log.open("rb") as file:
        file.seek(began)
        return "\n".join(file.read()[-8_000:].decode(errors="replace").splitlines()[-20:])
