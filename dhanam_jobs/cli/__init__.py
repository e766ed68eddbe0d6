"""The command line: one module per group of commands, loaded when one of its commands is called.

This package joins http, handlers and engine; `__main__` only starts it. Commands print what was asked for on stdout
and everything else on stderr. Exit codes: 0 done, 1 it failed or something is wrong, 2 bad usage.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from dhanam_jobs import __version__

COMMANDS: Final = {
    "up": ("up", "up"),
    "token": ("token", "token"),
    "load": ("data", "load"),
    "import": ("data", "import_csv"),
    "demo": ("data", "demo"),
    "enqueue": ("act", "enqueue"),
    "pause": ("act", "pause"),
    "resume": ("act", "resume"),
    "stats": ("look", "stats"),
    "job": ("look", "job"),
    "inspect": ("look", "inspect"),
    "sandbox": ("sandbox", "sandbox"),
    "redis": ("redis_shell", "redis"),
}
"""Command: module in this package and the function in it."""

SUMMARIES: Final = {
    "up": "Start the service: workers, HTTP, and where needed a Redis and a store of its own.",
    "token": "Print a JWT for a user.",
    "load": "Load users, spaces, accounts, categories and rules from a JSON file.",
    "import": "Import a bank statement (CSV).",
    "demo": "The demo data.",
    "enqueue": "Store a job and print its id, or with --wait its result.",
    "pause": "Pause a queue for the whole fleet.",
    "resume": "Resume a paused queue.",
    "stats": "Show the counts of every queue.",
    "job": "Show one job.",
    "inspect": "Check that what must always be true is true.",
    "sandbox": "The providers' stand-ins as a server of their own.",
    "redis": "A small redis-cli to our server.",
}


class _Group(click.Group):
    """Loads a command's module when the command is called, so that `--help` opens at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"dhanam_jobs.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in COMMANDS])


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dhanam-jobs")
def cli() -> None:
    """Dhanam Jobs: a background-job engine on Redis Streams, and Dhanam's jobs on it.

    \b
    dhanam-jobs up                          start everything, on http://127.0.0.1:4300
    dhanam-jobs token                       a token for the demo user
    dhanam-jobs stats                       what the queues hold
    dhanam-jobs load FILE.json              your own spaces, accounts and rules
    dhanam-jobs import FILE.csv --space ID  a bank statement
    """
