"""The service as a real process, and its commands as real processes, each test with a data directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_READY_S = 60


class Service:
    """`dhanam-jobs up` in a process: `url` once it is ready, `stdout` and `stderr` as far as they were read."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        self.environ = environ
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dhanam_jobs", "up", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._ready = threading.Event()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.stdout), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.stderr), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: object, lines: list[str]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            lines.append(line.rstrip("\n"))
            if lines is self.stdout and line.lstrip().startswith("data "):
                self._ready.set()
        if lines is self.stdout:
            self._ready.set()

    def wait_ready(self) -> Service:
        """Returns when it says that it is ready; fails with its logs where it ends before."""
        assert self._ready.wait(_READY_S), self.logs
        assert self.stdout[:1] == ["Dhanam Jobs is ready."], self.logs
        return self

    @property
    def logs(self) -> str:
        """All that it wrote so far."""
        return "\n".join([*self.stdout, *self.stderr])

    @property
    def url(self) -> str:
        """Its address."""
        found = re.search(r"address\s+(http://\S+)", "\n".join(self.stdout))
        assert found, self.logs
        return found[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Returns the exit code when it has ended and everything it wrote was read."""
        code = self.process.wait(_READY_S)
        for reader in self._readers:
            reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a data directory of its own and none of the service's variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYENV_VERSION") if name in os.environ}
    return {**kept, "JOBS_DATA_DIR": str(tmp_path / "data"), "HTTP_PORT": "0", "COLUMNS": "100"}


StartService = Callable[..., Service]


@pytest.fixture
def start_service(environ: dict[str, str]) -> Iterator[StartService]:
    """Starts `up --embedded` with more arguments and variables; everything is ended after the test."""
    services: list[Service] = []

    def start(*arguments: str, **more: str) -> Service:
        service = Service(["--embedded", *arguments], {**environ, **more})
        services.append(service)
        return service

    yield start
    for service in services:
        if service.process.poll() is None:
            service.process.terminate()
        service.wait()


RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(environ: dict[str, str]) -> RunCommand:
    """Runs one command to its end: `command("stats", "--json")`; `stdin=` gives it input, other keywords variables."""

    def run(*arguments: str, stdin: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dhanam_jobs", *arguments],
            env={**environ, **more},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_READY_S,
            check=False,
        )

    return run
