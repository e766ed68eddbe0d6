"""Proves what notes.lua reads of a job's progress and log, and that reading changes nothing."""

from __future__ import annotations

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.ground import Ground, id_of


async def test_a_job_that_told_nothing_has_no_notes(ground: Ground) -> None:
    """No key is made by asking."""
    assert await ground.run(scripts.NOTES, "nobody", 0, 10) == [b"", 0]
    assert await ground.command("DBSIZE") == 0


async def test_lines_are_read_from_either_end_and_counted_in_full(ground: Ground, keys: Keys) -> None:
    """From a line on, from the last ones, beyond the end, and none at all."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    told = await ground.run(scripts.NOTE, "ana", claim[0], claim[1], id_of(claim), "0.5", 100, "1", "2", "3", "4")
    assert told == 1
    before = await keys.contents()
    for first, count, lines in (
        (0, 2, [b"1", b"2"]),
        (1, 9, [b"2", b"3", b"4"]),
        (-2, 9, [b"3", b"4"]),
        (-9, 1, [b"1"]),
    ):
        assert await ground.run(scripts.NOTES, job_id, first, count) == [b"0.5", 4, *lines]
    for first, count in ((4, 9), (0, 0)):
        assert await ground.run(scripts.NOTES, job_id, first, count) == [b"0.5", 4]
    assert await keys.contents() == before
