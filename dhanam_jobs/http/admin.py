"""The endpoints of `/admin`, for administrators only. What they show and do is JobsService's."""

from __future__ import annotations

from dhanam_jobs.engine import QueueStats
from dhanam_jobs.http.codec import NoFields
from dhanam_jobs.http.endpoint import Call


async def queue_stats(call: Call[NoFields, NoFields]) -> list[QueueStats]:
    """The bare list of all queues' counts."""
    return await call.context.jobs.get_all_queue_stats()
