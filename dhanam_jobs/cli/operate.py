"""`retry`, `promote`, `cancel`, `remove`, `empty`, `clean`, `clear`: the operators' verbs. Looking is `jobs.py`'s."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from dhanam_jobs.cli.show import Seconds, json_option, queue_argument, tell
from dhanam_jobs.cli.surroundings import engine_of, read_settings, run

if TYPE_CHECKING:
    from dhanam_jobs.engine import JobFilter, Queue

ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "every", is_flag=True, help="All of them, instead of IDs.")
name_option = click.option("--name", help="With --all: only jobs of this name.")
text_option = click.option("--text", help="With --all: only jobs with this text in id, payload, errors or metadata.")


@click.command()
@queue_argument
@ids_argument
@all_option
@click.option(
    "--state",
    type=click.Choice(["failed", "completed", "cancelled", "dead"]),
    help="With --all: jobs of this state, or dead letters; default failed.",
)
@name_option
@text_option
@json_option
def retry(
    queue: str, ids: tuple[str, ...], every: bool, state: str | None, name: str | None, text: str | None, as_json: bool
) -> None:
    """Run ended jobs or dead letters once more, under their ids, with all their attempts.

    \b
    dhanam-jobs retry email-notifications 5-1767412800000-0
    dhanam-jobs retry email-notifications --all --name send-email
    dhanam-jobs retry email-notifications --all --state dead
    """
    where = _where(ids, every, state, name, text)

    async def all_of_them(found: Queue) -> int:
        if state == "dead":
            return await found.operations.dead_letters.replay_all(where)
        return await found.operations.retry_all(state or "failed", where)

    _act(queue, ids, every, as_json, "retried", lambda q, job_id: q.operations.retry(job_id), all_of_them)


@click.command()
@queue_argument
@ids_argument
@all_option
@name_option
@text_option
@json_option
def promote(queue: str, ids: tuple[str, ...], every: bool, name: str | None, text: str | None, as_json: bool) -> None:
    """Make delayed jobs runnable now, before all others of their level.

    \b
    dhanam-jobs promote esg-updates 5-1767412800000-0
    dhanam-jobs promote esg-updates --all
    """
    where = _where(ids, every, None, name, text)
    _act(
        queue,
        ids,
        every,
        as_json,
        "promoted",
        lambda q, job_id: q.operations.promote(job_id),
        lambda q: q.operations.promote_all(where),
    )


@click.command()
@queue_argument
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", default="cancelled by an operator", show_default=True, help="What its record says.")
@json_option
def cancel(queue: str, ids: tuple[str, ...], reason: str, as_json: bool) -> None:
    """End jobs: at once where they don't run yet; a running one is interrupted within a second.

    \b
    dhanam-jobs cancel sync-transactions 5-1767412800000-0 --reason "wrong account"
    """
    settings = read_settings()

    async def main() -> list[str | None]:
        async with engine_of(settings) as engine:
            return [None if v is None else str(v) for v in await engine.queue(queue).cancel_many(ids, reason=reason)]

    verdicts = dict(zip(ids, run(main), strict=True))
    words = {"cancelled": "cancelled", "active": "runs, and was told to end"}
    problems = {
        job_id: f"job {job_id} is not on queue {queue!r}" if v is None else f"job {job_id} had ended before: {v}"
        for job_id, v in verdicts.items()
        if v not in _HEEDED
    }
    heeded = [job_id for job_id in verdicts if job_id not in problems]
    text = "\n".join(f"{job_id}: {words[str(verdicts[job_id])]}" for job_id in heeded)
    _report(queue, "cancelled", len(heeded), problems, as_json, text)


_HEEDED = ("cancelled", "active")


@click.command()
@queue_argument
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--force", is_flag=True, help="A running one too: its outcome no longer counts.")
@json_option
def remove(queue: str, ids: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove jobs, or the records of jobs that have ended.

    \b
    dhanam-jobs remove email-notifications 5-1767412800000-0
    """
    _act(queue, ids, False, as_json, "removed", lambda q, job_id: q.operations.remove(job_id, force=force), None)


@click.command()
@queue_argument
@click.option("--delayed", is_flag=True, help="The delayed ones too.")
@json_option
def empty(queue: str, delayed: bool, as_json: bool) -> None:
    """Remove what waits; running jobs and records stay.

    \b
    dhanam-jobs empty esg-updates --delayed
    """
    _act(queue, (), True, as_json, "removed", None, lambda q: q.operations.empty(delayed=delayed))


@click.command()
@queue_argument
@click.option(
    "--state",
    required=True,
    type=click.Choice(["waiting", "delayed", "blocked", "parked", "completed", "failed", "cancelled", "dead"]),
    help="Jobs of this state, or dead letters.",
)
@click.option("--older-than", type=Seconds(), help="Created, or ended, at least so long ago: 90, 15m, 2h, 7d.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, oldest first.")
@click.option("--name", help="Only jobs of this name.")
@json_option
def clean(queue: str, state: str, older_than: float | None, limit: int | None, name: str | None, as_json: bool) -> None:
    """Remove jobs of a state, oldest first.

    \b
    dhanam-jobs clean email-notifications --state completed --older-than 7d
    dhanam-jobs clean email-notifications --state dead
    """
    if state == "dead" and limit is not None:
        raise click.UsageError("--limit has no meaning for dead letters; --older-than has")

    async def clean_it(found: Queue) -> int:
        from dhanam_jobs.engine import JobFilter

        if state == "dead":
            return await found.operations.dead_letters.prune(JobFilter(name=name, older_than=older_than))
        return await found.operations.clean(state, older_than=older_than or 0, limit=limit, where=JobFilter(name=name))

    _act(queue, (), True, as_json, "removed", None, clean_it)


@click.command()
@queue_argument
@click.option("--yes", is_flag=True, help="It is meant.")
@click.option("--force", is_flag=True, help="Also while jobs run: their outcomes no longer count.")
@json_option
def clear(queue: str, yes: bool, force: bool, as_json: bool) -> None:
    """Remove all jobs, records and dead letters of a queue; schedules, a pause and lifetime counts stay.

    \b
    dhanam-jobs clear esg-updates --yes
    """
    if not yes:
        raise click.UsageError(f"clear removes every job and record of {queue}: say --yes where that is meant")
    _act(queue, (), True, as_json, "removed", None, lambda q: q.operations.clear(force=force))


def _where(ids: Sequence[str], every: bool, state: str | None, name: str | None, text: str | None) -> JobFilter:
    from dhanam_jobs.engine import JobFilter

    if bool(ids) == every:
        raise click.UsageError("wanted IDs, or --all" if not ids else "IDs and --all together: wanted one of them")
    if ids and (state or name or text):
        raise click.UsageError("--state, --name and --text go with --all")
    return JobFilter(name=name, text=text)


def _act(
    queue: str,
    ids: Sequence[str],
    every: bool,
    as_json: bool,
    done: str,
    one: Callable[[Queue, str], Awaitable[None]] | None,
    many: Callable[[Queue], Awaitable[int]] | None,
) -> None:
    """Does `one` to each id, or `many`, and reports; a job that it could not be done to is told, the others go on."""
    settings = read_settings()
    problems: dict[str, str] = {}

    async def main() -> int:
        from dhanam_jobs.engine import JobNotFound, WrongState

        async with engine_of(settings) as engine:
            found = engine.queue(queue)
            if every:
                assert many is not None
                return await many(found)
            assert one is not None
            for job_id in ids:
                try:
                    await one(found, job_id)
                except (JobNotFound, WrongState) as error:
                    problems[job_id] = str(error)
            return len(set(ids)) - len(problems)

    count = run(main)
    _report(queue, done, count, problems, as_json, f"{count} {'job' if count == 1 else 'jobs'} of {queue} {done}")


def _report(queue: str, done: str, count: int, problems: dict[str, str], as_json: bool, text: str) -> None:
    facts: dict[str, Any] = {"queue": queue, done: count, "problems": problems}
    for problem in problems.values():
        click.echo(f"dhanam-jobs: {problem}", err=True)
    if as_json or text:
        tell(as_json, facts, text)
    if problems:
        sys.exit(1)
