"""Every default and limit of the engine, in one table. Times in seconds where people read them, else `_MS`."""

from __future__ import annotations

from typing import Final

ATTEMPTS: Final = 3
"""Executions of a job before it is failed for good."""
BACKOFF_BASE: Final = 5.0
"""Seconds before the first retry; doubled for each further one."""
RETAIN_COMPLETED: Final = 100
"""Completed records kept per queue."""
RETAIN_FAILED: Final = 50
"""Failed records kept per queue."""
RETAIN_CANCELLED: Final = 50
"""Cancelled records kept per queue."""
CONCURRENCY: Final = 5
"""Jobs that one worker runs at once."""
JOB_TIMEOUT: Final = 300.0
"""Seconds that one attempt may take."""
PRIORITY: Final = 5
"""Level of a job that asks for none; 0 is the most urgent, 9 the least."""
LEVELS: Final = 10
"""Number of priority levels."""
MAX_STALLS: Final = 3
"""Times that a job may lose its worker before it is failed."""
MAX_SNOOZES: Final = 1000
"""Times that a job may be snoozed before it is failed."""
HOOK_MS: Final = 60_000
"""How long a failure is left to the worker that tells its hooks, before another one does."""
HOOKS_KNOWN: Final = 30 * 86_400.0
"""Seconds for which failures are kept for hooks, after a worker last said that their job has any."""
LEASE_MS: Final = 10_000
"""A worker that has not beaten for this long is dead."""
SWEEP_MS: Final = 2_000
"""Interval of the sweep that reclaims, promotes and tidies."""
LOOP_STALL: Final = 60.0
"""Seconds after which a worker whose event loop has not turned stops beating."""
BELL_WAIT: Final = 8.0
"""Seconds that an idle worker waits at the bell before it looks by itself."""
MAX_PAYLOAD_BYTES: Final = 1_000_000
"""Largest payload, in UTF-8 bytes."""
MAX_META_BYTES: Final = 65_536
"""Largest metadata of a job, in UTF-8 bytes."""
MAX_RESULT_BYTES: Final = 1_000_000
"""Largest result, in UTF-8 bytes."""
MAX_DEPTH: Final = 500
"""Lists and objects of a payload, a result or metadata that may stand in each other."""
MAX_ID_LENGTH: Final = 256
"""Longest job id or unique key, in characters."""
DEAD_KEPT: Final = 10_000
"""Dead letters kept per queue: failures that left the failed records."""
DEAD_AGE: Final = 30 * 86_400.0
"""Seconds after its end that a dead letter is kept."""
TIDY_EVERY: Final = 15
"""Sweeps between two rounds of mending and tidying, where nobody died and no record goes by age."""
TIDY_STEPS: Final = 20
"""Steps of a few hundred records that one sweep tidies of one queue."""
PAGE: Final = 50
"""Jobs on one page of a listing."""
SEARCH: Final = 10_000
"""Jobs that a filter looks at for one page, about."""
SEARCH_STEP: Final = 500
"""Jobs that a filter looks at in one script call."""
BULK: Final = 200
"""Jobs that operators' verbs change in one script call."""
CLEAR_BLOCKED: Final = 200
"""Jobs that are blocked or wait by key that one script call of `clear` removes; all else goes at once."""
RESULT_KEEP_MS: Final = 600_000
"""How long a result that somebody waits for is kept beside the retained records."""
ATTEMPT_HISTORY: Final = 25
"""Lines of attempt history that a job carries; the oldest go first."""
TRACEBACK_BYTES: Final = 8_192
"""Length of the traceback kept with a failed job; its end is what is kept."""
MAX_ERROR_LENGTH: Final = 4_096
"""Longest text of an error that is kept with its job, in characters."""
RETRY_TRACEBACK_BYTES: Final = 2_048
"""Length of the traceback that a job carries to its next attempt."""
LOG_LINES: Final = 1_000
"""Lines of log kept with a job; the oldest go first."""
LOG_LINE_LENGTH: Final = 4_096
"""Longest line of a job's log, in characters."""
CANCEL_STEP: Final = 200
"""Jobs cancelled by one script call."""
MAX_REASON_LENGTH: Final = 1_000
"""Longest reason of a cancellation that is kept, in characters."""
MAX_PROGRESS_BYTES: Final = 10_000
"""Largest progress value, in UTF-8 bytes."""
INBOX_WAIT: Final = 30.0
"""Seconds that a worker waits for a message before it asks for what it may have missed."""
EVENTS_KEPT: Final = 10_000
"""Entries of a queue's event stream, approximately."""
STARVATION_SHARE: Final = 10
"""One claim in this many goes to the oldest waiting job of any level."""
DRAIN_TIMEOUT: Final = 30.0
"""Seconds that a drain gives running jobs before they are released."""
ENQUEUE_CHUNK: Final = 500
"""Jobs stored by one atomic enqueue call."""
ENQUEUE_CHUNK_BYTES: Final = 8_000_000
"""Bytes of payloads and options that one enqueue call carries, unless a single job is larger."""
PROMOTE_BATCH: Final = 200
"""Delayed jobs promoted by one script call."""
RECLAIM_BATCH: Final = 200
"""Entries reclaimed by one sweep step."""
CALL_TIMEOUT: Final = 5.0
"""Seconds that one Redis call may take."""
MISFIRE_GRACE_MS: Final = 60_000
"""A schedule's tick that is later than this was missed; the schedule's misfire policy says what becomes of it."""
MISFIRE_CAP: Final = 100
"""Ticks of one schedule that fire at once, those made up for included."""
SCHEDULE_LOOK: Final = 5.0
"""Seconds after which a scheduler looks for what is due, whether or not it was told of a change."""
SCHEDULE_BATCH: Final = 50
"""Schedules ticked by one script call."""
SCHEDULE_PAGE: Final = 50
"""Schedules listed by one script call, about."""
SCHEDULE_TRIES: Final = 20
"""Times that an upsert begins again because others moved the schedule to another queue."""
SCHEDULE_CHANGES_KEPT: Final = 100
"""Entries of the stream that tells schedulers of changes."""
ANCESTORS: Final = 100
"""Jobs that wait for a child, each for the one before, which it remembers so that none of them becomes its child."""
LAYOUT_VERSION: Final = 1
"""Version of the key layout; another one in the registry is refused at connect."""
