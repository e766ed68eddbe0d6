"""Starts the command line: `dhanam-jobs`, `python -m dhanam_jobs`."""

from __future__ import annotations

from dhanam_jobs.cli import cli


def main() -> None:
    """The console script's entry."""
    cli(prog_name="dhanam-jobs")


if __name__ == "__main__":
    main()
