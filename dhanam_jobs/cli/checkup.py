"""The checks of `doctor`: each yields what it found and, where that is not well, what to do. They change nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal

import msgspec

from dhanam_jobs.cli.show import since, span
from dhanam_jobs.cli.surroundings import server_directory
from dhanam_jobs.settings import Settings, SettingsError, load_settings, redact

if TYPE_CHECKING:
    from dhanam_jobs.engine import Engine

_LITTLE_DISK = 500_000_000
_SLOW_ANSWER_MS = 20.0
_LATE_LOOP_MS = 1000.0
_LONG_WAIT_S = 900.0
_LONG_PAUSE_S = 3600.0
_CLOCKS_APART_S = 5.0
_STORE_TIMEOUT_S = 10.0


class Finding(msgspec.Struct, frozen=True):
    """`part`: what was looked at. `state`: "ok", "note" (worth knowing) or "wrong". `advice`: what to do, or empty."""

    part: str
    state: Literal["ok", "note", "wrong"]
    text: str
    advice: str = ""


async def check_everything() -> list[Finding]:
    """All findings, in the order in which a start would meet them. What can't be asked without something that is wrong
    is left out."""
    from dhanam_jobs.handlers.queues import QUEUE_NAMES

    try:
        settings = load_settings(os.environ, queues=QUEUE_NAMES, need_secrets=True)
    except SettingsError as error:
        return [
            Finding("settings", "wrong", problem, "set the variable as wanted, or unset it for its default")
            for problem in error.problems
        ]
    mode = "everything of our own" if settings.embedded_mode else "with the servers that were given"
    findings = [Finding("settings", "ok", f"good; {mode}, key prefix {settings.jobs_prefix}")]
    findings += _check_disk(settings)
    store_id, found = await _check_store(settings)
    findings += found
    findings += [finding async for finding in _check_redis(settings, store_id)]
    findings += await _check_tokens(settings)
    findings.append(await _check_mail(settings))
    return findings


def _check_disk(settings: Settings) -> list[Finding]:
    directory = settings.jobs_data_dir
    if not directory.is_dir():
        return []
    if not os.access(directory, os.W_OK | os.X_OK):
        return [
            Finding("data", "wrong", f"{directory} can't be written", "give its owner the right, or set JOBS_DATA_DIR")
        ]
    free = shutil.disk_usage(directory).free
    text = f"{directory}, {free / 1e9:.1f} GB free"
    if free < _LITTLE_DISK:
        return [
            Finding(
                "data", "wrong", text, "make room, or set JOBS_DATA_DIR to a larger disk: Redis stops on a full one"
            )
        ]
    return [Finding("data", "ok", text)]


async def _check_store(settings: Settings) -> tuple[str | None, list[Finding]]:
    """The store's id, where it could be read. Opening the store as the service does would migrate it."""
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    from dhanam_jobs.handlers.store import database
    from dhanam_jobs.handlers.store.errors import StoreError
    from dhanam_jobs.handlers.store.schema import REVISION, store_info

    shown = redact(settings.store_url)
    advice = "start the database, or correct DATABASE_URL"
    try:
        url = database.parse_url(settings.store_url)
        if url.drivername.startswith("sqlite") and not await asyncio.to_thread(os.path.exists, url.database or ""):
            return None, [Finding("store", "note", f"{shown} is not there yet", "`up` makes it")]
        engine = database.connect(settings.store_url)
        try:
            async with asyncio.timeout(_STORE_TIMEOUT_S), engine.connect() as connection:
                tables = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
                if "alembic_version" not in tables:
                    return None, [Finding("store", "note", f"{shown} is empty", "`up` makes its tables")]
                query = sa.text("SELECT version_num FROM alembic_version")
                revision = (await connection.execute(query)).scalar_one_or_none()
                store_id = (await connection.execute(sa.select(store_info.c.store_id))).scalar_one_or_none()
        finally:
            await engine.dispose()
    except TimeoutError:
        return None, [Finding("store", "wrong", f"{shown}: no answer within {_STORE_TIMEOUT_S:g} s", advice)]
    except (StoreError, SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return None, [Finding("store", "wrong", f"{shown}: {reason}", advice)]
    if revision != REVISION:
        text = f"{shown} has schema {revision}, this release's is {REVISION}"
        return store_id, [
            Finding("store", "note", text, "`up` brings an older one up to date; a newer one needs its release")
        ]
    return store_id, [Finding("store", "ok", f"{shown} answers, schema {revision}")]


async def _check_redis(settings: Settings, store_id: str | None) -> AsyncIterator[Finding]:
    from dhanam_jobs.engine import Engine, EngineError
    from dhanam_jobs.engine.embedded import find_running
    from dhanam_jobs.engine.server_binary import EmbeddedServerError, find_server_binary
    from dhanam_jobs.engine.server_choice import choose_server
    from dhanam_jobs.handlers import build_registry

    url = settings.redis_url or await asyncio.to_thread(find_running, server_directory(settings))
    if url is None:
        choice = await choose_server(None)
        url = choice.url
        if url is None:
            try:
                binary = await asyncio.to_thread(find_server_binary)
            except EmbeddedServerError as error:
                yield Finding("redis", "wrong", str(error), "install redis-server, or set REDIS_URL")
            else:
                text = f"{choice.reason}, and none of our own runs"
                yield Finding("redis", "wrong", text, f"start the service with `up`; it will run {binary}")
            return
    try:
        async with Engine.connect(url, prefix=settings.jobs_prefix, registry=build_registry()) as engine:
            async for finding in _check_server(engine, settings, store_id):
                yield finding
            async for finding in _check_queues(engine):
                yield finding
    except EngineError as error:
        yield Finding(
            "redis", "wrong", str(error), "start that server, or correct REDIS_URL; unset, one of our own is used"
        )


async def _check_server(engine: Engine, settings: Settings, store_id: str | None) -> AsyncIterator[Finding]:
    from dhanam_jobs.engine import keys

    began = time.perf_counter()
    await engine.ping()
    took_ms = (time.perf_counter() - began) * 1000
    info = await engine.redis.info("everything")
    report = engine.report
    assert report is not None
    used = int(info.get("used_memory", 0)) / 1e6
    text = f"{report.flavour} {report.version} answers in {took_ms:.1f} ms, {used:.0f} MB used"
    slow = took_ms > _SLOW_ANSWER_MS
    advice = "look at its load and the way to it: each job waits for it twice" if slow else ""
    yield Finding("redis", "note" if slow else "ok", text, advice)
    for warning in report.warnings:
        yield Finding("redis", "note", warning, "set `appendonly yes` there")
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Finding("redis", "wrong", "its last write to disk failed", "look at its log and its disk")
    most = int(info.get("maxmemory", 0))
    if most and int(info.get("used_memory", 0)) > most * 0.9:
        yield Finding(
            "redis", "wrong", f"{used:.0f} of {most / 1e6:.0f} MB used", "raise maxmemory, or `clean` records"
        )
    seconds, _ = await engine.redis.time()
    apart = abs(time.time() - seconds)
    if apart > _CLOCKS_APART_S:
        yield Finding("clock", "wrong", f"this machine's and Redis's are {span(apart)} apart", "run NTP on both")
    registry = keys.registry(engine.prefix)
    noted = await engine.servers.command(registry, "HGET", registry, "store")
    if isinstance(noted, bytes) and store_id is not None and noted.decode() != store_id:
        yield Finding(
            "store",
            "wrong",
            f"the jobs of prefix {settings.jobs_prefix!r} belong to another store ({noted.decode()}, ours {store_id})",
            "set JOBS_PREFIX to another prefix, or DATABASE_URL to that store",
        )


async def _check_queues(engine: Engine) -> AsyncIterator[Finding]:
    from dhanam_jobs.engine import defaults
    from dhanam_jobs.engine.fleet import processes

    seconds, _ = await engine.redis.time()
    found = []
    for process in await processes(engine):
        # Who is dead is noted by the others; where nobody else is left, it stays in the list.
        silent_s = seconds - process.beat_ms / 1000
        if silent_s * 1000 <= defaults.LEASE_MS:
            found.append(process)
            continue
        text = f"{process.host}:{process.pid} has given no sign of life for {span(silent_s)}"
        yield Finding(
            "workers", "wrong", text, "start it again with `up`: its jobs go back to the front of their queues"
        )
    if not found:
        yield Finding("workers", "wrong", "no worker is alive", "start some with `up`")
    for process in found:
        text = f"{process.host}:{process.pid} works {len(process.queues)} queues"
        if process.loop_lag_ms is not None and process.loop_lag_ms > _LATE_LOOP_MS:
            lag = f"{text}, its event loop is {process.loop_lag_ms:.0f} ms late"
            yield Finding("workers", "wrong", lag, "a handler blocks the loop: run it in a thread or a process")
        else:
            yield Finding("workers", "ok", text)
    worked = {queue for process in found for queue in process.queues}
    for row in engine.registry.queues:
        queue = engine.queue(row.name)
        counts = await queue.counts()
        name = row.name
        if found and name not in worked:
            state: Literal["note", "wrong"] = "wrong" if counts.waiting else "note"
            text = f"{name} has no worker and {counts.waiting} waiting jobs"
            yield Finding("queues", state, text, f"start one with `up --queues {name}`")
        if counts.paused_ms is not None:
            long = time.time() - counts.paused_ms / 1000 > _LONG_PAUSE_S and counts.waiting
            text = f"{name} has been paused for {since(counts.paused_ms)}, {counts.waiting} jobs wait"
            yield Finding("queues", "wrong" if long else "note", text, f"`resume {name}` where nobody needs the pause")
        elif counts.waiting:
            page = await queue.operations.page("waiting", limit=1)
            waited = time.time() - page.jobs[0].created_ms / 1000 if page.jobs else 0.0
            if waited > _LONG_WAIT_S and not counts.active:
                text = f"{name}: the next job has waited for {span(waited)} and nothing runs"
                yield Finding("queues", "wrong", text, f"`job {name} {page.jobs[0].id}` says why")
        if counts.parked:
            text = f"{name} has {counts.parked} jobs whose names no worker knows"
            yield Finding(
                "queues", "wrong", text, f"deploy their handlers, or `jobs {name} --state parked` and remove them"
            )
        if counts.dead:
            text = f"{name} has {counts.dead} dead letters"
            yield Finding(
                "queues", "note", text, f"`dead {name}` lists them, `retry {name} --all --state dead` runs them"
            )
    for info in await engine.schedules.list():
        if info.last_run is not None and info.last_run.state == "failed":
            name, reason = info.schedule.name, info.last_run.error.type if info.last_run.error else "unknown"
            text = f"the last run of {name} failed {since(info.last_run.finished_ms)} ago: {reason}"
            yield Finding(
                "schedules", "note", text, f"`job {info.queue} {info.last_run.id}`; `schedule run {name}` tries again"
            )


async def _check_tokens(settings: Settings) -> list[Finding]:
    if settings.auth_mode != "jwks" or settings.jwks_url is None:
        return []
    import httpx2

    from dhanam_jobs.http.jwks import KeyRing

    shown = redact(settings.jwks_url)
    try:
        async with httpx2.AsyncClient(trust_env=False) as client:
            keys = await KeyRing(settings.jwks_url, client).fetch()
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, OSError) as error:
        text = f"{shown}: {str(error) or type(error).__name__}"
        return [Finding("tokens", "wrong", text, "correct JWKS_URL, or ask the identity provider's people")]
    text = (
        f"{shown} publishes {len(keys)} keys; wanted are issuer {settings.jwt_issuer}, audience {settings.jwt_audience}"
    )
    return [Finding("tokens", "ok", text)]


async def _check_mail(settings: Settings) -> Finding:
    if settings.smtp_host is None:
        if settings.embedded_mode:
            return Finding(
                "mail", "note", f"letters go to {settings.jobs_data_dir / 'outbox'}", "set SMTP_HOST to send them"
            )
        return Finding("mail", "wrong", "SMTP_HOST is not set: each letter fails", "set SMTP_HOST and its companions")
    from dhanam_jobs.cli.equipment import make_mailer

    mailer = make_mailer(settings)
    place = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        await mailer.verify()
    except Exception as error:
        # Whatever keeps letters from leaving is a finding here, not a failure of the doctor.
        return Finding(
            "mail", "wrong", f"{place}: {error}", "correct SMTP_HOST, SMTP_PORT, SMTP_SECURE, SMTP_USER, SMTP_PASSWORD"
        )
    finally:
        with contextlib.suppress(Exception):
            await mailer.close()
    return Finding("mail", "ok", f"{place} takes letters")
