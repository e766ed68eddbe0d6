"""A crawl: a job that finds its children as it goes, waits for them in no slot, and adds up what they found."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import msgspec

from dhanam_jobs.engine import Child, Engine, JobContext, Limit, Registry, Retention, RetryPolicy, Worker

PAGES = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
LINKS_PER_PAGE = 10

registry = Registry()
registry.queue("crawls", concurrency=1)
registry.queue(
    "pages",
    concurrency=20,
    retry=RetryPolicy(attempts=5, base=0.1),
    retention=Retention(completed=100),
    key_limit=Limit(concurrency=8),  # pages of one site at once
)


class Fetch(msgspec.Struct):
    """One page of a site."""

    port: int
    number: int


class Page(msgspec.Struct):
    """What a page holds."""

    words: int
    links: list[int]


@registry.job("fetch", queue="pages", timeout=10, key=lambda page: f"site-{page.port}")
async def fetch(ctx: JobContext, payload: Fetch) -> Page:
    """Reads a page; one that answers badly is tried again, by the policy of its queue."""
    reader, writer = await asyncio.open_connection("127.0.0.1", payload.port)
    try:
        writer.write(f"GET /{payload.number} HTTP/1.0\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if not head.startswith(b"HTTP/1.0 200"):
        raise OSError(f"page {payload.number}: {head[:30]!r}")
    words = body.decode().split()
    return Page(len(words), [int(word[1:]) for word in words if word.startswith("/")])


@registry.job("crawl", queue="crawls")
async def crawl(ctx: JobContext, payload: Fetch) -> dict[str, int]:
    """Runs from its beginning each time that all pages known so far were read; pages it has already cost nothing."""
    known = {payload.number}
    await ctx.add_children([child(payload)])
    pages = [end.result_as(Page) for end in await ctx.wait_children() if end.completed]
    for page in pages:
        known.update(page.links)
    if await ctx.add_children(child(Fetch(payload.port, number)) for number in sorted(known)):
        await ctx.wait_children()
    return {"pages": len(pages), "words": sum(page.words for page in pages), "missing": len(known) - len(pages)}


def child(page: Fetch) -> Child:
    """A page that stays away is missing, and the crawl goes on."""
    return Child(f"page-{page.number}", "fetch", page, queue="pages", on_failure="ignore")


class Site:
    """Pages that link to others; every seventh fails the first time that it is asked for."""

    def __init__(self) -> None:
        self.asked: set[int] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        number = int((await reader.readline()).split()[1][1:])
        first = number not in self.asked
        self.asked.add(number)
        if first and number % 7 == 3:
            writer.write(b"HTTP/1.0 503 Busy\r\n\r\n")
        else:
            links = [n for n in range(number * LINKS_PER_PAGE + 1, (number + 1) * LINKS_PER_PAGE + 1) if n < PAGES]
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + " ".join(["page", *(f"/{n}" for n in links)]).encode())
        await writer.drain()
        writer.close()


async def main(url: str) -> None:
    """Crawls the site, and prints what there was."""
    site = await asyncio.start_server(Site().answer, "127.0.0.1", 0, backlog=200)
    port = site.sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(site.wait_closed)
        stack.callback(site.close)
        engine = await stack.enter_async_context(Engine.connect(url, registry=registry))
        for name in ("crawls", "pages"):
            await stack.enter_async_context(Worker(engine.queue(name)))
        job = await engine.queue("crawls").enqueue("crawl", Fetch(port, 0))
        found = await job.result(timeout=120)
        print(f"{found['pages']} pages, {found['words']} words, {found['missing']} missing")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"))
