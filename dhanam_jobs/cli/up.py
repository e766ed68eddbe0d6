"""`up`: one supervisor process, from the settings to the last closed connection.

Start: settings, port, Redis, store, workers, HTTP; what is claimed first is given back last. End: no new jobs and no
claims, running jobs end or are released while HTTP still answers, then HTTP, store and Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from dhanam_jobs.cli import logs
from dhanam_jobs.cli.equipment import equip, make_cipher, open_tokens
from dhanam_jobs.cli.surroundings import fail, read_settings, server_directory, told_failures
from dhanam_jobs.cli.tracing import open_tracing
from dhanam_jobs.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dhanam_jobs.engine import Engine, Supervisor
    from dhanam_jobs.engine.embedded import EmbeddedServer
    from dhanam_jobs.handlers.resources import Resources
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.http.serve import HttpServer

log = logging.getLogger("dhanam_jobs.up")


@dataclass(frozen=True)
class Wanted:
    """What the command line asked for. `queues` None means all."""

    queues: Sequence[str] | None = None
    http: bool = True
    workers: bool = True
    demo: bool = True


@click.command()
@click.option("--host", help="Address to listen on (HTTP_HOST; default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on (HTTP_PORT; default 4300).")
@click.option("--queues", help="Work these queues only, separated by commas.")
@click.option("--no-http", is_flag=True, help="Workers only.")
@click.option("--no-workers", is_flag=True, help="HTTP only.")
@click.option("--no-demo", is_flag=True, help="No demo data.")
@click.option("--embedded", is_flag=True, help="Our own Redis, whatever answers elsewhere.")
def up(
    host: str | None,
    port: int | None,
    queues: str | None,
    no_http: bool,
    no_workers: bool,
    no_demo: bool,
    embedded: bool,
) -> None:
    """Start the service and run until SIGTERM or Ctrl-C, which drain it; a second one releases what still runs.

    \b
    dhanam-jobs up --port 4400
    dhanam-jobs up --queues email-notifications,esg-updates --no-http
    """
    from dhanam_jobs.handlers.queues import QUEUE_NAMES

    if no_http and no_workers:
        raise click.UsageError("--no-http and --no-workers together leave nothing to do")
    names = None if queues is None else [name.strip() for name in queues.split(",") if name.strip()]
    unknown = [name for name in names or () if name not in QUEUE_NAMES]
    if unknown or names == []:
        raise click.UsageError(f"--queues {queues!r}: wanted some of {', '.join(QUEUE_NAMES)}")
    settings = read_settings(embedded=embedded, need_secrets=True)
    if host is not None or port is not None:
        from msgspec.structs import replace as with_fields

        settings = with_fields(
            settings,
            http_host=settings.http_host if host is None else host,
            http_port=settings.http_port if port is None else port,
        )
    logs.configure_logs(settings.log_level)
    wanted = Wanted(names, not no_http, not no_workers, settings.embedded_mode and not no_demo)
    listener = _listen(settings) if wanted.http else None

    import uvloop

    with told_failures(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, wanted, listener))


def _listen(settings: Settings) -> socket.socket:
    from dhanam_jobs.http.serve import bind

    try:
        return bind(settings.http_host, settings.http_port)
    except OSError as error:
        fail(error.strerror or str(error))


class _Signals:
    """SIGTERM and SIGINT: the first asks for the end, the second for a quick one."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.supervisor: Supervisor | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard)

    def _heard(self) -> None:
        if self.ending.is_set() and self.supervisor is not None:
            log.warning("asked again: what still runs is released now")
            self.supervisor.hurry()
        self.ending.set()


async def _serve(settings: Settings, wanted: Wanted, listener: socket.socket | None) -> None:
    signals = _Signals()
    async with contextlib.AsyncExitStack() as stack:
        if listener is not None:
            stack.callback(listener.close)
        traced = open_tracing(os.environ, stack)
        server, url = await _find_redis(settings, stack)
        store = await _open_store(settings, stack)
        engine = await _connect(settings, url, store, stack, traced=traced)
        if wanted.demo:
            from dhanam_jobs.handlers.demo import create_demo

            await create_demo(store, make_cipher(settings))
        if signals.ending.is_set():
            return
        resources = await equip(settings, store, engine, stack, demo=wanted.demo)
        supervisor = _supervisor(settings, wanted, engine, resources, alone=server is not None)
        signals.supervisor = supervisor
        stack.push_async_callback(supervisor.stop, 0)
        await supervisor.start()
        http = await _start_http(settings, engine, supervisor, store, listener, stack, traced=traced)
        if http is not None:
            stack.push_async_callback(http.stop)
        _greet(settings, wanted, server, url, http)
        await _until_ending(signals, http)
        log.info("draining")
        await supervisor.drain()
    log.info("ended")


async def _find_redis(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[EmbeddedServer | None, str]:
    from dhanam_jobs.engine.embedded import EmbeddedServer
    from dhanam_jobs.engine.server_choice import choose_server

    choice = await choose_server(settings.redis_url, embedded=settings.force_embedded_redis)
    if choice.url is not None:
        return None, choice.url
    server = EmbeddedServer(server_directory(settings))
    await server.start()
    stack.push_async_callback(server.stop)
    log.info("redis of our own: %s", choice.reason)
    return server, server.url


async def _open_store(settings: Settings, stack: contextlib.AsyncExitStack) -> Store:
    from dhanam_jobs.handlers.store import Store

    store = await Store.open(settings.store_url)
    stack.push_async_callback(store.close)
    return store


async def _connect(
    settings: Settings, url: str, store: Store, stack: contextlib.AsyncExitStack, *, traced: TracerProvider | None
) -> Engine:
    from dhanam_jobs.engine import Engine, Middleware
    from dhanam_jobs.handlers import build_registry

    around: list[Middleware] = []
    if traced:
        from dhanam_jobs.engine.tracing import Tracing
        from dhanam_jobs.handlers.journal import without_secrets

        around.append(Tracing(traced, tell=without_secrets))
    registry = build_registry(settings.concurrency, around=around)
    engine = await stack.enter_async_context(Engine.connect(url, prefix=settings.jobs_prefix, registry=registry))
    other = await engine.claim_for(store.store_id)
    if other is not None:
        fail(
            f"this Redis carries the jobs of another store under the prefix {settings.jobs_prefix!r} "
            f"(its store {other}, ours {store.store_id}): start with --embedded for a Redis of our own, "
            "or set JOBS_PREFIX to another prefix"
        )
    if engine.report is not None:
        for warning in engine.report.warnings:
            log.warning("redis: %s", warning)
    return engine


def _supervisor(settings: Settings, wanted: Wanted, engine: Engine, resources: Resources, *, alone: bool) -> Supervisor:
    from dhanam_jobs.engine import Supervisor
    from dhanam_jobs.handlers.schedules import OWNER, service_schedules

    queues: Sequence[str] | None = wanted.queues
    if not wanted.workers:
        queues = []
    return Supervisor(
        engine,
        queues,
        resources=resources,
        alone=alone and wanted.workers,
        schedules=service_schedules(settings.jobs_timezone),
        owner=OWNER,
    )


async def _start_http(
    settings: Settings,
    engine: Engine,
    supervisor: Supervisor,
    store: Store,
    listener: socket.socket | None,
    stack: contextlib.AsyncExitStack,
    *,
    traced: TracerProvider | None,
) -> HttpServer | None:
    if listener is None:
        return None
    from dhanam_jobs.handlers import JobsService
    from dhanam_jobs.handlers.rules_service import RulesService
    from dhanam_jobs.http.app import create_app
    from dhanam_jobs.http.auth import Guards
    from dhanam_jobs.http.context import HttpOptions
    from dhanam_jobs.http.health import process_checks
    from dhanam_jobs.http.metrics import Metrics
    from dhanam_jobs.http.rate_limit import RateLimit, RateLimiter
    from dhanam_jobs.http.serve import HttpServer

    closing = asyncio.Event()
    tokens, token_checks = await open_tokens(settings, stack)
    app = create_app(
        JobsService(engine, store=store, supervisor=supervisor),
        Guards(tokens, store),
        {"redis": engine.ping, "store": store.ping, **token_checks, **process_checks(engine, supervisor)},
        store.idempotency_keys,
        closing=closing,
        traced=traced,
        metrics=Metrics(engine, lambda: supervisor.loop_lag_ms),
        rules=RulesService(store),
        options=HttpOptions(prefix=settings.http_prefix, wait_s=settings.jobs_wait_s),
        limiter=RateLimiter(
            engine.redis, engine.prefix, RateLimit(settings.rate_limit_max, settings.rate_limit_window)
        ),
    )
    server = HttpServer(app, listener, closing=closing)
    await server.start()
    return server


async def _until_ending(signals: _Signals, http: HttpServer | None) -> None:
    """Returns when a signal came; raises when the HTTP server ended by itself."""
    ending = asyncio.ensure_future(signals.ending.wait())
    if http is None:
        await ending
        return
    serving = asyncio.ensure_future(http.wait())
    try:
        await asyncio.wait({ending, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            log.error("the HTTP server ended by itself")
    finally:
        ending.cancel()
        serving.cancel()


def _greet(
    settings: Settings, wanted: Wanted, server: EmbeddedServer | None, url: str, http: HttpServer | None
) -> None:
    """Tells a person what runs and how to use it, on stdout."""
    from dhanam_jobs.settings import redact

    program = "./run" if sys.argv[0].endswith(".venv/bin/dhanam-jobs") else "dhanam-jobs"
    lines = ["Dhanam Jobs is ready."]
    if http is not None:
        lines.append(f"  address    {http.url}")
        if settings.auth_mode == "local":
            lines.append(f"  token      {program} token      (an admin's: {program} token --admin)")
    if server is not None:
        lines.append(f"  redis      redis-cli -s {server.socket}      (or {program} redis)")
    else:
        lines.append(f"  redis      {redact(url)}      (or {program} redis)")
    where = redact(settings.database_url) if settings.database_url else str(settings.jobs_data_dir)
    lines.append(f"  data       {where}")
    if wanted.demo and http is not None and settings.auth_mode == "local":
        categorize = f"{http.url}/jobs/categorize/space_123"
        lines.append(f'  try        curl -X POST {categorize} -H "Authorization: Bearer $({program} token)"')
    click.echo("\n".join(lines))
    sys.stdout.flush()
