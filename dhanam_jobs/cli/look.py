"""`stats`, `job` and `inspect`: commands that look and change nothing."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from dhanam_jobs.cli.surroundings import engine_of, fail, read_settings, run

if TYPE_CHECKING:
    from dhanam_jobs.engine import JobInfo, QueueStats

_COLUMNS = ("waiting", "active", "delayed", "completed", "failed")


@click.command()
@click.option("--watch", is_flag=True, help="Show again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def stats(watch: bool, as_json: bool) -> None:
    """Show the counts of every queue. Completed and failed are lifetime counts of endings."""
    settings = read_settings()

    async def main() -> list[QueueStats]:
        async with engine_of(settings) as engine:
            return await engine.stats()

    while True:
        rows = run(main)
        if as_json:
            click.echo(msgspec.json.encode(rows))
        else:
            if watch:
                click.clear()
            _show_stats(rows)
        if not watch:
            return
        time.sleep(1)


def _show_stats(rows: list[QueueStats]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("queue", box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.name, *(str(getattr(row, column)) for column in _COLUMNS))
    Console().print(table)


@click.command()
@click.argument("queue")
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def job(queue: str, job_id: str, as_json: bool) -> None:
    """Show one job, in whatever state."""
    settings = read_settings()

    async def main() -> JobInfo | None:
        async with engine_of(settings) as engine:
            return await engine.queue(queue).get(job_id)

    info = run(main)
    if info is None:
        fail(f"queue {queue!r} has no job {job_id!r}: never enqueued, removed, or no longer kept")
    if as_json:
        click.echo(msgspec.json.encode(info))
        return
    for name in info.__struct_fields__:
        value = getattr(info, name)
        if value in (None, [], 0) and name not in ("priority", "attempt"):
            continue
        if name.endswith("_ms"):
            name, value = name[:-3], datetime.fromtimestamp(value / 1000, UTC).isoformat(" ", "milliseconds")
        if isinstance(value, msgspec.Raw):
            value = bytes(value).decode()
        elif isinstance(value, list | dict | msgspec.Struct):
            value = msgspec.json.encode(value).decode()
        click.echo(f"{name:<12} {value}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def inspect(as_json: bool) -> None:
    """Check the live server for what must always be true; exit code 1 and a list where something is off."""
    settings = read_settings()

    async def main() -> dict[str, list[str]]:
        from dhanam_jobs.engine.inspection import inspect_queue

        async with engine_of(settings) as engine:
            return {row.name: await inspect_queue(engine.queue(row.name)) for row in engine.registry.queues}

    problems = run(main)
    if as_json:
        click.echo(msgspec.json.encode(problems))
    else:
        for queue, found in problems.items():
            click.echo(f"{queue}: {'sound' if not found else f'{len(found)} problems'}")
            for problem in found:
                click.echo(f"  {problem}")
    if any(problems.values()):
        sys.exit(1)
