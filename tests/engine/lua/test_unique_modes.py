"""Proves what enqueue.lua makes of a unique key that throttles, debounces or keeps the last."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.lua.conftest import FullUnchanged, RefusedUnchanged
from tests.engine.lua.ground import Claimed, Ground, id_of, outcome

THROTTLE: dict[str, Any] = {"unique": "k", "unique_mode": "throttle", "period": 60_000}
DEBOUNCE: dict[str, Any] = {"unique": "k", "unique_mode": "debounce", "period": 5_000}
LAST: dict[str, Any] = {"unique": "k", "unique_mode": "keep_last"}


async def added(ground: Ground) -> int:
    """Jobs ever added to the queue."""
    return int(await ground.command("HGET", ground.key("meta"), "added"))


async def due(ground: Ground, job_id: str) -> int:
    """Milliseconds from now at which a delayed job is due."""
    reply = await ground.run(scripts.FIND, job_id)
    assert reply[0] == b"delayed"
    return int(float(reply[1])) - ground.now


async def kept(ground: Ground, job_id: str) -> dict[str, str]:
    """The fields of a job beside the streams."""
    flat = await ground.command("HGETALL", ground.key(f"job:{job_id}"))
    return {name.decode(): value.decode() for name, value in flat.items()}


async def one_claim(ground: Ground) -> Claimed:
    """The one job that can be claimed now."""
    (claim,) = await ground.claim()
    return claim


async def test_a_throttle_s_first_wins_for_the_period_and_not_a_millisecond_longer(ground: Ground) -> None:
    """Other payloads are the first job too; after the period the next one is new, also beside the first."""
    first = await ground.enqueue(payload="1", **THROTTLE)
    assert await ground.enqueue(payload="2", **THROTTLE) == first
    ground.now += 59_999
    assert await ground.enqueue(payload="3", **THROTTLE) == first
    ground.now += 1
    second = await ground.enqueue(payload="4", **THROTTLE)
    assert second != first
    assert await ground.enqueue(payload="5", **THROTTLE) == second
    assert [entry["payload"] for entry in await ground.entries("waiting:5")] == ["1", "4"]
    assert await added(ground) == 2
    await ground.run_dry()


async def test_a_throttle_outlives_its_job_and_expires_by_itself(ground: Ground) -> None:
    """The key is no job's to free: it has a time to live, and names the job as long."""
    await ground.register()
    first = await ground.enqueue(payload="1", **THROTTLE)
    await ground.settle(outcome(await one_claim(ground)), keep=0)
    assert await ground.find(first) is None
    assert await ground.enqueue(payload="2", owner="ana", **THROTTLE) == first
    spare_ms = 3_600_000  # since the test's time stands still, and the server's does not
    assert 0 < await ground.command("PTTL", ground.key("throttled:k")) - spare_ms <= 60_000
    assert not await ground.command("EXISTS", ground.key("joined"), ground.key("unique"))


async def test_a_throttle_and_the_other_modes_do_not_share_their_keys(ground: Ground) -> None:
    """The same text is another key."""
    first = await ground.enqueue(payload="1", **THROTTLE)
    assert await ground.enqueue(payload="1", unique="k") != first
    await ground.run_dry()


async def test_debounce_runs_the_last_data_one_period_after_the_last_call(ground: Ground) -> None:
    """Each call gets the same job, which is added once; its timer restarts and everything but its birth is replaced."""
    first = await ground.enqueue(
        payload="1", level=7, owner="ana", fields=["meta", '{"owners":["ana"],"n":1}'], **DEBOUNCE
    )
    born = (await kept(ground, first))["created"]
    assert await due(ground, first) == 5_000
    ground.now += 4_999
    again = await ground.enqueue("shout", "2", 3, owner="ben", expires=1_000, **DEBOUNCE)
    assert (again, await due(ground, first), await added(ground)) == (first, 5_000, 1)
    fields = await kept(ground, first)
    assert (fields["name"], fields["payload"], fields["priority"], fields["created"]) == ("shout", "2", "3", born)
    assert "meta" not in fields
    assert int(fields["expires"]) == ground.now + 6_000
    assert msgspec.json.decode(await ground.command("HGET", ground.key("joined"), first)) == ["ana", "ben"]
    assert await ground.command("ZCARD", ground.key("delayed")) == 1
    await ground.register()
    ground.now += 4_999
    assert await ground.claim() == []
    ground.now += 1
    claim = await one_claim(ground)
    assert (claim[0], claim[2]["payload"]) == ("waiting:3", "2")
    await ground.settle(outcome(claim, "completed k"))
    assert not await ground.command("EXISTS", ground.key("unique"))


async def test_a_debounced_job_that_waits_for_a_worker_goes_back_behind_its_timer(ground: Ground) -> None:
    """As long as nobody has claimed it, a call replaces it and restarts the timer; its old entry is gone."""
    await ground.register()
    first = await ground.enqueue(payload="1", **DEBOUNCE)
    await ground.enqueue(payload="9", level=0)
    ground.now += 5_000
    (claim,) = await ground.claim(1)
    await ground.settle(outcome(claim))
    assert await ground.find(first) == "waiting"
    assert await ground.enqueue(payload="2", **DEBOUNCE) == first
    assert await due(ground, first) == 5_000
    assert await ground.entries("waiting:5") == []
    ground.now += 5_000
    claim = await one_claim(ground)
    assert (id_of(claim), claim[2]["payload"]) == (first, "2")
    await ground.settle(outcome(claim, "completed k"))


async def test_max_wait_bounds_how_often_a_timer_restarts(ground: Ground) -> None:
    """Calls without an end don't keep the job from running; once it is due for good, the next data follows it."""
    bounded = {**DEBOUNCE, "max_wait": 12_000}
    await ground.register()
    first = await ground.enqueue(payload="0", **bounded)
    for n in range(1, 4):
        ground.now += 3_000
        assert await ground.enqueue(payload=str(n), **bounded) == first
    assert await due(ground, first) == 3_000
    ground.now += 3_000
    await ground.enqueue(level=0)
    await ground.settle(outcome((await ground.claim(1))[0]))
    following = await ground.enqueue(payload="9", **bounded)
    assert (await ground.find(first), await ground.find(following)) == ("waiting", "blocked")
    await ground.run_dry()


async def test_debounce_keeps_one_follow_up_while_its_job_runs(ground: Ground) -> None:
    """It takes the newest data, never runs beside the running job, and still waits for its own timer."""
    await ground.register()
    first = await ground.enqueue(payload="1", **DEBOUNCE)
    ground.now += 5_000
    running = await one_claim(ground)
    second = await ground.enqueue(payload="2", **DEBOUNCE)
    ground.now += 1_000
    assert await ground.enqueue(payload="3", **DEBOUNCE) == second != first
    assert await ground.find(second) == "blocked"
    ground.now += 2_000
    await ground.settle(outcome(running, "completed k"))
    assert await due(ground, second) == 3_000
    assert await ground.enqueue(payload="4", **DEBOUNCE) == second
    assert await due(ground, second) == 5_000
    ground.now += 5_000
    claim = await one_claim(ground)
    assert (id_of(claim), claim[2]["payload"]) == (second, "4")
    await ground.settle(outcome(claim, "completed k"))
    assert await added(ground) == 2


async def test_a_follow_up_whose_timer_is_over_starts_when_the_running_job_ends(ground: Ground) -> None:
    """Its time is not counted anew."""
    await ground.register()
    await ground.enqueue(payload="1", **DEBOUNCE)
    ground.now += 5_000
    running = await one_claim(ground)
    second = await ground.enqueue(payload="2", **DEBOUNCE)
    ground.now += 60_000
    await ground.settle(outcome(running, "completed k"))
    assert await ground.find(second) == "waiting"
    await ground.settle(outcome(await one_claim(ground), "completed k"))


@pytest.mark.parametrize("mode", [DEBOUNCE, LAST])
async def test_a_job_that_has_started_keeps_its_data_through_retries_and_reclaims(
    ground: Ground, mode: dict[str, Any]
) -> None:
    """Between two attempts, and back at the front, it still holds the key, and newer data follows it."""
    await ground.register()
    first = await ground.enqueue(payload="1", **mode)
    ground.now += 5_000
    await ground.settle(outcome(await one_claim(ground), "delayed", '{"delay":1000,"set":{"attempt":"1"}}'))
    second = await ground.enqueue(payload="2", **mode)
    assert (await ground.find(first), await ground.find(second)) == ("delayed", "blocked")
    ground.now += 1_000
    await one_claim(ground)
    ground.now += 20_000
    await ground.sweep(lease=0)
    assert await ground.find(first) == "waiting"
    assert await ground.enqueue(payload="3", **mode) == second
    assert (await kept(ground, second))["payload"] == "3"
    await ground.run_dry()
    assert await added(ground) == 2


async def test_keep_last_holds_one_follow_up_with_the_newest_data(ground: Ground) -> None:
    """Any number of calls while one runs make one more run, with the last call's data."""
    await ground.register()
    first = await ground.enqueue(payload="1", **LAST)
    running = await one_claim(ground)
    assert id_of(running) == first
    second = await ground.enqueue(payload="2", **LAST)
    for payload in ("3", "1", "4"):
        assert await ground.enqueue(payload=payload, **LAST) == second
    assert await ground.claim() == []
    await ground.settle(outcome(running, "completed k"))
    claim = await one_claim(ground)
    assert (id_of(claim), claim[2]["payload"]) == (second, "4")
    third = await ground.enqueue(payload="4", **LAST)
    assert third not in (first, second), "what changed while it ran must be seen"
    await ground.settle(outcome(claim, "completed k"))
    await ground.settle(outcome(await one_claim(ground), "completed k"))
    assert await added(ground) == 3


async def test_keep_last_joins_a_waiting_job_of_equal_data_and_follows_one_of_other_data(ground: Ground) -> None:
    """A waiting job keeps its place in the queue, whatever comes."""
    first = await ground.enqueue(payload="1", **LAST)
    assert await ground.enqueue(payload="1", **LAST) == first
    second = await ground.enqueue(payload="2", **LAST)
    assert await ground.enqueue(payload="1", **LAST) == second, "the newest data is the first's again"
    assert (await ground.find(first), await ground.find(second)) == ("waiting", "blocked")
    assert (await kept(ground, second))["payload"] == "1"
    await ground.run_dry()


async def test_keep_last_replaces_a_delayed_job_s_data_and_leaves_its_time(ground: Ground) -> None:
    """Calls within the delay make one run, at the time of the first."""
    first = await ground.enqueue(payload="1", delay=5_000, **LAST)
    ground.now += 2_000
    assert await ground.enqueue(payload="2", delay=5_000, **LAST) == first
    assert await due(ground, first) == 3_000
    assert (await kept(ground, first))["payload"] == "2"
    assert await ground.enqueue(payload="2", unique="k") == first, "the key knows the new data"
    await ground.run_dry()


@pytest.mark.parametrize("mode", [DEBOUNCE, LAST])
async def test_a_job_that_did_not_ask_to_be_replaced_is_not(ground: Ground, mode: dict[str, Any]) -> None:
    """Under a key that plain jobs hold too, newer data waits its turn behind them."""
    first = await ground.enqueue(payload="1", unique="k", delay=9_000)
    second = await ground.enqueue(payload="2", unique="k")
    third = await ground.enqueue(payload="3", **mode)
    assert await ground.enqueue(payload="4", **mode) == third
    assert [(await kept(ground, one))["payload"] for one in (first, second, third)] == ["1", "2", "4"]
    await ground.run_dry()


async def test_jobs_of_one_chunk_see_each_other(ground: Ground) -> None:
    """Three calls in one chunk are one job with the last one's data."""
    extra = msgspec.json.encode(DEBOUNCE)
    reply = await ground.run(scripts.ENQUEUE, *(part for n in "123" for part in (5, extra, "greet", n)))
    assert (len(set(reply[0])), reply[1]) == (1, [2, 3])
    assert (await kept(ground, reply[0][0].decode()))["payload"] == "3"
    await ground.run_dry()


async def test_a_blocked_job_keeps_its_delay(ground: Ground) -> None:
    """Freed before it is due, it is delayed; the key is its own meanwhile."""
    await ground.register()
    await ground.enqueue(payload="1", unique="k")
    second = await ground.enqueue(payload="2", unique="k", delay=5_000)
    ground.now += 1_000
    await ground.settle(outcome(await one_claim(ground), "completed k"))
    assert await due(ground, second) == 4_000
    assert await ground.enqueue(payload="2", unique="k") == second
    await ground.run_dry()


async def test_replacing_is_told_with_the_id_that_stays(ground: Ground) -> None:
    """Whoever follows the events sees that the data changed."""
    first = await ground.enqueue(payload="1", **DEBOUNCE)
    await ground.enqueue(payload="2", **DEBOUNCE)
    assert await ground.events() == [("delayed", first), ("replaced", first)]
    await ground.run_dry()


@pytest.mark.parametrize("mode", [DEBOUNCE, LAST])
async def test_a_full_server_replaces_nothing(
    own_ground: Ground, full_unchanged: FullUnchanged, mode: dict[str, Any]
) -> None:
    """The chunk is refused whole, before the job loses its old data or its place."""
    await own_ground.enqueue(payload="1", delay=5_000, **mode)
    extra = msgspec.json.encode({**mode, "owner": "ana"})
    await full_unchanged(lambda: own_ground.run(scripts.ENQUEUE, 5, extra, "greet", "2"))


async def test_a_full_server_throttles_nothing_new(own_ground: Ground, full_unchanged: FullUnchanged) -> None:
    """Neither the job nor the key is stored."""
    extra = msgspec.json.encode(THROTTLE)
    await full_unchanged(lambda: own_ground.run(scripts.ENQUEUE, 5, extra, "greet", "2"))


@pytest.mark.parametrize("name", ["throttled:k", "held:k", "unique", "delayed", "index", "front:3", "waiting:8"])
async def test_a_wrong_type_replaces_nothing(ground: Ground, refused_unchanged: RefusedUnchanged, name: str) -> None:
    """Every key is looked at before the first write."""
    await ground.enqueue(payload="1", **DEBOUNCE)
    await ground.enqueue(level=8, **THROTTLE)
    await ground.enqueue(level=3)
    extra = msgspec.json.encode(DEBOUNCE)
    await refused_unchanged(name, lambda: ground.run(scripts.ENQUEUE, 5, "", "greet", "1", 5, extra, "greet", "2"))


async def test_expiry_counts_from_when_a_job_may_run(ground: Ground) -> None:
    """A relative one from the due time, a moment as it is given; a plain job holds neither."""
    now = await ground.enqueue(id="a", expires=1_000)
    later = await ground.enqueue(id="b", expires=1_000, delay=5_000)
    moment = await ground.enqueue(id="c", expires_at=ground.now + 77, delay=5_000)
    assert (await ground.entries("waiting:5"))[0]["expires"] == str(ground.now + 1_000)
    assert now == "a"
    assert [(await kept(ground, one))["expires"] for one in (later, moment)] == [
        str(ground.now + 6_000),
        str(ground.now + 77),
    ]
    await ground.run_dry()


@pytest.mark.parametrize("bound", [{}, {"max_wait": 60_000}], ids=["unbounded", "bounded"])
async def test_a_debounced_call_replaces_a_waiting_job_that_never_moved(ground: Ground, bound: dict[str, Any]) -> None:
    """Such a job stands in no index and has no field for its creation: both are in its entry's id."""
    ground.now = (await ground.command("TIME"))[0] * 1000
    job_id = await ground.enqueue(**LAST)
    assert await ground.enqueue(payload="2", **DEBOUNCE, **bound) == job_id
    assert await due(ground, job_id) == 5_000
    assert (await kept(ground, job_id))["payload"] == "2"
    assert await ground.entries("waiting:5") == []
    await ground.register()
    ground.now += 5_000
    assert (await one_claim(ground))[2]["payload"] == "2"
    await ground.run_dry()


@pytest.mark.parametrize("mode", [DEBOUNCE, LAST])
async def test_a_job_with_a_limit_key_that_came_back_keeps_its_data(ground: Ground, mode: dict[str, Any]) -> None:
    """It has run, or was about to: what comes next waits for it, as it would without a limit key."""
    await ground.register()
    first = await ground.enqueue(payload="1", fields=["key", "tenant"], **mode)
    ground.now += 5_000
    await ground.settle(outcome(await one_claim(ground), "released"))
    second = await ground.enqueue(payload="2", fields=["key", "tenant"], **mode)
    assert second != first
    assert await ground.find(second) == "blocked"
    place, _, fields = await one_claim(ground)
    assert (place, fields["id"], fields["payload"]) == ("admitted:5", first, "1")
    await ground.run_dry()
