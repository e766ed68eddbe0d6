"""`top`: a live view of queues, rates, workers, slowest and failing jobs on the terminal. `top_frame.py` asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dhanam_jobs.cli.show import echo_json, json_option, moment, since, span, table
from dhanam_jobs.cli.surroundings import engine_of, read_settings, run

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from dhanam_jobs.cli.top_frame import Frame

_QUIT = b"qQ\x1b\x03\x04"


@click.command()
@click.option("--every", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Show one moment and end.")
@json_option
def top(every: float, once: bool, as_json: bool) -> None:
    """Watch the queues, their rates, the workers, and which jobs are slow or fail; q or Ctrl-C ends it.

    \b
    dhanam-jobs top
    dhanam-jobs top --once --json
    """
    if not once and (as_json or not sys.stdout.isatty()):
        raise click.UsageError("the live view needs a terminal and no --json; --once shows one moment")
    settings = read_settings()

    async def main() -> None:
        from rich.console import Console
        from rich.live import Live

        from dhanam_jobs.cli.top_frame import take_frame

        async with engine_of(settings) as engine:
            frame = await take_frame(engine)
            if as_json:
                echo_json(frame)
                return
            console = Console(highlight=False)
            if once:
                console.print(_view(frame))
                return
            with _keys() as asked, Live(console=console, screen=True, auto_refresh=False) as live:
                while not asked.is_set():
                    live.update(_view(frame), refresh=True)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(every):
                            await asked.wait()
                            return
                    frame = await take_frame(engine, frame)

    with contextlib.suppress(KeyboardInterrupt):
        run(main)


@contextlib.contextmanager
def _keys() -> Iterator[asyncio.Event]:
    """An event that a key which means "end" sets. Keys are read as they are pressed, and not shown."""
    asked = asyncio.Event()
    if not sys.stdin.isatty():
        yield asked
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    kept = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        keys = os.read(descriptor, 64)
        if not keys or any(key in _QUIT for key in keys):
            asked.set()
            loop.remove_reader(descriptor)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield asked
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, kept)


def _view(frame: Frame) -> Group:
    from rich.console import Group
    from rich.text import Text

    memory = f"{frame.used_memory / 1e6:.1f} MB"
    busy = sum(len(worker.running) for process in frame.processes for worker in process.workers)
    slots = sum(worker.concurrency for process in frame.processes for worker in process.workers)
    head = (
        f"dhanam-jobs  {moment(frame.at_ms)[:-5]}Z  {frame.server}  {memory}  "
        f"{frame.commands_per_second} commands/s  {len(frame.processes)} processes  {busy}/{slots} busy   q ends"
    )
    return Group(
        Text(head, style="reverse", no_wrap=True, overflow="ellipsis"),
        Text(),
        _queues(frame),
        Text("\nworkers", style="bold underline"),
        table(
            ("supervisor", ">queues", ">busy", ">beat", ">lag ms"),
            [
                (
                    f"{process.host}:{process.pid}",
                    len(process.queues),
                    f"{sum(len(w.running) for w in process.workers)}/{sum(w.concurrency for w in process.workers)}",
                    since(process.beat_ms),
                    "" if process.loop_lag_ms is None else f"{process.loop_lag_ms:.0f}",
                )
                for process in frame.processes
            ],
            cut=True,
        ),
        Text("\nslowest", style="bold underline"),
        table(
            ("queue", "job", "id", ">took", ""),
            [
                (job.queue, job.name, job.id, span(job.seconds), "running" if job.running else "")
                for job in frame.slowest
            ],
            cut=True,
        ),
        Text("\nfailing", style="bold underline"),
        table(
            ("queue", "job", ">failures", "last", ">ago"),
            [(job.queue, job.name, job.count, job.reason, since(job.last_ms)) for job in frame.failing],
            cut=True,
        ),
    )


def _queues(frame: Frame) -> Table:
    rows = []
    for row in frame.queues:
        rate = frame.rates.get(row.name)
        state = "paused" if row.paused_ms is not None else "" if row.workers else "no worker"
        counts = (row.waiting, row.active, row.delayed, row.blocked + row.parked, row.completed, row.failed, row.dead)
        rows.append((row.name, *counts, "" if rate is None else f"{rate:.1f}", state))
    columns = ("queue", ">waiting", ">active", ">delayed", ">held", ">done", ">failed", ">dead", ">done/s", "")
    return table(columns, rows, cut=True)
