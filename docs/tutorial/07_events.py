"""# Results and events

A result may be waited for anywhere: a job's id and its queue are enough. What happens to jobs is told as typed
**events**, one class for each transition, in order for each job. A reader follows them live, or from an offset that
it has kept, so a process that was away goes on where it stopped; one that was away for too long is told by a `Gap`.
Metrics are kept per minute for a day and per hour for a month.
"""

import asyncio
import os

from dhanam_jobs.engine import Engine, JobContext, Registry, Worker, events

registry = Registry()


@registry.job("square", queue="tutorial-numbers")
async def square(ctx: JobContext, payload: int) -> int:
    return payload * payload


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        queue = engine.queue("tutorial-numbers")
        async with engine.events("tutorial-numbers") as reader, Worker(queue):
            job_id = (await queue.enqueue("square", 7)).id
            print("result:", await queue.job(job_id).result(timeout=10))

            async for event in reader:
                if isinstance(event, events.JobEvent) and event.job_id == job_id:
                    print("event:", event.kind)
                if isinstance(event, events.Completed):
                    break

        minutes = await engine.metrics("tutorial-numbers", name="square", last=60)
        print("in the last hour:", sum(minute.counts.completed for minute in minutes))


asyncio.run(main())
