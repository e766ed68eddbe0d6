"""A job engine on Redis Streams: nothing that was acknowledged is lost, and no claim is settled twice.

```python
class Greet(msgspec.Struct):
    name: str

registry = Registry()

@registry.job("greet", queue="hello", retry=RetryPolicy(attempts=3))
async def greet(ctx: JobContext, payload: Greet) -> str:
    return f"hello {payload.name}"

async with Engine.connect("redis://localhost:6379", registry=registry) as engine:
    job = await engine.enqueue(Greet("Ana"))
    async with Worker(engine.queue("hello"), concurrency=5):
        print(await job.result(timeout=5))
```
"""

from . import events
from .cancellation import RemoteWorker
from .children import Child, ChildEnd, Family, Kin, ParentOf, chain
from .context import JobContext, JobView
from .cron import CronError, next_fires
from .dead_letters import DeadLetters
from .engine import Engine, ServerReport
from .errors import (
    CircularWait,
    ClaimLost,
    ConfigurationError,
    Discard,
    Draining,
    EngineError,
    EngineUnavailable,
    InvalidPayload,
    JobFailed,
    JobNotFound,
    Limited,
    ProcessDied,
    QueueActive,
    QueueDamaged,
    QueueFull,
    RemoteError,
    ResultTimeout,
    RetryLater,
    ScheduleNotFound,
    ScheduleOwned,
    ServerUnsuitable,
    Snooze,
    UnknownJobName,
    UnknownQueue,
    WaitForChildren,
    WrongState,
)
from .event_reader import EventReader
from .events import Event, Gap, JobEvent
from .explain import Explanation, Reason
from .fleet import ProcessInfo, RunningJob, WorkerInfo, processes
from .inspection import inspect_queue
from .job import AttemptError, JobError, JobInfo, JobState, Record
from .limits import Limit, Limits, LimitState
from .listing import JobFilter, Page
from .metrics import Counts, JobMetrics
from .middleware import Middleware
from .notes import JobNotes, LogLine
from .operations import Operations
from .options import EnqueueOptions, Unique
from .outbox import OutboxRelay, OutboxRow, outbox_row, requests_by_queue
from .policy import Priority, Retention, RetryPolicy
from .process_child import ProcessContext
from .queue import Queue, QueueCounts, QueueStats
from .registry import QueueConfig, Registry
from .request import JobRequest
from .resources import ResourceScope
from .results import Job
from .schedule import LastRun, Schedule, ScheduleInfo
from .scheduler import Scheduler
from .schedules import Schedules
from .supervisor import Supervisor
from .sync_client import SyncEngine, SyncJob, SyncQueue
from .worker import Worker

__all__ = [
    "AttemptError",
    "Child",
    "ChildEnd",
    "CircularWait",
    "ClaimLost",
    "ConfigurationError",
    "Counts",
    "CronError",
    "DeadLetters",
    "Discard",
    "Draining",
    "Engine",
    "EngineError",
    "EngineUnavailable",
    "EnqueueOptions",
    "Event",
    "EventReader",
    "Explanation",
    "Family",
    "Gap",
    "InvalidPayload",
    "Job",
    "JobContext",
    "JobError",
    "JobEvent",
    "JobFailed",
    "JobFilter",
    "JobInfo",
    "JobMetrics",
    "JobNotFound",
    "JobNotes",
    "JobRequest",
    "JobState",
    "JobView",
    "Kin",
    "LastRun",
    "Limit",
    "LimitState",
    "Limited",
    "Limits",
    "LogLine",
    "Middleware",
    "Operations",
    "OutboxRelay",
    "OutboxRow",
    "Page",
    "ParentOf",
    "Priority",
    "ProcessContext",
    "ProcessDied",
    "ProcessInfo",
    "Queue",
    "QueueActive",
    "QueueConfig",
    "QueueCounts",
    "QueueDamaged",
    "QueueFull",
    "QueueStats",
    "Reason",
    "Record",
    "Registry",
    "RemoteError",
    "RemoteWorker",
    "ResourceScope",
    "ResultTimeout",
    "Retention",
    "RetryLater",
    "RetryPolicy",
    "RunningJob",
    "Schedule",
    "ScheduleInfo",
    "ScheduleNotFound",
    "ScheduleOwned",
    "Scheduler",
    "Schedules",
    "ServerReport",
    "ServerUnsuitable",
    "Snooze",
    "Supervisor",
    "SyncEngine",
    "SyncJob",
    "SyncQueue",
    "Unique",
    "UnknownJobName",
    "UnknownQueue",
    "WaitForChildren",
    "Worker",
    "WorkerInfo",
    "WrongState",
    "chain",
    "events",
    "inspect_queue",
    "next_fires",
    "outbox_row",
    "processes",
    "requests_by_queue",
]
