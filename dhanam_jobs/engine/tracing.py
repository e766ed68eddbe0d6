"""OpenTelemetry: a span for each enqueue and each attempt, in the trace that the job was enqueued in.

`registry.use(Tracing())` before the workers are made. It needs `opentelemetry-api`; the rest of the engine does
without, and a registry without this middleware pays nothing for it. The trace travels in the job's metadata
(`traceparent` and `tracestate`, W3C Trace Context), also to children, and with the blocking client and the outbox.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from .errors import Limited, Snooze, WaitForChildren
from .middleware import Enqueue, Middleware, Run

if TYPE_CHECKING:
    from .context import JobContext
    from .request import JobRequest
    from .results import Job

FIELDS: Final = ("traceparent", "tracestate")
"""What is kept in a job's metadata."""
_GOES_ON: Final = (Limited, Snooze, WaitForChildren)


def _as_it_is(text: str, payload: Any) -> str:
    return text


class Tracing(Middleware):
    """Spans `send <queue>` (kind producer) and `process <queue>` (kind consumer), described as OpenTelemetry's
    conventions for messaging say. Each attempt is one, with `jobs.attempt`, and has the enqueue's span as its parent.
    One that failed has status error and the exception; one that goes on later (a limit, a snooze, children) has not.

    `provider`: None for the global one. `tell(text, payload)` makes an exception's texts fit to be exported; by default
    they are as they are.
    """

    def __init__(self, provider: TracerProvider | None = None, *, tell: Callable[[str, Any], str] = _as_it_is) -> None:
        self._tracer = trace.get_tracer("dhanam_jobs.engine", tracer_provider=provider)
        self._tell = tell

    def meta(self) -> dict[str, Any] | None:
        """The trace that goes on here, for jobs that have no span of their own."""
        carrier: dict[str, Any] = {}
        propagate.inject(carrier)
        return {name: carrier[name] for name in FIELDS if name in carrier}

    async def enqueue(self, request: JobRequest, proceed: Enqueue) -> Job:
        """Around each job that is enqueued."""
        name = request.job if isinstance(request.job, str) else type(request.job).__name__
        with self._tracer.start_as_current_span(f"send {name}", kind=SpanKind.PRODUCER) as span:
            given = request.options.get("meta")
            if given is None or isinstance(given, Mapping):
                request.options["meta"] = {**(given or {}), **(self.meta() or {})}
            job = await proceed(request)
            if span.is_recording():
                span.update_name(f"send {job.queue}")
                span.set_attributes(_described(job.queue, job.id, job.name, "send"))
                # A job that existed already has the trace of whoever enqueued it first.
                span.set_attribute("jobs.created", job.created)
            return job

    async def run(self, ctx: JobContext, payload: Any, proceed: Run) -> Any:
        """Around each attempt."""
        job = ctx.job
        attributes = _described(job.queue, job.id, job.name, "process")
        attributes["jobs.attempt"] = ctx.attempt
        with self._tracer.start_as_current_span(
            f"process {job.queue}",
            context=context_of(job.meta),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await proceed(ctx, payload)
            except _GOES_ON as error:
                span.set_attribute("jobs.goes_on", type(error).__name__)
                raise
            except asyncio.CancelledError:
                cause = "cancelled" if ctx.cause is None else ctx.cause.value
                span.set_attribute("jobs.interrupted", cause)
                if cause != "released":
                    span.set_status(Status(StatusCode.ERROR, cause))
                raise
            except Exception as error:
                if span.is_recording():
                    told = {
                        "exception.message": self._tell(str(error), payload),
                        "exception.stacktrace": self._tell("".join(traceback.format_exception(error)), payload),
                    }
                    span.record_exception(error, told)
                    span.set_attribute("error.type", type(error).__name__)
                    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def context_of(meta: Mapping[str, Any] | None) -> Context:
    """The trace that a job's metadata names, as a context; an empty one where it names none."""
    carrier = {name: meta[name] for name in FIELDS if isinstance(meta.get(name), str)} if meta else {}
    return propagate.extract(carrier, context=Context())


def _described(queue: str, job_id: str, name: str, operation: str) -> dict[str, Any]:
    # https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
    return {
        "messaging.system": "dhanam_jobs",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": job_id,
        "jobs.name": name,
    }
