"""`events`: what happened on the queues, and what happens now."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dhanam_jobs.cli.show import QueueName, echo_json, encode_json, moment, plain
from dhanam_jobs.cli.surroundings import engine_of, read_settings, run

if TYPE_CHECKING:
    from dhanam_jobs.engine import Event

_SHOWN_FIRST = ("event", "queue", "offset", "at_ms", "job_id")


@click.command()
@click.argument("queues", nargs=-1, type=QueueName(), metavar="[QUEUE]...")
@click.option("--follow", "-f", is_flag=True, help="Show what happens from now on, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Without --follow.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; with --follow one a line.")
def events(queues: tuple[str, ...], follow: bool, limit: int, as_json: bool) -> None:
    """Show the last events of these queues, or of all: one line for each job that reached a state.

    \b
    dhanam-jobs events email-notifications --limit 10
    dhanam-jobs events --follow
    dhanam-jobs events --follow --json | jq -c 'select(.event == "failed")'
    """
    settings = read_settings()

    async def main() -> None:
        async with engine_of(settings) as engine:
            names = queues or tuple(row.name for row in engine.registry.queues)
            if not follow:
                found = await engine.recent_events(*names, limit=limit)
                if as_json:
                    echo_json([_shown(event) for event in found])
                else:
                    for event in found:
                        click.echo(_line(event))
                return
            async with engine.events(*names) as reader:
                # A program that reads this must know from when on nothing is missed.
                click.echo("following", err=True)
                async for event in reader:
                    click.echo(encode_json(_shown(event)) if as_json else _line(event))

    with contextlib.suppress(KeyboardInterrupt):
        run(main)


def _shown(event: Event) -> Any:
    from dhanam_jobs.handlers.redaction import redact

    shown = msgspec.to_builtins(event)
    if "value" in shown:
        shown["value"] = redact(shown["value"])
    return shown


def _line(event: Event) -> str:
    shown = _shown(event)
    rest = " ".join(f"{name}={value}" for name, value in shown.items() if name not in _SHOWN_FIRST)
    words = (moment(event.at_ms), f"{event.queue:<24}", f"{shown['event']:<10}", shown.get("job_id", ""), rest)
    return plain(" ".join(words).rstrip())
