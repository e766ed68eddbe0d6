"""Proves that what the pages show runs: the README's program, the ten lines of the package's docstring, each piece of
code on the engine's pages as it stands there, and that no example is without a test."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import sys
import textwrap
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

import dhanam_jobs.engine as package
from dhanam_jobs.engine import Engine, Job, JobContext, Registry, Worker, events
from dhanam_jobs.engine import testing as for_tests
from tests.conftest import WaitUntil

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
URL = "redis://localhost:6379"
#: The engine's pages that show code.
PAGES = ["enqueue", "events-and-metrics", "fan-out", "limits", "outbox", "running", "schedules", "testing"]


def blocks(text: str) -> list[str]:
    """The pieces of Python in a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def pieces() -> dict[str, str]:
    """Page and number of each piece, and its code."""
    return {
        f"{page} {number}": code
        for page in PAGES
        for number, code in enumerate(blocks((DOCS / f"{page}.md").read_text("utf-8")), 1)
    }


async def run_program(code: str, folder: Path, url: str) -> str:
    """What a program prints that is run as a file of its own, with another server's address."""
    path = folder / "program.py"
    path.write_text(code.replace(URL, url), "utf-8")
    program = await asyncio.create_subprocess_exec(
        sys.executable, path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = (text.decode() for text in await program.communicate())
    assert (program.returncode, err) == (0, "")
    return out


async def test_the_readmes_program_runs(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The engine alone, copied from the page."""
    (code,) = blocks((ROOT / "README.md").read_text("utf-8"))
    assert await run_program(code, tmp_path, redis_url) == "hello Ana\n"


async def test_the_packages_ten_lines_run(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """As they stand, with the imports and the loop that they take for granted."""
    (code,) = blocks(inspect.cleandoc(package.__doc__ or ""))
    declared, _, entered = code.partition("\nasync with ")
    imports = "import asyncio, msgspec\nfrom dhanam_jobs.engine import *\n"
    main = f"async def main():\n    async with {textwrap.indent(entered, '    ').lstrip()}\nasyncio.run(main())\n"
    assert await run_program(imports + declared + "\n" + main, tmp_path, redis_url) == "hello Ana\n"


def test_every_example_has_a_test_that_runs_it() -> None:
    """By its name in some test of the engine."""
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = {found.strip('"').removesuffix(".py") for found in re.findall(r'"examples" / ("[\w.]+")', tests)}
    examples = {path.stem for path in (DOCS / "examples").iterdir() if path.name != "__pycache__"}
    assert examples == named


# -- the pieces on the pages ------------------------------------------------------------------------------------------


class Greet(msgspec.Struct):
    """Whom to greet."""

    name: str


class Balance(msgspec.Struct):
    """Of which account."""

    number: int


class Load(msgspec.Struct):
    """What to load."""

    number: int


class Accounts(msgspec.Struct):
    """Which accounts."""

    numbers: list[int]


class Confirm(msgspec.Struct):
    """Which order, for whom."""

    order: int
    to: str = ""


class Remind(msgspec.Struct):
    """Which order, for whom."""

    order: int
    to: str


class Rows:
    """An SQL database that the outbox page leaves to its reader."""

    lastrowid = 7

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *error: object) -> None:
        """Commits."""

    def execute(self, sql: str, values: Any = ()) -> Rows:
        """Keeps what goes into the outbox."""
        if "outbox" in sql:
            self.rows.append(values)
        return self

    @property
    def objects(self) -> Rows:
        """As Django's manager."""
        return self

    def order_by(self, column: str) -> list[package.OutboxRow]:
        """All rows."""
        return [package.OutboxRow(*row) for row in self.rows]

    def filter(self, **where: list[str]) -> Rows:
        """Those that were named."""
        self.rows = [row for row in self.rows if row[0] not in where["id__in"]]
        return self

    def delete(self) -> None:
        """They are gone."""

    async def read(self, limit: int) -> list[package.OutboxRow]:
        """For the relay."""
        return self.order_by("pk")[:limit]

    async def forget(self, ids: list[str]) -> None:
        """For the relay."""
        self.filter(id__in=ids)


class Mailbox:
    """What the testing page sends mail with."""

    async def send(self, to: str, text: str) -> None:
        """Drops it."""


def pages_registry() -> Registry:
    """The jobs that the pages speak of."""
    registry = Registry()

    @registry.job("greet", queue="hello")
    async def greet(ctx: JobContext, payload: Greet) -> str:
        if payload.name == "nobody":
            raise package.Discard("nobody is there")
        return f"hello {payload.name}"

    @registry.job("balance", queue="reports")
    async def balance(ctx: JobContext, payload: Balance) -> int:
        return payload.number * 100

    @registry.job("load", queue="reports")
    async def load(ctx: JobContext, payload: Load) -> int:
        return payload.number

    for name in ("report", "mail", "clean", "pdf"):

        @registry.job(name, queue="reports")
        async def families(ctx: JobContext, payload: Any) -> int:
            return len(await ctx.wait_children())

    @registry.job("confirm", queue="mail")
    async def confirm(ctx: JobContext, payload: Confirm) -> str:
        await ctx.resources.send(payload.to, "on its way")
        ctx.log(f"told {payload.to}")
        await ctx.enqueue(Remind(payload.order, payload.to), delay=86_400)
        return "confirmed"

    @registry.job("remind", queue="mail")
    async def remind(ctx: JobContext, payload: Remind) -> None:
        pass

    return registry


class Reader:
    """Runs pieces of pages, each with what its page takes for granted."""

    def __init__(self, engine: Engine, url: str, wait_until: WaitUntil) -> None:
        self.engine = engine
        self.wait_until = wait_until
        self.url = url
        self.printed = io.StringIO()
        self.names: dict[str, Any] = {name: getattr(package, name) for name in package.__all__}
        self.names.update({name: getattr(for_tests, name) for name in for_tests.__all__})
        self.names.update(Failed=events.Failed, Gap=events.Gap, datetime=datetime, UTC=UTC, asyncio=asyncio)
        self.names.update({kind.__name__: kind for kind in (Greet, Balance, Load, Accounts, Confirm, Remind)})
        self.names.update(registry=engine.registry, engine=engine, url=url, outbox=Mailbox(), job_id="")

    async def run(self, code: str) -> None:
        """Runs a piece as it stands; one without `await` in a thread, as it may block, unless it needs the loop."""
        compiled = compile(code.replace(URL, self.url), "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(self.printed):
            if compiled.co_flags & inspect.CO_COROUTINE:
                await eval(compiled, self.names)  # noqa: S307 - our own pages
            elif "create_task" in code:
                eval(compiled, self.names)  # noqa: S307
            else:
                await asyncio.to_thread(eval, compiled, self.names)

    async def has_printed(self, text: str) -> None:
        """Returns once it has."""
        await self.wait_until(lambda: text in self.printed.getvalue(), f"the piece prints {text!r}")


@pytest.fixture
async def reader(redis: Redis, redis_url: str, wait_until: WaitUntil) -> AsyncIterator[Reader]:
    """Reads pages beside an engine of their jobs."""
    async with Engine.connect(redis_url, registry=pages_registry()) as engine:
        yield Reader(engine, redis_url, wait_until)
        for queue in engine.registry.queues:
            await engine.queue(queue.name).operations.obliterate(force=True)


async def greeted(reader: Reader, name: str = "Ana") -> Job:
    """A job of the first queue."""
    return await reader.engine.enqueue(Greet(name))


async def test_the_enqueue_page(reader: Reader) -> None:
    """Single, many, and without an event loop."""
    single, many, blocking = (code for name, code in pieces().items() if name.startswith("enqueue "))
    queue = reader.names["queue"] = reader.engine.queue("hello")
    await reader.run(single)
    await reader.run(many)
    assert (await queue.counts()).added == 5
    async with Worker(queue):
        await reader.run(blocking)
    await reader.has_printed("hello Ana")


async def test_the_page_on_results_events_and_metrics(reader: Reader) -> None:
    """A result waited for twice, a failure that is heard of, and the counts of it all."""
    results, followed, metrics = (code for name, code in pieces().items() if name.startswith("events-and-metrics "))
    queue = reader.engine.queue("hello")
    reader.names["job_id"] = (await greeted(reader, "Eva")).id
    async with Worker(queue) as worker:
        await reader.run(results)
        assert (reader.names["greeting"], reader.names["later"]) == ("hello Ana", "hello Eva")
        following = asyncio.ensure_future(reader.run(followed))

        async def heard() -> bool:
            # The reader hears of what comes after it has begun, so there is always one more.
            await greeted(reader, "nobody")
            return "hello 5-" in reader.printed.getvalue()

        await reader.wait_until(heard, "a failure is heard of", timeout=30)
        following.cancel()
        await asyncio.wait([following])
        await worker.lanes[0].meter.send()
    reader.names["rows"] = await reader.engine.metrics("hello")
    await reader.run(metrics)
    assert reader.names["whole"].completed == 2


async def test_the_fan_out_page(reader: Reader) -> None:
    """A parent that finds its children, a batch and a chain."""
    parent, families = (code for name, code in pieces().items() if name.startswith("fan-out "))
    await reader.run(parent)
    queue = reader.names["queue"] = reader.engine.queue("reports")
    await reader.run(families)
    async with Worker(queue):
        job = await reader.engine.enqueue(Accounts([1, 2]))
        assert await job.result(timeout=10) == 300
        await reader.wait_until(lambda: _all_ended(queue), "the families end")
    assert (await queue.counts()).failed == 0


async def _all_ended(queue: package.Queue) -> bool:
    counts = await queue.counts()
    return not (counts.waiting or counts.active or counts.blocked)


async def test_the_limits_page(reader: Reader) -> None:
    """What a handler raises."""
    (code,) = (code for name, code in pieces().items() if name.startswith("limits "))
    key, queue = code.splitlines()
    for line, scope in ((key, "key"), (queue, "queue")):
        with pytest.raises(package.Limited) as raised:
            await reader.run(line)
        assert (raised.value.seconds, raised.value.scope) == (30, scope)


async def test_the_outbox_page(reader: Reader) -> None:
    """A row in a transaction, the relay that carries it, and Django's."""
    transaction, django = (code for name, code in pieces().items() if name.startswith("outbox "))
    table = Rows()
    reader.names.update(database=table, item="a lamp", read=table.read, forget=table.forget, Outbox=table)
    await reader.run(transaction)
    await reader.wait_until(lambda: not table.rows, "the relay carries the row")
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "OutboxRelay.run":
            task.cancel()
            await asyncio.wait([task])
    (job,) = await for_tests.assert_enqueued(reader.engine.queue("mail"), "confirm", {"order": 7})
    assert job.priority == 2
    row = package.outbox_row(reader.engine.registry, Confirm(8))
    table.rows.append((row.id, row.body))
    await reader.run(django)
    await for_tests.assert_enqueued(reader.engine.queue("mail"), "confirm", {"order": 8})
    assert table.rows == []


async def test_the_running_page(reader: Reader) -> None:
    """A cancellation."""
    (code,) = (code for name, code in pieces().items() if name.startswith("running "))
    job = await greeted(reader)
    reader.names.update(queue=reader.engine.queue("hello"), job=job)
    await reader.run(code)
    info = await job.info()
    assert info is not None
    assert info.error is not None
    assert (info.state, info.error.message) == ("cancelled", "the customer left")


async def test_the_schedules_page(reader: Reader) -> None:
    """A supervisor that declares."""
    (code,) = (code for name, code in pieces().items() if name.startswith("schedules "))
    async with Engine.connect(reader.url, registry=reader.engine.registry) as engine:
        await reader.run(code)
        schedule = await engine.schedules.get("nightly-report")
        assert schedule is not None
        assert schedule.owner == "reports"
        await engine.schedules.declare([], owner="reports")


async def test_the_testing_page(reader: Reader) -> None:
    """One handler, inline, what was enqueued, the clock, and a worker."""
    called, plugin, inline, asserted, clocked, worked = (
        code for name, code in pieces().items() if name.startswith("testing ")
    )
    imported = {}

    def jobs_engine(registry: Registry, *, clock: for_tests.ManualClock | None = None) -> Engine:
        return Engine.connect(reader.url, registry=registry, clock=clock)

    reader.names["jobs_engine"] = jobs_engine
    await reader.run(called)
    await reader.run(plugin)
    for name in reader.names["pytest_plugins"]:
        imported[name] = __import__(name, fromlist=["jobs_engine"])
    assert all(hasattr(module, "jobs_engine") for module in imported.values())
    await reader.run(inline)
    assert [ran.result for ran in reader.names["ran"]] == ["confirmed"]
    await reader.run("from dhanam_jobs.engine.testing import enqueued\n" + asserted)
    assert len(reader.names["jobs"]) == 1
    await reader.engine.queue("mail").operations.clear()
    await reader.run(clocked)
    await reader.run(worked)
    await reader.names["test_a_greeting"](jobs_engine)


def test_every_piece_of_code_is_on_a_page_that_is_tested() -> None:
    """A new page with code belongs into PAGES, and gets a test above."""
    found = {page.stem for page in DOCS.glob("*.md") if blocks(page.read_text("utf-8"))} - {"reference"}
    assert found == set(PAGES)
