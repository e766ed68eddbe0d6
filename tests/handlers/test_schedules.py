"""The schedules of the service: the table, and what the engine makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import CronError, Engine
from dhanam_jobs.handlers import build_registry
from dhanam_jobs.handlers.schedules import OWNER, SCHEDULES, service_schedules

WANTED = {
    "categorize-new-transactions": ("0 * * * *", "categorize-all"),
    "sync-crypto-portfolios": ("0 */4 * * *", "sync-portfolio"),
    "sync-blockchain-wallets": ("0 */6 * * *", "sync-wallets"),
    "cleanup-expired-sessions": ("0 2 * * *", "cleanup-expired-sessions"),
    "generate-valuation-snapshots": ("0 3 * * *", "snapshot-all"),
    "refresh-esg-scores": ("0 6,18 * * *", "esg-update-all"),
    "refresh-exchange-rates": ("30 1 * * *", "refresh-exchange-rates"),
    "cleanup-demo-accounts": ("30 3 * * *", "cleanup-demo-accounts"),
    "apply-retention": ("0 4 * * *", "apply-retention"),
    "send-weekly-summaries": ("0 14 * * 1", "send-weekly-summaries"),
    "send-monthly-reports": ("0 14 1 * *", "send-monthly-reports"),
}


@pytest.fixture
async def engine(redis_url: str, redis: redis_async.Redis) -> AsyncIterator[Engine]:
    """An engine on an emptied server, with the service's registry."""
    async with Engine.connect(redis_url, registry=build_registry()) as connected:
        yield connected


def test_the_table_is_the_specifications() -> None:
    """Names, times and jobs, each once."""
    assert len(SCHEDULES) == len(WANTED)
    assert {row.name: (row.cron, row.job) for row in SCHEDULES} == WANTED


def test_every_schedule_starts_a_job_that_takes_an_empty_payload() -> None:
    """A job that nobody knows would be parked at each tick, one that wants more would be refused."""
    registry = build_registry()
    for schedule in service_schedules():
        assert schedule.queue is not None
        job = registry.find(schedule.queue, schedule.job)
        assert job is not None, schedule.name
        assert msgspec.convert({}, job.payload_type) == job.payload_type()


def test_the_services_zone_is_the_schedules_but_not_the_reports() -> None:
    """Reports leave at one hour for all."""
    zones = {schedule.name: schedule.tz for schedule in service_schedules("America/Mexico_City")}
    assert zones["categorize-new-transactions"] == "America/Mexico_City"
    assert zones["send-weekly-summaries"] == zones["send-monthly-reports"] == "UTC"
    with pytest.raises(CronError, match="Nowhere/Land"):
        service_schedules("Nowhere/Land")


async def test_declared_twice_each_exists_once_and_a_run_is_the_job_with_an_empty_payload(engine: Engine) -> None:
    """One schedule per name, whoever declares it; a run by hand enqueues what the hour would."""
    for _ in range(2):
        assert await engine.schedules.declare(service_schedules(), owner=OWNER) == []
    found = await engine.schedules.list()
    assert [info.schedule.name for info in found] == sorted(s.name for s in service_schedules())
    assert {info.owner for info in found} == {OWNER}
    job = await engine.schedules.run_now("categorize-new-transactions")
    info = await engine.queue("categorize-transactions").get(job.id)
    assert info is not None
    assert (info.name, info.priority) == ("categorize-all", 6)
    assert bytes(info.payload) == b"{}"
