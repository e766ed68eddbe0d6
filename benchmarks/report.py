"""Turns runs into medians, tables for people and one JSON document; measures nothing itself."""

from collections.abc import Callable, Iterable
from statistics import median

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import Contestant
from benchmarks.machine import Machine
from benchmarks.measure import Figure, Run

OURS = "ours"


class Report(msgspec.Struct, frozen=True):
    """Everything that one benchmark found; this is the JSON document.

    `started` is UTC in ISO form; `rounds` the number of rounds that each median is taken over, the quietest;
    `noise_limit` the foreign share of a core above which a round was repeated; `runs` holds all of them.
    """

    started: str
    machine: Machine
    durability: str
    pinned: bool
    rounds: int
    noise_limit: float
    contestants: list[Contestant]
    runs: list[Run]


class Line(msgspec.Struct, frozen=True):
    """One table: a title, the heads of its columns, and rows of as many cells."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def quietest(report: Report, contestant: str, figure: Figure) -> list[Run]:
    """The runs that count for a figure: those of the rounds in which its noisiest run was the least noisy.

    The rounds are the same for all contestants, so that each is compared with its neighbours in time.
    """
    noise: dict[int, float] = {}
    for run in report.runs:
        if run.figure is figure:
            noise[run.round] = max(noise.get(run.round, 0.0), _foreign(run))
    rounds = sorted(noise, key=lambda number: noise[number])[: report.rounds]
    return [run for run in report.runs if run.figure is figure and run.contestant == contestant and run.round in rounds]


def middle(runs: Iterable[Run], pick: Callable[[Run], float | None]) -> float | None:
    """The median of what `pick` takes from each run; None where there is nothing."""
    values = [value for run in runs if (value := pick(run)) is not None]
    return median(values) if values else None


def tables(report: Report) -> list[Line]:
    """One table for each figure, then ours against each peer."""
    measured = {run.figure for run in report.runs}
    figures = [_figure(report, figure) for figure in Figure if figure in measured and figure is not Figure.LATENCY]
    latency = [_latency(report)] if Figure.LATENCY in measured else []
    return [*figures, *latency, *_against(report)]


def _figure(report: Report, figure: Figure) -> Line:
    filled = figure in (Figure.SINGLE, Figure.BULK)
    rows = []
    for contestant in report.contestants:
        runs = quietest(report, contestant.name, figure)
        if not runs:
            continue
        rows.append(
            [
                contestant.name,
                _count(middle(runs, lambda run: run.jobs)),
                _count(middle(runs, lambda run: run.per_s)),
                _count(max(run.per_s or 0 for run in runs)),
                _shown(middle(runs, lambda run: run.client_us), "{:.1f}"),
                _shown(middle(runs, lambda run: run.redis_us), "{:.1f}"),
                _shown(middle(runs, lambda run: run.commands), "{:.2f}"),
                _shown(middle(runs, lambda run: run.reads), "{:.2f}"),
                _count(middle(runs, lambda run: run.bytes_per_job if filled else run.rss_mb)),
                _noisiest(runs),
            ]
        )
    heads = ["engine", "N", "jobs/s", "best", "client µs", "Redis µs", "cmds", "reads"]
    return Line(figure, [*heads, "B/job" if filled else "RSS MB", "noise"], rows)


def _latency(report: Report) -> Line:
    rows = []
    for contestant in report.contestants:
        runs = quietest(report, contestant.name, Figure.LATENCY)
        p50, p99 = middle(runs, lambda run: run.p50_ms), middle(runs, lambda run: run.p99_ms)
        n = _count(middle(runs, lambda run: run.jobs))
        rows.append([contestant.name, n, _shown(p50, "{:.2f}"), _shown(p99, "{:.2f}"), _noisiest(runs)])
    return Line("latency of a lone job", ["engine", "N", "p50 ms", "p99 ms", "noise"], rows)


def _against(report: Report) -> list[Line]:
    """How many times as fast ours drained: of medians, and the least among the pairs of one round."""
    names = [contestant.name for contestant in report.contestants]
    if OURS not in names or len(names) < 2:
        return []
    rows = []
    for name in names:
        if name == OURS:
            continue
        row = [name]
        for figure in (Figure.WIDE, Figure.NARROW):
            ours, theirs = quietest(report, OURS, figure), quietest(report, name, figure)
            ours_s, theirs_s = middle(ours, lambda run: run.per_s), middle(theirs, lambda run: run.per_s)
            pairs = [
                (mine.per_s or 0) / (other.per_s or 1) for mine in ours for other in theirs if mine.round == other.round
            ]
            of_medians = ours_s / theirs_s if ours_s and theirs_s else None
            row.append(_shown(of_medians, "{:.1f}"))
            row.append(_shown(min(pairs, default=None), "{:.1f}"))
        rows.append(row)
    heads = [
        "ours against",
        f"{Figure.WIDE}: times as fast",
        "least",
        f"{Figure.NARROW}: times as fast",
        "least",
    ]
    return [Line("ours against the others", heads, rows)]


def preface(report: Report) -> str:
    """One paragraph with what the numbers were taken on."""
    machine = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    pinned = "Redis and client pinned to a core each" if report.pinned else "nothing pinned"
    return (
        f"{report.started}: {machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB, "
        f"{machine.kernel}; {pinned}. Durability: {report.durability}. "
        f"Medians of the {report.rounds} quietest interleaved runs. {versions}."
    )


def caution(report: Report) -> str | None:
    """Says that runs behind the medians were too noisy to quote; None where none was."""
    figures = {run.figure for run in report.runs}
    counted = [run for c in report.contestants for figure in figures for run in quietest(report, c.name, figure)]
    noisy = sum(_foreign(run) > report.noise_limit for run in counted)
    if noisy == 0:
        return None
    return (
        f"Not to be quoted: in {noisy} of the {len(counted)} runs that count, others took more than "
        f"{report.noise_limit:g} of a core."
    )


def show(report: Report, console: Console) -> None:
    """Prints the tables for a terminal."""
    console.print(preface(report), highlight=False)
    if warning := caution(report):
        console.print(warning, style="yellow", highlight=False)
    for line in tables(report):
        table = Table(title=line.title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
        for index, head in enumerate(line.heads):
            table.add_column(head, justify="left" if index == 0 else "right", no_wrap=index == 0)
        for row in line.rows:
            table.add_row(*row)
        console.print(table)


def markdown(report: Report) -> str:
    """The same tables as Markdown, for README.md."""
    parts = [preface(report), *filter(None, [caution(report)])]
    for line in tables(report):
        rule = ["---"] + ["--:"] * (len(line.heads) - 1)
        body = "\n".join(f"| {' | '.join(cells)} |" for cells in (line.heads, rule, *line.rows))
        parts.append(f"**{line.title}**\n\n{body}")
    return "\n\n".join(parts) + "\n"


def _foreign(run: Run) -> float:
    return 0.0 if run.noise.foreign is None else run.noise.foreign


def _noisiest(runs: Iterable[Run]) -> str:
    """The largest foreign share among the runs that count."""
    known = [run.noise.foreign for run in runs if run.noise.foreign is not None]
    return _shown(max(known, default=None), "{:.2f}")


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _count(value: float | None) -> str:
    return _shown(value, "{:,.0f}")
