"""Writes README.md, the tutorial's page, from its steps: the text of each, its code, and what it prints.

    python docs/tutorial/make.py

A step is one file: its docstring is the text, what follows is the program. It is run on an embedded server.
"""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from dhanam_jobs.engine.embedded import EmbeddedServer

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
HEAD = """\
# The engine in ten steps

Each step is one file that runs as it stands, against the Redis (7.0 or newer; or Valkey 7.2) at `REDIS_URL` or at
`redis://localhost:6379`: `python docs/tutorial/01_first_job.py`. What it prints is shown below it; the tests run each.
This page is made from the files by `make.py`. Without a Redis, let `./run` start one of its own in another terminal,
and take the socket that it shows: `REDIS_URL=unix:///…/redis.sock`.

"""
TAIL = """\
## Where to go from here

The manual has a page for each subject: [enqueue](../enqueue.md), [running](../running.md),
[schedules](../schedules.md), [limits](../limits.md), [fan-out](../fan-out.md),
[events and metrics](../events-and-metrics.md), [operators](../operators.md), [operations](../operations.md),
[testing](../testing.md). The [reference](../reference.md) lists every public name.
"""


def steps() -> list[Path]:
    """The files of the steps, in order."""
    return sorted(HERE.glob("[0-9]*.py"))


def parts(step: Path) -> tuple[str, str, str]:
    """Title, text and program of a step."""
    source = step.read_text("utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    title, _, rest = text.partition("\n")
    program = source[source.index('"""', 3) + 3 :].strip("\n")
    return title.removeprefix("# "), rest.strip("\n"), program


def run(step: Path, url: str) -> str:
    """What a step prints; raises CalledProcessError where it fails."""
    environment = {**os.environ, "REDIS_URL": url}
    ended = subprocess.run([sys.executable, step], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode or ended.stderr:
        raise RuntimeError(f"{step.name} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def page(said: dict[str, str]) -> str:
    """The page, given what each step prints by its file's name."""
    found = [(number, step, *parts(step)) for number, step in enumerate(steps(), 1)]
    index = "".join(f"{number}. [{title}](#{_anchor(number, title)})\n" for number, _, title, _, _ in found)
    body = "".join(
        f"\n## {number}. {title}\n\n{text}\n\n[`{step.name}`]({step.name})\n\n"
        f"```python\n{program}\n```\n\n```text\n{said[step.name]}```\n"
        for number, step, title, text, program in found
    )
    return f"{HEAD}{index}{body}\n{TAIL}"


def _anchor(number: int, title: str) -> str:
    """As GitHub makes it."""
    kept = "".join(letter for letter in f"{number} {title}".lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


async def main() -> None:
    """Runs the steps on a server of its own and writes the page."""
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory))
        await server.start()
        try:
            said = {step.name: await asyncio.to_thread(run, step, server.url) for step in steps()}
        finally:
            await server.stop()
    PAGE.write_text(page(said), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
