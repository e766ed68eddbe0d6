"""`redis`: a small redis-cli to the service's server, for machines without one."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click
import redis as redis_client

from dhanam_jobs.cli.surroundings import fail, read_settings, run, running_server


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def redis(command: tuple[str, ...]) -> None:
    """Send one COMMAND and print the reply, or read commands line by line.

    \b
    dhanam-jobs redis XLEN 'jobs:{email-notifications}:waiting:5'
    dhanam-jobs redis < commands.txt
    """
    settings = read_settings()
    url = run(lambda: running_server(settings))
    with redis_client.Redis.from_url(url, protocol=2, socket_timeout=None) as connection:
        if command:
            if not _send(connection, command):
                sys.exit(1)
            return
        good = True
        prompt = sys.stdin.isatty()
        while True:
            if prompt:
                click.echo("redis> ", nl=False)
            line = sys.stdin.readline()
            if not line or line.strip() in ("exit", "quit"):
                break
            try:
                words = shlex.split(line)
            except ValueError as error:
                click.echo(f"(error) {error}", err=True)
                good = False
                continue
            if words:
                good = _send(connection, tuple(words)) and good
        if not (good or prompt):
            sys.exit(1)


def _send(connection: redis_client.Redis, words: tuple[str, ...]) -> bool:
    if words[0].lower() in ("monitor", "subscribe", "psubscribe"):
        fail(f"{words[0]} answers without end; use redis-cli for it")
    try:
        # `execute_command` would shape the replies of commands that it knows; a shell shows them as they come.
        pooled: Any = connection.connection_pool.get_connection()
        try:
            pooled.send_command(*words)
            reply = pooled.read_response()
        finally:
            connection.connection_pool.release(pooled)
    except redis_client.exceptions.ResponseError as error:
        click.echo(f"(error) {error}", err=True)
        return False
    except (redis_client.exceptions.ConnectionError, OSError) as error:
        fail(f"the server does not answer: {error}")
    click.echo(_shown(reply))
    return True


def _shown(reply: Any, indent: str = "") -> str:
    """A reply as redis-cli prints it on a terminal."""
    if reply is None:
        return "(nil)"
    if isinstance(reply, int):
        return f"(integer) {reply}"
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "backslashreplace")
    if isinstance(reply, list):
        if not reply:
            return "(empty array)"
        width = len(str(len(reply)))
        lines = []
        for number, item in enumerate(reply, 1):
            head = f"{number:>{width}}) "
            inner = indent + " " * len(head)
            lines.append((indent if number > 1 else "") + head + _shown(item, inner))
        return "\n".join(lines)
    return str(reply)
