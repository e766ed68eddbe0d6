"""The entries that deeds leave in the audit log, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, EngineUnavailable, UnknownQueue, WrongState
from dhanam_jobs.handlers import JobsService, build_registry
from dhanam_jobs.handlers.service.deeds import CANCEL_JOB, PAUSE_QUEUE, RETRY_FAILED, Act
from dhanam_jobs.handlers.store import Store

QUEUE = "esg-updates"


@pytest.fixture
async def service(store: Store, redis_url: str, redis: redis_async.Redis) -> AsyncIterator[JobsService]:
    """The service's methods on a store of each kind."""
    async with Engine.connect(redis_url, registry=build_registry()) as engine:
        yield JobsService(engine, store=store)


async def told(store: Store, resource: str, thing: str) -> list[tuple[str, dict[str, Any]]]:
    """Action and details of a thing's entries."""
    found = await store.audit_log.of_resource(resource, thing)
    return [(entry.action, dict(entry.details)) for entry in found]


async def test_a_deed_is_kept_with_who_what_and_what_came_of_it(service: JobsService, store: Store) -> None:
    """Its secrets are not."""
    async with service.acting(PAUSE_QUEUE, QUEUE, user_id="root", request_id="r-1") as act:
        act.note(changed=True, reason="password=hunter22", api_key="k")
    (entry,) = await store.audit_log.of_resource("Queue", QUEUE)
    assert (entry.user_id, entry.action, entry.severity) == ("root", "admin.queue_pause", "high")
    assert entry.details == {
        "requestId": "r-1",
        "changed": True,
        "reason": "password=[REDACTED]",
        "api_key": "[REDACTED]",
        "outcome": "done",
    }
    assert await store.audit_log.first_broken() is None


async def test_what_changed_nothing_leaves_no_entry(service: JobsService, store: Store) -> None:
    """Neither a deed of which nothing is noted, nor a refusal, the caller's own included."""
    async with service.acting(PAUSE_QUEUE, QUEUE, user_id="root"):
        pass
    with pytest.raises(WrongState):
        async with service.acting(PAUSE_QUEUE, QUEUE, user_id="root"):
            raise WrongState("1", "active", "pause", "another")
    with pytest.raises(KeyError):
        async with service.acting(PAUSE_QUEUE, QUEUE, user_id="root", refusals=(KeyError,)):
            raise KeyError("no")
    with pytest.raises(UnknownQueue):
        async with service.acting(PAUSE_QUEUE, "nothing", user_id="root") as act:
            act.note()
    assert await told(store, "Queue", QUEUE) == await told(store, "Queue", "nothing") == []


@pytest.mark.parametrize("error", [EngineUnavailable("gone"), RuntimeError("a bug"), KeyboardInterrupt()])
async def test_what_may_have_changed_something_is_kept_as_failed(
    service: JobsService, store: Store, error: BaseException
) -> None:
    """Whatever broke it; the error's text is not kept, since it may hold anything."""
    with pytest.raises(type(error)):
        async with service.acting(PAUSE_QUEUE, QUEUE, user_id="root"):
            raise error
    details = {"outcome": "failed", "error": type(error).__name__}
    assert await told(store, "Queue", QUEUE) == [("admin.queue_pause", details)]


async def test_a_refusal_after_a_change_is_kept_as_failed_with_what_was_changed(
    service: JobsService, store: Store
) -> None:
    """So half of a deed is never without an entry."""

    def half(act: Act) -> None:
        act.note(changed=["payload"])
        raise WrongState("1", "active", "reprioritise", "waiting")

    with pytest.raises(WrongState):
        async with service.acting(CANCEL_JOB, f"{QUEUE}/1", user_id="root") as act:
            half(act)
    details = {"changed": ["payload"], "outcome": "failed", "error": "WrongState"}
    assert await told(store, "Job", f"{QUEUE}/1") == [("admin.job_cancel", details)]


async def test_a_lengthy_deed_is_in_the_log_before_it_ends(service: JobsService, store: Store) -> None:
    """So a process that is killed in between leaves an entry."""

    async def begun(act: Act) -> None:
        await act.begin(which={"state": "failed"})
        assert await told(store, "Queue", QUEUE) == [("admin.queue_retry_failed.begun", {"which": {"state": "failed"}})]

    async with service.acting(RETRY_FAILED, QUEUE, user_id="root") as act:
        await begun(act)
        act.note(count=2)
    assert (await told(store, "Queue", QUEUE))[1:] == [
        ("admin.queue_retry_failed", {"which": {"state": "failed"}, "count": 2, "outcome": "done"})
    ]


async def test_a_name_that_no_database_keeps_is_kept_as_far_as_it_can_be(service: JobsService, store: Store) -> None:
    """A path may hold a NUL, and thousands of characters."""
    async with service.acting(CANCEL_JOB, "a\0b" + "x" * 5000, user_id="root") as act:
        act.note()
    kept = ("a\N{REPLACEMENT CHARACTER}b" + "x" * 5000)[:512]
    assert await told(store, "Job", kept) == [("admin.job_cancel", {"outcome": "done"})]
