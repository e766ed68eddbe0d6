"""# A first job

A **registry** says which jobs there are: a name, a queue, a function, and by its annotation the type of the payload.
An **engine** is a connection to Redis. Whoever enqueues needs no more than these two. A **worker** runs what a queue
holds, here in the same process; in production it is another one, or twenty.

`job.result()` waits without polling, in whatever process it is called.
"""

import asyncio
import os

import msgspec

from dhanam_jobs.engine import Engine, JobContext, Registry, Worker

registry = Registry()


class Greet(msgspec.Struct):
    name: str


@registry.job("greet", queue="tutorial-hello")
async def greet(ctx: JobContext, payload: Greet) -> str:
    return f"hello {payload.name}"


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine:
        job = await engine.enqueue(Greet("Ana"))
        print("enqueued:", job.name)
        async with Worker(engine.queue("tutorial-hello"), concurrency=5):
            print(await job.result(timeout=10))


asyncio.run(main())
