"""How the shop is tested: one handler by itself, whole flows inline, and time that passes when the test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from conftest import Outbox
from shop import REPORT, Confirm, Remind, registry

from dhanam_jobs.engine import Engine, Supervisor
from dhanam_jobs.engine.testing import ManualClock, assert_enqueued, call, run_waiting


async def test_an_order_is_confirmed_and_a_reminder_planned(outbox: Outbox) -> None:
    """One handler, no server."""
    called = await call(registry, Confirm(7, "ana@x.example"), resources=outbox)
    assert called.result == "confirmed"
    assert called.log == ["told ana@x.example"]
    assert [(job.name, job.options["delay"]) for job in called.enqueued] == [("remind", 86_400)]


async def test_a_failing_mailer_is_an_error_of_the_handler(outbox: Outbox) -> None:
    """What it raises is raised."""
    outbox.broken = 1
    with pytest.raises(ConnectionError):
        await call(registry, Confirm(7, "ana@x.example"), resources=outbox)


async def test_the_reminder_comes_a_day_after_the_order(engine: Engine, clock: ManualClock, outbox: Outbox) -> None:
    """The real engine, one step at a time."""
    await engine.enqueue(Confirm(7, "ana@x.example"))
    await run_waiting(engine, resources=outbox)
    await assert_enqueued(engine.queue("mail"), "remind", Remind(7, "ana@x.example"))

    clock.advance(86_399)
    assert await run_waiting(engine, resources=outbox) == []
    clock.advance(1)
    assert [ran.name for ran in await run_waiting(engine, resources=outbox)] == ["remind"]
    assert [text for _, text in outbox.sent] == ["order 7 is on its way", "did order 7 arrive?"]


async def test_mail_is_tried_again_after_half_a_minute_and_a_minute(
    engine: Engine, clock: ManualClock, outbox: Outbox
) -> None:
    """`through_delays` moves the clock to each next attempt."""
    outbox.broken = 2
    started = clock.now
    await engine.enqueue(Confirm(7, "ana@x.example"))
    ran = await run_waiting(engine, resources=outbox, through_delays=True)
    assert [(one.name, one.attempt, one.outcome) for one in ran] == [
        ("confirm", 1, "delayed"),
        ("confirm", 2, "delayed"),
        ("confirm", 3, "completed"),
        ("remind", 1, "completed"),
    ]
    assert str(ran[0].error) == "the mail server is away"
    assert clock.now - started == timedelta(seconds=30 + 60, days=1)


async def test_the_report_goes_out_at_seven_in_madrid_also_under_a_supervisor(
    engine: Engine, clock: ManualClock, outbox: Outbox
) -> None:
    """Workers that run beside the test are woken by the clock."""
    async with Supervisor(engine, resources=outbox, schedules=[REPORT], owner="shop"):
        clock.move_to(datetime(2026, 6, 2, 5, 0, tzinfo=UTC))
        report = engine.queue("reports").job("morning-report-20260602T050000Z")
        async for event in engine.events("reports", since="0"):
            if event.kind == "completed":
                break
        assert await report.result(timeout=10) is None
    assert outbox.sent == [("boss@shop.example", "all is well")]
