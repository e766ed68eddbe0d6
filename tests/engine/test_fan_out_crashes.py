"""Proves that families outlive whoever carries between its queues: killed at any step, nothing is stuck or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Child,
    Discard,
    Engine,
    JobContext,
    JobFailed,
    JobState,
    Registry,
    Retention,
    Worker,
    inspect_queue,
    scripts,
)
from dhanam_jobs.engine.errors import EngineUnavailable
from dhanam_jobs.engine.scripts import Script
from dhanam_jobs.engine.sweeper import Sweeper
from tests.engine.conftest import Hands, Keys


class Page(msgspec.Struct):
    """What a child is given."""

    n: int


class Killed(EngineUnavailable):
    """The process was killed here: its call was, or was not, carried out."""


@pytest.fixture
def ran(registry: Registry) -> list[int]:
    """A parent `sum` on `up`, children on `down`, which keeps no record; which children have run."""
    runs: list[int] = []
    registry.queue("up")
    registry.queue("down", retention=Retention(completed=0))

    @registry.job("page", queue="down")
    async def page(ctx: JobContext, payload: Page) -> int:
        runs.append(payload.n)
        return payload.n

    @registry.job("sum", queue="up")
    async def add_up(ctx: JobContext, payload: int) -> int:
        await ctx.add_children(Child(f"n{n}", Page(n)) for n in range(payload))
        return sum(end.result for end in await ctx.wait_children())

    return runs


@contextmanager
def killed_at(engine: Engine, step: Script, *, after: bool) -> Iterator[list[int]]:
    """Every call of that script by this engine fails, before or after Redis has carried it out; yields the calls."""
    calls: list[int] = []
    whole = engine.run

    async def run(script: Script, root: str, *arguments: Any) -> Any:
        if script is not step:
            return await whole(script, root, *arguments)
        calls.append(1)
        if after:
            await whole(script, root, *arguments)
        raise Killed(script.name)

    engine.run = run  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        engine.run = whole  # type: ignore[method-assign]


async def healed(engine: Engine) -> None:
    """The sweeps of both queues, as those of other processes would, until there is nothing left to carry."""
    queues = [engine.queue("up"), engine.queue("down")]
    for queue in queues * 3:
        await queue.courier.run(mend=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "step",
    [scripts.OUTGOING, scripts.ENQUEUE, scripts.SENT, scripts.ACCEPT],
    ids=lambda step: step.name,
)
async def test_a_courier_killed_at_any_step_leaves_nothing_stuck_and_nothing_doubled(
    engine: Engine, ran: list[int], step: Script, after: bool
) -> None:
    """Whether Redis had carried out what it asked or not: the next sweep goes on from there."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue("sum", 5)
    async with Worker(up), Worker(down):
        with killed_at(engine, step, after=after) as calls:
            while not calls:
                await _turn(up)
            await up.courier.close()
            await down.courier.close()
        await healed(engine)
        assert await job.result(30) == 10
    assert sorted(ran) == [0, 1, 2, 3, 4]
    await healed(engine)
    assert await inspect_queue(up) == []
    assert await inspect_queue(down) == []


async def _turn(queue: Any) -> None:
    await queue.engine.ping()


@pytest.mark.parametrize("tree", ["take", "take_idle"])
async def test_a_child_that_a_killed_courier_had_stored_is_taken_along(
    engine: Engine, ran: list[int], tree: Any
) -> None:
    """Its parent's queue doesn't know that it was stored; a job that was no child of it yet stays."""
    up, down = engine.queue("up"), engine.queue("down")
    other = await down.enqueue("page", Page(1), id="other")
    children = [
        Child("a", "page", Page(7), queue="down"),
        Child("b", "page", Page(1), queue="down", options={"id": "other"}),
    ]
    up.courier.wake = lambda: None  # type: ignore[method-assign]
    await up.enqueue_parent("sum", 0, children=children, id="mum")
    with killed_at(engine, scripts.SENT, after=False):
        await up.courier.run()
    await engine.run(scripts.LET_GO, down.root, "other", "up mum b")  # as if only the others had been stored
    await up.cancel("mum", tree=tree)
    await healed(engine)
    infos = [await down.job("mum.a").info(), await other.info()]
    assert [info and info.state for info in infos] == [JobState.CANCELLED, JobState.WAITING]
    assert await inspect_queue(up) == await inspect_queue(down) == []


async def test_a_parent_killed_between_its_children_and_its_wait_finds_them_again(
    engine: Engine, ran: list[int], hands: Hands
) -> None:
    """Its next run adds none twice, whether they have ended meanwhile or not."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue("sum", 3, id="mum")
    await hands.claim(up)
    pending = await engine.redis.xpending_range(f"{up.root}:waiting:5", "workers", "-", "+", 1)
    entry = pending[0]["message_id"]
    flat: list[Any] = []
    for n in range(2):
        extra = {"id": f"mum.n{n}", "mode": "return", "parent": f"up mum n{n}"}
        spec = {"queue": "down", "level": 5, "extra": msgspec.json.encode(extra).decode(), "name": "page"}
        flat += [f"n{n}", f"fail down mum.n{n}", msgspec.json.encode({**spec, "payload": f'{{"n":{n}}}'})]
    assert await engine.run(scripts.ADD_CHILDREN, up.root, "ghost", "waiting:5", entry, "mum", *flat) == 2
    await up.courier.run()
    async with Worker(down):
        await down.job("mum.n0").result(10) if (await down.get("mum.n0")) else None
    await hands.die(up)
    async with Worker(up), Worker(down):
        assert await job.result(30) == 3
    assert sorted(ran) == [0, 1, 2]


async def test_a_parent_that_is_retried_at_once_finds_its_children_s_ends_again(
    engine: Engine, registry: Registry
) -> None:
    """What was told of them in its first life, a moment ago, is told anew."""
    failures = ["not yet"]
    registry.queue("up")
    registry.queue("down")

    @registry.job("page", queue="down")
    async def page(ctx: JobContext, payload: int) -> int:
        return payload

    @registry.job("sum", queue="up")
    async def add_up(ctx: JobContext, payload: int) -> int:
        await ctx.add_children([Child("a", "page", payload, queue="down")])
        ends = await ctx.wait_children()
        if failures:
            raise Discard(failures.pop())
        return sum(end.result for end in ends)

    up, down = engine.queue("up"), engine.queue("down")
    async with Worker(up), Worker(down):
        job = await up.enqueue("sum", 5)
        with pytest.raises(JobFailed):
            await job.result(30)
        await up.operations.retry(job.id)
        assert await job.result(30) == 5


async def test_a_worker_that_dies_with_a_child_costs_the_child_a_stall_and_its_parent_nothing(
    engine: Engine, ran: list[int], hands: Hands
) -> None:
    """The child is run by another one, and its parent is told once."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue_parent("sum", 0, children=[Child("a", Page(7))])
    await up.courier.run()
    await hands.claim(down)
    await hands.die(down)
    async with Worker(up), Worker(down):
        assert await job.result(30) == 7
    assert ran == [7]


async def test_a_child_that_stalls_too_often_fails_its_parent(engine: Engine, ran: list[int], hands: Hands) -> None:
    """The sweep that ends the child tells the parent in the same round."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue_parent("sum", 0, children=[Child("a", Page(7))])
    await up.courier.run()
    for _ in range(4):
        await hands.claim(down)
        await hands.die(down)
    info = await job.info()
    assert info is not None
    assert info.state is JobState.FAILED
    assert info.error is not None
    assert "child a failed: Stalled" in info.error.message


async def test_inspection_finds_a_tree_that_was_stuck_by_hand(engine: Engine, ran: list[int], damage: Keys) -> None:
    """A parent whose child is unknown in its queue, one with nothing left to wait for, and what hangs in the air."""
    up, down = engine.queue("up"), engine.queue("down")
    await up.enqueue_parent("sum", 0, children=[Child("a", Page(1))], id="mum")
    await up.courier.run()
    assert await inspect_queue(up) == []
    await damage.command("HDEL", f"{down.root}:parents", "mum.a")
    assert await inspect_queue(up) == [
        "blocked mum: waits for child a, job mum.a, but queue 'down' does not know that it does"
    ]
    await damage.command("HSET", f"{up.root}:child_ends:mum", "a", "{}")
    assert "blocked mum: waits for children, but none is left to wait for" in await inspect_queue(up)
    await damage.command("HSET", f"{down.root}:parents", "nobody", "up mum a")
    assert "parents nobody: is gone, and its parents were not told" in await inspect_queue(down)
    await Sweeper([up, down]).run_once()
