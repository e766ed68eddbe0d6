"""Proves that a job may wait for other jobs, wherever they are, and loses none of their results."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dhanam_jobs.engine import (
    Child,
    ConfigurationError,
    Discard,
    Engine,
    JobContext,
    JobFailed,
    JobState,
    Limit,
    ParentOf,
    Registry,
    Retention,
    RetryPolicy,
    UnknownQueue,
    WaitForChildren,
    Worker,
    WrongState,
    chain,
    inspect_queue,
    scripts,
)
from tests.conftest import WaitUntil


class Double(msgspec.Struct):
    """Doubles a number; a negative one fails."""

    n: int


class Stage:
    """Queues `up` (parents) and `down` (children); `ran` names what has run, `gate` holds the job `hold` back."""

    def __init__(self, registry: Registry) -> None:
        self.ran: list[str] = []
        self.gate = asyncio.Event()
        self.holding = asyncio.Event()
        registry.queue("up", retry=RetryPolicy(attempts=2, base=0.01), retention=Retention(completed=100))
        registry.queue("down", retry=RetryPolicy(attempts=1), retention=Retention(completed=100))
        registry.job("double", queue="down")(self.double)
        registry.job("hold", queue="down")(self.hold)
        registry.job("sum", queue="up")(self.sum)
        registry.job("gather", queue="up")(self.gather)
        registry.job("step", queue="up")(self.step)

    async def double(self, ctx: JobContext, payload: Double) -> int:
        self.ran.append(ctx.job.id)
        if payload.n < 0:
            raise Discard("negative")
        return payload.n * 2

    async def hold(self, ctx: JobContext, payload: object) -> str:
        self.holding.set()
        await self.gate.wait()
        return "held"

    async def sum(self, ctx: JobContext, payload: list[int]) -> int:
        self.ran.append(f"sum {ctx.attempt}")
        await ctx.add_children(Child(f"n{i}", Double(n)) for i, n in enumerate(payload))
        return sum(int(end.result) for end in await ctx.wait_children())

    async def gather(self, ctx: JobContext, payload: object) -> list[object]:
        return [end.result if end.completed else end.state for end in await ctx.wait_children()]

    async def step(self, ctx: JobContext, payload: int) -> int:
        before = [end.result for end in await ctx.wait_children()]
        return payload + sum(map(int, before))


@pytest.fixture
def stage(registry: Registry) -> Stage:
    """The queues and handlers of these tests."""
    return Stage(registry)


def on(engine: Engine, queue: str, concurrency: int = 10) -> Worker:
    """A worker of the queue."""
    return Worker(engine.queue(queue), concurrency=concurrency)


async def at_rest(engine: Engine) -> list[str]:
    """What inspection finds wrong with both queues."""
    return await inspect_queue(engine.queue("up")) + await inspect_queue(engine.queue("down"))


async def test_a_handler_waits_for_its_children_without_a_slot_and_without_an_attempt(
    engine: Engine, stage: Stage
) -> None:
    """It is run a second time, as the same attempt, with a thousand results, of which retention keeps a hundred."""
    job = await engine.queue("up").enqueue("sum", list(range(1000)))
    async with on(engine, "up", 1), on(engine, "down"):
        assert await job.result(60) == sum(range(1000)) * 2
    assert [run for run in stage.ran if run.startswith("sum")] == ["sum 1", "sum 1"]
    assert len(stage.ran) == 1002
    assert await at_rest(engine) == []


async def test_a_parent_in_one_slot_and_its_children_share_that_slot(engine: Engine, registry: Registry) -> None:
    """A queue of concurrency 1 is enough, for a tree of any depth."""

    @registry.job("tree", queue="up")
    async def tree(ctx: JobContext, depth: int) -> int:
        if depth:
            await ctx.add_children([Child("left", "tree", depth - 1), Child("right", "tree", depth - 1)])
        return 1 + sum(int(end.result) for end in await ctx.wait_children())

    job = await engine.queue("up").enqueue("tree", 4)
    async with on(engine, "up", 1):
        assert await job.result(30) == 31
    assert await inspect_queue(engine.queue("up")) == []


async def test_a_batch_has_a_callback(engine: Engine, stage: Stage) -> None:
    """A parent at enqueue runs once, after its children, with their results in the order in which they were named."""
    children = [Child(f"n{i}", Double(i)) for i in range(20)]
    job = await engine.queue("up").enqueue_parent("gather", children=children)
    info = await job.info()
    assert info is not None
    assert info.state is JobState.BLOCKED
    async with on(engine, "up"), on(engine, "down"):
        assert await job.result(30) == [i * 2 for i in range(20)]
    assert len(stage.ran) == 20
    assert await at_rest(engine) == []


async def test_a_chain_passes_results_on(engine: Engine, stage: Stage) -> None:
    """Each step runs after the one before it, which is its only child, across queues."""
    steps = [Child("first", Double(5)), Child("second", "step", 1, queue="up"), Child("third", "step", 100, queue="up")]
    job = await engine.queue("up").enqueue_parent("gather", children=[chain(steps)])
    async with on(engine, "up"), on(engine, "down"):
        assert await job.result(30) == [111]
    assert await at_rest(engine) == []


@pytest.mark.parametrize("moment", ["while it runs", "at enqueue"])
async def test_a_child_that_fails_fails_the_parent_that_can_t_do_without_it(
    engine: Engine, stage: Stage, moment: str
) -> None:
    """For good, with the child named, whatever attempts are left."""
    up = engine.queue("up")
    if moment == "at enqueue":
        job = await up.enqueue_parent("gather", children=[Child("n0", Double(1)), Child("n1", Double(-1))])
    else:
        job = await up.enqueue("sum", [1, -1])
    async with on(engine, "up"), on(engine, "down"):
        with pytest.raises(JobFailed) as caught:
            await job.result(30)
    assert (caught.value.error_type, caught.value.reason) == ("ChildFailed", "child n1 failed: Discard: negative")
    assert await at_rest(engine) == []


async def test_a_failure_that_is_ignored_is_found_among_the_ends(engine: Engine, stage: Stage) -> None:
    """The parent waits for all, and sees which did not complete."""
    children = [Child("a", Double(-1), on_failure="ignore"), Child("b", Double(2))]
    job = await engine.queue("up").enqueue_parent("gather", children=children)
    async with on(engine, "up"), on(engine, "down"):
        assert await job.result(30) == ["failed", 4]


async def test_a_parent_may_go_on_at_the_first_failure_and_then_wait_for_the_others(
    engine: Engine, stage: Stage, registry: Registry
) -> None:
    """It sees what has ended by then, and is run again when the rest has."""
    seen: list[list[str]] = []

    @registry.job("eager", queue="up")
    async def eager(ctx: JobContext, payload: object) -> int:
        await ctx.add_children([Child("a", Double(-1), on_failure="continue"), Child("b", "hold", queue="down")])
        ends = await ctx.wait_children()
        seen.append([end.key for end in ends])
        if len(ends) == 1:
            stage.gate.set()
            raise WaitForChildren
        return len(ends)

    job = await engine.queue("up").enqueue("eager")
    async with on(engine, "up"), on(engine, "down"):
        assert await job.result(30) == 2
    assert seen[0] == ["a"]
    assert seen[-1] == ["a", "b"]


async def _has_parents(engine: Engine, count: int) -> bool:
    return len(await engine.queue("down").parents("shared")) == count


async def test_a_job_may_have_several_parents(engine: Engine, stage: Stage, wait_until: WaitUntil) -> None:
    """One that is there already, by its id or its unique key, is joined; its end counts for each."""
    down, up = engine.queue("down"), engine.queue("up")
    await down.enqueue("hold", id="shared", unique="k")
    by_id = Child("x", "hold", queue="down", options={"id": "shared"})
    by_key = Child("y", "hold", queue="down", options={"unique": "k"})
    jobs = [await up.enqueue_parent("gather", children=[child]) for child in (by_id, by_key)]
    async with on(engine, "up"), on(engine, "down"):
        await stage.holding.wait()
        await wait_until(lambda: _has_parents(engine, 2), "the child knows both")
        assert await down.parents("shared") == [ParentOf("up", jobs[0].id, "x"), ParentOf("up", jobs[1].id, "y")]
        stage.gate.set()
        assert [await job.result(30) for job in jobs] == [["held"], ["held"]]
    assert (await down.counts()).completed == 1
    assert await down.parents("shared") == []
    late = await up.enqueue_parent("gather", children=[by_id])
    async with on(engine, "up"):
        assert await late.result(30) == ["held"]
    assert (await down.counts()).completed == 1


async def test_a_parent_s_progress_is_its_children_s(engine: Engine, stage: Stage, wait_until: WaitUntil) -> None:
    """Also in its notes and in the reasons that it waits, until its handler tells of its own."""
    up = engine.queue("up")
    children = [Child("a", Double(1)), Child("b", "hold", queue="down")]
    job = await up.enqueue_parent("gather", children=children)
    async with on(engine, "up"), on(engine, "down"):

        async def half() -> bool:
            return (await up.family(job.id)).progress == 0.5

        await wait_until(half, "one child has ended")
        assert (await up.notes(job.id)).progress == {"children": 2, "ended": 1}
        explanation = await up.operations.explain(job.id)
        assert explanation.reasons[0].text == "1 of its 2 children have not ended"
        assert [(kin.key, kin.end is not None) for kin in (await up.family(job.id)).children] == [
            ("a", True),
            ("b", False),
        ]
        stage.gate.set()
        assert await job.result(30) == [2, "held"]


async def test_a_retry_of_the_parent_keeps_its_children_and_their_results(
    engine: Engine, stage: Stage, registry: Registry
) -> None:
    """Children are not run again by the second attempt."""

    @registry.job("clumsy", queue="up")
    async def clumsy(ctx: JobContext, payload: object) -> int:
        await ctx.add_children([Child("a", Double(21))])
        (end,) = await ctx.wait_children()
        if ctx.attempt == 1:
            raise OSError("clumsy")
        return int(end.result_as(int))

    job = await engine.queue("up").enqueue("clumsy")
    async with on(engine, "up"), on(engine, "down"):
        assert await job.result(30) == 42
    assert len(stage.ran) == 1


@pytest.mark.parametrize("verb", ["cancel", "remove"])
async def test_a_parent_takes_its_tree_along(engine: Engine, stage: Stage, verb: str, wait_until: WaitUntil) -> None:
    """Children, and theirs, in other queues; but not one that another parent waits for."""
    up, down = engine.queue("up"), engine.queue("down")
    shared = Child("shared", Double(3), options={"id": "shared"})
    inner = Child("inner", "gather", queue="up", children=[Child("leaf", Double(1))])
    other = await up.enqueue_parent("gather", children=[shared])
    job = await up.enqueue_parent("gather", children=[Child("a", Double(2)), inner, shared])

    async def stored() -> bool:
        return (await down.counts()).waiting == 3

    await wait_until(stored, "the children are stored")
    if verb == "cancel":
        assert await up.cancel(job.id, tree="take") is JobState.CANCELLED
    else:
        await up.operations.remove(job.id, tree="take")

    async def taken() -> bool:
        return (await down.counts()).waiting == 1 and (await up.counts()).blocked == 1

    await wait_until(taken, "the tree is gone")
    async with on(engine, "up"), on(engine, "down"):
        assert await other.result(30) == [6]
    assert stage.ran == ["shared"]
    assert await at_rest(engine) == []


async def test_a_tree_is_left_alone_while_a_child_runs_if_so_wished(engine: Engine, stage: Stage) -> None:
    """The error names the child; by default the parent goes alone, and the child ends by itself."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue_parent("gather", children=[Child("a", "hold", queue="down")])
    async with on(engine, "down"):
        await stage.holding.wait()
        with pytest.raises(WrongState, match=rf"{job.id}.a is active: to remove its parent"):
            await up.operations.remove(job.id, tree="take_idle")
        assert (await up.counts()).blocked == 1
        with pytest.raises(ConfigurationError, match="tree 'fell'"):
            await up.cancel(job.id, tree="fell")  # type: ignore[arg-type]
        assert await up.cancel(job.id) is JobState.CANCELLED
        stage.gate.set()
        assert await down.job(f"{job.id}.a").result(30) == "held"


async def test_a_running_child_is_interrupted_with_its_parent(engine: Engine, stage: Stage) -> None:
    """Its handler gets a cancellation, and the reason names the parent."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue_parent("gather", children=[Child("a", "hold", queue="down")])
    async with on(engine, "down"):
        await stage.holding.wait()
        await up.cancel(job.id, tree="take")
        with pytest.raises(JobFailed, match=f"its parent {job.id} was cancelled"):
            await down.job(f"{job.id}.a").result(30)


async def test_clearing_the_children_s_queue_tells_their_parents(engine: Engine, stage: Stage) -> None:
    """They count as removed."""
    up, down = engine.queue("up"), engine.queue("down")
    job = await up.enqueue_parent("gather", children=[Child("a", Double(1), on_failure="ignore")])
    await up.courier.run()
    assert await down.operations.clear() == 1
    async with on(engine, "up"):
        assert await job.result(30) == ["removed"]


async def test_a_plain_def_may_have_children(engine: Engine, stage: Stage, registry: Registry) -> None:
    """Its thread ends when it waits."""

    @registry.job("thread", queue="up")
    def thread(ctx: JobContext, payload: object) -> int:
        ctx.add_children_sync([Child("a", Double(4))])
        return sum(int(end.result) for end in ctx.wait_children_sync())

    job = await engine.queue("up").enqueue("thread")
    async with on(engine, "up"), on(engine, "down"):
        assert await job.result(30) == 8


async def test_what_can_t_be_a_child_is_refused_where_it_is_given(engine: Engine, stage: Stage) -> None:
    """With the key, the value found and the value wanted; nothing is stored."""
    up = engine.queue("up")
    nested = (Child("leaf", Double(1)),)
    for children, error, text in [
        ([Child("a b", Double(1))], ConfigurationError, "key 'a b' of a child"),
        ([Child("a", Double(1)), Child("a", Double(2))], ConfigurationError, "have the key 'a'"),
        ([Child("a", Double(1), on_failure="hope")], ConfigurationError, "on_failure 'hope' of child 'a'"),  # type: ignore[arg-type]
        (["a"], ConfigurationError, "child 'a': wanted a Child"),
        ([Child("a", "double", Double(1), queue="nowhere")], UnknownQueue, "queue 'nowhere' is unknown"),
        ([Child("a", Double(1), options={"unique": "k"}, children=nested)], ConfigurationError, "takes no key"),
    ]:
        with pytest.raises(error, match=text):
            await up.enqueue_parent("gather", children=children)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="takes no delay"):
        await up.enqueue_parent("gather", children=nested, delay=5)
    with pytest.raises(ConfigurationError, match="without a step"):
        chain([])
    with pytest.raises(ConfigurationError, match="'x' of a chain has children"):
        chain([Child("x", Double(1), children=nested)])
    assert (await up.counts()).added == 0


@pytest.mark.parametrize("moment", ["while it runs", "at enqueue"])
async def test_a_parent_that_waits_leaves_its_key_s_share_to_its_children(
    engine: Engine, registry: Registry, moment: str
) -> None:
    """One job of the key at once: parent and children take turns in it, and none waits for ever."""
    registry.queue("keyed", concurrency=5, key_limit=Limit(concurrency=1))
    most = running = 0

    @registry.job("part", queue="keyed")
    async def part(ctx: JobContext, payload: int) -> int:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return payload

    @registry.job("whole", queue="keyed")
    async def whole(ctx: JobContext, payload: bool) -> int:
        if payload:
            await ctx.add_children(children)
        return sum(int(end.result) for end in await ctx.wait_children())

    children = [Child(f"n{n}", "part", n, options={"key": "ana"}) for n in range(5)]
    queue = engine.queue("keyed")
    if moment == "at enqueue":
        job = await queue.enqueue_parent("whole", False, children=children, key="ana")
    else:
        job = await queue.enqueue("whole", True, key="ana")
    async with on(engine, "keyed"):
        assert await job.result(30) == 10
    assert most == 1
    assert await inspect_queue(queue) == []


async def test_a_child_goes_when_the_last_of_its_parents_takes_it_along(engine: Engine, stage: Stage) -> None:
    """Both parents are cancelled before anybody was told of either."""
    up, down = engine.queue("up"), engine.queue("down")
    shared = Child("shared", Double(3), options={"id": "shared"})
    parents = [await up.enqueue_parent("gather", children=[shared]) for _ in range(2)]
    await up.courier.run()
    for parent in parents:
        await engine.run(scripts.TAKE_ALONG, up.root, parent.id, "cancel")
        await engine.run(scripts.CANCEL, up.root, "", "why not", parent.id)
    await up.courier.run()
    info = await down.get("shared")
    assert info is not None
    assert info.state is JobState.CANCELLED
