"""Proves that users' unit tests call one handler without a server, and are told all that it told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Child,
    ChildEnd,
    Discard,
    InvalidPayload,
    JobContext,
    JobError,
    ProcessContext,
    Registry,
    UnknownJobName,
    WaitForChildren,
)
from dhanam_jobs.engine.testing import Enqueued, call


class Greet(msgspec.Struct):
    """Whom to greet."""

    name: str


registry = Registry()


@registry.job("greet", queue="hello")
async def greet(ctx: JobContext, payload: Greet) -> str:
    """Greets, and says all that can be said."""
    ctx.log(f"greets {payload.name}")
    await ctx.progress({"done": 1})
    job = await ctx.enqueue("greet-sync", {"name": "Ben"}, priority=1)
    assert job.queue == "hello"
    return f"{ctx.resources} {payload.name}, {ctx.job.name} {ctx.attempt} {ctx.job.meta} {ctx.job.priority}"


@registry.job("greet-sync", queue="hello")
def greet_sync(ctx: JobContext, payload: dict[str, str]) -> str:
    """The same from a thread."""
    ctx.log("sync")
    ctx.progress_sync(0.5)
    return ctx.enqueue_sync(Greet("Eva"))


@registry.job("compute", queue="other", process=True)
def compute(ctx: ProcessContext, payload: int) -> int:
    """What would have a process of its own."""
    ctx.log(f"attempt {ctx.attempt} of {ctx.job.name}")
    ctx.progress_sync(payload)
    ctx.enqueue_sync("greet", {"name": "Ana"}, queue="hello")
    return payload * payload


@registry.job("parent", queue="other")
async def parent(ctx: JobContext, payload: None) -> Any:
    """Adds two children, and sums what came of them."""
    new = await ctx.add_children([Child("a", Greet("Ana")), Child("b", "compute", 2)])
    assert (new, await ctx.add_children([Child("a", Greet("Ana"))])) == (2, 0)
    return [end.result if end.completed else end.reason for end in await ctx.wait_children()]


@registry.job("refuse", queue="other")
async def refuse(ctx: JobContext, payload: None) -> None:
    """Ends badly."""
    ctx.log("so far")
    raise Discard("no use")


async def test_a_handler_is_called_and_what_it_told_comes_back() -> None:
    """Result, progress, log and what it enqueued; the context looks like the real one."""
    called = await call(registry, Greet("Ana"), attempt=2, resources="hello", meta={"trace": "t"}, priority=3)
    assert called.result == "hello Ana, greet 2 {'trace': 't'} 3"
    assert (called.log, called.progress) == (["greets Ana"], [{"done": 1}])
    assert called.enqueued == [Enqueued("hello", "greet-sync", {"name": "Ben"}, {"priority": 1})]


async def test_handlers_of_threads_and_processes_are_called_too() -> None:
    """In a thread, with the context that they know."""
    called = await call(registry, "greet-sync", {"name": "Ana"})
    assert (called.result, called.log, called.progress) == ("call-1", ["sync"], [0.5])
    assert called.enqueued == [Enqueued("hello", "greet", {"name": "Eva"})]
    called = await call(registry, "compute", 3, queue="other")
    assert (called.result, called.progress, called.log) == (9, [3], ["attempt 1 of compute"])
    assert called.enqueued == [Enqueued("hello", "greet", {"name": "Ana"})]


async def test_a_parent_waits_unless_it_is_given_its_childrens_ends() -> None:
    """Results, or ends that say more."""
    with pytest.raises(WaitForChildren):
        await call(registry, "parent")
    failed = ChildEnd("b", "other", "x", "failed", error=JobError("ValueError", "no number"))
    called = await call(registry, "parent", child_ends={"a": "hello", "b": failed})
    assert called.result == ["hello", "ValueError: no number"]
    assert [child.key for child in called.children] == ["a", "b"]


async def test_what_a_handler_raises_is_raised_or_given_with_what_it_told_before() -> None:
    """As the test asks for it."""
    with pytest.raises(Discard, match="no use"):
        await call(registry, "refuse")
    called = await call(registry, "refuse", raising=False)
    assert isinstance(called.error, Discard)
    assert called.log == ["so far"]


async def test_what_enqueue_would_refuse_is_refused() -> None:
    """Payloads that don't fit, and names that nobody has."""
    with pytest.raises(InvalidPayload, match="name"):
        await call(registry, "greet", {"nam": "Ana"})
    with pytest.raises(UnknownJobName, match="there are: "):
        await call(registry, "great", {})
    with pytest.raises(InvalidPayload):
        await call(registry, Greet("Ana"), {"name": "Ana"})
