"""The command `python -m benchmarks`: runs everything interleaved, prints tables, writes JSON."""

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console

from benchmarks.contestants import ROOT, Contestant, contestants
from benchmarks.install import install
from benchmarks.machine import machine
from benchmarks.measure import Bench, Case, Run
from benchmarks.noise import wait_for_quiet
from benchmarks.pinning import Pinning
from benchmarks.report import Report, markdown, show
from benchmarks.server import RedisServer

RESULTS = ROOT / "benchmarks" / "results"


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Runs behind each median.")
@click.option("--jobs", default=100_000, show_default=True, help="Jobs drained at concurrency 100.")
@click.option("--narrow-jobs", default=20_000, show_default=True, help="Jobs drained at concurrency 5.")
@click.option("--arq-jobs", default=5_000, show_default=True, help="The same for arq at concurrency 100.")
@click.option("--latency-jobs", default=1_000, show_default=True, help="Lone jobs, one each 5 ms.")
@click.option("--scale", default=1.0, show_default=True, help="Multiplies all of these; 0.1 for a quick look.")
@click.option("--only", default="", help="Names of contestants or engines, with commas; default all.")
@click.option("--without", default="", help="Names to leave out, with commas.")
@click.option("--cases", default=",".join(Case), show_default=True, help="Cases to run, with commas.")
@click.option(
    "--appendfsync",
    type=click.Choice(["everysec", "always", "no"]),
    help="Give Redis an append-only file; default no persistence.",
)
@click.option("--noise-limit", default=0.2, show_default=True, help="Foreign share of a core; above, repeat.")
@click.option("--extra-rounds", default=2, show_default=True, help="At most so many rounds for noisy runs.")
@click.option(
    "--patience", default=10.0, show_default=True, help="Seconds to wait for a quiet moment before each case."
)
@click.option("--limit", "limit_s", default=300.0, show_default=True, help="Seconds before a process is ended.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Default benchmarks/results/TIME.json.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown instead of tables.")
def main(
    rounds: int,
    jobs: int,
    narrow_jobs: int,
    arq_jobs: int,
    latency_jobs: int,
    scale: float,
    only: str,
    without: str,
    cases: str,
    appendfsync: str | None,
    noise_limit: float,
    extra_rounds: int,
    patience: float,
    limit_s: float,
    json_path: Path | None,
    as_markdown: bool,
) -> None:
    """Measures our engine, BullMQ on Node and arq in the same run, on a Redis started for it."""
    progress = Console(stderr=True)
    started = datetime.now(UTC).replace(microsecond=0)
    everyone = [
        msgspec.structs.replace(contestant, sizes=contestant.sizes.scaled(scale))
        for contestant in contestants(jobs, narrow_jobs, arq_jobs, latency_jobs)
    ]
    chosen = _choose(everyone, only, without)
    wanted = _cases(cases)
    pinning = Pinning.detect()
    try:
        install(contestant.engine for contestant in chosen)
        with RedisServer(pinning, appendfsync) as server:
            bench = Bench(server, pinning, limit_s)
            quiet = partial(wait_for_quiet, noise_limit, patience)
            runs = _rounds(bench, chosen, wanted, rounds, noise_limit, extra_rounds, quiet, progress)
            report = Report(
                started=started.isoformat(),
                machine=machine(server.version),
                durability=server.durability,
                pinned=pinning.server_core is not None,
                rounds=rounds,
                noise_limit=noise_limit,
                contestants=chosen,
                runs=runs,
            )
    except RuntimeError as error:
        progress.print(str(error), style="red", markup=False, highlight=False)
        sys.exit(1)
    path = json_path or RESULTS / f"{started:%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    if as_markdown:
        click.echo(markdown(report))
    else:
        show(report, Console())
    progress.print(f"All runs: {path}", markup=False, highlight=False)


def _rounds(
    bench: Bench,
    chosen: list[Contestant],
    cases: list[Case],
    rounds: int,
    noise_limit: float,
    extra_rounds: int,
    wait: Callable[[], None],
    progress: Console,
) -> list[Run]:
    """Case by case each contestant in turn, the first of the turn moving on each round.

    A round is repeated whole while a case has fewer quiet rounds than wanted, so that noise gives nobody more
    chances than the others.
    """
    runs: list[Run] = []
    quiet = dict.fromkeys(cases, 0)
    for number in range(1, rounds + extra_rounds + 1):
        for case in [case for case in cases if number <= rounds or quiet[case] < rounds]:
            told: list[Run] = []
            for contestant in _turned(chosen, number - 1):
                wait()
                told += bench.run(contestant, case, number)
                progress.print(_line(told[-1]), markup=False, highlight=False)
            runs += told
            quiet[case] += all((run.noise.foreign or 0) <= noise_limit for run in told)
    return runs


def _turned(chosen: list[Contestant], by: int) -> list[Contestant]:
    cut = by % len(chosen)
    return chosen[cut:] + chosen[:cut]


def _line(run: Run) -> str:
    told = f"{run.per_s:,.0f}/s" if run.per_s is not None else f"p50 {run.p50_ms} ms, p99 {run.p99_ms} ms"
    noise = "unknown" if run.noise.foreign is None else f"{run.noise.foreign:.2f}"
    return f"round {run.round}  {run.contestant:<16} {run.figure:<14} {told} (foreign cores {noise})"


def _choose(everyone: list[Contestant], only: str, without: str) -> list[Contestant]:
    known = {contestant.name for contestant in everyone} | {contestant.engine.value for contestant in everyone}
    taken, left = _words("--only", only, known), _words("--without", without, known)
    chosen = [
        contestant
        for contestant in everyone
        if (not taken or {contestant.name, contestant.engine} & taken)
        and not {contestant.name, contestant.engine} & left
    ]
    if not chosen:
        raise click.UsageError(f"--only {only!r} --without {without!r} leave nobody of {', '.join(sorted(known))}")
    return chosen


def _cases(text: str) -> list[Case]:
    taken = _words("--cases", text, set(Case))
    return [case for case in Case if case in taken]


def _words(option: str, text: str, known: Iterable[str]) -> set[str]:
    words = {word.strip() for word in text.split(",") if word.strip()}
    if unknown := words - set(known):
        legal = ", ".join(sorted(known))
        raise click.UsageError(f"{option} names {', '.join(sorted(unknown))}, wanted some of {legal}")
    return words


if __name__ == "__main__":
    main()
