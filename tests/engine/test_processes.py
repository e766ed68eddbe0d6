"""Proves how handlers run in processes: what they get and give, how they end, and that none is left over."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhanam_jobs.engine import ConfigurationError, Engine, JobFailed, JobState, Registry, RetryPolicy, Worker
from tests.conftest import StartRedis, WaitUntil
from tests.engine import running_handlers as handlers


def alive(pid: int) -> bool:
    """True where there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def in_process(registry: Registry) -> Callable[..., None]:
    """Registers a handler to run in a process of queue `heavy`."""

    def add(handler: Callable[..., Any], **options: Any) -> None:
        options = {"retry": RetryPolicy(attempts=1), **options}
        registry.job(handler.__name__, queue="heavy", process=True, **options)(handler)

    return add


async def test_a_process_is_kept_for_the_next_job_and_ends_with_the_worker(
    engine: Engine, in_process: Callable[..., None]
) -> None:
    """The payload arrives typed and the result is JSON; afterwards there is no such process."""
    in_process(handlers.add)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=1):
        results = [await (await queue.enqueue(handlers.Numbers(n, 2))).result(timeout=20) for n in (1, 2)]
    assert [result["sum"] for result in results] == [3, 4]
    pids = {result["pid"] for result in results}
    assert len(pids) == 1
    assert os.getpid() not in pids
    assert not alive(*pids)


async def test_a_process_tells_of_itself_and_enqueues(engine: Engine, in_process: Callable[..., None]) -> None:
    """Through its worker, which has the connection."""
    in_process(handlers.tell)
    in_process(handlers.add)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=2):
        job = await queue.enqueue("tell", "x")
        following = await job.result(timeout=20)
        notes = await queue.notes(job.id)
        info = await queue.get(following)
    assert notes.progress == {"done": 1}
    assert [line.text for line in notes.lines] == ["began tell"]
    assert info is not None
    assert info.name == "add"


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("exit", "ProcessDied", "ended with status 3"),
        ("segfault", "ProcessDied", "ended by SIGSEGV"),
        ("discard", "Discard", "no use"),
        ("unencodable", "ResultNotEncodable", "can't be encoded"),
        ("value", "ValueError", "bad value"),
        ("mute", "Mute", "its text can't be made: RuntimeError"),
        ("bytes", "ValueError", r"caf\\udce9\.csv"),
    ],
)
async def test_what_ends_a_process_handler_fails_the_attempt(
    engine: Engine, in_process: Callable[..., None], how: str, kind: str, message: str
) -> None:
    """Under its own name, with the traceback of where it was raised; the next job runs as if nothing had been."""
    in_process(handlers.fail)
    in_process(handlers.add)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=1):
        job = await queue.enqueue("fail", how)
        with pytest.raises(JobFailed, match=message) as failure:
            await job.result(timeout=20)
        following = await queue.enqueue(handlers.Numbers(1, 1))
        assert (await following.result(timeout=20))["sum"] == 2
        info = await queue.get(job.id)
    assert failure.value.error_type == kind
    assert info is not None
    assert info.error is not None
    if how == "value":
        assert info.error.traceback is not None
        assert "running_handlers.py" in info.error.traceback


@pytest.mark.parametrize("how", ["later", "snooze"])
async def test_a_process_may_ask_for_another_time(
    engine: Engine, in_process: Callable[..., None], wait_until: WaitUntil, how: str
) -> None:
    """The signals mean what they mean in the loop."""
    in_process(handlers.fail, retry=RetryPolicy(attempts=2))
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=1):
        job = await queue.enqueue("fail", how)

        async def delayed() -> bool:
            info = await queue.get(job.id)
            return info is not None and info.state is JobState.DELAYED

        await wait_until(delayed, "it is delayed", timeout=20.0)
    await queue.cancel(job.id)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_process_that_computes_for_ever_is_killed_with_its_children(
    engine: Engine, in_process: Callable[..., None], wait_until: WaitUntil, tmp_path: Path, how: str
) -> None:
    """By its time limit or a cancellation; neither it nor what it started is left."""
    in_process(handlers.compute, timeout=2.0 if how == "timeout" else 60.0)
    queue, path = engine.queue("heavy"), tmp_path / "pids"
    async with Worker(queue, concurrency=1):
        job = await queue.enqueue("compute", str(path))
        await wait_until(lambda: path.exists() and len(path.read_text().split()) == 2, "it computes", timeout=20.0)
        process, child = map(int, path.read_text().split())
        if how == "cancel":
            assert await queue.cancel(job.id, reason="too long") is JobState.ACTIVE
        with pytest.raises(JobFailed, match="TimeoutError" if how == "timeout" else "too long"):
            await job.result(timeout=20)
        assert not alive(process)
        # The child is an orphan by now: whoever adopted it reaps it when it gets to it.
        await wait_until(lambda: not alive(child) or "Z" in state_of(child), "its child was killed")


def state_of(pid: int) -> str:
    """The state letter of a process, Z for a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


async def test_a_process_whose_job_is_interrupted_while_it_starts_is_not_lost(
    engine: Engine, in_process: Callable[..., None]
) -> None:
    """The next job gets it, and it ends with the worker."""
    in_process(handlers.add)
    queue = engine.queue("heavy")
    async with Worker(queue, concurrency=1) as worker:
        job = await queue.enqueue(handlers.Numbers(1, 1), timeout=0.000001)
        with pytest.raises(JobFailed, match="TimeoutError"):
            await job.result(timeout=20)
        result = await (await queue.enqueue(handlers.Numbers(1, 2))).result(timeout=20)
    assert result["sum"] == 3
    assert not alive(result["pid"])
    assert worker.running == 0


async def test_a_process_ends_with_a_program_that_was_killed(start_redis: StartRedis, wait_until: WaitUntil) -> None:
    """Also while it computes; its handler stands in the program's own file, which is not started again by that."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, Path(__file__).with_name("process_script.py"), start_redis().url, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    async with asyncio.timeout(30):
        pid = int(await program.stdout.readline())
    program.kill()
    await program.wait()
    await wait_until(lambda: "Z" in state_of(pid), "its process has ended")


def test_a_handler_that_no_module_holds_is_refused(registry: Registry) -> None:
    """Another process could not find it."""

    def local(ctx: Any, payload: int) -> None: ...

    with pytest.raises(ConfigurationError, match="wanted a function of a module"):
        registry.job("local", queue="heavy", process=True)(local)
