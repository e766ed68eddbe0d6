"""The one table from exceptions to answers: statuses, retry hints, and texts that are not for clients."""

from __future__ import annotations

import pytest

from dhanam_jobs.engine import (
    Draining,
    EngineError,
    EngineUnavailable,
    InvalidPayload,
    JobNotFound,
    ResultTimeout,
    UnknownJobName,
    UnknownQueue,
)
from dhanam_jobs.handlers.store.errors import StoreError, StoreUnavailable
from dhanam_jobs.http.errors import CODES, as_api_error


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (UnknownQueue, 404, False),
        (JobNotFound, 404, False),
        (UnknownJobName, 422, False),
        (InvalidPayload, 422, False),
        (Draining, 503, True),
        (EngineUnavailable, 503, True),
        (StoreUnavailable, 503, True),
        (ResultTimeout, 504, True),
        (EngineError, 500, False),
        (StoreError, 500, False),
        (ZeroDivisionError, 500, False),
    ],
)
def test_each_exception_has_its_answer(error: type[Exception], status: int, retryable: bool) -> None:
    """What stands in no row is a 500, whatever family it is of."""
    answer = as_api_error(error("text"))
    assert answer.status == status
    assert (answer.retry_after_s is not None) is retryable
    assert status in CODES


@pytest.mark.parametrize("error", [EngineUnavailable, StoreUnavailable, EngineError, RuntimeError])
def test_a_text_that_may_hold_an_address_is_not_passed_on(error: type[Exception]) -> None:
    """Texts of failures on our side stay on our side."""
    assert "canary" not in as_api_error(error("redis://user:canary@10.0.0.1 did not answer")).message


def test_a_text_about_the_request_is_passed_on() -> None:
    """What the client did wrong is told in the words of the part that found it."""
    assert as_api_error(UnknownQueue("queue 'x': wanted one of a, b")).message == "queue 'x': wanted one of a, b"
