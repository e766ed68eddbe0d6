"""Proves what explain.lua says of a job in each state."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, outcome, texts


async def said(ground: Ground, job_id: str, after: str = "", limit: int = 100) -> dict[str, str]:
    """The reply as a dict."""
    return texts(await ground.run(scripts.EXPLAIN, job_id, after, limit))


async def test_an_unknown_job_has_no_explanation(ground: Ground) -> None:
    """An empty reply."""
    assert await said(ground, "nobody") == {}


async def test_a_waiting_job_is_told_what_is_claimed_before_it(ground: Ground) -> None:
    """More urgent places, and its own, counted in steps; what is claimed doesn't count."""
    await ground.register()
    await ground.enqueue()
    await ground.claim()
    ids = [await ground.enqueue() for _ in range(5)]
    await ground.enqueue(level=2)
    await ground.enqueue(level=8)
    reply = await said(ground, ids[4], limit=3)
    assert (reply["state"], reply["urgent"], reply["before"], reply["busy"]) == ("waiting", "1", "3", "1")
    reply = await said(ground, ids[4], reply["counted"], limit=3)
    assert reply["before"] == "1"
    assert "counted" not in reply
    await ground.run_dry()


async def test_pause_and_workers_are_told(ground: Ground) -> None:
    """Since when it is paused, and how many are alive."""
    job_id = await ground.enqueue()
    await ground.run(scripts.PAUSE)
    reply = await said(ground, job_id)
    assert (reply["paused_ms"], reply["workers"]) == (str(ground.now), "0")
    await ground.run(scripts.RESUME)
    await ground.register()
    reply = await said(ground, job_id)
    assert ("paused_ms" in reply, reply["workers"]) == (False, "1")
    await ground.run_dry()


async def test_a_delayed_job_is_told_when_it_is_due(ground: Ground) -> None:
    """In ms."""
    job_id = await ground.enqueue(delay=5000)
    reply = await said(ground, job_id)
    assert (reply["state"], reply["due_ms"]) == ("delayed", str(ground.now + 5000))
    ground.now += 6000
    await ground.run_dry()


async def test_a_blocked_job_is_told_who_holds_its_key_and_who_is_before_it(ground: Ground) -> None:
    """The holder, its state, and the length of the line."""
    ids = [await ground.enqueue(payload=str(number), unique="k") for number in range(3)]
    reply = await said(ground, ids[2])
    assert (reply["state"], reply["key"], reply["holder"], reply["holder_state"], reply["ahead"]) == (
        "blocked",
        "k",
        ids[0],
        "waiting",
        "1",
    )
    await ground.run_dry()


async def test_active_parked_and_ended_jobs_are_explained(ground: Ground) -> None:
    """By their worker, their name, and how they ended."""
    await ground.register()
    ended = await ground.enqueue()
    await ground.settle(*map(outcome, await ground.claim()))
    parked = await ground.enqueue("unknown")
    await ground.settle(*(outcome(claim, "parked") for claim in await ground.claim()))
    active = await ground.enqueue()
    await ground.claim()
    assert (await said(ground, ended))["ended"] == "completed"
    assert (await said(ground, parked))["name"] == "unknown"
    reply = await said(ground, active)
    assert (reply["state"], reply["worker"], int(reply["idle_ms"]) >= 0) == ("active", "ana", True)
    await ground.run(scripts.REMOVE, " parked ", parked)
    await ground.run_dry()
