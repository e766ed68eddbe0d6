"""What the service offers around its queues, in the specification's words; its methods are in service/, by purpose.

The callers (HTTP, command line) check who may ask. Running the jobs is the handlers', and the engine's.
"""

from __future__ import annotations

import msgspec

from dhanam_jobs.engine import JobInfo
from dhanam_jobs.handlers.service.adding import Adding
from dhanam_jobs.handlers.service.dead_letters import DeadLetter, DeadLettering, DeadLetterStats, Replayed
from dhanam_jobs.handlers.service.deeds import Auditing
from dhanam_jobs.handlers.service.fleet import Fleet
from dhanam_jobs.handlers.service.job_verbs import JobVerbs
from dhanam_jobs.handlers.service.looking import Looking
from dhanam_jobs.handlers.service.operating import JobStatistics, Operating, Summary
from dhanam_jobs.handlers.service.scheduling import Scheduling
from dhanam_jobs.handlers.service.shown import FailedJob
from dhanam_jobs.handlers.service.triggers import Triggers

__all__ = [
    "DeadLetter",
    "DeadLetterStats",
    "FailedJob",
    "JobStatistics",
    "JobsService",
    "Replayed",
    "Subject",
    "Summary",
    "subject_of",
]


class JobsService(Adding, Triggers, Operating, Looking, JobVerbs, DeadLettering, Scheduling, Fleet, Auditing):
    """The service's methods, on one engine.

    Args:
        engine: connected, with the registry of `build_registry`.
        store: where users' spaces and connections are found and the audit log is kept; `trigger_user_sync`,
            `trigger_bulk_sync`, `trigger_categorization_for` and `acting` need it.
        supervisor: the process's workers, which `drain_queues` drains.
    """


class Subject(msgspec.Struct, frozen=True):
    """Whom or what a job is about, as far as its payload says: it decides who may trigger such a job."""

    space_id: str | None = None
    user_id: str | None = None


class _Named(msgspec.Struct, rename="camel"):
    space_id: str | None = None
    user_id: str | None = None


def subject_of(info: JobInfo) -> Subject:
    """Return the space and the user that a job's payload names."""
    try:
        named = msgspec.json.decode(info.payload, type=_Named)
    except msgspec.ValidationError:
        return Subject()
    return Subject(named.space_id, named.user_id)
