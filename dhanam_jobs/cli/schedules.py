"""`schedules` and `schedule run/pause/resume`: what is started when, and an operator's say in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dhanam_jobs.cli.show import Seconds, echo_json, json_option, moment, print_table, since, span, tell
from dhanam_jobs.cli.surroundings import engine_of, fail, read_settings, run

if TYPE_CHECKING:
    from dhanam_jobs.engine import ScheduleInfo


@click.command()
@json_option
def schedules(as_json: bool) -> None:
    """List the schedules: their times, when they fire next, and how the last run ended.

    \b
    dhanam-jobs schedules
    dhanam-jobs schedules --json
    """
    settings = read_settings()

    async def main() -> list[ScheduleInfo]:
        async with engine_of(settings) as engine:
            return await engine.schedules.list()

    found = run(main)
    if as_json:
        echo_json([_shown(info) for info in found])
        return
    if not found:
        click.echo("there are no schedules", err=True)
    print_table(
        ("name", "job", "times", "zone", "next", ">runs", "last run"),
        [
            (
                info.schedule.name,
                f"{info.queue} {info.schedule.job}",
                info.schedule.expression,
                info.schedule.tz,
                _next(info),
                info.count,
                "" if info.last_run is None else f"{info.last_run.state}, {since(info.last_run.finished_ms)} ago",
            )
            for info in found
        ],
    )


@click.group()
def schedule() -> None:
    """Run a schedule now, pause it, resume it.

    \b
    dhanam-jobs schedule run generate-valuation-snapshots --wait 5m
    dhanam-jobs schedule pause sync-crypto-portfolios
    """


@schedule.command("run")
@click.argument("name")
@click.option("--wait", type=Seconds(), help="Wait this long and print the result.")
@json_option
def run_now(name: str, wait: float | None, as_json: bool) -> None:
    """Start a run now, paused or not; print its job's id, or with --wait its result as JSON."""
    settings = read_settings()

    async def main() -> tuple[str, str, Any]:
        from dhanam_jobs.engine import JobFailed, ResultTimeout

        async with engine_of(settings) as engine:
            job = await engine.schedules.run_now(name)
            if wait is None:
                return job.queue, job.id, None
            try:
                return job.queue, job.id, await job.result(wait)
            except (JobFailed, ResultTimeout) as error:
                fail(str(error))

    queue, job_id, result = run(main)
    if wait is not None:
        echo_json(result)
    else:
        tell(as_json, {"schedule": name, "queue": queue, "id": job_id}, job_id)


@schedule.command("pause")
@click.argument("name")
@json_option
def pause(name: str, as_json: bool) -> None:
    """Start no more runs, until `schedule resume`; those that run go on."""
    changed = _set(name, "pause")
    told = f"{name} is paused" if changed else f"{name} was paused already"
    tell(as_json, {"schedule": name, "paused": True, "changed": changed}, told)


@schedule.command("resume")
@click.argument("name")
@json_option
def resume(name: str, as_json: bool) -> None:
    """End a pause; what fell due meanwhile is not made up for."""
    changed = _set(name, "resume")
    told = f"{name} is resumed" if changed else f"{name} was not paused"
    tell(as_json, {"schedule": name, "paused": False, "changed": changed}, told)


def _set(name: str, verb: str) -> bool:
    settings = read_settings()

    async def main() -> bool:
        async with engine_of(settings) as engine:
            if verb == "pause":
                return await engine.schedules.pause(name)
            return await engine.schedules.resume(name)

    return run(main)


def _next(info: ScheduleInfo) -> str:
    if info.paused_ms is not None:
        return f"paused for {since(info.paused_ms)}"
    if not info.next_ms:
        return "never again"
    left = max(0.0, info.next_ms[0] / 1000 - time.time())
    return f"{moment(info.next_ms[0])[:-5]}Z, in {span(left)}"


def _shown(info: ScheduleInfo) -> dict[str, Any]:
    """As JSON has it, what the payload and the last result hold of secrets hidden."""
    from dhanam_jobs.handlers.redaction import redact

    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(info))
    shown["schedule"]["payload"] = redact(shown["schedule"]["payload"])
    shown["last_run"] = redact(shown["last_run"])
    return shown
