"""`enqueue`, `pause` and `resume`: commands that change what the queues hold or do."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from dhanam_jobs.cli.show import Seconds, json_option, queue_argument, tell
from dhanam_jobs.cli.surroundings import engine_of, fail, read_settings, run


@click.command()
@queue_argument
@click.argument("name")
@click.argument("payload")
@click.option("--id", "job_id", help="The job's id; one that exists is returned as it is.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 (most urgent) to 9; default 5.")
@click.option("--delay", type=Seconds(), help="How long before it may run: 90, 15m, 2h.")
@click.option("--key", help="Unique key: an equal job under it is that job, another one waits until it has ended.")
@click.option("--wait", type=Seconds(), help="Wait this long and print the result.")
@json_option
def enqueue(
    queue: str,
    name: str,
    payload: str,
    job_id: str | None,
    priority: int | None,
    delay: float | None,
    key: str | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Store a job with a JSON payload; print its id, or with --wait its result as JSON.

    \b
    dhanam-jobs enqueue categorize-transactions categorize-transactions '{"spaceId": "space_123"}' --wait 30
    dhanam-jobs enqueue categorize-transactions categorize-transactions '{"spaceId": "space_123"}' --delay 2h
    """
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise click.UsageError(f"PAYLOAD {payload[:80]!r} is no JSON: {error}") from None
    settings = read_settings()

    async def main() -> Any:
        from dhanam_jobs.engine import JobFailed, ResultTimeout

        async with engine_of(settings) as engine:
            job = await engine.queue(queue).enqueue(name, value, id=job_id, priority=priority, delay=delay, unique=key)
            if not job.created:
                click.echo(f"{job.id} was there already; nothing new was stored", err=True)
            if wait is None:
                facts = {"queue": queue, "id": job.id, "created": job.created}
                return msgspec.json.encode(facts) if as_json else job.id
            try:
                return msgspec.json.encode(await job.result(wait))
            except (JobFailed, ResultTimeout) as error:
                fail(str(error))

    click.echo(run(main))


@click.command()
@queue_argument
@json_option
def pause(queue: str, as_json: bool) -> None:
    """Start nothing more of a queue, on any worker, until `resume`; running jobs end.

    \b
    dhanam-jobs pause email-notifications
    """
    settings = read_settings()

    async def main() -> bool:
        async with engine_of(settings) as engine:
            return await engine.queue(queue).pause()

    changed = run(main)
    facts = {"queue": queue, "paused": True, "changed": changed}
    tell(as_json, facts, f"{queue} is paused" if changed else f"{queue} was paused already")


@click.command()
@queue_argument
@json_option
def resume(queue: str, as_json: bool) -> None:
    """Resume a paused queue.

    \b
    dhanam-jobs resume email-notifications
    """
    settings = read_settings()

    async def main() -> bool:
        async with engine_of(settings) as engine:
            return await engine.queue(queue).resume()

    changed = run(main)
    facts = {"queue": queue, "paused": False, "changed": changed}
    tell(as_json, facts, f"{queue} is resumed" if changed else f"{queue} was not paused")
