"""Proves how cancel.lua ends what does not run, whom it asks to end what does, and how settle and sweep follow."""

from __future__ import annotations

import msgspec
import pytest

from dhanam_jobs.engine import scripts
from tests.engine.conftest import Keys
from tests.engine.lua.conftest import RefusedUnchanged
from tests.engine.lua.ground import Ground, id_of, outcome


async def cancel(ground: Ground, *ids: str, keep: object = "", reason: str = "enough") -> list[str]:
    return [verdict.decode() for verdict in await ground.run(scripts.CANCEL, keep, reason, *ids)]


async def record(ground: Ground, job_id: str) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(await ground.command("HGET", ground.key("ended"), job_id))
    return found


async def test_jobs_that_do_not_run_end_cancelled_at_once(ground: Ground) -> None:
    """Waiting, delayed, blocked and parked alike; the lifetime counter and the event say so, and no body is left."""
    await ground.register()
    parked = await ground.enqueue(name="strange")
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim, "parked"))
    waiting, holder = await ground.enqueue(), await ground.enqueue(payload="1", unique="k")
    delayed = await ground.enqueue(delay=1000)
    blocked = await ground.enqueue(payload="2", unique="k")
    ids = [waiting, delayed, blocked, parked]
    assert await cancel(ground, *ids, "nobody") == ["cancelled"] * 4 + ["missing"]
    for job_id in ids:
        found = await record(ground, job_id)
        assert (found["state"], found["error"]) == ("cancelled", {"type": "Cancelled", "message": "enough"})
    assert await ground.command("HGET", ground.key("meta"), "cancelled") == b"4"
    assert (await ground.events())[-1] == ("cancelled", " ".join(ids))
    assert await ground.find(holder) == "waiting"
    assert await ground.command("EXISTS", ground.key("held:k"), ground.key("delayed"), ground.key("parked")) == 0
    await ground.run_dry()


async def test_a_cancelled_holder_hands_its_key_on(ground: Ground) -> None:
    """The job that waited for the key is waiting to run."""
    holder, held = await ground.enqueue(unique="k"), await ground.enqueue(payload="2", unique="k")
    assert await cancel(ground, holder) == ["cancelled"]
    assert await ground.find(held) == "waiting"
    await ground.run_dry()


async def test_the_same_job_twice_and_one_that_has_ended(ground: Ground) -> None:
    """Each is counted once; an ended job keeps its state."""
    await ground.register()
    done = await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.settle(outcome(claim))
    waiting = await ground.enqueue()
    assert await cancel(ground, waiting, waiting, done) == ["cancelled", "cancelled", "completed"]
    assert await cancel(ground, waiting) == ["cancelled"]
    assert await ground.command("HGET", ground.key("meta"), "cancelled") == b"1"


async def test_retention_bounds_the_cancelled(ground: Ground) -> None:
    """The newest are kept; with 0 none."""
    ids = [await ground.enqueue() for _ in range(4)]
    await cancel(ground, *ids[:3], keep=2)
    assert await ground.command("ZRANGE", ground.key("cancelled"), 0, -1) == [one.encode() for one in ids[1:3]]
    await cancel(ground, ids[3], keep=0)
    assert await ground.command("HLEN", ground.key("ended")) == 0


async def test_the_worker_of_a_running_job_is_asked(ground: Ground) -> None:
    """The message names the claim; the job goes on until its worker settles it."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    assert await cancel(ground, job_id) == ["asked"]
    message = msgspec.json.decode(await ground.command("LPOP", ground.key("inbox:ana")))
    assert message == {"cancel": job_id, "place": claim[0], "entry": claim[1], "reason": "enough"}
    assert await ground.find(job_id) == "active"
    await ground.settle(outcome(claim, "cancelled"))
    assert (await record(ground, job_id))["state"] == "cancelled"
    assert await ground.command("EXISTS", ground.key("cancelling")) == 0


async def test_a_job_that_completes_though_cancelled_has_completed(ground: Ground) -> None:
    """Its end came first; nothing is left of the request."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    await cancel(ground, job_id)
    await ground.settle(outcome(claim))
    assert (await record(ground, job_id))["state"] == "completed"
    assert await ground.command("EXISTS", ground.key("cancelling")) == 0
    await ground.run(scripts.LEAVE, "ana")
    assert await ground.command("EXISTS", ground.key("inbox:ana")) == 0


@pytest.mark.parametrize(
    ("kind", "body", "attempt"),
    [
        ("delayed", '{"delay":0,"set":{"attempt":"1"}}', 1),
        ("delayed", '{"delay":9,"set":{"snoozes":"1"}}', 1),
        ("released", "", 1),
        ("parked", "", 1),
    ],
)
async def test_a_job_asked_to_end_goes_nowhere_else(ground: Ground, kind: str, body: str, attempt: int) -> None:
    """A retry, a snooze, a release and a park end it cancelled, with its key handed on."""
    await ground.register()
    job_id = await ground.enqueue(unique="k")
    held = await ground.enqueue(payload="2", unique="k")
    (claim,) = await ground.claim(1)
    await cancel(ground, job_id)
    assert (await ground.settle(outcome(claim, kind, body)))[2] == b"1"
    found = await record(ground, job_id)
    assert (found["state"], found["attempt"]) == ("cancelled", attempt)
    assert await ground.find(held) == "waiting"
    assert await ground.command("EXISTS", ground.key("cancelling"), ground.key("delayed"), ground.key("parked")) == 0
    await ground.run(scripts.LEAVE, "ana")
    await ground.run_dry()


async def test_a_job_asked_to_end_ends_with_its_dead_worker(ground: Ground) -> None:
    """The sweep ends it cancelled instead of giving it to another."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.claim()
    await cancel(ground, job_id)
    ground.now += 20_000
    await ground.sweep()
    assert (await record(ground, job_id))["state"] == "cancelled"
    assert await ground.command("EXISTS", ground.key("cancelling"), ground.key("inbox:ana")) == 0


async def test_a_claim_whose_worker_has_no_row_is_ended_at_once(ground: Ground) -> None:
    """Nobody is there to be asked; the claim is lost."""
    await ground.register()
    job_id = await ground.enqueue()
    (claim,) = await ground.claim()
    await ground.command("ZREM", ground.key("workers"), "ana")
    assert await cancel(ground, job_id) == ["cancelled"]
    assert (await ground.settle(outcome(claim)))[2] == b"0"
    assert (await record(ground, job_id))["attempt"] == 1
    await ground.run(scripts.LEAVE, "ana")


async def test_an_inbox_is_bounded(ground: Ground) -> None:
    """A worker that reads nothing is sent a thousand messages at most."""
    await ground.register()
    job_id = await ground.enqueue()
    await ground.claim()
    for _ in range(6):
        await cancel(ground, *[job_id] * 200)
    assert await ground.command("LLEN", ground.key("inbox:ana")) == 1000
    await ground.run(scripts.LEAVE, "ana")
    await ground.sweep()


async def test_a_message_reaches_only_the_living(ground: Ground) -> None:
    """A worker without a row gets none, so that no inbox is left behind."""
    await ground.register()
    assert await ground.run(scripts.MESSAGE, "ana", '{"pause":true}') == 1
    assert await ground.run(scripts.MESSAGE, "ben", '{"pause":true}') == 0
    assert await ground.command("EXISTS", ground.key("inbox:ben")) == 0
    await ground.run(scripts.LEAVE, "ana")


async def test_a_full_redis_can_be_emptied_by_cancelling(own_ground: Ground) -> None:
    """Waiting jobs go, and running ones are asked."""
    await own_ground.register()
    running = await own_ground.enqueue()
    await own_ground.claim()
    waiting = await own_ground.enqueue(id="mine")
    await own_ground.fill()
    assert await cancel(own_ground, waiting, running) == ["cancelled", "asked"]


@pytest.mark.parametrize("name", ["index", "ended", "waiting:5", "cancelled", "cancelling", "workers", "unique"])
async def test_a_wrong_type_cancels_nothing(
    ground: Ground, damage: Keys, refused_unchanged: RefusedUnchanged, name: str
) -> None:
    """Every key is looked at before the first write."""
    await ground.register()
    await ground.enqueue(id="mine", unique="k")
    await refused_unchanged(name, lambda: ground.run(scripts.CANCEL, "", "enough", "mine"))


async def test_an_outcome_of_which_no_record_is_kept_counts_all_the_same(ground: Ground) -> None:
    """The counter rises, waiters are served, the key is handed on, and records of others stay."""
    await ground.register()
    first, unkept = await ground.enqueue(), await ground.enqueue(unique="k")
    claims = await ground.claim()
    await ground.run(scripts.WAIT, 1000, unkept)
    await ground.settle(outcome(claims[0]), keep=1)
    await ground.settle(outcome(claims[1], "-completed k", '{"state":"completed"}'), keep=1)
    assert await ground.command("HKEYS", ground.key("ended")) == [first.encode()]
    assert await ground.command("HGET", ground.key("meta"), "completed") == b"2"
    assert await ground.command("GET", ground.key(f"result:{unkept}")) == b'{"state":"completed"}'
    assert await ground.command("EXISTS", ground.key("unique")) == 0
    assert (await ground.events())[-1] == ("completed", id_of(claims[1]))
