"""The one table from exceptions to answers: statuses, retry hints, and texts that are not for clients."""

from __future__ import annotations

import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

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


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device script: x"), 503),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), 503),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), 503),
        (ReadOnlyError("You can't write against a read only replica."), 503),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), 500),
        (ResponseError("wrong number of arguments for 'get' command"), 500),
    ],
)
def test_a_redis_that_takes_nothing_is_an_outage_and_a_wrong_command_is_a_mistake(
    error: ResponseError, status: int
) -> None:
    """A full disk is worth another try; a command that can't be is not."""
    answer = as_api_error(error)
    assert answer.status == status
    assert (answer.retry_after_s is not None) is (status == 503)
    assert "space left" not in answer.message


@pytest.mark.parametrize("error", [EngineUnavailable, StoreUnavailable, EngineError, RuntimeError])
def test_a_text_that_may_hold_an_address_is_not_passed_on(error: type[Exception]) -> None:
    """Texts of failures on our side stay on our side."""
    assert "canary" not in as_api_error(error("redis://user:canary@10.0.0.1 did not answer")).message


def test_a_text_about_the_request_is_passed_on() -> None:
    """What the client did wrong is told in the words of the part that found it."""
    assert as_api_error(UnknownQueue("queue 'x': wanted one of a, b")).message == "queue 'x': wanted one of a, b"
