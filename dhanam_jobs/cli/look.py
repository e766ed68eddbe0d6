"""`stats`, `job` and `inspect`: commands that look and change nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dhanam_jobs.cli.show import (
    echo_json,
    encode_json,
    json_option,
    moment,
    plain,
    print_table,
    queue_argument,
    shown_job,
    since,
)
from dhanam_jobs.cli.surroundings import engine_of, fail, read_settings, run
from dhanam_jobs.settings import Settings

if TYPE_CHECKING:
    from dhanam_jobs.engine import Explanation, JobInfo, JobNotes, QueueCounts, QueueStats

_COUNTS = ("waiting", "active", "delayed", "blocked", "parked", "completed", "failed", "dead")
_LOG_LINES = 20


@click.command()
@click.option("--watch", is_flag=True, help="Show again every second, until Ctrl-C.")
@json_option
def stats(watch: bool, as_json: bool) -> None:
    """Show the counts of every queue. Completed and failed are lifetime counts of endings.

    \b
    dhanam-jobs stats
    dhanam-jobs stats --json
    """
    settings = read_settings()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            if as_json:
                echo_json(run(lambda: _stats(settings)))
            else:
                rows = run(lambda: _counts(settings))
                if watch:
                    click.clear()
                _show_counts(rows)
            if not watch:
                return
            time.sleep(1)


async def _stats(settings: Settings) -> list[QueueStats]:
    async with engine_of(settings) as engine:
        return await engine.stats()


async def _counts(settings: Settings) -> list[QueueCounts]:
    async with engine_of(settings) as engine:
        return [await engine.queue(row.name).counts() for row in engine.registry.queues]


def _show_counts(rows: list[QueueCounts]) -> None:
    print_table(
        ("queue", *(f">{name}" for name in _COUNTS), ">workers", ""),
        [
            (
                row.name,
                *(getattr(row, name) for name in _COUNTS),
                row.workers,
                "" if row.paused_ms is None else f"paused for {since(row.paused_ms)}",
            )
            for row in rows
        ],
    )


@click.command()
@queue_argument
@click.argument("job_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Whole, with what is hidden or cut otherwise: secrets and long texts.")
@json_option
def job(queue: str, job_id: str, raw: bool, as_json: bool) -> None:
    """Show one job, in whatever state: why it has not run yet, its errors, its progress and the end of its log.

    \b
    dhanam-jobs job categorize-transactions 5-1767412800000-0
    dhanam-jobs job categorize-transactions 5-1767412800000-0 --json
    """
    settings = read_settings()

    async def main() -> tuple[JobInfo | None, Explanation | None, JobNotes]:
        from dhanam_jobs.engine import JobNotFound

        async with engine_of(settings) as engine:
            found = engine.queue(queue)
            info = await found.get(job_id)
            why = None
            if info is not None and info.finished_ms is None:
                with contextlib.suppress(JobNotFound):
                    why = await found.operations.explain(job_id)
            return info, why, await found.notes(job_id, -_LOG_LINES)

    info, why, notes = run(main)
    if info is None:
        fail(f"queue {queue!r} has no job {job_id!r}: never enqueued, removed, or no longer kept")
    shown = shown_job(info, raw=raw)
    if why is not None:
        shown["why"] = why.reasons
    if notes.progress is not None:
        shown["progress"] = notes.progress
    if notes.lines:
        shown["log"] = notes.lines
    if not raw:
        _hide(shown, info)
    if as_json:
        echo_json(shown)
    else:
        _show_job(shown)


def _hide(shown: dict[str, Any], info: JobInfo) -> None:
    from dhanam_jobs.handlers.redaction import redact, secrets_in_json

    secrets = secrets_in_json(bytes(info.payload))
    for name in ("progress", "log"):
        if name in shown:
            shown[name] = redact(msgspec.to_builtins(shown[name]), secrets=secrets)


def _show_job(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        if value in (None, [], 0) and name not in ("priority", "attempt"):
            continue
        if name.endswith("_ms"):
            name, value = name[:-3], moment(value)
        for line in value if name in ("why", "errors", "log") else [value]:
            told = msgspec.to_builtins(line) if isinstance(line, msgspec.Struct) else line
            if name == "why":
                told = told["text"]
            elif not isinstance(told, str | int | float):
                told = encode_json(told).decode()
            click.echo(f"{name:<12} {plain(str(told))}")


@click.command()
@json_option
def inspect(as_json: bool) -> None:
    """Check the live server for what must always be true; exit code 1 and a list where something is off.

    \b
    dhanam-jobs inspect
    """
    settings = read_settings()

    async def main() -> dict[str, list[str]]:
        from dhanam_jobs.engine.inspection import inspect_queue

        async with engine_of(settings) as engine:
            return {row.name: await inspect_queue(engine.queue(row.name)) for row in engine.registry.queues}

    problems = run(main)
    if as_json:
        echo_json(problems)
    else:
        for queue, found in problems.items():
            click.echo(f"{queue}: {'sound' if not found else f'{len(found)} problems'}")
            for problem in found:
                click.echo(f"  {plain(problem)}")
    if any(problems.values()):
        sys.exit(1)
