"""Proves what note.lua keeps of a running job, whom it refuses, and when that goes away."""

from __future__ import annotations

from typing import Any

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, id_of, outcome


async def note(ground: Ground, claim: Any, progress: str = "", *lines: str, worker: str = "ana", cap: int = 3) -> int:
    return int(await ground.run(scripts.NOTE, worker, claim[0], claim[1], id_of(claim), progress, cap, *lines))


async def test_progress_and_lines_are_kept_and_told(ground: Ground) -> None:
    """The newest progress stands; of the lines the newest ones, up to the cap."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    assert await ground.run(scripts.NOTES, job_id, 0, 10) == [b"", 0]
    assert await note(ground, claim, "0.5", '"a"', '"b"') == 1
    assert await note(ground, claim, "", '"c"', '"d"') == 1
    assert await ground.run(scripts.NOTES, job_id, 0, 10) == [b"0.5", 3, b'"b"', b'"c"', b'"d"']
    assert await ground.run(scripts.NOTES, job_id, -1, 10) == [b"0.5", 3, b'"d"']
    assert await ground.run(scripts.NOTES, job_id, 0, 0) == [b"0.5", 3]
    assert (await ground.events())[-2:] == [("progress", job_id), ("value", "0.5")]
    await ground.settle(outcome(claim), keep=0)


async def test_a_large_value_is_kept_but_not_repeated_in_the_events(ground: Ground) -> None:
    """Whoever reads the events learns that there is something to look at."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    await note(ground, claim, '"' + "x" * 2000 + '"')
    assert (await ground.events())[-1] == ("progress", job_id)
    await ground.settle(outcome(claim), keep=0)


async def test_who_does_not_hold_the_claim_notes_nothing(ground: Ground) -> None:
    """Another worker's claim, and one that was settled."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    assert await note(ground, claim, "1", worker="ben") == 0
    await ground.settle(outcome(claim))
    assert await note(ground, claim, "1", '"late"') == 0
    assert await ground.run(scripts.NOTES, job_id, 0, 10) == [b"", 0]


async def test_notes_go_with_the_record(ground: Ground) -> None:
    """They stay as long as it does; a job that is run anew under its id has none."""
    await ground.register()
    for job_id in ("one", "two"):
        await ground.enqueue(id=job_id)
        (claim,) = await ground.claim()
        await note(ground, claim, "1", '"line"')
        await ground.settle(outcome(claim), keep=1)
    assert await ground.command("HKEYS", ground.key("notes")) == [b"two"]
    assert await ground.command("EXISTS", ground.key("log:one"), ground.key("log:two")) == 1
    await ground.enqueue(id="two", mode="rerun_finished")
    assert await ground.command("EXISTS", ground.key("log:two"), ground.key("notes")) == 0
    await ground.run_dry()
