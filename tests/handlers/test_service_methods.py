"""The service's methods by their words: how urgent what they enqueue is, failed jobs, dead letters, recurring jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import (
    ConfigurationError,
    CronError,
    Discard,
    Draining,
    Engine,
    InvalidPayload,
    Job,
    JobContext,
    JobState,
    Supervisor,
    UnknownQueue,
    Worker,
)
from dhanam_jobs.handlers import JobsService, build_registry
from dhanam_jobs.handlers.jobs_service import DeadLetterStats, Replayed

if TYPE_CHECKING:
    from tests.handlers.conftest import Household

CATEGORIZE = "categorize-transactions"


class _Closed:
    @property
    def store(self) -> Any:
        raise Discard("the books are closed")


@pytest.fixture
async def engine(redis_url: str, redis: redis_async.Redis) -> AsyncIterator[Engine]:
    """An engine on an emptied server, with the service's registry."""
    async with Engine.connect(redis_url, registry=build_registry()) as connected:
        yield connected


@pytest.fixture
def service(engine: Engine) -> JobsService:
    """The service's methods."""
    return JobsService(engine)


async def _fail(service: JobsService, engine: Engine, count: int) -> list[Job]:
    jobs = await service.trigger_bulk_categorization(f"space-{n:03}" for n in range(count))
    async with Worker(engine.queue(CATEGORIZE), resources=_Closed()):
        await asyncio.gather(*(job.result(timeout=20) for job in jobs), return_exceptions=True)
    return jobs


SYNC = {"provider": "bitso", "userId": "ana", "connectionId": "c"}
LETTER = {"to": "ana@example.test", "template": "welcome", "data": {"name": "Ana"}}


@pytest.mark.parametrize(
    ("level", "enqueue"),
    [
        (4, lambda s: s.add_sync_transactions_job(SYNC)),
        (6, lambda s: s.add_categorize_transactions_job({"spaceId": "s"})),
        (7, lambda s: s.add_esg_update_job({"symbols": ["BTC"]})),
        (8, lambda s: s.add_valuation_snapshot_job({"spaceId": "s"})),
        (1, lambda s: s.add_email_job({**LETTER, "priority": "high"}, 3)),
        (5, lambda s: s.add_email_job({**LETTER, "priority": "normal"})),
        (3, lambda s: s.add_email_job({**LETTER, "priority": "normal"}, 3)),
        (8, lambda s: s.add_email_job({**LETTER, "priority": "low"}, 3)),
        (2, lambda s: s.trigger_space_categorization("s")),
        (2, lambda s: s.trigger_categorization(["s", "t"])),
        (1, lambda s: s.trigger_portfolio_sync("ana")),
        (6, lambda s: s.trigger_esg_refresh(["BTC"])),
        (0, lambda s: s.trigger_esg_refresh(["BTC"], force_refresh=True)),
        (3, lambda s: s.trigger_valuation_snapshot("s", "2026-05-20")),
    ],
)
async def test_manual_and_forced_work_goes_before_scheduled_work(
    service: JobsService, level: int, enqueue: Callable[[JobsService], Awaitable[Job]]
) -> None:
    """The original's larger numbers were meant to be more urgent, and ran last."""
    job = await enqueue(service)
    assert (await service.get_job(job.queue, job.id)).priority == level


async def test_a_payload_comes_in_an_envelope_or_bare_and_a_wrong_one_is_refused(service: JobsService) -> None:
    """What is not a sync never becomes a job; an id given is the job's."""
    job = await service.add_sync_transactions_job({"type": "sync-transactions", "payload": SYNC}, job_id="my-sync")
    assert job.id == "my-sync"
    assert not (await service.add_sync_transactions_job(SYNC, job_id="my-sync")).created
    with pytest.raises(InvalidPayload, match=r"payload of 'sync-transactions': .*userId"):
        await service.add_sync_transactions_job({"provider": "bitso"})
    with pytest.raises(InvalidPayload, match="found type 'send-email'"):
        await service.add_sync_transactions_job({"type": "send-email", "payload": SYNC})
    assert (await service.get_queue_stats("sync-transactions")).waiting == 1


async def test_a_delay_is_in_milliseconds(service: JobsService) -> None:
    """A minute is a minute, and the job waits for it."""
    job = await service.add_sync_transactions_job(SYNC, delay_ms=60_000)
    info = await service.get_job(job.queue, job.id)
    assert info.state is JobState.DELAYED
    assert info.due_ms is not None
    assert info.due_ms - info.created_ms == 60_000


async def test_a_users_sync_is_one_job_for_each_connection(household: Household, engine: Engine) -> None:
    """Of the provider that is named, or of all; several users together; and no store is a mistake that is named."""
    connections = [
        {
            "id": f"{user}-{provider}",
            "user_id": user,
            "provider": provider,
            "provider_user_id": provider,
            "encrypted_token": "sealed",
        }
        for user, provider in (("ana", "bitso"), ("ana", "plaid"), ("eva", "bitso"))
    ]
    await household.store.provider_connections.upsert(connections)
    service = JobsService(engine, store=household.store)

    async def wanted(jobs: list[Job]) -> list[Any]:
        infos = [await service.get_job(job.queue, job.id) for job in jobs]
        assert {info.priority for info in infos} <= {1}
        return sorted(msgspec.json.decode(info.payload)["connectionId"] for info in infos)

    assert await wanted(await service.trigger_user_sync("ana", "plaid")) == ["ana-plaid"]
    assert await wanted(await service.trigger_bulk_sync(["ana", "eva", "ana"])) == [
        "ana-bitso",
        "ana-plaid",
        "eva-bitso",
    ]
    assert await service.trigger_user_sync("luis") == []
    assert (await service.get_queue_stats("sync-transactions")).waiting == 3
    with pytest.raises(ConfigurationError, match="without a store"):
        await JobsService(engine).trigger_user_sync("ana")


async def test_failed_jobs_come_newest_first(service: JobsService, engine: Engine) -> None:
    """With the reason, the number of attempts, and times that people can read; the limit is kept within 1 and 100."""
    jobs = await _fail(service, engine, 3)
    found = await service.get_failed_jobs(CATEGORIZE, limit=2)
    assert len(found) == 2
    assert len(await service.get_failed_jobs(CATEGORIZE, limit=-5)) == 1
    everything = await service.get_failed_jobs(CATEGORIZE, limit=1_000_000)
    assert {each.id for each in everything} == {job.id for job in jobs}
    assert [each.finished_on for each in everything] == sorted((e.finished_on or "" for e in everything), reverse=True)
    first = msgspec.to_builtins(everything[0])
    assert first["failedReason"] == "the books are closed"
    assert first["attemptsMade"] == 1
    assert first["name"] == CATEGORIZE
    assert first["timestamp"].endswith("Z")
    assert first["timestamp"] <= first["processedOn"] <= first["finishedOn"]


async def test_a_failed_jobs_secrets_are_hidden_by_the_names_of_their_keys(
    redis_url: str, redis: redis_async.Redis
) -> None:
    """What an operator sees of the data is redacted; the job itself keeps it."""
    registry = build_registry()

    @registry.job("refuse", queue="esg-updates")
    async def refuse(ctx: JobContext, payload: dict[str, Any]) -> None:
        raise Discard("no")

    async with Engine.connect(redis_url, registry=registry) as engine:
        queue = engine.queue("esg-updates")
        job = await queue.enqueue("refuse", {"symbol": "BTC", "apiKey": "k", "deep": {"password": "p"}})
        async with Worker(queue, resources=_Closed()):
            await asyncio.gather(job.result(timeout=20), return_exceptions=True)
        (shown,) = await JobsService(engine).get_failed_jobs("esg-updates")
    assert shown.data == {"symbol": "BTC", "apiKey": "[REDACTED]", "deep": {"password": "[REDACTED]"}}


async def test_retried_jobs_get_all_their_attempts_and_cleared_ones_are_gone(
    service: JobsService, engine: Engine
) -> None:
    """One queue or all; jobs in other states are left."""
    jobs = await _fail(service, engine, 3)
    assert await service.retry_failed_jobs(CATEGORIZE) == 3
    assert (await service.get_job(CATEGORIZE, jobs[0].id)).attempt == 0
    async with Worker(engine.queue(CATEGORIZE), resources=_Closed()):
        await asyncio.gather(*(job.result(timeout=20) for job in jobs), return_exceptions=True)
    assert await service.retry_all_failed_jobs() == {CATEGORIZE: 3}
    assert await service.clear_failed_jobs(CATEGORIZE) == 0
    assert (await service.get_queue_stats(CATEGORIZE)).waiting == 3
    assert await service.clear_queue(CATEGORIZE) == 3
    assert (await service.get_queue_stats(CATEGORIZE)).waiting == 0


async def test_statistics_add_up(service: JobsService, engine: Engine) -> None:
    """A share with two decimals, and "100" where nothing was ever done."""
    empty = await service.get_job_statistics()
    assert (empty.summary.total_jobs, empty.summary.success_rate) == (0, "100")
    await _fail(service, engine, 1)
    await service.trigger_bulk_categorization(["a", "b"])
    summary = msgspec.to_builtins((await service.get_job_statistics()).summary)
    assert summary == {"totalJobs": 3, "activeJobs": 0, "failedJobs": 1, "successRate": "66.67"}
    assert await service.get_active_job_count() == 0


async def test_what_leaves_the_failed_jobs_is_a_dead_letter_to_look_at_replay_and_prune(
    service: JobsService, engine: Engine
) -> None:
    """Fifty failures are kept as jobs, the rest as dead letters, each once."""
    await _fail(service, engine, 54)
    letters = await service.get_dead_letter_jobs()
    assert len(letters) == 4
    assert len(await service.get_dead_letter_jobs(limit=3)) == 3
    letter = letters[0]
    assert (letter.queue, letter.name, letter.attempts_made, letter.max_attempts) == (CATEGORIZE, CATEGORIZE, 1, 3)
    assert letter.failed_reason == "the books are closed"
    failed_at = [each.failed_at for each in letters]
    assert failed_at == sorted((moment or "" for moment in failed_at), reverse=True)
    stats = await service.get_dead_letter_queue_stats()
    assert stats == DeadLetterStats(4, {CATEGORIZE: 4}, failed_at[-1], failed_at[0])

    assert await service.retry_dead_letter_job(letter.id)
    assert not await service.retry_dead_letter_job(letter.id)
    assert not await service.retry_dead_letter_job("nothing")
    assert (await service.get_job(CATEGORIZE, letter.id)).state is JobState.WAITING
    assert await service.prune_dead_letter_queue() == 0
    assert await service.retry_dead_letter_queue_by_original_queue(CATEGORIZE) == Replayed(3, 0)
    assert await service.get_dead_letter_queue_stats() == DeadLetterStats(0, {}, None, None)
    assert (await service.get_queue_stats(CATEGORIZE)).waiting == 4


async def test_dead_letters_can_be_cleared_by_age_and_all(service: JobsService, engine: Engine) -> None:
    """Thirty days keep today's; no days keep none."""
    await _fail(service, engine, 53)
    assert await service.prune_dead_letter_queue(older_than_days=1) == 0
    assert await service.clear_dead_letter_queue() == 3
    assert await service.get_dead_letter_jobs() == []


async def test_a_recurring_job_is_made_changed_and_removed(service: JobsService) -> None:
    """One schedule per job name; what isn't there, or isn't meant, is not removed."""
    made = await service.schedule_recurring_job("esg-updates", "esg-update", {"symbols": ["BTC"]}, "0 6 * * *")
    assert (made.schedule.name, made.queue) == ("recurring-esg-update", "esg-updates")
    changed = await service.schedule_recurring_job("esg-updates", "esg-update", {"symbols": ["BTC"]}, "0 7 * * *")
    assert changed.schedule.cron == "0 7 * * *"
    assert not await service.remove_recurring_job("esg-updates", "esg-update", "0 6 * * *")
    assert not await service.remove_recurring_job("system-maintenance", "esg-update")
    assert await service.remove_recurring_job("esg-updates", "esg-update", "0 7 * * *")
    assert not await service.remove_recurring_job("esg-updates", "esg-update", "0 7 * * *")
    with pytest.raises(CronError):
        await service.schedule_recurring_job("esg-updates", "esg-update", {}, "every day")
    with pytest.raises(UnknownQueue):
        await service.schedule_recurring_job("esg", "esg-update", {}, "0 6 * * *")


async def test_a_drain_ends_this_process_workers_and_pauses_no_queue(engine: Engine) -> None:
    """Another process goes on; what comes in here is refused."""
    async with Supervisor(engine, [CATEGORIZE], resources=_Closed()) as supervisor:
        service = JobsService(engine, supervisor=supervisor)
        await service.drain_queues(timeout_ms=1000)
        assert not service.is_accepting_jobs()
        assert not await service.is_queue_paused(CATEGORIZE)
        with pytest.raises(Draining):
            await service.trigger_space_categorization("s")
    alone = JobsService(engine)
    await alone.drain_queues()
    assert not alone.is_accepting_jobs()
