"""The service's methods on a real engine, and the registry that they work with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    ConfigurationError,
    Draining,
    Engine,
    JobInfo,
    JobNotFound,
    JobState,
    Retention,
    RetryPolicy,
    UnknownQueue,
)
from dhanam_jobs.handlers import JobsService, build_registry
from dhanam_jobs.handlers.jobs_service import Subject, subject_of

NAMES = [
    "sync-transactions",
    "categorize-transactions",
    "esg-updates",
    "valuation-snapshots",
    "email-notifications",
    "system-maintenance",
]


@pytest.fixture
async def engine(redis_url: str, redis: redis_async.Redis) -> AsyncIterator[Engine]:
    """An engine on an emptied server, with the service's registry."""
    async with Engine.connect(redis_url, registry=build_registry()) as connected:
        yield connected


def test_the_registry_has_the_six_queues_with_the_specifications_defaults() -> None:
    """Five at once, three executions with 5 s and 10 s between them, 100 completed and 50 failed records kept."""
    rows = build_registry().queues
    assert [row.name for row in rows] == NAMES
    for row in rows:
        assert row.concurrency == 5
        assert row.retry == RetryPolicy(attempts=3, base=5.0, factor=2.0)
        assert [row.retry.wait_ms(failures) for failures in (1, 2)] == [5000, 10_000]
        assert row.retention == Retention(completed=100, failed=50)


def test_concurrency_can_be_set_per_queue() -> None:
    """The one that is named changes, the others keep the table's."""
    rows = {row.name: row.concurrency for row in build_registry({"esg-updates": 2}).queues}
    assert rows["esg-updates"] == 2
    assert set(rows.values()) == {2, 5}


def test_concurrency_of_an_unknown_queue_is_refused() -> None:
    """The message names what was found and what there is."""
    with pytest.raises(ConfigurationError, match="found queues esg, wanted only sync-transactions, "):
        build_registry({"esg": 2})


@pytest.mark.parametrize("value", [0, -1, 5.5, True])
def test_concurrency_that_can_not_work_is_refused(value: int) -> None:
    """Nothing but a whole number above 0 will do."""
    with pytest.raises(ConfigurationError, match="concurrency"):
        build_registry({"esg-updates": value})


async def test_all_stats_come_in_the_order_of_the_table(engine: Engine) -> None:
    """Each queue once, with the counts of its own jobs."""
    service = JobsService(engine)
    await service.trigger_space_categorization("space-1", user_id="ana")
    stats = await service.get_all_queue_stats()
    assert [row.name for row in stats] == NAMES
    assert [row.waiting for row in stats] == [0, 1, 0, 0, 0, 0]
    assert stats[1] == await service.get_queue_stats("categorize-transactions")


async def test_triggering_a_space_twice_gives_one_job_with_two_owners(engine: Engine) -> None:
    """One categorisation per space waits or runs; another space has its own."""
    service = JobsService(engine)
    first = await service.trigger_space_categorization("space-1", user_id="ana")
    second = await service.trigger_space_categorization("space-1", user_id="bob")
    other = await service.trigger_space_categorization("space-2", user_id="bob")
    assert (first.created, second.created, other.created) == (True, False, True)
    assert first.id == second.id != other.id
    info = await service.get_job("categorize-transactions", first.id)
    assert info.owners == ["ana", "bob"]
    assert msgspec.json.decode(info.payload) == {"spaceId": "space-1", "transactionIds": None}
    assert subject_of(info) == Subject(space_id="space-1")


async def test_pause_and_resume_reach_the_queue_and_no_other(engine: Engine) -> None:
    """Both may be repeated."""
    service = JobsService(engine)
    for _ in range(2):
        await service.pause_queue("esg-updates")
        assert await service.is_queue_paused("esg-updates")
    assert not await service.is_queue_paused("sync-transactions")
    for _ in range(2):
        await service.resume_queue("esg-updates")
        assert not await service.is_queue_paused("esg-updates")


async def test_an_unknown_queue_is_named_with_those_that_there_are(engine: Engine) -> None:
    """Every method that takes a queue's name checks it, and makes no queue of it."""
    service = JobsService(engine)
    for ask in (service.get_queue_stats, service.pause_queue, service.resume_queue, service.is_queue_paused):
        with pytest.raises(UnknownQueue, match="queue 'esg': wanted one of sync-transactions, "):
            await ask("esg")
    with pytest.raises(UnknownQueue):
        await service.get_job("esg", "1")


async def test_an_unknown_job_is_an_error_that_names_it(engine: Engine) -> None:
    """The queue's name and the id are in the message."""
    with pytest.raises(JobNotFound, match="esg-updates has no job 'nothing'"):
        await JobsService(engine).get_job("esg-updates", "nothing")


async def test_once_draining_nothing_is_accepted(engine: Engine) -> None:
    """The service says so, and a trigger is refused without a trace; what waits goes on waiting."""
    service = JobsService(engine)
    job = await service.trigger_space_categorization("space-1", user_id="ana")
    assert service.is_accepting_jobs()
    engine.stop_accepting()
    assert not service.is_accepting_jobs()
    with pytest.raises(Draining):
        await service.trigger_space_categorization("space-2", user_id="ana")
    assert (await service.get_queue_stats("categorize-transactions")).waiting == 1
    assert (await service.get_job("categorize-transactions", job.id)).state is JobState.WAITING


@pytest.mark.parametrize(
    ("payload", "subject"),
    [
        (b'{"spaceId":"s","date":"2026-01-01"}', Subject(space_id="s")),
        (b'{"userId":"u","spaceId":"s"}', Subject("s", "u")),
        *((nobody, Subject()) for nobody in (b"[]", b"0", b'"text"', b"null", b'{"spaceId":7}', b'{"userId":[]}')),
    ],
)
def test_a_jobs_subject_is_whom_its_payload_names(payload: bytes, subject: Subject) -> None:
    """Whatever a payload is, asking whom it is about doesn't fail."""
    info = JobInfo("1", "q", "n", JobState.WAITING, 5, 0, 0, msgspec.Raw(payload))
    assert subject_of(info) == subject
