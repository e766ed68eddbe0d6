"""Proves the operators' verbs on a real server, with real workers beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from dhanam_jobs.engine import (
    Engine,
    JobContext,
    JobNotFound,
    JobState,
    Queue,
    Registry,
    Retention,
    RetryPolicy,
    Worker,
)
from dhanam_jobs.engine.errors import ConfigurationError, InvalidPayload, QueueActive, WrongState
from dhanam_jobs.engine.fleet import processes
from dhanam_jobs.engine.inspection import inspect_queue
from dhanam_jobs.engine.listing import JobFilter
from tests.conftest import WaitUntil
from tests.engine.conftest import Keys


class Add(msgspec.Struct):
    """Two numbers."""

    a: int
    b: int = 0


class Hold(msgspec.Struct):
    """Nothing."""


class Gate:
    """What the handlers of these tests go by: whether to fail, and an event that `hold` waits for."""

    def __init__(self) -> None:
        self.fail = False
        self.open = asyncio.Event()
        self.ran: list[Any] = []


@pytest.fixture
def gate() -> Gate:
    """Handlers succeed; `hold` waits."""
    return Gate()


@pytest.fixture
def registry(gate: Gate) -> Registry:
    """A queue `q` with jobs that add, and that hold until the gate opens."""
    registry = Registry()
    registry.queue("q", concurrency=10, retry=RetryPolicy(attempts=1))

    @registry.job("add", queue="q")
    async def add(ctx: JobContext, payload: Add) -> int:
        gate.ran.append((ctx.job.id, payload.a, ctx.attempt))
        if gate.fail:
            raise ValueError(f"no {payload.a}")
        return payload.a + payload.b

    @registry.job("hold", queue="q")
    async def hold(ctx: JobContext, payload: Hold) -> None:
        await gate.open.wait()

    return registry


@pytest.fixture
async def queue(engine: Engine) -> AsyncIterator[Queue]:
    """The queue; after the test its keys contradict each other in nothing."""
    queue = engine.queue("q")
    yield queue
    assert await inspect_queue(queue) == []
    await queue.operations.clear(force=True)


@contextlib.asynccontextmanager
async def worked_off(queue: Queue, wait_until: WaitUntil) -> AsyncIterator[None]:
    """Works the queue, within the block and until nothing waits, is delayed or runs."""

    async def quiet() -> bool:
        counts = await queue.counts()
        return counts.waiting + counts.active + counts.blocked == 0

    async with Worker(queue):
        yield
        await wait_until(quiet, "the queue is worked off")


async def fail(queue: Queue, gate: Gate, wait_until: WaitUntil, count: int = 1) -> list[str]:
    """Jobs that failed; their ids in order."""
    gate.fail = True
    jobs = await queue.enqueue_many([Add(number) for number in range(count)])
    async with worked_off(queue, wait_until):
        pass
    gate.fail = False
    return [job.id for job in jobs]


async def test_a_failed_job_is_retried_with_all_its_attempts(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """Under its own id, with the history of its failures, and its result is what comes of it in the end."""
    (job_id,) = await fail(queue, gate, wait_until)
    await queue.operations.retry(job_id)
    async with worked_off(queue, wait_until):
        pass
    info = await queue.get(job_id)
    assert info is not None
    assert (info.state, info.attempt, [line.type for line in info.errors]) == ("completed", 1, ["ValueError"])
    assert gate.ran == [(job_id, 0, 1), (job_id, 0, 1)]
    stats = await queue.stats()
    assert (stats.completed, stats.failed) == (1, 1)


async def test_a_job_is_edited_before_its_retry_and_checked_as_enqueue_checks_it(
    queue: Queue, gate: Gate, wait_until: WaitUntil
) -> None:
    """A payload that doesn't fit leaves the record as it was."""
    (job_id,) = await fail(queue, gate, wait_until)
    with pytest.raises(InvalidPayload):
        await queue.operations.retry(job_id, payload={"a": "seven"})
    await queue.operations.retry(job_id, payload={"a": 7, "b": 1})
    async with worked_off(queue, wait_until):
        pass
    info = await queue.get(job_id)
    assert info is not None
    assert info.result == msgspec.Raw(b"8")


async def test_a_completed_job_can_be_run_again(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """Retry is for every ended job."""
    job = await queue.enqueue(Add(1))
    async with worked_off(queue, wait_until):
        assert await job.result(10) == 1
        await queue.operations.retry(job.id)
    assert len(gate.ran) == 2


async def test_twenty_retries_at_once_revive_a_job_once(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """One of them counts; the others are told that it waits."""
    (job_id,) = await fail(queue, gate, wait_until)
    outcomes = await asyncio.gather(*(queue.operations.retry(job_id) for _ in range(20)), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert all(isinstance(outcome, WrongState) for outcome in outcomes if outcome is not None)
    assert (await queue.counts()).waiting == 1
    async with worked_off(queue, wait_until):
        pass
    assert len(gate.ran) == 2


async def test_all_that_match_are_retried_while_workers_take_them(
    queue: Queue, gate: Gate, wait_until: WaitUntil
) -> None:
    """Two at once, with workers running: each job runs once more, no more."""
    ids = await fail(queue, gate, wait_until, 40)
    async with worked_off(queue, wait_until):
        where = JobFilter(text="no 1")
        counts = await asyncio.gather(queue.operations.retry_all(where=where), queue.operations.retry_all(where=where))
    assert sum(counts) == 11
    again = [number for _, number, _ in gate.ran[40:]]
    assert sorted(again) == [1, *range(10, 20)]
    assert (await queue.operations.page("failed", limit=1)).total == 29
    assert len(ids) == 40


async def test_verbs_say_what_state_a_job_is_in_instead(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """And that an unknown one isn't there."""
    operations = queue.operations
    job = await queue.enqueue(Add(1))
    with pytest.raises(WrongState, match="is waiting: to retry it"):
        await operations.retry(job.id)
    with pytest.raises(WrongState, match="is waiting: to promote it"):
        await operations.promote(job.id)
    verbs: list[Awaitable[Any]] = [
        operations.retry("nobody"),
        operations.promote("nobody"),
        operations.remove("nobody"),
    ]
    verbs += [operations.reprioritise("nobody", 1), operations.edit("nobody", {"a": 1}), operations.clone("nobody")]
    for verb in verbs:
        with pytest.raises(JobNotFound, match="nobody"):
            await verb
    with pytest.raises(ConfigurationError, match="state 'done'"):
        await operations.page("done")
    with pytest.raises(ConfigurationError, match="priority 11"):
        await operations.reprioritise(job.id, 11)
    with pytest.raises(ConfigurationError, match="cursor"):
        await operations.page("waiting", cursor="failed:1:2 3")


async def test_a_running_job_is_removed_only_with_force(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """Its handler is called off, and its outcome counts nowhere."""
    job = await queue.enqueue(Hold())
    async with worked_off(queue, wait_until):

        async def runs() -> bool:
            return (await queue.counts()).active == 1

        await wait_until(runs, "the job runs")
        with pytest.raises(WrongState, match="is active"):
            await queue.operations.remove(job.id)
        await queue.operations.remove(job.id, force=True)
        assert await queue.get(job.id) is None
    stats = await queue.stats()
    assert (stats.completed, stats.failed, stats.active) == (0, 0, 0)


async def test_delayed_jobs_are_promoted_one_or_all(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """Those that match, in the order of their due times."""
    jobs = [await queue.enqueue(Add(number), delay=1000 - number) for number in range(3)]
    await queue.operations.promote(jobs[0].id)
    assert await queue.operations.promote_all(JobFilter(text='"a":2')) == 1
    assert [job.id for job in (await queue.operations.page("waiting")).jobs] == [jobs[0].id, jobs[2].id]
    assert await queue.operations.promote_all() == 1


async def test_jobs_change_level_and_payload_while_they_wait(queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """By id, or all of a state."""
    jobs = await queue.enqueue_many([Add(number) for number in range(3)])
    assert await queue.operations.reprioritise(jobs[2].id, 0)
    assert not await queue.operations.reprioritise(jobs[2].id, 0)
    await queue.operations.edit(jobs[2].id, Add(70))
    with pytest.raises(InvalidPayload):
        await queue.operations.edit(jobs[0].id, {"a": None})
    assert await queue.operations.reprioritise_all("waiting", 9, JobFilter(priority=5)) == 2
    page = await queue.operations.page("waiting")
    assert [(job.id, job.priority) for job in page.jobs] == [(jobs[2].id, 0), (jobs[0].id, 9), (jobs[1].id, 9)]
    assert bytes(page.jobs[0].payload) == b'{"a":70,"b":0}'


async def test_a_clone_has_the_payload_and_options_but_an_id_of_its_own(
    queue: Queue, gate: Gate, wait_until: WaitUntil
) -> None:
    """Of a job that waits, and of one that has ended."""
    job = await queue.enqueue("add", Add(1), priority=3, meta={"tenant": "t"}, timeout=7.0, id="first", unique="k")
    copies = [await queue.operations.clone(job.id)]
    async with worked_off(queue, wait_until):
        pass
    copies.append(await queue.operations.clone(job.id, payload=Add(2), priority=0))
    for copy, level, payload in zip(copies, (3, 0), (b'{"a":1,"b":0}', b'{"a":2,"b":0}'), strict=True):
        info = await queue.get(copy.id)
        assert info is not None
        assert (info.priority, bytes(info.payload), info.meta, info.unique) == (level, payload, {"tenant": "t"}, None)
        assert copy.id != "first"


async def test_clean_takes_the_oldest_of_a_state_up_to_a_number(
    queue: Queue, gate: Gate, wait_until: WaitUntil
) -> None:
    """Active jobs are nobody's to clean."""
    ids = await fail(queue, gate, wait_until, 5)
    assert await queue.operations.clean("failed", older_than=3600) == 0
    assert await queue.operations.clean("failed", limit=2) == 2
    assert [job.id for job in (await queue.operations.page("failed")).jobs] == ids[:1:-1]
    with pytest.raises(ConfigurationError, match="active"):
        await queue.operations.clean("active")


async def test_empty_leaves_delayed_jobs_unless_they_are_meant_too(queue: Queue) -> None:
    """Records, counters and blocked jobs are no concern of it."""
    await queue.enqueue_many([Add(number) for number in range(450)])
    await queue.enqueue(Add(1), delay=60)
    assert await queue.operations.empty() == 450
    assert (await queue.counts()).delayed == 1
    assert await queue.operations.empty(delayed=True) == 1


async def test_clear_refuses_while_jobs_run_and_keeps_pause_and_counters(
    queue: Queue, gate: Gate, wait_until: WaitUntil
) -> None:
    """With force the running ones go too, and the worker takes what comes next."""
    await fail(queue, gate, wait_until, 2)
    await queue.enqueue(Hold())
    async with worked_off(queue, wait_until):

        async def runs() -> bool:
            return (await queue.counts()).active == 1

        await wait_until(runs, "the job runs")
        with pytest.raises(QueueActive, match="1 active"):
            await queue.operations.clear()
        await queue.pause()
        await queue.enqueue(Add(5), delay=60)
        assert await queue.operations.clear(force=True) == 4
        counts = await queue.counts()
        assert (counts.failed, counts.retained_failed, counts.active, counts.delayed) == (2, 0, 0, 0)
        assert await queue.is_paused()
        job = await queue.enqueue(Add(6))
        await queue.resume()
        assert await job.result(10) == 6


@pytest.mark.parametrize("verb", ["remove", "clear"])
async def test_who_waits_for_a_job_that_is_taken_away_is_told(queue: Queue, verb: str, wait_until: WaitUntil) -> None:
    """At once, not when the waiting is over."""
    job = await queue.enqueue(Add(1))
    waiting = asyncio.create_task(job.result(60))

    async def known() -> bool:
        return bool(await queue.engine.redis.zcard(f"{queue.root}:waited"))

    await wait_until(known, "the waiter is known")
    await (queue.operations.remove(job.id) if verb == "remove" else queue.operations.clear())
    with pytest.raises(JobNotFound, match=job.id):
        async with asyncio.timeout(10):
            await waiting


async def test_obliterate_leaves_no_key(queue: Queue, gate: Gate, wait_until: WaitUntil, keys: Keys) -> None:
    """It refuses while a worker lives, which would make keys anew."""
    await fail(queue, gate, wait_until, 2)
    await queue.enqueue(Add(1), unique="k", delay=60)
    await queue.enqueue(Add(2), unique="k")
    async with Worker(queue):
        with pytest.raises(QueueActive, match="1 live workers"):
            await queue.operations.obliterate()
    assert await queue.operations.obliterate() == 4
    assert await keys.names(f"{queue.root}:*") == set()
    await queue.enqueue(Add(1))
    assert await keys.command("HEXISTS", "jobs:registry", "queue:q") == 1


async def test_failures_that_retention_evicts_are_kept_as_dead_letters_and_replayed(
    engine: Engine, registry: Registry, gate: Gate, wait_until: WaitUntil
) -> None:
    """Listed, filtered, replayed one or all, pruned, counted."""
    registry.queue("q", retry=RetryPolicy(attempts=1), retention=Retention(failed=1), concurrency=1)
    queue = engine.queue("q")
    ids = await fail(queue, gate, wait_until, 6)
    dead = queue.operations.dead_letters
    assert await dead.count() == (await queue.counts()).dead == 5
    assert [job.id for job in (await dead.page()).jobs] == ids[4::-1]
    assert [job.id for job in (await dead.page(where=JobFilter(text="no 3"))).jobs] == [ids[3]]
    letter = await dead.get(ids[0])
    assert letter is not None
    assert (letter.state, letter.error and letter.error.message) == (JobState.FAILED, "no 0")
    await dead.replay(ids[0])
    with pytest.raises(JobNotFound):
        await dead.replay(ids[0])
    await queue.operations.retry(ids[1])
    assert await dead.prune(JobFilter(text="no 2")) == 1
    assert await dead.replay_all() == 2
    async with worked_off(queue, wait_until):
        pass
    assert sorted(number for _, number, _ in gate.ran[6:]) == [0, 1, 3, 4]
    assert await dead.count() == 0
    assert await inspect_queue(queue) == []


async def test_records_go_by_age_with_the_sweep(
    engine: Engine, registry: Registry, gate: Gate, wait_until: WaitUntil
) -> None:
    """Nobody has to ask."""
    registry.queue("q", retention=Retention(completed=None, completed_age=0.05))
    queue = engine.queue("q")
    await queue.enqueue_many([Add(number) for number in range(300)])
    async with Worker(queue, sweep_ms=200):

        async def gone() -> bool:
            counts = await queue.counts()
            return counts.completed == 300 and counts.retained_completed == 0

        await wait_until(gone, "all records are gone")
    assert await inspect_queue(queue) == []


async def test_workers_tell_what_they_run_and_since_when(
    engine: Engine, queue: Queue, gate: Gate, wait_until: WaitUntil
) -> None:
    """By queue, and by process."""
    job = await queue.enqueue(Hold())
    async with worked_off(queue, wait_until):

        async def runs() -> bool:
            return (await queue.counts()).active == 1

        await wait_until(runs, "the job runs")
        counts = await queue.counts()
        assert (counts.levels, counts.active_levels) == ({5: 0}, {5: 1})
        (worker,) = await queue.operations.workers()
        assert (worker.queue, worker.concurrency) == ("q", 10)
        assert [(running.id, running.name) for running in worker.running] == [(job.id, "hold")]
        assert 0 <= worker.beat_ms - worker.started_ms <= timedelta(minutes=1).total_seconds() * 1000
        assert worker.running[0].since_ms >= worker.started_ms
        (process,) = await processes(engine)
        assert (process.pid, process.queues) == (worker.pid, ["q"])
        gate.open.set()
    assert await queue.operations.workers() == []


async def test_why_a_job_waits_is_explained(engine: Engine, queue: Queue, gate: Gate, wait_until: WaitUntil) -> None:
    """Paused, nobody alive, behind others, not due, key held, running, ended."""

    async def codes(job_id: str) -> list[str]:
        return [reason.code for reason in (await queue.operations.explain(job_id)).reasons]

    first = await queue.enqueue(Add(1))
    last = [await queue.enqueue(Add(number)) for number in range(3)][-1]
    urgent = await queue.enqueue(Add(9), priority=0, unique="k")
    held = await queue.enqueue(Add(10), unique="k")
    later = await queue.enqueue(Add(1), delay=60)
    assert await codes(urgent.id) == ["no_worker"]
    assert await codes(first.id) == ["no_worker", "behind"]
    explanation = await queue.operations.explain(last.id)
    assert explanation.ahead == 4
    assert "4 jobs: 1 in more urgent places and 3 in its own" in explanation.reasons[1].text
    await queue.pause()
    assert await codes(later.id) == ["paused", "delayed", "no_worker"]
    explanation = await queue.operations.explain(held.id)
    assert (explanation.holder, explanation.state) == (urgent.id, JobState.BLOCKED)
    assert f"held by job {urgent.id} (waiting)" in explanation.reasons[1].text
    await queue.resume()
    holding = await queue.enqueue(Hold())
    async with worked_off(queue, wait_until):
        await first.result(10)

        async def runs() -> bool:
            return await codes(holding.id) == ["running"]

        await wait_until(runs, "the job runs")
        assert await codes(first.id) == ["ended"]
        gate.open.set()
    with pytest.raises(JobNotFound):
        await queue.operations.explain("nobody")


async def test_a_filter_says_how_much_it_searched_and_goes_on_from_there(queue: Queue) -> None:
    """Pages may be empty; the last has no cursor."""
    await queue.enqueue_many([Add(number) for number in range(1000)])
    where = JobFilter(text='"a":999')
    page = await queue.operations.page("waiting", where=where, search=600)
    assert (page.jobs, page.searched, page.total) == ([], 600, 1000)
    page = await queue.operations.page("waiting", where=where, cursor=page.cursor)
    assert (len(page.jobs), page.searched, page.total, page.cursor) == (1, 1000, 1000, None)


@pytest.mark.long
@pytest.mark.parametrize("verb", ["empty", "clear", "reprioritise", "promote"])
async def test_a_hundred_thousand_jobs_are_changed_in_short_steps(queue: Queue, keys: Keys, verb: str) -> None:
    """While a producer goes on, whose calls come in between. Clear takes them at one moment, in a handful of calls."""
    delay = {"delay": 3600.0} if verb == "promote" else {}
    for _ in range(10):
        await queue.enqueue_many([Add(number) for number in range(10_000)], **delay)  # type: ignore[arg-type]
    await keys.command("CONFIG", "RESETSTAT")
    going = True

    async def produce() -> int:
        count = 0
        while going:
            await queue.enqueue_many([Add(1)] * 50)
            count += 50
        return count

    producer = asyncio.create_task(produce())
    operations = queue.operations
    verbs: dict[str, Callable[[], Awaitable[int]]] = {
        "empty": operations.empty,
        "clear": operations.clear,
        "promote": operations.promote_all,
        "reprioritise": lambda: operations.reprioritise_all("waiting", 1),
    }
    number = await verbs[verb]()
    going = False
    added = await producer
    assert 100_000 <= number <= 100_000 + added
    statistics = await queue.engine.redis.info("commandstats")
    calls = statistics["cmdstat_evalsha"]["calls"] - added // 50
    assert calls < 100 if verb == "clear" else calls >= 500 and added >= 50
