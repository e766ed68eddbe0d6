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
    "sandbox": ("sandbox", "sandbox"),
    "stats": ("look", "stats"),
    "jobs": ("jobs", "jobs"),
    "job": ("look", "job"),
    "dead": ("jobs", "dead"),
    "workers": ("fleet", "workers"),
    "schedules": ("schedules", "schedules"),
    "events": ("events", "events"),
    "top": ("top", "top"),
    "enqueue": ("act", "enqueue"),
    "pause": ("act", "pause"),
    "resume": ("act", "resume"),
    "retry": ("operate", "retry"),
    "promote": ("operate", "promote"),
    "cancel": ("operate", "cancel"),
    "remove": ("operate", "remove"),
    "empty": ("operate", "empty"),
    "clean": ("operate", "clean"),
    "clear": ("operate", "clear"),
    "schedule": ("schedules", "schedule"),
    "drain": ("fleet", "drain"),
    "doctor": ("doctor", "doctor"),
    "inspect": ("look", "inspect"),
    "redis": ("redis_shell", "redis"),
    "bench": ("bench", "bench"),
    "completion": ("completion", "completion"),
}
"""Command: module in this package and the function in it."""

SUMMARIES: Final = {
    "Start": {
        "up": "Start the service: workers, HTTP, and where needed a Redis and a store of its own.",
        "token": "Print a JWT for a user.",
        "load": "Load users, spaces, accounts, categories and rules from a JSON file.",
        "import": "Import a bank statement (CSV).",
        "demo": "The demo data.",
        "sandbox": "The providers' stand-ins as a server of their own.",
    },
    "Look": {
        "stats": "Show the counts of every queue.",
        "jobs": "List the jobs of a queue.",
        "job": "Show one job, and why it has not run yet.",
        "dead": "Count the dead letters, or list those of a queue.",
        "workers": "List the living workers.",
        "schedules": "List the schedules.",
        "events": "Show what happened, or with --follow what happens.",
        "top": "A live view of queues, rates, workers, slow and failing jobs.",
    },
    "Act": {
        "enqueue": "Store a job and print its id, or with --wait its result.",
        "pause": "Pause a queue for the whole fleet.",
        "resume": "Resume a paused queue.",
        "retry": "Run ended jobs or dead letters once more.",
        "promote": "Make delayed jobs runnable now.",
        "cancel": "End jobs, running ones too.",
        "remove": "Remove jobs, or the records of ended ones.",
        "empty": "Remove what waits.",
        "clean": "Remove old jobs of a state.",
        "clear": "Remove all jobs and records of a queue.",
        "schedule": "Run a schedule now, pause it, resume it.",
        "drain": "Let a supervisor end its work and leave.",
    },
    "Check": {
        "doctor": "Check settings, servers, store and mail, and say what to do.",
        "inspect": "Check that what must always be true is true.",
        "redis": "A small redis-cli to our server.",
        "bench": "Measure the engine, in a checkout.",
        "completion": "Print the completion script of a shell.",
    },
}
"""What `--help` says of the commands, by section."""


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
        for section, summaries in SUMMARIES.items():
            with formatter.section(section):
                formatter.write_dl(list(summaries.items()))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dhanam-jobs")
def cli() -> None:
    """Dhanam Jobs: a background-job engine on Redis Streams, and Dhanam's jobs on it.

    \b
    dhanam-jobs up                          start everything, on http://127.0.0.1:4300
    dhanam-jobs token                       a token for the demo user
    dhanam-jobs top                         what the queues do, live
    dhanam-jobs doctor                      what is wrong, and what to do about it
    dhanam-jobs load FILE.json              your own spaces, accounts and rules
    dhanam-jobs import FILE.csv --space ID  a bank statement
    """
