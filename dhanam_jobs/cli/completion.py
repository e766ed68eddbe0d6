"""`completion`: prints what teaches a shell to complete our commands, options and queues."""

from __future__ import annotations

import click

_VARIABLE = "_DHANAM_JOBS_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    eval "$(dhanam-jobs completion bash)"                                     in ~/.bashrc
    eval "$(dhanam-jobs completion zsh)"                                      in ~/.zshrc
    dhanam-jobs completion fish > ~/.config/fish/completions/dhanam-jobs.fish
    """
    from click.shell_completion import get_completion_class

    from dhanam_jobs.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "dhanam-jobs", _VARIABLE).source())
