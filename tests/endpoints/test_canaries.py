"""Canaries: secrets planted wherever one may come in, and looked for wherever anything goes out. None is found.

Every endpoint of the table is asked, by every kind of caller, with ids of planted jobs in its path; one that is added
later is asked too, and one with a parameter that nobody knows here fails until somebody gives it a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import logging
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click.testing
import pytest
import structlog

from dhanam_jobs.cli import cli
from dhanam_jobs.cli.logs import configure_logs
from dhanam_jobs.cli.surroundings import secrets_of
from dhanam_jobs.engine import Discard, JobContext, JobState, Registry, Retention, RetryLater, Schedule, Worker
from dhanam_jobs.engine.events import Progressed
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.redaction import hide
from dhanam_jobs.http.endpoint import Endpoint
from dhanam_jobs.http.table import ENDPOINTS
from dhanam_jobs.settings import load_settings

if TYPE_CHECKING:
    from tests.conftest import WaitUntil
    from tests.endpoints.conftest import Service, StartService

QUEUE = "esg-updates"
_numbers = itertools.count(1000)
_MARK = re.compile(r"canary\d{4}")


def canary() -> str:
    """A new secret."""
    return f"canary{next(_numbers)}"


def settings_of(redis_url: str, store: Path) -> dict[str, str]:
    """An environment full of secrets."""
    return {
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{store}",
        "JWT_SECRET": f"{canary()}-jwt-secret-of-40-characters---",
        "ENCRYPTION_KEY": f"{canary()}-encryption-key---"[:32].ljust(32, "k"),
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": "1",
        "SMTP_USER": "mailer",
        "SMTP_PASSWORD": f"{canary()}-smtp",
        "PLAID_SECRET": f"{canary()}-plaid",
        "BELVO_SECRET_KEY_PASSWORD": f"{canary()}-belvo",
        "BITSO_URL": f"http://user:{canary()}-bitso@127.0.0.1:1",
    }


def payload() -> dict[str, Any]:
    """What a careless producer sends."""
    return {
        "password": canary(),
        "nested": {"apiKey": canary(), "list": [{"accessToken": canary()}], "session": {"deep": canary()}},
        "note": f"call with Bearer {canary()}.abc",
        "url": f"https://me:{canary()}@bank.test/x?token={canary()}",
        "text": f'{{"client_secret": "{canary()}"}}',
        "spaceId": "space-1",
    }


def careless(given: dict[str, Any], hidden: list[str]) -> str:
    """What a careless handler says when it fails: the payload's secrets, the process's, and those of others."""
    return (
        f"login with {given['password']} and {given['nested']['session']['deep']} failed at "
        f"postgresql+asyncpg://me:{canary()}@db/x, redis://:{canary()}@cache:6379/0; "
        f"Authorization: Bearer {canary()}.x, "
        f"password={canary()}, 'api_key': '{canary()}', eyJhbGciOiJI.{canary()}.c2ln; own: {' '.join(hidden)}"
    )


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The service's log from level debug on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        configure_logs("debug")
        # A logger that is kept would go on writing here in the tests that follow.
        structlog.configure(cache_logger_on_first_use=False)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def environ(redis_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The service's settings; this process knows their secrets, as `up` does."""
    environ = settings_of(redis_url, tmp_path / "store.db")
    hide(secrets_of(load_settings(environ, queues=QUEUE_NAMES)))
    yield environ
    hide([])


def planting(hidden: list[str]) -> Registry:
    """The service's own jobs, and one that carries secrets in all that it says and does."""
    registry = build_registry()

    @registry.job("canary", queue=QUEUE, retention=Retention(completed=100, failed=1))
    async def plant(ctx: JobContext, given: dict[str, Any]) -> dict[str, Any]:
        ctx.log(f"token={canary()} {careless(given, hidden)}")
        # An event of it comes without the payload, so only what looks like a secret is known for one there.
        await ctx.progress({"credentials": canary(), "at": f"password={canary()} {' '.join(hidden)}"})
        logging.getLogger("a.library").warning("sending %s", careless(given, hidden))
        match given.get("end"):
            case "fails":
                try:
                    raise OSError(careless(given, hidden))
                except OSError as cause:
                    raise Discard(careless(given, hidden)) from cause
            case "breaks":
                raise ValueError(careless(given, hidden))
            case "later":
                raise RetryLater(3600, careless(given, hidden))
        return {"token": canary(), "said": careless(given, hidden), "list": [given]}

    return registry


class Ground:
    """A service in which secrets were planted, and the jobs that carry them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.jobs: dict[str, str] = {}


@pytest.fixture
async def ground(
    start_service: StartService, environ: dict[str, str], log: io.StringIO, wait_until: WaitUntil
) -> Ground:
    hidden = [value for name, value in environ.items() if _MARK.search(value) and name != "BITSO_URL"]
    service = await start_service(planting(hidden), wait_s=1.0)
    queue = service.engine.queue(QUEUE)
    planted = Ground(service)

    async def add(name: str, end: str | None = None, **options: Any) -> str:
        given = payload() | ({"end": end} if end else {})
        meta = {"cookie": canary(), "about": f"password={canary()}"}
        job = await queue.enqueue("canary", given, meta=meta, owner="olivia", **options)
        planted.jobs[name] = job.id
        return job.id

    await add("completed", unique=f"token={canary()}")
    await add("dead", "fails")
    await add("failed", "fails")
    await add("retrying", "later")
    await add("breaking", "breaks")
    async with Worker(queue):
        for name in ("completed", "failed"):
            await wait_until(partial(ended, service, planted.jobs[name]), f"the job {name} has ended")
        await wait_until(partial(delayed, service, planted.jobs["breaking"]), "the attempt has failed")
    await add("waiting")
    await add("cancelled")
    await queue.cancel(planted.jobs["cancelled"], reason=f"no more: api_key={canary()}")
    await service.engine.schedules.upsert(
        Schedule(name="planted", job="canary", queue=QUEUE, every=3600, payload=payload()), owner="operator"
    )
    return planted


async def ended(service: Service, job_id: str) -> bool:
    info = await service.engine.queue(QUEUE).get(job_id)
    return info is not None and info.finished_ms is not None


async def delayed(service: Service, job_id: str) -> bool:
    info = await service.engine.queue(QUEUE).get(job_id)
    return info is not None and info.state is JobState.DELAYED


def paths(row: Endpoint, ground: Ground) -> list[str]:
    """The row's path with each planted value in it."""
    values = {
        "queue": [QUEUE],
        "id": list(ground.jobs.values()),
        "spaceId": ["space-1"],
        "name": ["planted"],
        "ruleId": ["r1"],
        "supervisor": ["nobody"],
        "worker": ["nobody"],
    }
    unknown = [name for name in row.parameters if name not in values]
    assert not unknown, f"{row}: give {unknown} a value here, so that its answers are looked at"
    filled = [row.path]
    for name in row.parameters:
        filled = [path.replace(f"{{{name}}}", value) for path in filled for value in values[name]]
    return filled


async def answer_of(service: Service, method: str, path: str, user: str, *, stream: bool) -> str:
    """Status line, headers and body, of a stream what comes at once."""
    headers = {
        "Cookie": f"session={canary()}",
        "X-Api-Key": canary(),
        "Referer": f"https://x.test/?token={canary()}",
    }
    if user:
        headers["Authorization"] = f"Bearer {service.token(user.removesuffix('+demo'), demo=user.endswith('+demo'))}"
    else:
        headers["Authorization"] = f"Bearer {canary()}.{canary()}.x"
    found = io.StringIO()
    async with service.client.stream(method, path, headers=headers) as answer:
        found.write(f"{answer.status_code} {answer.headers}\n")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5 if stream and answer.status_code == 200 else 20):
                async for text in answer.aiter_text():
                    found.write(text)
    return found.getvalue()


def leaks(text: str) -> list[str]:
    """The canaries in a text, with what stands around them."""
    return [text[max(0, found.start() - 60) : found.end() + 10] for found in _MARK.finditer(text)]


async def test_no_answer_of_any_endpoint_holds_a_secret(ground: Ground) -> None:
    """Of all that look, for an administrator, an owner, a demo token, and nobody; with bad queries too."""
    service, looked = ground.service, 0
    for row in ENDPOINTS:
        if row.changes:
            continue
        for path in paths(row, ground):
            for user in ("root", "olivia", "olivia+demo", ""):
                for query in ("", f"?token={canary()}"):
                    text = await answer_of(service, row.method, path + query, user, stream=row.stream)
                    # The request's own query may be named as unknown; its value may not come back.
                    assert not leaks(text), f"{row} for {user or 'nobody'}"
                    looked += 1
    assert looked > 50
    shown = await service.ask("GET", f"/jobs/{QUEUE}/{ground.jobs['failed']}", "root")
    assert shown.status_code == 200
    assert "[REDACTED]" in shown.text, "the planted job was really looked at"


async def test_no_refusal_of_a_bad_body_repeats_it(ground: Ground) -> None:
    """What changes something is sent secrets that it can't read, by an administrator."""
    service = ground.service
    headers = {"Authorization": f"Bearer {service.token('root')}", "Content-Type": "application/json"}
    for row in ENDPOINTS:
        if not row.changes:
            continue
        for path in paths(row, ground)[:1]:
            for body in (f'{{"password": "{canary()}"}}', f'["{canary()}"]', f'"{canary()}', f"Bearer {canary()}"):
                answer = await service.client.request(row.method, path, headers=headers, content=body)
                assert not leaks(f"{answer.headers} {answer.text}"), row


async def test_no_line_of_the_log_holds_a_secret(ground: Ground, log: io.StringIO) -> None:
    """Of runs, failures, requests with and without a token, and of an error of our own."""
    for user in ("root", ""):
        path = f"/jobs/{QUEUE}/{ground.jobs['failed']}?token={canary()}"
        await answer_of(ground.service, "GET", path, user, stream=False)
    written = log.getvalue()
    for event in ("run_failed", "run_ended", "request", "sending"):
        assert event in written
    assert not leaks(written)


async def test_no_command_shows_a_secret(ground: Ground, environ: dict[str, str]) -> None:
    """Every look of the command line, for people and for programs; `--raw` shows what it is asked for."""
    runner = click.testing.CliRunner()

    def call(*arguments: str) -> str:
        given: dict[str, str | None] = dict.fromkeys(os.environ)
        given.update(environ, COLUMNS="200")
        done = runner.invoke(cli, arguments, env=given, prog_name="dhanam-jobs")
        return done.output

    looks = [
        ("stats",), ("jobs", QUEUE), ("dead",), ("dead", QUEUE), ("workers",), ("schedules",), ("events", QUEUE),
        ("doctor",),
        *(("job", QUEUE, job_id) for job_id in ground.jobs.values()),
        *(("jobs", QUEUE, "--state", state) for state in ("completed", "failed", "delayed", "waiting", "cancelled")),
    ]  # fmt: skip
    for look in looks:
        for form in ((), ("--json",)):
            text = await asyncio.to_thread(call, *look, *form)
            assert text, look
            assert not leaks(text), (*look, *form)
    raw = await asyncio.to_thread(call, "job", QUEUE, ground.jobs["failed"], "--raw")
    assert leaks(raw), "the planted job was really looked at"


async def test_events_and_metrics_name_no_secret(ground: Ground) -> None:
    """An event holds ids; the one that tells progress is shown by HTTP and command line, which redact it."""
    events = await ground.service.engine.recent_events(QUEUE, limit=1000)
    assert len(events) > 5
    assert not leaks("".join(str(event) for event in events if not isinstance(event, Progressed)))
    assert not leaks((await ground.service.ask("GET", "/metrics")).text)
