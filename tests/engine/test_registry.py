"""Proves what a registry accepts, and that it says what there is where something is unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import ConfigurationError, Engine, JobContext, Registry, UnknownJobName, UnknownQueue, Worker


class Greet(msgspec.Struct):
    """A payload of one job."""

    name: str


class Shared(msgspec.Struct):
    """A payload of two jobs."""

    n: int


@pytest.fixture
def known(registry: Registry) -> Registry:
    """Two queues and three jobs."""
    registry.queue("hello", concurrency=3)

    @registry.job("greet", queue="hello")
    async def greet(ctx: JobContext, payload: Greet) -> str:
        return f"hello {payload.name}"

    @registry.job("first", queue="hello")
    async def first(ctx: JobContext, payload: Shared) -> str:
        return "first"

    @registry.job("second", queue="other")
    def second(ctx: JobContext, payload: Shared) -> str:
        return "second"

    return registry


async def test_a_typed_payload_names_its_job_and_queue(known: Registry, engine: Engine) -> None:
    """The handler is given the type again."""
    job = await engine.enqueue(Greet("Ana"))
    assert (job.queue, job.name) == ("hello", "greet")
    async with Worker(engine.queue("hello")):
        assert await job.result(timeout=10) == "hello Ana"


async def test_a_shared_payload_type_must_be_told_apart(known: Registry, engine: Engine) -> None:
    """The queue, or the job's name, tells."""
    with pytest.raises(UnknownJobName, match="shared by hello/first, other/second: name the job"):
        await engine.enqueue(Shared(1))
    assert (await engine.queue("other").enqueue(Shared(1))).name == "second"
    assert (await engine.queue("hello").enqueue("first", Shared(1))).name == "first"
    with pytest.raises(UnknownJobName, match="payload type int belongs to no job"):
        await engine.enqueue(5)


async def test_an_unknown_queue_or_job_is_refused_with_the_list_of_those_there_are(
    known: Registry, engine: Engine
) -> None:
    """A typo is not a new queue."""
    with pytest.raises(UnknownQueue, match="queue 'helo' is unknown; there are: hello, other"):
        engine.queue("helo")
    with pytest.raises(UnknownJobName, match="job 'gret' is unknown on queue 'hello'; there are: greet, first"):
        await engine.queue("hello").enqueue("gret", {"name": "Ana"})


def test_a_queue_is_made_by_its_first_job_and_its_row_may_follow(known: Registry) -> None:
    """Rows keep the order in which they were first named."""
    assert [row.name for row in known.queues] == ["hello", "other"]
    assert known.queue_config("other").concurrency == 5
    known.queue("other", concurrency=9)
    assert [(row.name, row.concurrency) for row in known.queues] == [("hello", 3), ("other", 9)]


def test_a_name_has_one_handler_on_a_queue(known: Registry) -> None:
    """On another queue it may have another."""

    async def again(ctx: JobContext, payload: Any) -> None:
        return None

    with pytest.raises(ConfigurationError, match="job 'greet' has a handler on queue 'hello' already"):
        known.job("greet", queue="hello")(again)
    known.job("greet", queue="other")(again)


def test_a_handler_takes_two_parameters(registry: Registry) -> None:
    """The context and the payload."""

    async def alone(ctx: JobContext) -> None:
        return None

    with pytest.raises(ConfigurationError, match="handler 'alone' takes 1 parameters: wanted two"):
        registry.job("alone", queue="q")(alone)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a b"},
        {"name": ""},
        {"queue": "UPPER"},
        {"priority": 10},
        {"priority": True},
        {"priority": 5.0},
        {"timeout": 0},
        {"timeout": -1},
    ],
)
def test_an_illegal_row_is_refused_where_it_is_written(registry: Registry, options: dict[str, Any]) -> None:
    """The message says what was wanted."""
    with pytest.raises(ConfigurationError, match="wanted"):
        registry.job(**{"name": "job", "queue": "q", **options})


@pytest.mark.parametrize("concurrency", [0, 5.5, True, "5", 1001, -1])
def test_a_concurrency_that_is_no_number_of_slots_is_refused(registry: Registry, concurrency: Any) -> None:
    """From 1 to 1000."""
    with pytest.raises(ConfigurationError, match="wanted a whole number from 1 to 1000"):
        registry.queue("q", concurrency=concurrency)
