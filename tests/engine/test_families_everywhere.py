"""Proves that families may be made from processes, blocking code and an outbox as from a loop, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Child,
    CircularWait,
    ConfigurationError,
    Engine,
    JobContext,
    JobFailed,
    Registry,
    RetryPolicy,
    SyncEngine,
    UnknownQueue,
    Worker,
    inspect_queue,
    outbox_row,
    requests_by_queue,
    scripts,
)
from tests.conftest import WaitUntil
from tests.engine import running_handlers as handlers
from tests.engine.conftest import Hands, Keys


@pytest.fixture
def heavy(registry: Registry) -> Callable[..., None]:
    """Registers handlers to run in processes of queue `heavy`."""

    def add(*handlers: Callable[..., Any]) -> None:
        for handler in handlers:
            registry.job(handler.__name__, queue="heavy", process=True, retry=RetryPolicy(attempts=1))(handler)

    return add


@pytest.fixture
def sums(registry: Registry) -> Registry:
    """`sum` on `up` adds up what its children return; `one` on `down` returns its payload."""
    registry.queue("up", retry=RetryPolicy(attempts=1))
    registry.queue("down", retry=RetryPolicy(attempts=1))

    @registry.job("sum", queue="up")
    async def add_up(ctx: JobContext, payload: Any) -> int:
        return sum(end.result for end in await ctx.wait_children())

    @registry.job("one", queue="down")
    async def one(ctx: JobContext, payload: int) -> int:
        return payload

    return registry


ONES = [Child("a", "one", 1, queue="down"), Child("b", "one", 2, queue="down")]


# -- from processes ---------------------------------------------------------------------------------------------------


async def test_a_process_has_children_and_is_run_again_with_their_results(
    engine: Engine, heavy: Callable[..., None]
) -> None:
    """Children of children too; waiting keeps no slot and no process."""
    heavy(handlers.gather, handlers.add)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=1):
        assert await (await queue.enqueue("gather", [1, 2, 3])).result(timeout=60) == 11
        assert await inspect_queue(queue) == []


async def test_a_process_enqueues_a_parent_with_children_of_children(
    engine: Engine, heavy: Callable[..., None]
) -> None:
    """By names; its id is what the handler is given."""
    heavy(handlers.gather, handlers.add, handlers.family)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=2):
        parent = await (await queue.enqueue("family", "")).result(timeout=60)
        assert await queue.job(parent).result(timeout=60) == 3


@pytest.mark.parametrize(
    ("payload", "says"), [("typed", "a process enqueues by name"), ("unknown", "'nobody' is unknown on queue 'heavy'")]
)
async def test_what_a_process_may_not_add_is_refused_in_its_handler(
    engine: Engine, heavy: Callable[..., None], payload: str, says: str
) -> None:
    """A typed child, whose type the worker would have to guess, and what the worker refuses."""
    heavy(handlers.gather, handlers.add, handlers.family)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=1):
        job = await queue.enqueue("family", payload)
        with pytest.raises(JobFailed, match=says):
            await job.result(timeout=60)
    assert (await queue.counts()).added == 1


# -- from blocking code and the outbox --------------------------------------------------------------------------------


async def test_blocking_code_enqueues_a_parent_and_looks_at_its_family(
    engine: Engine, sums: Registry, redis_url: str
) -> None:
    """A living worker of the parent's queue is told to carry the children."""
    up, down = engine.queue("up"), engine.queue("down")
    with SyncEngine.connect(redis_url, registry=sums) as blocking:
        async with Worker(up, sweep_ms=3_600_000):
            job = await asyncio.to_thread(blocking.queue("up").enqueue_parent, "sum", 0, children=ONES)
            family = await asyncio.to_thread(blocking.queue("up").family, job.id)
            assert [(kin.key, kin.queue, kin.id) for kin in family.children] == [
                (key, "down", f"{job.id}.{key}") for key in "ab"
            ]
            async with Worker(down, sweep_ms=3_600_000):
                assert await asyncio.to_thread(job.result, 20) == 3
        with pytest.raises(UnknownQueue):
            blocking.queue("up").enqueue_parent("sum", 0, children=[Child("a", "one", 1, queue="nowhere")])
    assert await inspect_queue(up) == []


async def test_a_parent_of_blocking_code_whom_nobody_hears_is_found_by_a_sweep(
    engine: Engine, sums: Registry, redis_url: str
) -> None:
    """No worker lived when it was stored."""
    with SyncEngine.connect(redis_url, registry=sums) as blocking:
        job = await asyncio.to_thread(blocking.queue("up").enqueue_parent, "sum", 0, children=ONES)
        async with Worker(engine.queue("up"), sweep_ms=150), Worker(engine.queue("down"), sweep_ms=150):
            assert await asyncio.to_thread(job.result, 20) == 3


async def test_an_outbox_row_holds_a_whole_family_which_is_stored_once(engine: Engine, sums: Registry) -> None:
    """However often the row is delivered."""
    row = outbox_row(sums, "sum", 0, queue="up", children=ONES)
    up, down = engine.queue("up"), engine.queue("down")
    async with Worker(up), Worker(down):
        (job,) = await up.store(requests_by_queue([row])["up"])
        (again,) = await up.store(requests_by_queue([row])["up"])
        assert (again.id, again.created) == (job.id, False)
        assert await job.result(20) == 3
    assert ((await up.counts()).added, (await down.counts()).added) == (1, 2)
    with pytest.raises(ConfigurationError, match="takes no key"):
        outbox_row(sums, "sum", 0, queue="up", children=ONES, unique="k")


async def test_a_handler_enqueues_a_parent_while_its_process_drains(engine: Engine, sums: Registry) -> None:
    """As it may enqueue a job."""

    @sums.job("last", queue="up")
    async def last(ctx: JobContext, payload: Any) -> str:
        engine.stop_accepting()
        return (await ctx.enqueue_parent("sum", 0, children=ONES)).id

    @sums.job("thread", queue="up")
    def thread(ctx: JobContext, payload: Any) -> str:
        return ctx.enqueue_parent_sync("sum", 0, children=ONES)

    up = engine.queue("up")
    async with Worker(up), Worker(engine.queue("down")):
        jobs = [await up.enqueue("thread"), await up.enqueue("last")]
        for job in jobs:
            assert await up.job(await job.result(20)).result(20) == 3


# -- circles ----------------------------------------------------------------------------------------------------------


async def test_a_child_that_is_its_own_ancestor_is_refused_where_it_is_added(
    engine: Engine, registry: Registry
) -> None:
    """In the plan itself, and by the chain that led to the handler, across queues; the error names the circle."""
    registry.queue("up", retry=RetryPolicy(attempts=1))
    registry.queue("down", retry=RetryPolicy(attempts=1))

    @registry.job("loop", queue="down")
    async def loop(ctx: JobContext, payload: str) -> str:
        try:
            await ctx.add_children([Child("again", "top", payload, queue="up", options={"id": payload})])
        except CircularWait as error:
            return str(error)
        return "added"

    @registry.job("top", queue="up")
    async def top(ctx: JobContext, payload: str) -> Any:
        await ctx.add_children([Child("mid", "loop", payload, queue="down")])
        return (await ctx.wait_children())[0].result

    up = engine.queue("up")
    async with Worker(up), Worker(engine.queue("down")):
        job = await up.enqueue("top", "root", id="root")
        said = await job.result(20)
    assert said == ("child 'again' of root.mid: these wait for each other: up root → down root.mid → up root")
    with pytest.raises(CircularWait, match="up mum → up mum"):
        await up.enqueue_parent("top", "x", id="mum", children=[Child("a", "top", "x", options={"id": "mum"})])


async def test_a_child_that_waits_for_its_new_parent_by_another_way_is_refused(
    engine: Engine, registry: Registry, wait_until: WaitUntil
) -> None:
    """Its family was joined by an id, so no chain led here: the parent's own queue knows."""
    registry.queue("up", retry=RetryPolicy(attempts=1))
    told: list[str] = []
    here, go = asyncio.Event(), asyncio.Event()

    @registry.job("a", queue="up")
    async def a(ctx: JobContext, payload: Any) -> None:
        await ctx.add_children([Child("b", "b", options={"id": "b"})])
        await ctx.wait_children()

    @registry.job("b", queue="up")
    async def b(ctx: JobContext, payload: Any) -> None:
        here.set()
        await go.wait()
        try:
            await ctx.add_children([Child("a", "a", options={"id": "a"})])
        except CircularWait as error:
            told.append(str(error))

    up = engine.queue("up")
    async with Worker(up, concurrency=2), asyncio.timeout(20):
        await up.enqueue("b", id="b")
        await here.wait()
        first = await up.enqueue("a", id="a")

        async def joined() -> bool:
            return bool(await engine.redis.hexists(f"{up.root}:parents", "b"))

        await wait_until(joined, "a waits for b")
        go.set()
        await first.result(20)
    assert told == ["job b: these wait for each other: up a → up b → up a"]


@pytest.mark.parametrize("same", [True, False], ids=["the same payload", "another payload"])
async def test_a_child_that_would_wait_for_its_ancestors_unique_key_fails_and_says_why(
    engine: Engine, registry: Registry, same: bool
) -> None:
    """Whether it would be the ancestor, or stand in line behind it: what it is, its own queue finds when it is
    stored."""
    registry.queue("up", retry=RetryPolicy(attempts=1))

    @registry.job("loop", queue="up")
    async def loop(ctx: JobContext, payload: int) -> None:
        await ctx.add_children([Child("again", "loop", payload if same else 2, options={"unique": "k"})])
        await ctx.wait_children()

    up = engine.queue("up")
    async with Worker(up):
        job = await up.enqueue("loop", 1, id="root", unique="k")
        with pytest.raises(JobFailed, match="ChildFailed: child again failed: CircularWait: these wait for each other"):
            await job.result(20)
    assert await inspect_queue(up) == []
    assert (await up.counts()).added == 1


async def test_a_circle_that_no_queue_could_see_is_found_by_inspect(
    engine: Engine, registry: Registry, hands: Hands, damage: Keys
) -> None:
    """Two running jobs of different queues became each other's children at one moment."""
    registry.queue("up")
    registry.queue("down")
    up, down = engine.queue("up"), engine.queue("down")
    await up.enqueue("work", id="a")
    await down.enqueue("work", id="b")
    for own, other, me, they in ((up, down, "a", "b"), (down, up, "b", "a")):
        await hands.claim(own)
        found: Any = await engine.redis.xrange(f"{own.root}:waiting:5")
        ((entry, _),) = found
        about = f"fail {other.name} {they}"
        extra = {"id": they, "mode": "return", "parent": f"{own.name} {me} x 1"}
        text = {"queue": other.name, "level": 5, "extra": msgspec.json.encode(extra).decode(), "name": "work"}
        where = ("ghost", "waiting:5", entry, me)
        flat = ("x", about, msgspec.json.encode({**text, "payload": "1"}))
        assert await engine.run(scripts.ADD_CHILDREN, own.root, *where, *flat) == 1
    for own in (up, down):
        await own.courier.run()
    for own, me in ((up, "a"), (down, "b")):
        found = await engine.redis.xrange(f"{own.root}:waiting:5")
        ((entry, _),) = found
        outcome = ("waiting:5", entry, me, "waits", '{"seen":0,"set":{}}')
        reply = await engine.run(scripts.SETTLE, own.root, "ghost", 9, 0, 0, "", "", "", *outcome)
        assert reply[2] == b"1"
    assert await inspect_queue(up) == [
        "blocked a: waits in a circle: up a → down b → up a; cancel or remove one of them, and the others go on as "
        "their children's policies say"
    ]
    await down.cancel("b")
    await down.courier.run()
    assert await inspect_queue(up) == []
    assert (await up.counts()).failed == 1
