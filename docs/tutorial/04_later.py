"""# Later, and again and again

`delay` and `run_at` put a job off; it becomes runnable within milliseconds of its time. A **schedule** starts a job
at the times of a cron, in a time zone: it lives in Redis and fires each tick once, whatever the number of processes.

A **supervisor** runs workers for all queues of the registry, and the scheduler. The schedules given to it are those
of the application `owner`: one that the code no longer declares is removed at the next start. `next_fires` shows what
a cron means; on the night when clocks go forward there is no half past two in Mexico's Tijuana, and the job runs at
three.
"""

import asyncio
import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dhanam_jobs.engine import Engine, JobContext, Registry, Schedule, Supervisor, next_fires

registry = Registry()
fired = asyncio.Event()


@registry.job("remind", queue="tutorial-clock")
async def remind(ctx: JobContext, payload: str) -> str:
    return f"time for {payload}"


@registry.job("tick", queue="tutorial-clock")
async def tick(ctx: JobContext, payload: dict[str, str]) -> None:
    fired.set()


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        every_second = Schedule(name="tutorial-tick", job="tick", cron="* * * * * *")
        async with Supervisor(engine, schedules=[every_second], owner="tutorial"):
            queue = engine.queue("tutorial-clock")
            tea = await queue.enqueue("remind", "tea", delay=0.5)
            print((await queue.operations.explain(tea.id)).state)
            print(await tea.result(timeout=10))
            await asyncio.wait_for(fired.wait(), timeout=10)
            print("the schedule fired")
        await engine.schedules.remove("tutorial-tick")

    for moment in next_fires("30 2 * * *", "America/Tijuana", datetime(2026, 3, 7, tzinfo=UTC), 3):
        print(moment.astimezone(ZoneInfo("America/Tijuana")))


asyncio.run(main())
