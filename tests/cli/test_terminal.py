"""What commands show on a terminal: tmux drives them, presses keys, and its screen is read."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from dhanam_jobs.cli.show import table
from tests.conftest import absent

if TYPE_CHECKING:
    from tests.cli.conftest import Ask, Service

NAME = "categorize-transactions"
_PATIENCE_S = 30


class Terminal:
    """A terminal of 120 by 50 in which commands are typed."""

    def __init__(self, socket: Path, environ: dict[str, str]) -> None:
        self._tmux = ["tmux", "-u", "-f", "/dev/null", "-S", str(socket)]
        self._environ = {**environ, "TERM": "screen-256color", "PS1": "$ ", "LC_ALL": "C.UTF-8"}
        self._run("new-session", "-d", "-x", "120", "-y", "50", "sh")

    def _run(self, *arguments: str) -> str:
        environ = {name: value for name, value in self._environ.items() if name != "COLUMNS"}
        done = subprocess.run([*self._tmux, *arguments], env=environ, capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, text: str) -> None:
        """Types a line and presses Enter."""
        self._run("send-keys", "-l", text)
        self._run("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Presses one key, as tmux names it."""
        self._run("send-keys", key)

    @property
    def screen(self) -> str:
        """What can be read now."""
        return self._run("capture-pane", "-p")

    def wait_for(self, shows: Callable[[str], bool], what: str) -> str:
        """The screen as soon as it shows it."""
        deadline = time.monotonic() + _PATIENCE_S
        while not shows(screen := self.screen):
            if time.monotonic() > deadline:
                pytest.fail(f"the screen did not show {what}:\n{screen}")
            time.sleep(0.05)
        return screen

    def end(self) -> None:
        """Ends the terminal and what runs in it."""
        self._run("kill-server")


@pytest.fixture
def terminal(tmp_path: Path, service: Service) -> Iterator[Terminal]:
    """A terminal whose commands find the module's service."""
    if shutil.which("tmux") is None:
        absent("tmux")
    opened = Terminal(tmp_path / "tmux", service.environ)
    yield opened
    opened.end()


def row_of(screen: str, name: str) -> list[str]:
    """The words of the line that begins with a name."""
    return next((line.split() for line in screen.splitlines() if line.startswith(name)), [])


def test_top_shows_what_happens_and_ends_at_q(ask: Ask, terminal: Terminal) -> None:
    """Counts change on the screen as jobs end; the screen of before comes back, and the exit code is 0."""
    ask("enqueue", NAME, NAME, '{"spaceId": "space_123"}', "--delay", "1h")
    terminal.type(f"{sys.executable} -m dhanam_jobs top --every 0.2; echo ended with $?")
    screen = terminal.wait_for(lambda screen: row_of(screen, NAME)[1:4] == ["0", "0", "1"], "one delayed job")
    assert "q ends" in screen
    assert "0/30 busy" in screen
    done = int(row_of(screen, NAME)[5])
    failed = ask("enqueue", NAME, NAME, '{"spaceId": "nowhere"}', "--wait", "30")
    assert failed.exit_code == 1
    screen = terminal.wait_for(lambda screen: row_of(screen, NAME)[6:7] == ["1"], "one failed job")
    assert int(row_of(screen, NAME)[5]) == done
    assert "Discard" in screen
    ask("pause", NAME)
    terminal.wait_for(lambda screen: "paused" in row_of(screen, NAME), "the pause")
    ask("resume", NAME)
    terminal.press("q")
    screen = terminal.wait_for(lambda screen: "ended with 0" in screen, "that top has ended")
    assert "q ends" not in screen


def test_ctrl_c_ends_top_and_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    """What is typed afterwards can be seen."""
    terminal.type(f"{sys.executable} -m dhanam_jobs top; echo ended with $?")
    terminal.wait_for(lambda screen: "q ends" in screen, "top")
    terminal.press("C-c")
    terminal.wait_for(lambda screen: "ended with 0" in screen, "that top has ended")
    terminal.type("echo typed")
    terminal.wait_for(lambda screen: "echo typed\ntyped" in screen, "what is typed")


def test_an_import_shows_how_far_it_is(ask: Ask, terminal: Terminal, tmp_path: Path) -> None:
    """A bar that moves with the rows, on the terminal alone; the summary follows."""
    statement = tmp_path / "estado.csv"
    rows = "".join(f"2026-01-{1 + n % 28:02},Coffee {n},-{n % 90 + 1}.50\n" for n in range(3000))
    statement.write_text("Date,Description,Amount\n" + rows)
    books = tmp_path / "books.json"
    books.write_text(BOOKS)
    assert ask("load", str(books)).exit_code == 0
    terminal.type(f"{sys.executable} -m dhanam_jobs import {statement} --space cafe; echo ended with $?")
    screen = terminal.wait_for(lambda screen: "ended with 0" in screen, "that the import has ended")
    (bar,) = [line for line in screen.splitlines() if "3000/3000" in line]
    assert "━" in bar
    assert "3000 new, 0 known, 0 bad" in screen


BOOKS = """{
    "users": [{"id": "eva", "email": "eva@example.org", "name": "Eva"}],
    "spaces": [{"id": "cafe", "name": "Café", "type": "business"}],
    "members": [{"userId": "eva", "spaceId": "cafe", "role": "owner"}],
    "accounts": [{"id": "till", "spaceId": "cafe", "provider": "manual", "name": "Till", "type": "checking",
                  "currency": "MXN"}]
}"""


def test_numbers_stay_whole_where_a_narrow_screen_cuts_texts() -> None:
    """On 80 columns the names of queues are cut, and neither counts nor durations."""
    shown = io.StringIO()
    row = ("categorize-transactions", "categorize-transactions", "5-1795887761155-0.space_123", "0.52 s", 123_456)
    Console(file=shown, width=80).print(table(("queue", "job", "id", ">took", ">done"), [row], cut=True))
    heads, cells = shown.getvalue().splitlines()
    assert len(cells) <= 80
    assert heads.split() == ["queue", "job", "id", "took", "done"]
    assert cells.split()[3:] == ["0.52", "s", "123456"]
    assert cells.count("…") == 3
