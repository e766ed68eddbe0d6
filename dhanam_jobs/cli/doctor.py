"""`doctor`: looks at settings, servers, store, mail and workers, and says of what is wrong what to do about it.

It changes nothing. The checks are in `checkup.py`.
"""

from __future__ import annotations

import asyncio
import sys

import click

from dhanam_jobs.cli.show import echo_json, json_option, plain
from dhanam_jobs.cli.surroundings import told_failures

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check settings, Redis, store, mail, workers and schedules; exit code 1 where something is wrong.

    \b
    dhanam-jobs doctor
    dhanam-jobs doctor --json
    """
    from dhanam_jobs.cli.checkup import check_everything

    with told_failures():
        findings = asyncio.run(check_everything())
    if as_json:
        echo_json(findings)
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.state]}  {finding.part:<12} {plain(finding.text)}")
            if finding.advice:
                click.echo(f"{'':<7}{'':<12} -> {plain(finding.advice)}")
        wrong = sum(finding.state == "wrong" for finding in findings)
        click.echo("all is well" if not wrong else f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")
    if any(finding.state == "wrong" for finding in findings):
        sys.exit(1)
