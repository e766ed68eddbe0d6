"""What commands share: the settings, the server and store that the service uses, and how a failure is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dhanam_jobs.settings import SECRET_FIELDS, Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from dhanam_jobs.engine import Engine
    from dhanam_jobs.handlers.store import Store

T = TypeVar("T")


def fail(message: str, code: int = 1) -> NoReturn:
    """Says on stderr what is wrong and ends with the exit code."""
    for line in message.splitlines():
        click.echo(f"dhanam-jobs: {line}", err=True)
    sys.exit(code)


def read_settings(*, embedded: bool = False, need_secrets: bool = False) -> Settings:
    """The settings from the environment; ends the program with exit code 2 where one is bad."""
    from dhanam_jobs.handlers.queues import QUEUE_NAMES
    from dhanam_jobs.handlers.redaction import hide

    try:
        settings = load_settings(os.environ, queues=QUEUE_NAMES, embedded=embedded, need_secrets=need_secrets)
    except SettingsError as error:
        fail(str(error), 2)
    hide(secrets_of(settings))
    return settings


def secrets_of(settings: Settings) -> list[str]:
    """All that must stand in no log and no answer; URLs stand for their passwords."""
    values = [getattr(settings, name) for name in SECRET_FIELDS]
    values += [getattr(settings, name) for name in settings.__struct_fields__ if name.endswith("_url")]
    return [value for value in values if value]


def server_directory(settings: Settings) -> Path:
    """Where our own server keeps its data."""
    return settings.jobs_data_dir / "redis"


def outbox_of(settings: Settings) -> Path:
    """Where mail goes when there is no SMTP server, in embedded mode."""
    return settings.jobs_data_dir / "outbox"


async def running_server(settings: Settings) -> str:
    """The URL of the Redis that the service uses: the given one, else our own that runs, else the default one.

    Ends the program where there is none.
    """
    from dhanam_jobs.engine.embedded import find_running
    from dhanam_jobs.engine.server_choice import choose_server

    if settings.redis_url is not None:
        return settings.redis_url
    own = await asyncio.to_thread(find_running, server_directory(settings))
    if own is not None:
        return own
    choice = await choose_server(None)
    if choice.url is None:
        fail(f"no Redis: {choice.reason}, and none of our own runs in {settings.jobs_data_dir}; start it with `up`")
    return choice.url


@contextlib.asynccontextmanager
async def engine_of(settings: Settings) -> AsyncIterator[Engine]:
    """The engine, connected to the service's Redis, with the registry of all jobs."""
    from dhanam_jobs.engine import Engine
    from dhanam_jobs.handlers import build_registry

    url = await running_server(settings)
    async with Engine.connect(url, prefix=settings.jobs_prefix, registry=build_registry()) as engine:
        yield engine


@contextlib.asynccontextmanager
async def store_of(settings: Settings) -> AsyncIterator[Store]:
    """The service's store."""
    from dhanam_jobs.handlers.store import Store

    async with await Store.open(settings.store_url) as store:
        yield store


@contextlib.contextmanager
def told_failures() -> Iterator[None]:
    """Turns the errors that a user can meet into a line on stderr and exit code 1."""
    from dhanam_jobs.engine import EngineError
    from dhanam_jobs.engine.server_binary import EmbeddedServerError
    from dhanam_jobs.handlers.redaction import redact_text

    try:
        yield
    except (EngineError, EmbeddedServerError) as error:
        fail(redact_text(str(error)))
    except Exception as error:
        # The store's errors are known only once it is loaded; a command that doesn't need it does not load it. What
        # Redis refuses (a user without rights, memory that is full) is told in its own words.
        if type(error).__module__.startswith(("dhanam_jobs.", "redis.")):
            fail(redact_text(str(error)))
        raise


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a command's coroutine, failures told."""
    with told_failures():
        return asyncio.run(main())
