"""Pages over several lists of jobs, one after the other, of which the engine pages each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from dhanam_jobs.engine import ConfigurationError, JobInfo, Page


async def page_over(
    places: Sequence[str],
    page_of: Callable[[str, int, str | None], Awaitable[Page]],
    limit: int,
    cursor: str | None,
) -> tuple[list[JobInfo], int, str | None]:
    """Return at most `limit` jobs, how many were looked at so far, and the cursor of the next page, None for the last.

    `page_of` gives a page of one place: that place, so many jobs, from that cursor on. A cursor of ours is the number
    of jobs looked at in the places before, the place, and the engine's cursor in it: `12/failed/…`.

    Raises ConfigurationError for a cursor that no such page gave.
    """
    before, at, within = _read(cursor, places)
    jobs: list[JobInfo] = []
    while True:
        place = places[at]
        page = await page_of(place, limit - len(jobs), within)
        jobs += page.jobs
        if page.cursor is not None:
            return jobs, before + page.searched, f"{before}/{place}/{page.cursor}"
        before += page.searched
        at, within = at + 1, None
        if at == len(places):
            return jobs, before, None
        if len(jobs) >= limit:
            return jobs, before, f"{before}/{places[at]}/"


def _read(cursor: str | None, places: Sequence[str]) -> tuple[int, int, str | None]:
    if cursor is None:
        return 0, 0, None
    before, _, rest = cursor.partition("/")
    place, slash, within = rest.partition("/")
    if not (before.isascii() and before.isdigit() and len(before) <= 15 and slash and place in places):
        raise ConfigurationError(f"cursor {cursor[:80]!r}: wanted one that a page of these jobs gave")
    return int(before), places.index(place), within or None
