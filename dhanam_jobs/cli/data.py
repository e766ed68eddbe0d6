"""`load`, `import` and `demo reset`: data into the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dhanam_jobs.cli.equipment import make_cipher
from dhanam_jobs.cli.surroundings import fail, read_settings, run, store_of
from dhanam_jobs.settings import Settings

if TYPE_CHECKING:
    from dhanam_jobs.handlers.load import Loaded
    from dhanam_jobs.handlers.statements import Hints, ImportReport

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ERRORS_SHOWN = 20


@click.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def load(file: Path, as_json: bool) -> None:
    """Load users, spaces, members, accounts, budgets, categories, rules and connections; the known are updated.

    The whole file is stored, or nothing. docs/load-format.md shows its shape.

    \b
    dhanam-jobs load books.json
    """
    settings = read_settings()

    async def main() -> dict[str, Loaded]:
        from dhanam_jobs.handlers.load import load_file

        async with store_of(settings) as store:
            return await load_file(store, file, make_cipher(settings))

    report = run(main)
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    for kind, loaded in report.items():
        click.echo(f"{kind:<14} {loaded.new} new, {loaded.known} known")


@click.command("import")
@click.argument("file", type=_FILE)
@click.option("--space", "space_id", required=True, help="The space's id.")
@click.option("--account", "account_id", help="The account's id; needed where the space has several.")
@click.option("--strict", is_flag=True, help="Store nothing where a row is bad.")
@click.option("--date-format", help="dmy, mdy, ymd, or a pattern such as dd/mm/yyyy.")
@click.option("--decimal", type=click.Choice(["point", "comma"]), help="What separates decimals.")
@click.option("--flip-signs/--keep-signs", "flip_signs", default=None, help="Whether a positive amount is money out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def import_csv(
    file: Path,
    space_id: str,
    account_id: str | None,
    strict: bool,
    date_format: str | None,
    decimal: str | None,
    flip_signs: bool | None,
    as_json: bool,
) -> None:
    """Import a bank statement. The same file twice adds nothing; an overlapping one adds what is new.

    Exit code 1 where rows were bad; the good ones are stored all the same, unless --strict.

    \b
    dhanam-jobs import estado.csv --space space_123 --account acc_checking
    dhanam-jobs import statement.csv --space space_123 --date-format mdy --decimal point --strict
    """
    from dhanam_jobs.handlers.statements import Hints

    settings = read_settings()
    hints = Hints(date_format, decimal, flip_signs)
    report = run(lambda: _import(settings, file, space_id, account_id, strict, hints))
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _tell(report)
    if report.errors:
        sys.exit(1)


async def _import(
    settings: Settings, file: Path, space_id: str, account_id: str | None, strict: bool, hints: Hints
) -> ImportReport:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from dhanam_jobs.handlers.statements import import_statement

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with store_of(settings) as store:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            row = bar.add_task("rows", total=None)
            return await import_statement(
                store,
                file,
                space_id=space_id,
                account_id=account_id,
                strict=strict,
                hints=hints,
                progress=lambda done, total: bar.update(row, completed=done, total=total),
            )


def _tell(report: ImportReport) -> None:
    for bad in report.errors[:_ERRORS_SHOWN]:
        click.echo(str(bad), err=True)
    if len(report.errors) > _ERRORS_SHOWN:
        click.echo(f"… and {len(report.errors) - _ERRORS_SHOWN} more bad rows", err=True)
    if report.refused:
        fail(f"nothing was stored: {len(report.errors)} rows are bad")
    if report.skipped:
        click.echo(f"{len(report.skipped)} lines are no transactions and were passed over", err=True)
    click.echo(f"{report.inserted} new, {report.known} known, {len(report.errors)} bad; account {report.account_id}")


@click.group()
def demo() -> None:
    """The demo data: users, spaces and transactions of an invented household.

    \b
    dhanam-jobs demo reset
    """


@demo.command()
def reset() -> None:
    """Put the demo data back as it was on the first day; nothing else is touched."""
    settings = read_settings()
    if not settings.embedded_mode:
        fail("the demo data belongs to embedded mode; DATABASE_URL or REDIS_URL is set")

    async def main() -> None:
        from dhanam_jobs.handlers.demo import reset_demo

        async with store_of(settings) as store:
            await reset_demo(store, make_cipher(settings))

    run(main)
    click.echo("the demo data is as new")
