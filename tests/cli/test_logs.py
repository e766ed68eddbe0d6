"""What stands in the log: whose run a line belongs to, and no secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog

from dhanam_jobs.cli.logs import MAX_CHARACTERS, configure_logs
from dhanam_jobs.engine import Discard, Engine, JobContext, JobFailed, Registry, RetryPolicy, Worker
from dhanam_jobs.handlers.journal import Journal

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import WaitUntil

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Login(msgspec.Struct):
    user: str
    password: str


class Log:
    """What was written so far."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line, read."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        """The lines of that event."""
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The service's log from level debug on, in place of the tests' own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    found = Log()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", found.stream)
        configure_logs("debug")
        # A logger that is kept would go on writing here in the tests that follow.
        structlog.configure(cache_logger_on_first_use=False)
    yield found
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_every_line_of_a_run_says_whose_it_is(
    redis: Redis, redis_url: str, log: Log, wait_until: WaitUntil
) -> None:
    """Also those of the handler's own loggers, of a thread, and of two runs at once; none after the run."""
    registry = Registry()
    registry.use(Journal())
    both = asyncio.Barrier(2)
    own = logging.getLogger("a.handlers.own")

    @registry.job("log-in", queue="q", retry=RetryPolicy(attempts=2, backoff=lambda *_: 0))
    async def log_in(ctx: JobContext, payload: Login) -> None:
        await both.wait()
        own.info("attempt of %s", payload.user)
        await asyncio.to_thread(own.info, "thread of %s", payload.user)
        raise ValueError(
            f"bad password {payload.password} at redis://:pa55word@cache/0 for {payload.user}@example.test"
        )

    async with Engine.connect(redis_url, registry=registry) as engine:
        meta = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        jobs = await engine.queue("q").enqueue_many(
            [Login("ana", "hunter2-ana"), Login("ben", "hunter2-ben")], meta=meta
        )
        async with Worker(engine.queue("q"), concurrency=2):
            for job in jobs:
                with pytest.raises(JobFailed):
                    await job.result(timeout=20)
            await wait_until(lambda: len(log.of("job_failed")) == 2, "the hooks have told")
    for user, job in zip(("ana", "ben"), jobs, strict=True):
        for text in (f"attempt of {user}", f"thread of {user}"):
            lines = log.of(text)
            assert [(line["queue"], line["job"], line["name"], line["attempt"]) for line in lines] == [
                ("q", job.id, "log-in", 1),
                ("q", job.id, "log-in", 2),
            ]
            assert {line["trace_id"] for line in lines} == {TRACE}
    assert len(log.of("run_failed")) == 4
    assert {line["level"] for line in log.of("run_failed")} == {"warning"}
    assert {(line["level"], line["error"], line["attempt"]) for line in log.of("job_failed")} == {
        ("error", "ValueError", 2)
    }
    whole = log.stream.getvalue()
    assert "[REDACTED]" in whole
    for secret in ("hunter2", "pa55word", "@example.test"):
        assert secret not in whole
    own.info("afterwards")
    assert "job" not in log.of("afterwards")[0]


async def test_a_run_that_goes_well_is_told_at_level_debug_only(redis: Redis, redis_url: str, log: Log) -> None:
    registry = Registry()
    registry.use(Journal())

    @registry.job("fine", queue="q")
    async def fine(ctx: JobContext, payload: None) -> int:
        return 1

    @registry.job("given-up", queue="q")
    async def given_up(ctx: JobContext, payload: None) -> None:
        raise Discard("no such account")

    async with Engine.connect(redis_url, registry=registry) as engine, Worker(engine.queue("q")):
        assert await (await engine.queue("q").enqueue("fine")).result(timeout=20) == 1
        with pytest.raises(JobFailed):
            await (await engine.queue("q").enqueue("given-up")).result(timeout=20)
    assert [line["level"] for line in log.of("run_ended")] == ["debug"]
    (refused,) = log.of("run_failed")
    assert (refused["error"], refused["reason"]) == ("Discard", "no such account")
    assert "exception" not in refused, "what the handler foresaw needs no traceback"


def test_no_line_holds_a_secret_however_it_came_there(log: Log) -> None:
    """By key, in messages, arguments, exceptions with their causes, and nested values."""
    logger = structlog.get_logger("x")
    logger.info("one", api_key="s3cret-1", nested={"deep": [{"Authorization": "s3cret-2"}]}, cookie=["s3cret-3"])
    logging.getLogger("y").info("sent %s to %s", "Bearer s3cret-4", "ana@example.test")
    try:
        try:
            raise OSError("postgresql://me:s3cret-5@db/x")
        except OSError as cause:
            raise RuntimeError("token=s3cret-6") from cause
    except RuntimeError:
        logger.exception("two", error=ValueError("password: s3cret-7"))
    logger.info("three", text="x" * (2 * MAX_CHARACTERS))
    assert len(log.lines) == 4
    assert "s3cret" not in log.stream.getvalue()
    assert "@example" not in log.stream.getvalue()
    told = log.of("two")[0]["exception"]
    assert "OSError: postgresql://***@db/x" in told
    assert "RuntimeError" in told
    assert len(log.of("three")[0]["text"]) < MAX_CHARACTERS + 10
