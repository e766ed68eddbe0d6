"""The handle of a job that enqueue returns, and what it makes of the record that an ended job leaves behind.

Hearing that a job has ended is the listener's part (`listener.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import checks
from .errors import JobFailed
from .job import JobInfo, JobState, Record

if TYPE_CHECKING:
    from .queue import Queue


class Job:
    """A job that was enqueued: where it is and how to wait for it.

    Attributes: `id`, `name` ('' where a handle was made without it), `created`, False where enqueue returned a job that
    existed already.
    """

    __slots__ = ("_queue", "created", "id", "name")

    def __init__(self, queue: Queue, job_id: str, name: str, created: bool = True) -> None:
        self._queue = queue
        self.id = job_id
        self.name = name
        self.created = created

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} on {self.queue!r}>"

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._queue.name

    async def info(self) -> JobInfo | None:
        """The job as it is now, or None where it was removed or evicted. Raises EngineUnavailable."""
        return await self._queue.get(self.id)

    async def result(self, timeout: float | None = None) -> Any:
        """Waits until the job has ended and returns its result, decoded from JSON.

        `timeout` in seconds, None for ever. Raises ResultTimeout, JobFailed where it ended failed or cancelled, and
        JobNotFound where it was removed, or ended and was evicted by retention before anybody waited. Raises
        EngineUnavailable where Redis doesn't answer at the start; an outage while it waits only takes its time.
        """
        return await self.result_as(Any, timeout)

    async def result_as(self, kind: Any, timeout: float | None = None) -> Any:
        """As `result`, as a value of that type; raises as it, and msgspec's ValidationError."""
        checks.timeout(timeout)
        listener = self._queue.engine.listener(self._queue)
        return value_of(await listener.wait(self._queue, self.id, timeout), kind)


def value_of(record: Record, kind: Any = Any) -> Any:
    """The result in an ended job's record, decoded; raises JobFailed where it holds none."""
    if record.state == JobState.COMPLETED:
        return msgspec.json.decode(record.result, type=kind)
    error = record.error
    raise JobFailed(
        record.id,
        record.state,
        error.type if error else "Unknown",
        error.message if error else "no reason was kept",
    )
