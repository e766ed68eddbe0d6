"""Categorising many spaces: whose are taken, what is summed, and what a failing one does to the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dhanam_jobs.engine import Engine, Worker
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.categorize_all import CategorizeAll

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from dhanam_jobs.handlers.store import Store
    from tests.handlers.conftest import Household


class _Resources:
    def __init__(self, store: Store) -> None:
        self.store = store


@asynccontextmanager
async def _working(household: Household, redis_url: str) -> AsyncIterator[Engine]:
    async with (
        Engine.connect(redis_url, registry=build_registry()) as engine,
        Worker(engine.queue("categorize-transactions"), resources=_Resources(household.store)),
    ):
        yield engine


async def _run(household: Household, redis_url: str, space_ids: list[str] | None = None) -> dict[str, Any]:
    async with _working(household, redis_url) as engine:
        job = await engine.enqueue(CategorizeAll(space_ids))
        result: dict[str, Any] = await job.result(timeout=20)
    assert result.pop("durationMs") >= 0
    return result


async def _two_spaces(household: Household) -> None:
    await household.rule("r", "oxxo")
    await household.rule("r-other", "oxxo", "alien", space_id="other")
    await household.insert(household.row("1", "a oxxo"), household.row("2", "b uber"))
    await household.insert(household.row("1", "c oxxo"), account_id="foreign")


async def test_all_spaces_are_summed_but_the_demos_are_left_out(
    household: Household, redis_url: str, redis: Redis
) -> None:
    """Nobody named the demo's spaces, so their rows stay as they are."""
    await _two_spaces(household)
    await household.store.spaces.upsert([{"id": "other", "is_demo": True}])
    done = await _run(household, redis_url)
    assert done == {"categorized": 1, "total": 2, "spaces": 1, "errors": 0, "failures": []}
    await household.store.spaces.upsert([{"id": "other", "is_demo": False}])
    done = await _run(household, redis_url)
    assert done == {"categorized": 1, "total": 2, "spaces": 2, "errors": 0, "failures": []}


async def test_one_space_that_fails_is_named_and_the_rest_is_done(
    household: Household, redis_url: str, redis: Redis
) -> None:
    """The sum is that of the others; spaces named twice count once, and the demo's count when they are named."""
    await _two_spaces(household)
    await household.store.spaces.upsert([{"id": "other", "is_demo": True}])
    done = await _run(household, redis_url, ["home", "nowhere", "other", "home"])
    failures = done.pop("failures")
    assert done == {"categorized": 2, "total": 3, "spaces": 3, "errors": 1}
    assert len(failures) == 1
    assert failures[0].startswith("space nowhere: ")
    assert "space 'nowhere' does not exist" in failures[0]


async def test_no_spaces_are_not_all_spaces(household: Household, redis_url: str, redis: Redis) -> None:
    """A caller who belongs to no space touches none."""
    await _two_spaces(household)
    done = await _run(household, redis_url, [])
    assert done == {"categorized": 0, "total": 0, "spaces": 0, "errors": 0, "failures": []}


async def test_two_runs_for_all_are_one_job(redis_url: str, redis: Redis) -> None:
    """The hour and an administrator meet in one job; a choice of spaces is another one, whatever its order."""
    async with Engine.connect(redis_url, registry=build_registry()) as engine:
        first, second = [await engine.enqueue(CategorizeAll()) for _ in range(2)]
        some = await engine.enqueue(CategorizeAll(["a", "b"]))
        same = await engine.enqueue(CategorizeAll(["a", "b"]))
    assert first.id == second.id
    assert some.id == same.id != first.id
