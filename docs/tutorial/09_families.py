"""# Jobs that wait for jobs

A job may have **children**, in its own queue or others. While it waits for them it keeps no slot and costs no
attempt; once they have ended, its handler is run again from its beginning, and this time `wait_children` returns how
they ended. Adding a key twice changes nothing, so the same lines serve both runs.

A child's failure fails the parent, unless its `on_failure` says `"ignore"` or `"continue"`. `chain` puts steps one
after the other, and `enqueue_parent` makes a family in one go: a batch with its callback.
"""

import asyncio
import os

import msgspec

from dhanam_jobs.engine import Child, Engine, JobContext, Registry, Supervisor

registry = Registry()


class Count(msgspec.Struct):
    text: str


class Total(msgspec.Struct):
    texts: list[str]


@registry.job("count", queue="tutorial-words")
async def count(ctx: JobContext, payload: Count) -> int:
    if not payload.text:
        raise ValueError("an empty page")
    return len(payload.text.split())


@registry.job("total", queue="tutorial-books")
async def total(ctx: JobContext, payload: Total) -> str:
    await ctx.add_children(
        Child(f"page-{number}", Count(text), on_failure="ignore") for number, text in enumerate(payload.texts, 1)
    )
    pages = await ctx.wait_children()
    words = sum(page.result for page in pages if page.completed)
    return f"{words} words on {len(pages)} pages"


async def main() -> None:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    async with Engine.connect(url, registry=registry) as engine, Supervisor(engine):
        job = await engine.enqueue(Total(["once upon a time", "there was", "a job"]))
        print(await job.result(timeout=10))
        info = await job.info()
        assert info is not None
        print("attempts:", info.attempt)


asyncio.run(main())
