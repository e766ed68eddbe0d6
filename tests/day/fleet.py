"""The service's processes on a simulated day: real supervisors that are killed and replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Fleet:
    """Processes of `dhanam-jobs up --no-http`, all with one log.

    Args:
        environ: what they get beside this process's own.
    """

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environ}
        self._log = log
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return list(self._running)

    def start(self) -> int:
        """Start one more; gives its pid."""
        command = [sys.executable, "-m", "dhanam_jobs", "up", "--no-http", "--no-demo"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environ)
        self._running[process.pid] = process
        return process.pid

    def kill(self, pid: int) -> None:
        """End one as a power cut would."""
        process = self._running.pop(pid)
        process.kill()
        process.wait(10)

    def stop(self) -> list[int]:
        """End all in order; gives their exit codes."""
        for process in self._running.values():
            process.terminate()
        codes = [process.wait(60) for process in self._running.values()]
        self._running.clear()
        return codes

    def end(self) -> None:
        """End all at once, whatever state they are in."""
        for pid in self.pids:
            self.kill(pid)

    def complaints(self) -> str:
        """The log's tail, for a test that fails."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""
