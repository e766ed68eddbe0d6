"""Traces over real runs, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from redis.asyncio import Redis

from dhanam_jobs.engine import (
    Child,
    Discard,
    Engine,
    JobContext,
    JobFailed,
    Registry,
    RetryPolicy,
    Schedule,
    Snooze,
    SyncEngine,
    Worker,
)
from dhanam_jobs.engine.tracing import Tracing


class Traces:
    """What was collected."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def named(self, name: str) -> list[ReadableSpan]:
        """The ended spans of that name, in order."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def about(self, job_id: str) -> list[ReadableSpan]:
        """The ended spans of a job, in order."""
        spans = self.exporter.get_finished_spans()
        return [span for span in spans if (span.attributes or {}).get("messaging.message.id") == job_id]


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def context(span: ReadableSpan) -> trace.SpanContext:
    found = span.context
    assert isinstance(found, trace.SpanContext)
    return found


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def registry(traces: Traces) -> Registry:
    """Jobs that end in every way."""
    registry = Registry()
    registry.queue("q", retry=RetryPolicy(attempts=3, backoff=lambda *_: 0.0))
    registry.use(Tracing(traces.provider, tell=lambda text, payload: text.replace(str(payload), "[hidden]")))

    @registry.job("flaky", queue="q")
    async def flaky(ctx: JobContext, payload: Any) -> None:
        with traces.tracer.start_as_current_span("inside"):
            await asyncio.sleep(0)
        if ctx.attempt < 3:
            raise ValueError(f"not yet, {payload}")

    @registry.job("threaded", queue="q")
    def threaded(ctx: JobContext, payload: Any) -> str:
        return format(trace.get_current_span().get_span_context().trace_id, "032x")

    @registry.job("snoozes", queue="q")
    async def snoozes(ctx: JobContext, payload: Any) -> None:
        if not payload.get("again") and (await ctx.resources.incr("snoozed")) == 1:
            raise Snooze(0)

    @registry.job("given-up", queue="q")
    async def given_up(ctx: JobContext, payload: Any) -> None:
        raise Discard("never")

    @registry.job("parent", queue="q")
    async def parent(ctx: JobContext, payload: Any) -> int:
        await ctx.add_children([Child(f"c{number}", "threaded", {}) for number in range(2)])
        return len(await ctx.wait_children())

    return registry


async def test_each_attempt_is_a_span_in_the_trace_of_the_enqueue(
    redis: Redis, redis_url: str, traces: Traces, registry: Registry
) -> None:
    """Request, enqueue, three attempts, and what the handler itself traces; failed attempts carry their error."""
    async with Engine.connect(redis_url, registry=registry) as engine, Worker(engine.queue("q")):
        with traces.tracer.start_as_current_span("request") as request:
            job = await engine.queue("q").enqueue("flaky", "the-secret", meta={"mine": 1})
        await job.result(timeout=20)
        info = await job.info()
    (send,) = traces.named("send q")
    attempts = traces.named("process q")
    assert (send.kind, [span.kind for span in attempts]) == (SpanKind.PRODUCER, [SpanKind.CONSUMER] * 3)
    assert parent_of(send) == request.get_span_context().span_id
    assert {parent_of(span) for span in attempts} == {context(send).span_id}
    assert {context(span).trace_id for span in (send, *attempts)} == {request.get_span_context().trace_id}
    assert [dict(span.attributes or {})["jobs.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    told = dict(attempts[0].events[0].attributes or {})
    assert told["exception.type"] == "ValueError"
    assert told["exception.message"] == "not yet, [hidden]"
    assert "the-secret" not in str(told)
    attributes = dict(attempts[0].attributes or {})
    assert attributes["messaging.message.id"] == job.id
    assert attributes["messaging.destination.name"] == "q"
    assert attributes["jobs.name"] == "flaky"
    assert attributes["error.type"] == "ValueError"
    assert [parent_of(span) for span in traces.named("inside")] == [context(span).span_id for span in attempts]
    assert info is not None
    assert info.meta is not None
    assert info.meta["mine"] == 1, "the caller's own metadata stays"


async def test_a_bulk_has_a_span_for_each_and_a_job_that_exists_keeps_its_trace(
    redis: Redis, redis_url: str, traces: Traces, registry: Registry
) -> None:
    async with Engine.connect(redis_url, registry=registry) as engine:
        jobs = await engine.queue("q").enqueue_many([("threaded", {})] * 3)
        first = await engine.queue("q").enqueue("threaded", {}, unique="k")
        second = await engine.queue("q").enqueue("threaded", {}, unique="k")
        async with Worker(engine.queue("q")):
            results = [await job.result(timeout=20) for job in (*jobs, first)]
    sends = traces.named("send q")
    assert len(sends) == 5
    assert first.id == second.id
    created = [dict(span.attributes or {})["jobs.created"] for span in sends]
    assert created == [True, True, True, True, False]
    ids = [format(context(span).trace_id, "032x") for span in sends]
    assert len(set(ids)) == 5, "without a request, each enqueue begins a trace"
    assert sorted(results) == sorted(ids[:4]), "a thread sees the span of its attempt"


async def test_what_goes_on_later_is_no_error_and_what_is_given_up_is(
    redis: Redis, redis_url: str, traces: Traces, registry: Registry
) -> None:
    async with Engine.connect(redis_url, registry=registry) as engine:
        snoozed = await engine.queue("q").enqueue("snoozes", {})
        given_up = await engine.queue("q").enqueue("given-up", {})
        async with Worker(engine.queue("q"), resources=redis):
            await snoozed.result(timeout=20)
            with pytest.raises(JobFailed):
                await given_up.result(timeout=20)
    first, second = [span for span in traces.about(snoozed.id) if span.name == "process q"]
    assert dict(first.attributes or {})["jobs.goes_on"] == "Snooze"
    assert (first.status.status_code, second.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)
    (refused,) = [span for span in traces.about(given_up.id) if span.name == "process q"]
    assert refused.status.status_code is StatusCode.ERROR


async def test_children_belong_to_the_trace_of_their_parent(
    redis: Redis, redis_url: str, traces: Traces, registry: Registry
) -> None:
    async with Engine.connect(redis_url, registry=registry) as engine, Worker(engine.queue("q")):
        job = await engine.queue("q").enqueue("parent", {})
        assert await job.result(timeout=20) == 2
    children = [span for span in traces.named("process q") if dict(span.attributes or {})["jobs.name"] == "threaded"]
    parents = {context(span).span_id for span in traces.about(job.id) if span.name == "process q"}
    assert len(children) == 2
    assert {parent_of(span) for span in children} <= parents


async def test_the_blocking_client_passes_the_trace_on_and_schedules_do_not(
    redis: Redis, redis_url: str, traces: Traces, registry: Registry
) -> None:
    """Runs of a schedule that was made within a trace are no part of it for ever."""
    async with Engine.connect(redis_url, registry=registry) as engine:
        with traces.tracer.start_as_current_span("request") as request:
            await engine.schedules.upsert(Schedule(name="s", job="threaded", every=3600, queue="q"))

            def enqueue() -> str:
                with SyncEngine(redis_url, registry=registry) as blocking:
                    return blocking.queue("q").enqueue("threaded", {}).id

            job_id = await asyncio.to_thread(enqueue)
        run = await engine.schedules.run_now("s")
        async with Worker(engine.queue("q")):
            wanted = format(request.get_span_context().trace_id, "032x")
            assert await engine.queue("q").job(job_id).result(timeout=20) == wanted
            assert await run.result(timeout=20) != wanted
        await engine.schedules.remove("s")


async def test_damaged_metadata_begins_a_trace(
    redis: Redis, redis_url: str, traces: Traces, registry: Registry
) -> None:
    """Whatever somebody wrote there."""
    plain = Registry()
    async with (
        Engine.connect(redis_url, registry=plain) as producer,
        Engine.connect(redis_url, registry=registry) as engine,
    ):
        jobs = [
            await producer.queue("q").enqueue("threaded", {}, meta=meta)
            for meta in ({"traceparent": 7}, {"traceparent": "00-zz"}, {"tracestate": "x"}, {})
        ]
        async with Worker(engine.queue("q")):
            assert len({await job.result(timeout=20) for job in jobs}) == 4


def test_the_engine_does_without_opentelemetry() -> None:
    """It is not imported by the engine, and its absence is no hindrance."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import dhanam_jobs.engine, dhanam_jobs.handlers\n"
        "dhanam_jobs.handlers.build_registry()\n"
        "assert not any(name.startswith('opentelemetry.') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
