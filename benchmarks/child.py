"""A process that serves one measured stretch and answers in JSON lines.

What it is asked for is left to measure.py.
"""

import json
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Any

from benchmarks.contestants import ROOT


class Child:
    """A running contestant; a context manager that ends what is left.

    `limit_s` seconds after its start the process is killed, so that an engine which loses a job ends the
    benchmark with an error rather than never.
    """

    def __init__(self, command: list[str], mode: str, options: dict[str, int | float | str], limit_s: float) -> None:
        self._title = f"{' '.join(command[-2:])} {mode}"
        self._limit_s = limit_s
        self._stderr = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  __exit__ closes it
        self._process = subprocess.Popen(
            [*command, mode, json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            cwd=ROOT,
        )
        self._killed = False
        self._timer = threading.Timer(limit_s, self._kill)
        self._timer.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    def line(self) -> dict[str, Any]:
        """Waits for the next line; raises RuntimeError, with the end of stderr, where none comes."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError(self._failure())
        answer: dict[str, Any] = json.loads(text)
        return answer

    def end(self) -> None:
        """Waits for the end of the process; raises RuntimeError where it failed."""
        if self._process.wait() != 0:
            raise RuntimeError(self._failure())

    def _kill(self) -> None:
        self._killed = True
        self._process.kill()

    def _failure(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        why = f"was ended after {self._limit_s:.0f} s" if self._killed else f"ended with {code}"
        return f"{self._title} {why}:\n{self._stderr.read()[-3000:]}"
