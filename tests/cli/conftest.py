"""The service as a real process, and its commands as real processes or called in this one.

A test that starts, ends or breaks a service has one of its own (`start_service`, `command`). The others of a module
share one (`service`, `ask`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click.testing
import pytest

from dhanam_jobs.cli import cli

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


def own_environ(directory: Path) -> dict[str, str]:
    """An environment with a data directory of its own and none of the service's variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYENV_VERSION") if name in os.environ}
    return {**kept, "JOBS_DATA_DIR": str(directory), "HTTP_PORT": "0", "COLUMNS": "100"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """This test's own environment."""
    return own_environ(tmp_path / "data")


@pytest.fixture(scope="module")
def up_arguments() -> list[str]:
    """How the module's service is started; a module may have it otherwise."""
    return ["--no-http"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, up_arguments: list[str]) -> Iterator[Service]:
    """One running service for all tests of a module that only use it."""
    environ = own_environ(tmp_path_factory.mktemp("service") / "data")
    started = Service(["--embedded", *up_arguments], environ)
    try:
        yield started.wait_ready()
    finally:
        if started.process.poll() is None:
            started.process.terminate()
        started.wait()


Ask = Callable[..., click.testing.Result]


def caller(environ: dict[str, str]) -> Ask:
    """Calls one command in this process: `ask("stats", "--json").stdout`; `stdin=` gives it input, other keywords
    variables."""
    runner = click.testing.CliRunner()

    def call(*arguments: str, stdin: str | None = None, **more: str) -> click.testing.Result:
        # What the tests' own environment says of a service is not for this one.
        given: dict[str, str | None] = dict.fromkeys(os.environ)
        given.update(environ)
        given.update(more)
        return runner.invoke(cli, arguments, input=stdin, env=given, prog_name="dhanam-jobs", catch_exceptions=False)

    return call


@pytest.fixture(scope="module")
def ask(service: Service) -> Ask:
    """Calls one command on the module's service."""
    return caller(service.environ)


@pytest.fixture
def call(environ: dict[str, str]) -> Ask:
    """Calls one command in this test's own environment."""
    return caller(environ)


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
