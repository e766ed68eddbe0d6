"""Proves that a payload is the same bytes wherever its job goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Engine,
    EngineError,
    InvalidPayload,
    JobContext,
    JobFailed,
    JobState,
    Queue,
    Registry,
    RetryLater,
    Worker,
)
from dhanam_jobs.engine.defaults import MAX_PAYLOAD_BYTES
from tests.engine.conftest import Hands

if TYPE_CHECKING:
    from tests.conftest import WaitUntil

PAYLOADS: list[Any] = [
    [],
    {},
    0,
    False,
    None,
    "",
    12345678901234567,
    0.1234,
    "é\u0000😀",
    {"a": [], "b": {}, "c": [{}], "n": -12345678901234567, "d": 1234567.8901, "t": '"state":"x"'},
]


async def bytes_of(queue: Queue, job_id: str, state: JobState) -> bytes:
    """The payload as it is kept in that state."""
    info = await queue.get(job_id)
    assert info is not None
    assert info.state is state
    return bytes(info.payload)


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
async def test_a_payload_survives_every_path_byte_for_byte(
    engine: Engine, registry: Registry, hands: Hands, payload: Any, redis_url: str, wait_until: WaitUntil
) -> None:
    """Delay, claim, reclaim, park, retry, release, run and record; the result too."""
    wanted = msgspec.json.encode(payload)
    seen: list[bytes] = []
    begun = asyncio.Event()

    @registry.job("echo", queue="paths")
    async def echo(ctx: JobContext, payload: Any) -> Any:
        seen.append(msgspec.json.encode(payload))
        if ctx.attempt == 1:
            raise RetryLater(60)
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return payload

    newer = Registry()

    @newer.job("other", queue="paths")
    async def other(ctx: JobContext, payload: Any) -> Any:
        return payload

    queue = engine.queue("paths")
    job = await queue.enqueue("echo", payload, delay=5)
    assert await bytes_of(queue, job.id, JobState.DELAYED) == wanted
    await hands.advance(queue, 5)
    await hands.claim(queue)
    assert await bytes_of(queue, job.id, JobState.ACTIVE) == wanted
    await hands.die(queue)
    assert await bytes_of(queue, job.id, JobState.WAITING) == wanted
    async with Engine.connect(redis_url, registry=newer) as stranger, Worker(stranger.queue("paths"), concurrency=1):
        assert await (await stranger.queue("paths").enqueue("other", 1)).result(timeout=10) == 1
        assert await bytes_of(queue, job.id, JobState.PARKED) == wanted
    worker = Worker(queue, concurrency=1)
    async with worker:
        other_job = await queue.enqueue("echo", "second")

        async def both_failed_once() -> bool:
            return (await queue.counts()).delayed == 2

        await wait_until(both_failed_once, "both wait for their retry")
        assert await bytes_of(queue, job.id, JobState.DELAYED) == wanted
        await hands.advance(queue, 60)
        await begun.wait()
        await worker.stop(timeout=0)
    assert await bytes_of(queue, job.id, JobState.WAITING) == wanted
    async with Worker(queue):
        assert msgspec.json.encode(await job.result(timeout=10)) == wanted
        await other_job.result(timeout=10)
    info = await queue.get(job.id)
    assert info is not None
    assert info.result is not None
    assert (bytes(info.payload), bytes(info.result)) == (wanted, wanted)
    assert {one for one in seen if one != b'"second"'} == {wanted}


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
async def test_a_stalled_out_job_keeps_its_payload_in_its_record(
    engine: Engine, registry: Registry, hands: Hands, payload: Any
) -> None:
    """The record that the sweep writes holds the same bytes, bulk enqueues included."""
    registry.queue("stalls", max_stalls=0)
    queue = engine.queue("stalls")
    (job,) = await queue.enqueue_many([("echo", payload)])
    assert await bytes_of(queue, job.id, JobState.WAITING) == msgspec.json.encode(payload)
    await hands.claim(queue)
    await hands.die(queue)
    assert await bytes_of(queue, job.id, JobState.FAILED) == msgspec.json.encode(payload)


async def test_a_payload_at_the_limit_is_stored_and_one_byte_more_is_refused(engine: Engine) -> None:
    """The limit counts UTF-8 bytes of JSON; what is refused stores nothing, in a bulk too."""
    queue = engine.queue("large")
    fits = "é" * (MAX_PAYLOAD_BYTES // 2 - 1)
    job = await queue.enqueue("echo", fits)
    assert len(await bytes_of(queue, job.id, JobState.WAITING)) == MAX_PAYLOAD_BYTES
    with pytest.raises(InvalidPayload, match=f"has {MAX_PAYLOAD_BYTES + 1} bytes; wanted at most {MAX_PAYLOAD_BYTES}"):
        await queue.enqueue("echo", fits + "x")
    with pytest.raises(InvalidPayload):
        await queue.enqueue_many([("echo", 1), ("echo", fits + "x")])
    assert (await queue.counts()).added == 1


@pytest.mark.parametrize("payload", [object(), {(1, 2): 3}, "caf\udce9", [{"a": object()}]])
async def test_a_payload_that_is_no_json_is_refused(engine: Engine, payload: object) -> None:
    """The message names the job."""
    with pytest.raises(InvalidPayload, match="payload of job 'echo' can't be encoded"):
        await engine.queue("odd").enqueue("echo", payload)


async def test_a_payload_that_does_not_fit_the_jobs_type_is_refused_at_enqueue(
    engine: Engine, registry: Registry
) -> None:
    """Where this process knows the job."""

    @registry.job("typed", queue="typed")
    async def typed(ctx: JobContext, payload: dict[str, int]) -> None:
        return None

    with pytest.raises(InvalidPayload, match=r"payload of job 'typed': Expected `int`, got `str`"):
        await engine.queue("typed").enqueue("typed", {"a": "x"})
    assert (await engine.queue("typed").counts()).added == 0


def nested(levels: int) -> Any:
    """Lists in each other."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("part", ["payload", "meta"])
async def test_what_is_nested_500_deep_is_stored_and_one_level_more_is_refused(engine: Engine, part: str) -> None:
    """A job that just fitted the stack of who enqueued it would break every listing of its queue."""
    queue = engine.queue("deep")

    async def enqueue(value: Any) -> None:
        if part == "meta":
            await queue.enqueue("any", 1, meta={"a": value})
        else:
            await queue.enqueue("any", {"a": value})

    await enqueue(nested(499))
    await enqueue([{"text": "[[[{{{" * 100, "quote": '"[' * 100}] * 10)
    with pytest.raises(EngineError, match="nested too deep; wanted at most 500 levels"):
        await enqueue(nested(500))
    assert len((await queue.operations.page("waiting")).jobs) == 2


async def test_a_result_that_is_nested_too_deep_fails_its_job_at_once(engine: Engine, registry: Registry) -> None:
    """As one that can't be encoded; 500 levels are fine."""

    @registry.job("deepen", queue="deep")
    async def deepen(ctx: JobContext, payload: int) -> Any:
        return nested(payload)

    queue = engine.queue("deep")
    async with Worker(queue):
        assert await (await queue.enqueue("deepen", 500)).result(timeout=10) == nested(500)
        with pytest.raises(JobFailed, match="nested deeper than 500 levels") as failed:
            await (await queue.enqueue("deepen", 501)).result(timeout=10)
    assert failed.value.error_type == "ResultNotEncodable"
