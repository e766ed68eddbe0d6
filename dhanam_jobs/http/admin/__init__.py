"""The endpoints of `/admin`, for administrators only; `ROWS` are those of the table. Every change is audited.

What they show and do is JobsService's; `audited` ties an endpoint to its deed.
"""

from typing import Final

from dhanam_jobs.http.admin import bulk, dead_letters, jobs, metrics, queues, schedules, workers

ROWS: Final = (
    *queues.ROWS,
    *bulk.ROWS,
    *jobs.ROWS,
    *schedules.ROWS,
    *workers.ROWS,
    *dead_letters.ROWS,
    *metrics.ROWS,
)
