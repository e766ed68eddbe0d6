"""Proves limits of queues and of keys: how many jobs run, how many start, in what turn, and when the next may."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dhanam_jobs.engine import (
    ConfigurationError,
    Engine,
    JobContext,
    JobFailed,
    JobState,
    Limit,
    Limited,
    LimitState,
    Registry,
    RetryPolicy,
    Worker,
    inspect_queue,
)
from dhanam_jobs.engine.queue import Queue
from tests.conftest import WaitUntil
from tests.engine import running_handlers
from tests.engine.conftest import Hands


class Gate:
    """A job whose key is its payload's `key`; it says that it began, and waits to be let through one by one."""

    def __init__(self, registry: Registry, **options: Any) -> None:
        self.begun: asyncio.Queue[tuple[JobContext, Any]] = asyncio.Queue()
        self.through = asyncio.Semaphore(0)
        self.now = Counter[str]()
        self.most = Counter[str]()
        registry.job("gate", queue="work", key="key", **options)(self.run)
        registry.job("plain", queue="work")(self.plain)

    async def plain(self, ctx: JobContext, payload: Any) -> None:
        return None

    async def run(self, ctx: JobContext, payload: Any) -> None:
        key = payload["key"]
        self.now[key] += 1
        self.now["all"] += 1
        self.most |= self.now
        self.begun.put_nowait((ctx, payload))
        try:
            await self.through.acquire()
        finally:
            self.now[key] -= 1
            self.now["all"] -= 1


@pytest.fixture
def gate(registry: Registry) -> Gate:
    """The job `gate` on the queue `work`."""
    return Gate(registry)


def keyed(*keys: str) -> list[tuple[str, Any]]:
    """Jobs of these keys, numbered."""
    return [("gate", {"key": key, "n": n}) for n, key in enumerate(keys)]


async def drained(queue: Queue) -> None:
    """The queue has no job left, and nothing leaked."""
    counts = await queue.counts()
    assert (counts.waiting, counts.active, counts.delayed) == (0, 0, 0)
    assert await inspect_queue(queue) == []


async def test_a_queue_runs_no_more_jobs_at_once_than_its_limit_over_all_workers(
    engine: Engine, gate: Gate, wait_until: WaitUntil
) -> None:
    """Three at once on two workers with ten slots each, and every job that ends lets the next one start."""
    queue = engine.queue("work")
    await queue.limits.set_queue(Limit(concurrency=3))
    await queue.enqueue_many([("gate", {"key": str(n)}) for n in range(6)])
    await queue.enqueue_many(keyed(*"aabb"))
    async with Worker(queue, concurrency=10), Worker(queue, concurrency=10), asyncio.timeout(20):
        for _ in range(3):
            await gate.begun.get()
        state = await queue.limits.of_queue()
        assert state == LimitState(Limit(concurrency=3), own=True, running=3, waiting=7, free_in=None)
        for _ in range(7):
            gate.through.release()
            await gate.begun.get()
        for _ in range(3):
            gate.through.release()
        await wait_until(lambda: _ended(queue, 10), "ten jobs ended")
    assert gate.most["all"] == 3
    await drained(queue)
    assert await queue.limits.set_queue(None) == Limit(concurrency=3)
    assert (await queue.limits.of_queue()).free_in == 0


async def _ended(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def test_a_key_runs_no_more_jobs_at_once_than_its_limit_while_others_go_on(
    engine: Engine, gate: Gate, wait_until: WaitUntil
) -> None:
    """One at a time for each key, two for one with a limit of its own; free slots go to whoever may."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(concurrency=1))
    await queue.limits.set_key("b", Limit(concurrency=2))
    await queue.enqueue_many(keyed(*"aaaabbbbc"))
    async with Worker(queue, concurrency=8), asyncio.timeout(20):
        first = sorted([(await gate.begun.get())[1]["key"] for _ in range(4)])
        assert first == ["a", "b", "b", "c"]
        assert gate.begun.empty()
        assert (await queue.limits.of_key("a")) == LimitState(Limit(concurrency=1), False, 1, 3, None)
        assert (await queue.limits.of_key("b")) == LimitState(Limit(concurrency=2), True, 2, 2, None)
        for _ in range(9):
            gate.through.release()
        await wait_until(lambda: _ended(queue, 9), "nine jobs ended")
    assert (gate.most["a"], gate.most["b"], gate.most["c"]) == (1, 2, 1)
    await drained(queue)


async def test_raising_or_ending_a_limit_lets_the_waiting_start_at_once(engine: Engine, gate: Gate) -> None:
    """Live, without a job that ends."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(concurrency=1))
    await queue.enqueue_many(keyed(*"aaaa"))
    async with Worker(queue, concurrency=8), asyncio.timeout(20):
        await gate.begun.get()
        assert await queue.limits.set_keys(Limit(concurrency=2)) == Limit(concurrency=1)
        await gate.begun.get()
        assert gate.now["a"] == 2
        assert await queue.limits.set_keys(None) == Limit(concurrency=2)
        await gate.begun.get()
        await gate.begun.get()
        for _ in range(4):
            gate.through.release()


async def test_no_period_sees_more_starts_than_the_limit_wherever_it_begins(
    engine: Engine, hands: Hands, registry: Registry
) -> None:
    """Five in ten seconds: three at 0 s and two at 9 s leave two for 10 s to 19 s, not five."""
    queue = engine.queue("work")
    await queue.limits.set_queue(Limit(starts=5, period=10))
    await queue.enqueue_many([("plain", n) for n in range(3)])
    await hands.claim(queue, 3)
    await queue.enqueue_many([("plain", n) for n in range(20)])
    await hands.advance(queue, 9)
    assert (await queue.limits.of_queue()).free_in == 0
    await hands.claim(queue, 2)
    assert (await queue.limits.of_queue()).free_in == 1
    await hands.claim_less(queue, 20, 0)
    await hands.advance(queue, 1)
    await hands.claim_less(queue, 20, 3)
    assert (await queue.limits.of_queue()).free_in == 9
    await hands.advance(queue, 9)
    await hands.claim_less(queue, 20, 2)
    await hands.die(queue)
    await queue.operations.clear(force=True)


async def test_a_key_starts_no_more_in_a_period_than_its_limit_and_says_when_it_may(
    engine: Engine, hands: Hands, gate: Gate
) -> None:
    """Another key isn't held up; the key's next start is read to the millisecond."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(starts=2, period=60))
    await queue.enqueue_many(keyed(*"aaaaab"))
    await hands.claim_less(queue, 10, 3)
    assert (await queue.limits.of_key("a")) == LimitState(Limit(starts=2, period=60), False, 2, 3, 60.0)
    await hands.advance(queue, 59.999)
    await hands.claim_less(queue, 10, 0)
    assert (await queue.limits.of_key("a")).free_in == 0.001
    await hands.advance(queue, 0.001)
    await hands.claim_less(queue, 10, 2)
    await hands.die(queue)
    assert await inspect_queue(queue) == []
    await hands.die(queue)
    await queue.operations.clear(force=True)


async def test_the_end_of_a_rate_limit_wakes_an_idle_worker(engine: Engine, gate: Gate) -> None:
    """Nobody enqueues, nothing ends; after the period the next job starts by itself, of a queue and of a key."""
    queue = engine.queue("work")
    for _ in range(20):
        gate.through.release()
    async with Worker(queue, concurrency=8), asyncio.timeout(20):
        await queue.limits.set_queue(Limit(starts=1, period=0.2))
        await queue.enqueue_many(keyed(*"abc"))
        for _ in range(3):
            await gate.begun.get()
        await queue.limits.set_queue(None)
        await queue.limits.set_keys(Limit(starts=1, period=0.2))
        await queue.enqueue_many(keyed(*"ddd"))
        for _ in range(3):
            await gate.begun.get()


async def test_one_job_of_another_key_starts_at_once_behind_many_of_one(
    engine: Engine, hands: Hands, gate: Gate
) -> None:
    """Turns are taken between keys, whatever their backlogs."""
    queue = engine.queue("work")
    await queue.enqueue_many(keyed(*["big"] * 2000))
    small = await queue.enqueue("gate", {"key": "small"})
    await hands.claim(queue, 2)
    info = await queue.get(small.id)
    assert info is not None
    assert (info.state, info.key) == (JobState.ACTIVE, "small")
    await hands.die(queue)
    await queue.operations.clear(force=True)


async def test_keys_of_unequal_backlog_get_equal_shares(engine: Engine, hands: Hands, gate: Gate) -> None:
    """Of the first thousand starts, each of a hundred keys has ten, in claims of seven."""
    queue = engine.queue("work")
    backlog = [("gate", {"key": f"tenant-{tenant}"}) for tenant in range(100) for _ in range(10 + tenant)]
    await queue.enqueue_many(backlog)
    for _ in range(142):
        await hands.claim(queue, 7)
    await hands.claim(queue, 6)
    shares = [(await queue.limits.of_key(f"tenant-{tenant}")).running for tenant in range(100)]
    assert set(shares) == {10}
    await hands.die(queue)
    await queue.operations.clear(force=True)


async def test_priority_and_order_hold_within_a_key_and_between_keys(engine: Engine, hands: Hands, gate: Gate) -> None:
    """The most urgent level first, over all keys and jobs without one; first in, first out within a key and level."""
    queue = engine.queue("work")
    late = await queue.enqueue("gate", {"key": "a"}, priority=7)
    first = await queue.enqueue("gate", {"key": "a"})
    second = await queue.enqueue("gate", {"key": "a"})
    other = await queue.enqueue("plain", 1, priority=6)
    urgent = await queue.enqueue("gate", {"key": "b"}, priority=1)
    order = []
    for _ in range(5):
        await hands.claim(queue, 1)
        page = await queue.operations.page("active")
        order += [job.id for job in page.jobs if job.id not in order]
    assert order == [urgent.id, first.id, second.id, other.id, late.id]
    await hands.die(queue)
    await queue.operations.clear(force=True)


async def test_jobs_with_and_without_keys_of_one_level_share_its_slots(
    engine: Engine, hands: Hands, gate: Gate
) -> None:
    """Each half, and what one leaves the other takes."""
    queue = engine.queue("work")
    await queue.enqueue_many([("plain", n) for n in range(30)])
    await queue.enqueue_many(keyed(*["a"] * 8))
    await hands.claim(queue, 10)
    assert (await queue.limits.of_key("a")).running == 5
    for _ in range(10):
        await hands.claim(queue, 1)
    assert (await queue.limits.of_key("a")).waiting == 0
    await hands.claim(queue, 18)
    await hands.die(queue)
    await queue.operations.clear(force=True)


async def test_a_handler_may_say_that_its_key_is_limited(engine: Engine, registry: Registry) -> None:
    """The job goes back to the front of its key and costs no attempt; other keys go on; when it is over it runs."""
    ran: list[tuple[str, int, int]] = []
    limited = True

    @registry.job("call", queue="work", key=lambda payload: payload[0])
    async def call(ctx: JobContext, payload: tuple[str, int]) -> None:
        ran.append((*payload, ctx.attempt))
        if limited and payload[0] == "a":
            raise Limited(3600)

    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("call", [key, n]) for n in range(3) for key in "ab"])
    async with Worker(queue, concurrency=1), asyncio.timeout(20):
        await asyncio.gather(*(job.result() for job in jobs[1::2]))
        assert [one for one in ran if one[0] == "a"] == [("a", 0, 1)]
        state = await queue.limits.of_key("a")
        assert (state.waiting, state.running) == (3, 0)
        assert state.free_in is not None
        assert 3590 < state.free_in <= 3600
        limited = False
        await queue.limits.free_key("a")
        await asyncio.gather(*(job.result() for job in jobs))
    assert [one for one in ran if one[0] == "a"] == [("a", 0, 1), ("a", 0, 1), ("a", 1, 1), ("a", 2, 1)]
    await drained(queue)


async def test_a_handler_in_a_process_of_its_own_may_say_so_too(
    engine: Engine, registry: Registry, wait_until: WaitUntil
) -> None:
    """The signal crosses the border between processes with its seconds and its scope."""
    registry.job("fail", queue="work", key=lambda _: "provider", process=True)(running_handlers.fail)
    queue = engine.queue("work")
    job = await queue.enqueue("fail", "limited")

    async def resting() -> bool:
        return ((await queue.limits.of_key("provider")).free_in or 0) > 3500

    async with Worker(queue), asyncio.timeout(30):
        await wait_until(resting, "the key rests", timeout=20)
        info = await queue.get(job.id)
        assert info is not None
        assert (info.state, info.attempt, info.errors) == (JobState.WAITING, 0, [])
    await queue.operations.clear()


async def test_a_worker_whose_jobs_are_all_limited_closes_at_once(engine: Engine, gate: Gate) -> None:
    """It holds nothing that could keep it."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(starts=1, period=3600))
    await queue.enqueue_many(keyed(*"aaaa"))
    gate.through.release()
    worker = Worker(queue, concurrency=4)
    await worker.start()
    await gate.begun.get()
    async with asyncio.timeout(5):
        await worker.stop()
    state = await queue.limits.of_key("a")
    assert (state.running, state.waiting) == (0, 3)
    assert await inspect_queue(queue) == []
    await queue.operations.clear()


async def test_a_handler_may_say_that_its_queue_is_limited(engine: Engine, registry: Registry) -> None:
    """Nothing of the queue starts until the time is over; then the job is the first again."""
    ran: list[int] = []

    @registry.job("call", queue="work")
    async def call(ctx: JobContext, payload: int) -> None:
        ran.append(payload)
        if len(ran) == 1:
            raise Limited(0.3, scope="queue")

    queue = engine.queue("work")
    jobs = await queue.enqueue_many([("call", n) for n in range(3)])
    async with Worker(queue, concurrency=1), asyncio.timeout(20):
        await asyncio.gather(*(job.result() for job in jobs))
    assert ran == [0, 0, 1, 2]
    await drained(queue)


async def test_a_job_without_a_key_that_limits_its_key_fails_with_a_reason(engine: Engine, registry: Registry) -> None:
    """The attempt fails, as any error's does."""

    @registry.job("call", queue="work")
    async def call(ctx: JobContext, payload: Any) -> None:
        raise Limited(30)

    queue = engine.queue("work")
    job = await queue.enqueue("call", 1, retry=RetryPolicy(attempts=1))
    async with Worker(queue), asyncio.timeout(20):
        with pytest.raises(JobFailed, match="the job has no key that could be limited"):
            await job.result()


Verb = Callable[[Queue, str], Awaitable[Any]]


async def _cancel(queue: Queue, job_id: str) -> None:
    await queue.cancel(job_id)


async def _remove(queue: Queue, job_id: str) -> None:
    await queue.operations.remove(job_id, force=True)


@pytest.mark.parametrize("verb", [_cancel, _remove])
async def test_the_share_of_a_job_that_is_taken_away_comes_back(
    engine: Engine, gate: Gate, verb: Verb, wait_until: WaitUntil
) -> None:
    """Cancelled or removed while it runs: the next job of its key starts; one that waits leaves its line."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(concurrency=1))
    jobs = await queue.enqueue_many(keyed(*"aaa"))
    async with Worker(queue, concurrency=4), asyncio.timeout(20):
        assert (await gate.begun.get())[1]["n"] == 0
        await verb(queue, jobs[1].id)
        await verb(queue, jobs[0].id)
        assert (await gate.begun.get())[1]["n"] == 2
        gate.through.release()
        await wait_until(lambda: _ended(queue, 1), "the last job ended")
    await drained(queue)


async def test_the_share_of_a_dead_worker_comes_back(engine: Engine, hands: Hands, gate: Gate) -> None:
    """Its job is the first of its key again."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(concurrency=2))
    await queue.enqueue_many(keyed(*"aaaa"))
    await hands.claim_less(queue, 10, 2)
    await hands.die(queue)
    state = await queue.limits.of_key("a")
    assert (state.running, state.waiting) == (0, 4)
    assert await inspect_queue(queue) == []
    hands.engine.time_override = b""
    async with Worker(queue, concurrency=4), asyncio.timeout(20):
        assert sorted([(await gate.begun.get())[1]["n"] for _ in range(2)]) == [0, 1]
        for _ in range(4):
            gate.through.release()
        await gate.begun.get()
        await gate.begun.get()


async def test_operators_find_list_explain_edit_and_move_jobs_that_wait_in_line(
    engine: Engine, hands: Hands, gate: Gate
) -> None:
    """They are waiting jobs as any other."""
    queue = engine.queue("work")
    await queue.limits.set_keys(Limit(concurrency=1))
    jobs = await queue.enqueue_many(keyed(*"aaaa"))
    await hands.claim(queue, 1)
    assert (await queue.counts()).waiting == 3
    assert (await queue.counts()).levels[5] == 3
    page = await queue.operations.page("waiting", limit=2)
    following = await queue.operations.page("waiting", limit=2, cursor=page.cursor)
    assert [job.id for job in [*page.jobs, *following.jobs]] == [job.id for job in jobs[1:]]
    explained = await queue.operations.explain(jobs[2].id)
    assert [reason.code for reason in explained.reasons] == ["key_limited", "behind", "busy"]
    assert explained.ahead == 1
    await queue.operations.edit(jobs[3].id, {"key": "a", "n": 33})
    await queue.operations.reprioritise(jobs[3].id, 0)
    await hands.die(queue)
    await hands.claim(queue, 1)
    info = await queue.get(jobs[3].id)
    assert info is not None
    assert (info.state, info.priority, bytes(info.payload)) == (JobState.ACTIVE, 0, b'{"key":"a","n":33}')
    assert await inspect_queue(queue) == []
    await hands.die(queue)
    await queue.operations.clear(force=True)
    assert await inspect_queue(queue) == []


async def test_a_revived_job_keeps_its_key(engine: Engine, registry: Registry, gate: Gate) -> None:
    """A cancelled job that is retried waits in its line again."""
    queue = engine.queue("work")
    job = await queue.enqueue("gate", {"key": "a"})
    await queue.cancel(job.id)
    await queue.operations.retry(job.id)
    assert (await queue.limits.of_key("a")).waiting == 1
    await queue.operations.clear()


async def test_limits_are_declared_with_the_queue(engine: Engine, registry: Registry) -> None:
    """The first enqueue writes them; a key may be given with the job."""
    registry.queue("work", limit=Limit(concurrency=9), key_limit=Limit(starts=3, period=1.5))
    queue = engine.queue("work")
    await queue.enqueue("plain", 1, key="x")
    assert (await queue.limits.of_queue()).limit == Limit(concurrency=9)
    assert (await queue.limits.of_key("x")) == LimitState(Limit(starts=3, period=1.5), False, 0, 1, 0.0)
    await queue.operations.clear()


@pytest.mark.parametrize(
    "numbers",
    [
        *({}, {"concurrency": 0}, {"concurrency": True}, {"starts": 1}, {"period": 1.0}, {"starts": 0, "period": 1}),
        *({"starts": 2.0, "period": 1}, {"starts": 1, "period": 0}, {"starts": 1, "period": float("nan")}),
    ],
)
def test_an_impossible_limit_is_refused(numbers: dict[str, Any]) -> None:
    """Where it is made."""
    with pytest.raises(ConfigurationError, match="wanted"):
        Limit(**numbers)


@pytest.mark.parametrize("key", ["", "a b", "x" * 257, 5])
async def test_an_impossible_key_is_refused(engine: Engine, key: Any) -> None:
    """Where it is given."""
    with pytest.raises(ConfigurationError, match="limit key"):
        await engine.queue("work").enqueue("plain", 1, key=key)
