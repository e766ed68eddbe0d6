"""How commands show things: tables and moments for people, one JSON document for programs, and the options for both."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

if TYPE_CHECKING:
    from rich.table import Table

    from dhanam_jobs.engine import JobInfo

Command = TypeVar("Command", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
# Amounts are Decimals; they go out as numbers with the digits that they have.
encode_json: Final = msgspec.json.Encoder(decimal_format="number").encode
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PIPE_WIDTH: Final = 200


class Seconds(click.ParamType[float]):
    """A duration: seconds, or a number with s, m, h or d behind it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", str(value))
        if found is None:
            self.fail(f"found {value!r}, wanted seconds such as 90, or 90s, 15m, 2h, 7d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class QueueName(click.ParamType[str]):
    """A queue's name; which there are is the engine's to say, a shell is told when it asks."""

    name = "queue"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        from dhanam_jobs.handlers.queues import QUEUE_NAMES

        return [CompletionItem(name) for name in QUEUE_NAMES if name.startswith(incomplete)]


queue_argument = click.argument("queue", type=QueueName())


def echo_json(value: Any) -> None:
    """Prints one JSON document."""
    click.echo(encode_json(value))


def tell(as_json: bool, facts: dict[str, Any], text: str) -> None:
    """Says what a command did: the facts to a program, the text to a person."""
    if as_json:
        echo_json(facts)
    else:
        click.echo(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, cut: bool = False) -> Table:
    """A table without lines; a column whose name begins with `>` is aligned to the right. Texts that find no room
    are folded, or `cut`; numbers, which are aligned to the right, stay whole as long as there are texts to cut."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        name = column.lstrip(">")
        if column != name:
            made.add_column(Text(name), justify="right", no_wrap=True)
        else:
            # It is the cells that don't wrap: of columns that don't, rich would take as much as of the numbers'.
            made.add_column(Text(name, no_wrap=cut), overflow="ellipsis" if cut else "fold")
    for row in rows:
        # Text, since a string would be read for markup.
        made.add_row(*(Text("" if cell is None else plain(str(cell)), no_wrap=cut) for cell in row))
    return made


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; into a pipe with room for long lines."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table(columns, rows))


def plain(text: str) -> str:
    """A text without what would steer the terminal, as a job's error or id might."""
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def moment(ms: int) -> str:
    """`2026-01-03 04:00:00.123Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def span(seconds: float) -> str:
    """A duration for people: `0.42 s`, `12 s`, `3 min`, `5.2 h`, `8 d`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} d"


def since(ms: int | None) -> str:
    """How long ago a moment was; empty for none."""
    return "" if ms is None else span(max(0.0, time.time() - ms / 1000))


def shown_job(info: JobInfo, *, raw: bool = False) -> dict[str, Any]:
    """A job as it may be shown: what its payload, result, errors and metadata hold of secrets is hidden, also where an
    error repeats one of the payload's, and long texts are cut, unless `raw`."""
    from dhanam_jobs.handlers.redaction import redact, redact_json, secrets_in_json

    shown: dict[str, Any] = msgspec.structs.asdict(info)
    if raw:
        return shown
    secrets = secrets_in_json(bytes(info.payload))
    shown["payload"] = redact_json(bytes(info.payload))
    if info.result is not None:
        shown["result"] = redact_json(bytes(info.result), secrets)
    for name in ("error", "errors", "meta", "unique", "key", "cancelling"):
        if shown[name]:
            shown[name] = redact(msgspec.to_builtins(shown[name]), secrets=secrets)
    return shown
