"""Structured logs on stderr: one JSON object per line, ours and those of the libraries alike.

A line of a job's run carries what `handlers.journal` bound (queue, job, name, attempt); with tracing on, a line written
within a span carries its trace and span. No line holds a secret or an e-mail address.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from typing import Any, Final

import orjson
import structlog

MAX_CHARACTERS: Final = 16_384
"""Of one text of a line; tracebacks keep their end, where the error is."""


def configure_logs(level: str) -> None:
    """Sends everything from `level` ("debug", "info", "warning", "error") on to stderr. May be called again."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                hide_secrets,
                structlog.processors.JSONRenderer(serializer=_render),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Some of these would write every statement with its values, whose secrets no name gives away.
    for chatty in ("aiosqlite", "alembic", "asyncio", "httpcore2", "httpx2", "sqlalchemy", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def add_trace(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds `trace_id` and `span_id` of the span that the line is written in, where there is one."""
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import trace

        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            event["trace_id"] = trace.format_trace_id(span.trace_id)
            event["span_id"] = trace.format_span_id(span.span_id)
    return event


def hide_secrets(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Takes secrets and e-mail addresses out of a line, by key and by form, in messages and tracebacks too, and what
    the payload of the run that it is written in holds of secrets."""
    from dhanam_jobs.handlers.journal import secrets_at_hand
    from dhanam_jobs.handlers.redaction import REDACTED, is_secret_key

    secrets = secrets_at_hand()
    return {key: REDACTED if is_secret_key(key) else _hidden(value, secrets) for key, value in event.items()}


def _hidden(value: Any, secrets: Collection[str], depth: int = 0) -> Any:
    from dhanam_jobs.handlers.redaction import MAX_DEPTH, MAX_DEPTH_MARK, REDACTED, is_secret_key, redact_text

    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth > MAX_DEPTH:
        return MAX_DEPTH_MARK
    if isinstance(value, dict):
        return {
            str(key): REDACTED if is_secret_key(str(key)) else _hidden(inner, secrets, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_hidden(inner, secrets, depth + 1) for inner in value]
    text = value if isinstance(value, str) else str(value)
    if len(text) > MAX_CHARACTERS:
        text = f"...{text[-MAX_CHARACTERS:]}"
    return redact_text(text, secrets, personal=True)


def _render(event: object, **options: object) -> str:
    return orjson.dumps(event, default=str).decode()
