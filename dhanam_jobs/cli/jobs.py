"""`jobs` and `dead`: a queue's jobs, state by state, and its dead letters. Changing them is `operate.py`'s part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dhanam_jobs.cli.show import (
    QueueName,
    echo_json,
    json_option,
    moment,
    plain,
    print_table,
    queue_argument,
    shown_job,
    since,
)
from dhanam_jobs.cli.surroundings import engine_of, read_settings, run

if TYPE_CHECKING:
    from dhanam_jobs.engine import JobFilter, JobInfo, Page, Queue

_STATES = ("active", "waiting", "delayed", "blocked", "parked", "failed", "cancelled", "completed")
_REASON_LENGTH = 60


@click.command()
@queue_argument
@click.option("--state", type=click.Choice(_STATES), help="Only jobs of this state; default all, active first.")
@click.option("--name", help="Only jobs of this name.")
@click.option("--text", help="Only jobs with this text in id, payload, result, errors or metadata.")
@click.option("--priority", type=click.IntRange(0, 9), help="Only jobs of this level.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where a page ended; it says how.")
@json_option
def jobs(
    queue: str,
    state: str | None,
    name: str | None,
    text: str | None,
    priority: int | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List the jobs of a queue. Secrets in what they hold are hidden; `job QUEUE ID` shows one whole.

    \b
    dhanam-jobs jobs email-notifications --state failed
    dhanam-jobs jobs categorize-transactions --text space_123 --limit 5
    dhanam-jobs jobs esg-updates --state delayed --json
    """
    settings = read_settings()

    async def main() -> tuple[list[JobInfo], str | None, int, int]:
        from dhanam_jobs.engine import JobFilter

        where = JobFilter(name=name, text=text, priority=priority)
        async with engine_of(settings) as engine:
            found = engine.queue(queue)
            if state is not None:
                page = await found.operations.page(state, where=where, limit=limit, cursor=cursor)
                return page.jobs, page.cursor, page.searched, page.total
            return await _all_states(found, where, limit, cursor)

    listed, following, searched, total = run(main)
    _show(listed, following, searched, total, as_json)


async def _all_states(
    queue: Queue, where: JobFilter, limit: int, cursor: str | None
) -> tuple[list[JobInfo], str | None, int, int]:
    """One page over the states in their order; a cursor of such a page says by its first word where it goes on."""
    states = list(_STATES)
    if cursor is not None:
        first = cursor.partition(":")[0]
        if first not in states:
            raise click.UsageError(f"--cursor {cursor[:80]!r}: wanted one that a page of these jobs gave")
        states = states[states.index(first) :]
        if cursor == f"{first}:":
            cursor = None
    listed: list[JobInfo] = []
    searched = total = 0
    for number, state in enumerate(states):
        page: Page = await queue.operations.page(state, where=where, limit=limit - len(listed), cursor=cursor)
        cursor = None
        listed += page.jobs
        searched += page.searched
        total += page.total
        following = page.cursor
        if following is None and len(listed) >= limit and number + 1 < len(states):
            following = f"{states[number + 1]}:"
        if following is not None:
            return listed, following, searched, total
    return listed, None, searched, total


@click.command()
@click.argument("queue", type=QueueName(), required=False)
@click.option("--name", help="Only those of this job name.")
@click.option("--text", help="Only those with this text in id, payload, errors or metadata.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where a page ended; it says how.")
@json_option
def dead(queue: str | None, name: str | None, text: str | None, limit: int, cursor: str | None, as_json: bool) -> None:
    """Count the dead letters of all queues, or list those of one, newest first.

    Dead letters are failures that left the failed records. `retry QUEUE ID` runs one again, `retry QUEUE --all --state
    dead` all, `clean QUEUE --state dead` deletes them.

    \b
    dhanam-jobs dead
    dhanam-jobs dead email-notifications --name send-email
    """
    settings = read_settings()
    if queue is None:
        if name is not None or text is not None or cursor is not None:
            raise click.UsageError("--name, --text and --cursor need a QUEUE")

        async def count() -> dict[str, int]:
            async with engine_of(settings) as engine:
                return {
                    row.name: await engine.queue(row.name).operations.dead_letters.count()
                    for row in engine.registry.queues
                }

        counts = run(count)
        if as_json:
            echo_json(counts)
        else:
            print_table(("queue", ">dead letters"), counts.items())
        return

    async def main() -> Page:
        from dhanam_jobs.engine import JobFilter

        async with engine_of(settings) as engine:
            letters = engine.queue(queue).operations.dead_letters
            return await letters.page(where=JobFilter(name=name, text=text), limit=limit, cursor=cursor)

    page = run(main)
    _show(page.jobs, page.cursor, page.searched, page.total, as_json)


def _show(listed: list[JobInfo], cursor: str | None, searched: int, total: int, as_json: bool) -> None:
    if as_json:
        rows = [shown_job(info) for info in listed]
        echo_json({"jobs": rows, "cursor": cursor, "searched": searched, "total": total})
        return
    print_table(
        ("id", "name", "state", ">level", ">attempt", ">age", "what"),
        [
            (info.id, info.name, info.state, info.priority, info.attempt, since(info.created_ms), _what(info))
            for info in listed
        ],
    )
    click.echo(f"{len(listed)} shown, {searched} of {total} looked at", err=True)
    if cursor is not None:
        click.echo(f"more: --cursor '{plain(cursor)}'", err=True)


def _what(info: JobInfo) -> str:
    """The word that tells most about a job of its state."""
    from dhanam_jobs.handlers.redaction import redact, secrets_in_json

    if info.error is not None and info.state != "completed":
        reason = f"{info.error.type}: {redact(info.error.message, secrets=secrets_in_json(bytes(info.payload)))}"
        return reason if len(reason) <= _REASON_LENGTH else reason[: _REASON_LENGTH - 1] + "…"
    if info.due_ms is not None:
        return f"due {moment(info.due_ms)}"
    if info.state == "active":
        told = "" if info.cancelling is None else f", cancelling: {info.cancelling}"
        return f"on {info.worker}{told}"
    if info.finished_ms is not None:
        return f"ended {since(info.finished_ms)} ago"
    return "" if info.unique is None else f"key {info.unique}"
