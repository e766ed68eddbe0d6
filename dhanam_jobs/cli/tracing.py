"""Starts OpenTelemetry's SDK where the environment asks for it, by the variables that OpenTelemetry itself defines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

log = logging.getLogger("dhanam_jobs.up")

_ASKING: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")


def open_tracing(environ: Mapping[str, str], stack: contextlib.AsyncExitStack) -> TracerProvider | None:
    """Return what keeps traces, None where nothing does; the stack sends what is left and ends the exporter.

    Traces are kept where `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces) is set and the extra `otel` is
    installed, or where whoever started this process has set a provider (`opentelemetry-instrument`).
    """
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    asked = next((name for name in _ASKING if environ.get(name, "none") not in ("", "none")), None)
    if asked is None or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return _provided()
    if (provided := _provided()) is not None:
        return provided
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("%s is set, but no traces are kept: install the extra, dhanam-jobs[otel]", asked)
        return None
    from opentelemetry import trace

    from dhanam_jobs import __version__

    about = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in environ:
        about["service.name"] = "dhanam-jobs"
    provider = SdkProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    stack.push_async_callback(asyncio.to_thread, provider.shutdown)
    log.info("traces are sent, as %s says", asked)
    return provider


def _provided() -> TracerProvider | None:
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider

    provider = trace.get_tracer_provider()
    return provider if isinstance(provider, SdkProvider) else None
