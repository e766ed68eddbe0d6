"""`workers` and `drain`: the processes that work the queues, and asking one of them to end its work."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import click

from dhanam_jobs.cli.show import Seconds, echo_json, json_option, print_table, since, tell
from dhanam_jobs.cli.surroundings import engine_of, fail, read_settings, run

if TYPE_CHECKING:
    from dhanam_jobs.engine import Engine, ProcessInfo

_LOOK_S = 0.2
_RUNNING_SHOWN = 3


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List the living workers: process, queue, jobs running of its slots, last sign of life, loop lag.

    \b
    dhanam-jobs workers
    dhanam-jobs workers --json
    """
    settings = read_settings()

    async def main() -> list[ProcessInfo]:
        from dhanam_jobs.engine.fleet import processes

        async with engine_of(settings) as engine:
            return await processes(engine)

    found = run(main)
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo("no worker is alive; `up` starts some", err=True)
    print_table(
        ("supervisor", "queue", ">busy", ">up", ">beat", ">lag ms", "running"),
        [
            (
                f"{process.host}:{process.pid}",
                worker.queue,
                f"{len(worker.running)}/{worker.concurrency}" + (f"+{worker.prefetch}" if worker.prefetch else ""),
                since(worker.started_ms),
                since(worker.beat_ms),
                "" if worker.loop_lag_ms is None else f"{worker.loop_lag_ms:.0f}",
                ", ".join(f"{job.name} {job.id} {since(job.since_ms)}" for job in worker.running[:_RUNNING_SHOWN])
                + (f", and {more} more" if (more := len(worker.running) - _RUNNING_SHOWN) > 0 else ""),
            )
            for process in found
            for worker in process.workers
        ],
    )


@click.command()
@click.argument("supervisor", required=False)
@click.option("--wait", type=Seconds(), help="Return when it has left, at most after so long: 30, 2m.")
@json_option
def drain(supervisor: str | None, wait: float | None, as_json: bool) -> None:
    """Tell a supervisor to accept and claim no more, end what runs, and let its workers leave. Queues aren't paused.

    SUPERVISOR is HOST:PID as `workers` shows it, or a PID of this machine; it may be left out where only one lives.

    \b
    dhanam-jobs drain
    dhanam-jobs drain api-7:4711 --wait 2m
    """
    settings = read_settings()

    async def main() -> tuple[str, bool]:
        async with engine_of(settings) as engine:
            process = await _find(engine, supervisor)
            name = f"{process.host}:{process.pid}"
            for worker in process.workers:
                if await engine.queue(worker.queue).worker(worker.name).drain():
                    break
            if wait is None:
                return name, False
            try:
                async with asyncio.timeout(wait):
                    while await _lives(engine, process):  # noqa: ASYNC110 - nothing tells that a process has left
                        await asyncio.sleep(_LOOK_S)
            except TimeoutError:
                fail(f"supervisor {name} was told to drain, and had not left after {wait:g} s")
            return name, True

    name, left = run(main)
    text = f"supervisor {name} has drained" if left else f"supervisor {name} was told to drain"
    tell(as_json, {"supervisor": name, "left": left}, text)


async def _find(engine: Engine, wanted: str | None) -> ProcessInfo:
    from dhanam_jobs.engine.fleet import processes

    found = {f"{process.host}:{process.pid}": process for process in await processes(engine)}
    if not found:
        fail("no supervisor is alive")
    if wanted is not None and wanted.isdigit():
        wanted = f"{socket.gethostname()}:{wanted}"
    if wanted is None:
        if len(found) > 1:
            fail(f"{len(found)} supervisors live; name one of {', '.join(found)}", 2)
        return next(iter(found.values()))
    if wanted not in found:
        fail(f"no supervisor {wanted!r} lives: wanted one of {', '.join(found)}")
    return found[wanted]


async def _lives(engine: Engine, process: ProcessInfo) -> bool:
    from dhanam_jobs.engine.fleet import processes

    now = await processes(engine, process.queues)
    return any((one.host, one.pid) == (process.host, process.pid) for one in now)
