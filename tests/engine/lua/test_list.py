"""Proves the steps of list.lua: order, cursors that survive change, filters, and bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.ground import Ground, outcome


class Step:
    """One reply."""

    def __init__(self, reply: list[Any]) -> None:
        self.cursor = reply[0].decode()
        self.looked: int = reply[1]
        self.total: int = reply[2]
        self.now: int = reply[3]
        self.ids = [job_id.decode() for job_id in reply[4::2]]
        self.items: list[Any] = reply[5::2]


async def step(
    ground: Ground,
    state: str,
    cursor: str = "",
    *,
    want: int = 100,
    look: int = 500,
    brief: int = 0,
    oldest: int = 0,
    **where: Any,
) -> Step:
    """One step."""
    wanted = msgspec.json.encode(where)
    return Step(await ground.run(scripts.LIST, state, cursor, want, look, wanted, brief, oldest))


async def walk(ground: Ground, state: str, want: int, **where: Any) -> list[str]:
    """All ids, page by page."""
    ids: list[str] = []
    cursor = ""
    while True:
        page = await step(ground, state, cursor, want=want, **where)
        assert len(page.ids) <= want
        ids += page.ids
        cursor = page.cursor
        if not cursor:
            return ids


async def end(ground: Ground, kind: str, **extra: Any) -> str:
    """A job that ends now."""
    await ground.register()
    job_id = await ground.enqueue(**extra)
    claims = await ground.claim()
    about = f'"id":"{job_id}","name":"greet","state":"{kind}","priority":5,"finished_ms":{ground.now}'
    record = f'{{{about},"payload":{extra.get("payload", "1")}}}'
    await ground.settle(*(outcome(claim, kind, record) for claim in claims))
    return job_id


async def test_an_empty_state_has_no_pages(ground: Ground) -> None:
    """Of any kind."""
    for state in ("waiting", "active", "delayed", "blocked", "parked", "completed", "failed", "cancelled", "dead"):
        page = await step(ground, state)
        assert (page.cursor, page.looked, page.total, page.now, page.ids) == ("", 0, 0, ground.now, [])


async def test_waiting_jobs_come_in_the_order_in_which_they_are_claimed(ground: Ground) -> None:
    """Levels first, the front before the rest; what is active is left out, and listed as that."""
    await ground.register()
    back = await ground.enqueue()
    await ground.settle(*(outcome(claim, "released") for claim in await ground.claim()))
    low = await ground.enqueue(level=9)
    normal = await ground.enqueue()
    urgent = await ground.enqueue(level=0)
    for want in (1, 2, 100):
        assert await walk(ground, "waiting", want) == [urgent, back, normal, low]
    await ground.claim(2)
    assert await walk(ground, "waiting", 1) == [normal, low]
    assert await walk(ground, "active", 1) == [urgent, back]
    page = await step(ground, "active")
    assert [(item[0], item[1]) for item in page.items] == [(b"active", b"ana")] * 2
    assert (page.total, (await step(ground, "waiting")).total) == (2, 2)
    await ground.run_dry()


async def test_jobs_that_come_and_go_between_pages_move_no_other(ground: Ground) -> None:
    """The cursor's own job is gone, one before it was added: the next page begins behind it."""
    ids = [await ground.enqueue() for _ in range(6)]
    first = await step(ground, "waiting", want=3)
    await ground.run(scripts.REMOVE, " waiting ", *ids[1:4])
    added = await ground.enqueue(level=0)
    assert (await step(ground, "waiting", first.cursor)).ids == ids[4:]
    assert added in (await step(ground, "waiting")).ids
    await ground.run_dry()


@pytest.mark.parametrize("want", [1, 3, 100])
async def test_delayed_jobs_come_by_due_time_equal_ones_in_their_order(ground: Ground, want: int) -> None:
    """Also where the job that the cursor names is gone."""
    ids = [await ground.enqueue(delay=delay) for delay in (3000, 1000, 2000, 2000, 2000, 2000)]
    ordered = [ids[1], ids[2], ids[3], ids[4], ids[5], ids[0]]
    assert await walk(ground, "delayed", want) == ordered
    first = await step(ground, "delayed", want=3)
    await ground.run(scripts.REMOVE, " delayed ", ids[3])
    assert (await step(ground, "delayed", first.cursor)).ids == ordered[3:]
    ground.now += 5000
    await ground.run_dry()


async def test_ended_jobs_come_newest_first_and_newer_ones_disturb_no_later_page(ground: Ground) -> None:
    """Evicted ones don't either."""
    ids = [await end(ground, "failed") for _ in range(5)]
    assert await walk(ground, "failed", 2) == ids[::-1]
    assert (await step(ground, "failed", oldest=1)).ids == ids
    first = await step(ground, "failed", want=2)
    await end(ground, "failed")
    await ground.run(scripts.REMOVE, " failed ", ids[3], ids[1])
    assert (await step(ground, "failed", first.cursor)).ids == [ids[2], ids[0]]


async def test_blocked_parked_and_dead_jobs_are_listed(ground: Ground) -> None:
    """With what each waits for."""
    await ground.register()
    parked = await ground.enqueue("unknown")
    await ground.settle(*(outcome(claim, "parked") for claim in await ground.claim()))
    ids = [await ground.enqueue(payload=str(number), unique="k") for number in range(3)]
    page = await step(ground, "blocked")
    assert (sorted(page.ids), [item[1] for item in page.items]) == (sorted(ids[1:]), [b"k", b"k"])
    page = await step(ground, "parked")
    assert (page.ids, page.items[0][1]) == ([parked], b"unknown")
    await ground.run(scripts.REMOVE, " waiting blocked parked ", *ids[::-1], parked)
    await ground.enqueue(id="mine")
    await ground.settle(*(outcome(claim, "failed") for claim in await ground.claim()), keep=0)
    assert (await step(ground, "dead")).ids == ["mine"]


async def test_filters_look_at_name_text_level_and_age(ground: Ground) -> None:
    """Of jobs that have not ended."""
    one = await ground.enqueue("greet", payload='{"to":"Zoë Ann"}', level=2)
    two = await ground.enqueue("leave", payload='"ann"', delay=10)
    three = await ground.enqueue("leave")
    assert (await step(ground, "waiting", name="leave")).ids == [three]
    assert (await step(ground, "waiting", text="zoë ann")).ids == [one]
    assert (await step(ground, "delayed", text="ann")).ids == [two]
    assert (await step(ground, "delayed", text="ben")).ids == []
    assert (await step(ground, "waiting", level=2)).ids == [one]
    assert (await step(ground, "delayed", older=1)).ids == []
    ground.now += 5
    assert (await step(ground, "delayed", older=5)).ids == [two]
    assert (await step(ground, "delayed", younger=4)).ids == []
    assert (await step(ground, "delayed", until_ms=ground.now - 6)).ids == []
    ground.now += 1000
    await ground.run_dry()


async def test_filters_look_at_records_too(ground: Ground) -> None:
    """Name, text, level, and the time since the end."""
    one = await end(ground, "completed", payload='{"to":"Ann"}')
    ground.now += 1000
    two = await end(ground, "completed")
    assert (await step(ground, "completed", name="greet", named='"name":"greet"', level=5)).ids == [two, one]
    assert (await step(ground, "completed", name="gre", named='"name":"gre"')).ids == []
    assert (await step(ground, "completed", level=4)).ids == []
    assert (await step(ground, "completed", text="ann")).ids == [one]
    assert (await step(ground, "completed", older=1000)).ids == [one]
    assert (await step(ground, "completed", younger=999)).ids == [two]
    assert (await step(ground, "completed", until_ms=ground.now - 1)).ids == [one]


@pytest.mark.parametrize("state", ["waiting", "delayed"])
async def test_a_step_looks_at_no_more_than_it_may_and_goes_on_from_there(ground: Ground, state: str) -> None:
    """Whether or not anything matched."""
    extra: dict[str, Any] = {"delay": 10} if state == "delayed" else {}
    ids = [await ground.enqueue(payload=f'"n{number}"', **extra) for number in range(60)]
    page = await step(ground, state, look=40, text="n59")
    assert (page.looked, page.ids, page.total) == (40, [], 60)
    page = await step(ground, state, page.cursor, look=40, text="n59")
    assert (page.looked, page.ids, page.cursor) == (20, [ids[59]], "")
    ground.now += 1000
    await ground.run_dry()


async def test_ids_alone_come_without_the_jobs(ground: Ground) -> None:
    """For verbs that need no more."""
    job_id = await ground.enqueue()
    page = await step(ground, "waiting", brief=1)
    assert (page.ids, page.items) == ([job_id], [[]])
    await ground.run_dry()
