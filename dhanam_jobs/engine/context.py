"""What a handler is given besides its payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .errors import ClaimLost
from .job import Claim

if TYPE_CHECKING:
    from .queue import Queue
    from .results import Job


class JobView(msgspec.Struct, frozen=True):
    """The running job as its handler sees it. `created_ms` is Redis's time."""

    id: str
    name: str
    queue: str
    priority: int
    created_ms: int
    meta: dict[str, Any] | None


class JobContext:
    """The first argument of a handler.

    `attempt` counts executions from 1; `resources` is whatever the worker was given; `claim_lost` turns True when the
    worker was declared dead, and with it the right to finish this job.
    """

    __slots__ = ("_claim", "_queue", "_view", "claim_lost", "resources")

    def __init__(self, claim: Claim, queue: Queue, resources: Any) -> None:
        self._claim = claim
        self._queue = queue
        self._view: JobView | None = None
        self.resources = resources
        self.claim_lost = False

    @property
    def job(self) -> JobView:
        """The job."""
        if self._view is None:
            claim = self._claim
            self._view = JobView(claim.id, claim.name, self._queue.name, claim.priority, claim.created_ms, claim.meta)
        return self._view

    @property
    def attempt(self) -> int:
        """Which execution this is, from 1."""
        return self._claim.attempt

    async def enqueue(self, job: Any, payload: Any = None, *, queue: str | None = None, **options: Any) -> Job:
        """Stores another job, on this job's queue unless `queue` or a typed payload says otherwise; also while the
        process drains. Options and errors as `Queue.enqueue`."""
        engine = self._queue.engine
        if queue is None and not isinstance(job, str):
            queue = engine.registry.taking(type(job)).queue
        target = self._queue if queue is None else engine.queue(queue)
        return await target.enqueue_while_draining(job, payload, **options)

    def check_claim(self) -> None:
        """Raises ClaimLost where another worker has this job by now."""
        if self.claim_lost:
            raise ClaimLost(f"the claim on job {self._claim.id} was lost")
