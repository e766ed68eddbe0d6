"""`bench`: runs the benchmarks of a checkout; measuring is theirs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import dhanam_jobs
from dhanam_jobs.cli.surroundings import fail


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]...")
def bench(arguments: tuple[str, ...]) -> None:
    """Measure the engine beside BullMQ and arq, on a Redis of its own; the options are the benchmarks' own.

    \b
    dhanam-jobs bench --scale 0.1 --rounds 1 --only ours
    dhanam-jobs bench -- --help                  all options
    """
    root = Path(dhanam_jobs.__file__).parents[1]
    if not (root / "benchmarks" / "__main__.py").is_file():
        fail("the benchmarks are part of a checkout, not of an installed package: clone it, then `./run bench`")
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    sys.stdout.flush()
    # It takes this process's place, so that Ctrl-C and the exit code are its own.
    os.execve(  # noqa: S606
        sys.executable, [sys.executable, "-m", "benchmarks", *arguments], {**os.environ, "PYTHONPATH": path}
    )
