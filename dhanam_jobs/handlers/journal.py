"""The service's log of its runs: every line that is written within a run says whose it is, and failures are told.

How lines are rendered, and what is hidden in them, is the command line's (`cli/logs.py`). The engine itself logs
nothing for a job that goes well.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from dhanam_jobs.engine import Discard, Limited, Middleware, RetryLater, Snooze, WaitForChildren
from dhanam_jobs.handlers.redaction import redact_text, secrets_in

if TYPE_CHECKING:
    from dhanam_jobs.engine import JobContext, Record
    from dhanam_jobs.engine.middleware import Run

log = structlog.get_logger("dhanam_jobs.runs")
_level = logging.getLogger("dhanam_jobs.runs")

# Looked through only where a line is written.
_payload: contextvars.ContextVar[Any] = contextvars.ContextVar("payload")

_GOES_ON: Final = (Limited, Snooze, WaitForChildren)
"""How a handler says that it is to be run again, though nothing went wrong."""


class Journal(Middleware):
    """Binds `queue`, `job`, `name` and `attempt` (and `trace_id`, where the job brought one) to what is logged within a
    run, and tells how it went: `run_ended` at level debug, `run_failed` as a warning, `job_failed` as an error."""

    async def run(self, ctx: JobContext, payload: Any, proceed: Run) -> Any:
        """Around each attempt."""
        tokens = structlog.contextvars.bind_contextvars(**_about(ctx))
        at_hand = _payload.set(payload)
        began = time.monotonic()
        try:
            result = await proceed(ctx, payload)
        except _GOES_ON as error:
            log.debug("run_goes_on", because=type(error).__name__, duration_ms=_since(began))
            raise
        except Exception as error:
            # What the handler itself foresaw needs no traceback.
            foreseen = isinstance(error, (Discard, RetryLater))
            log.warning(
                "run_failed",
                error=type(error).__name__,
                reason=_reason(str(error), payload),
                duration_ms=_since(began),
                exc_info=False if foreseen else error,
            )
            raise
        else:
            if _level.isEnabledFor(logging.DEBUG):  # structlog would make the line before it is thrown away
                log.debug("run_ended", duration_ms=_since(began))
            return result
        finally:
            # Reset, not unbound: a slot whose context is as it was serves the next job without a new task.
            structlog.contextvars.reset_contextvars(**tokens)
            _payload.reset(at_hand)

    async def failed(self, ctx: JobContext, record: Record) -> None:
        """A job has failed for good."""
        error = record.error
        with contextlib.suppress(msgspec.DecodeError):
            payload = msgspec.json.decode(record.payload)
            log.error(
                "job_failed",
                **_about(ctx),
                error=error.type if error is not None else None,
                reason=_reason(error.message, payload) if error is not None else None,
            )


def _about(ctx: JobContext) -> dict[str, Any]:
    job = ctx.job
    about: dict[str, Any] = {"queue": job.queue, "job": job.id, "name": job.name, "attempt": ctx.attempt}
    parent = (job.meta or {}).get("traceparent")
    # version, trace, parent, flags (W3C Trace Context, 3.2)
    if isinstance(parent, str) and len(parts := parent.split("-")) >= 4:
        about["trace_id"] = parts[1]
    return about


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


def secrets_at_hand() -> set[str]:
    """The secrets of the payload of the run that goes on here; none outside of a run."""
    payload = _payload.get(None)
    return set() if payload is None else _secrets(payload)


def without_secrets(text: str, payload: Any) -> str:
    """An error's text without secrets, those that the payload holds included, and without e-mail addresses."""
    return redact_text(text, _secrets(payload), personal=True)


def _reason(text: str, payload: Any) -> str:
    return without_secrets(text[:4096], payload)


def _secrets(payload: Any) -> set[str]:
    with contextlib.suppress(TypeError):
        return secrets_in(msgspec.to_builtins(payload, enc_hook=str))
    return set()
