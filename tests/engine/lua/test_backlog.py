"""Proves that backlog.lua finds the oldest waiting job, wherever it waits, and the claims that lost their worker."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground


async def test_an_unknown_queue_has_no_backlog_and_makes_no_key(ground: Ground) -> None:
    """Nothing waits, nothing was lost."""
    assert (await ground.run(scripts.BACKLOG))[1:] == [0, 0]
    assert await ground.command("DBSIZE") == 0


async def test_the_oldest_of_all_levels_counts_and_claimed_jobs_do_not(ground: Ground) -> None:
    """An entry's own time, which is when the job came to where it waits."""
    await ground.register()
    ids = []
    for level in (5, 2, 8):
        ids.append(await ground.enqueue(level=level))
        await ground.next_ms()
    times = [int(text.split("-")[1]) for text in ids]
    assert (await ground.run(scripts.BACKLOG))[1] == times[0]
    await ground.claim(2)  # the most urgent, and the first of level 5
    now, since, stalled = await ground.run(scripts.BACKLOG)
    assert (now, since, stalled) == (ground.now, times[2], 0)
    await ground.claim(5)
    assert (await ground.run(scripts.BACKLOG))[1] == 0
    await ground.run_dry()


async def test_a_job_in_the_line_of_its_key_counts_from_its_creation(ground: Ground) -> None:
    """Where its key may start one."""
    await ground.enqueue(fields=["key", "ana"])
    created = ground.now
    await ground.next_ms()
    await ground.enqueue()
    assert (await ground.run(scripts.BACKLOG))[1] == created
    await ground.register()
    await ground.run_dry()


async def test_claims_that_lost_their_worker_are_counted(ground: Ground) -> None:
    """Those that go on, and those that fail for it; for good, also when the jobs have gone."""
    await ground.register()
    await ground.enqueue()
    for lost in (1, 2):
        await ground.register(f"worker-{lost}")
        assert len(await ground.claim(1, worker=f"worker-{lost}")) == 1
        ground.now += 60_000
        await ground.register()
        await ground.sweep(stalls=1)
        await ground.sweep(stalls=1)
        ground.now += 20_000
        await ground.sweep(stalls=1)
        assert (await ground.run(scripts.BACKLOG))[2] == lost
    await ground.run_dry()
