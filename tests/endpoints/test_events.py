"""Events as they happen, over real connections: for administrators, and of one job for its people."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.engine import EngineUnavailable, JobContext, Registry
from dhanam_jobs.handlers.queues import QUEUE_NAMES, declare_queues
from dhanam_jobs.http import event_hub, event_stream
from dhanam_jobs.http.rate_limit import RateLimit
from tests.endpoints.event_client import following

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil
    from tests.endpoints.conftest import Service, StartService

QUEUE = "categorize-transactions"
ALL = "/admin/events"


class Gate:
    """A job that tells its progress, and ends when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.registry = Registry()
        declare_queues(self.registry)

        @self.registry.job("work", queue=QUEUE)
        async def work(ctx: JobContext, payload: Any) -> str:
            await ctx.progress({"done": 1, "apiKey": "canary"})
            await self.open.wait()
            return "well done"


@pytest.fixture
def gate() -> Gate:
    """Closed."""
    return Gate()


async def test_a_job_is_followed_from_where_it_is_to_its_end(start_service: StartService, gate: Gate) -> None:
    """First the job as it is, then what happens to it, at last the job as it ended; other jobs are not told of."""
    service = await start_service(gate.registry)
    queue = service.engine.queue(QUEUE)
    job = await queue.enqueue("work", {}, owner="mia")
    async with following(service, f"/v1/jobs/{QUEUE}/{job.id}/events", "mia") as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["X-Accel-Buffering"] == "no"
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert stream.retry_ms > 0
        now = await stream.next()
        assert (now.name, now.data["id"], now.data["state"]) == ("job", job.id, "waiting")
        await queue.enqueue("work", {}, delay=60)
        async with service.worker():
            active, progress = await stream.take(2)
            assert (active.name, active.data["job_id"], active.data["event"]) == ("active", job.id, "active")
            assert progress.data["value"] == {"done": 1, "apiKey": "[REDACTED]"}
            gate.open.set()
            completed, ended = await stream.rest()
    assert completed.name == "completed"
    assert completed.id == completed.data["offset"]
    assert (ended.name, ended.data["state"], ended.data["result"]) == ("job", "completed", "well done")
    assert ended.data["url"] == f"/v1/jobs/{QUEUE}/{job.id}"


@pytest.mark.parametrize("end", ["completed", "cancelled", "removed", "cleared"])
async def test_a_jobs_stream_ends_with_the_job_however_that_ends(
    start_service: StartService, gate: Gate, end: str
) -> None:
    """Also where nothing is left of it to be shown."""
    service = await start_service(gate.registry)
    queue = service.engine.queue(QUEUE)
    job = await queue.enqueue("work", {}, owner="mia")
    gate.open.set()
    async with contextlib.AsyncExitStack() as stack:
        stream = await stack.enter_async_context(following(service, f"/jobs/{QUEUE}/{job.id}/events", "mia"))
        match end:
            case "completed":
                await stack.enter_async_context(service.worker())
            case "cancelled":
                await queue.cancel(job.id)
            case "removed":
                await queue.operations.remove(job.id)
            case _:
                await service.jobs.clear_queue(QUEUE)
        told = await stream.rest()
    assert end in [message.name for message in told]
    last = told[-1]
    assert last.name == ("job" if end in ("completed", "cancelled") else end)


async def test_the_stream_of_a_job_that_has_ended_says_so_and_ends(start_service: StartService, gate: Gate) -> None:
    """A client that lost its connection in the last moment misses nothing."""
    service = await start_service(gate.registry)
    job = await service.engine.queue(QUEUE).enqueue("work", {}, owner="mia")
    gate.open.set()
    async with service.worker():
        await job.result(timeout=20)
    async with following(service, f"/jobs/{QUEUE}/{job.id}/events", "mia") as stream:
        (only,) = await stream.rest()
    assert (only.name, only.data["state"]) == ("job", "completed")


async def test_a_job_that_runs_again_is_followed_on(start_service: StartService, gate: Gate) -> None:
    """An end that is read again later is not the end of the job."""
    service = await start_service(gate.registry)
    queue = service.engine.queue(QUEUE)
    job = await queue.enqueue("work", {}, owner="mia")
    path = f"/jobs/{QUEUE}/{job.id}/events"
    async with following(service, path, "mia") as stream:
        begin = (await stream.next()).id
    await queue.cancel(job.id)
    await queue.operations.retry(job.id)
    async with following(service, path, "mia", last_id=begin) as stream:
        told = await stream.take(4)
        assert [message.name for message in told] == ["job", "cancelled", "waiting", "job"]
        gate.open.set()
        async with service.worker():
            rest = await stream.rest()
    assert [message.name for message in rest] == ["active", "progress", "completed", "job"]


@pytest.mark.parametrize(("user", "status"), [("otto", 403), ("vera", 403), ("mia+demo", 403), ("", 401)])
async def test_whoever_may_not_see_a_job_can_not_follow_it(service: Service, user: str, status: int) -> None:
    """The rules are those of the look at it."""
    job = await service.jobs.trigger_space_categorization("space-1", user_id="olivia")
    assert (await service.ask("GET", f"/jobs/{QUEUE}/{job.id}/events", user)).status_code == status


async def test_what_is_not_there_can_not_be_followed(service: Service) -> None:
    """Jobs and queues; and an id that nobody gave is no place to begin."""
    assert (await service.ask("GET", f"/jobs/{QUEUE}/5-1-0/events", "root")).status_code == 404
    assert (await service.ask("GET", "/jobs/nowhere/5-1-0/events", "root")).status_code == 404
    assert (await service.ask("GET", ALL, "root", params={"queues": f"{QUEUE},nowhere"})).status_code == 404
    for since in ("yesterday", "1-x", "2026-05-20", "0001-01-01T00:00:00Z", f"nowhere@1-0,{QUEUE}@1-0", f"1-{2**64}"):
        answer = await service.ask("GET", ALL, "root", params={"since": since, "queues": QUEUE})
        assert answer.status_code == 422, since
        assert "since" in answer.json()["error"]["message"]
        answer = await service.ask("GET", ALL, "root", params={"queues": QUEUE}, headers={"Last-Event-ID": since})
        assert answer.status_code == 400, since
        assert "Last-Event-ID" in answer.json()["error"]["message"]


async def test_an_administrator_follows_all_queues_or_some(service: Service) -> None:
    """Each event has the form that the engine gives it."""
    async with following(service, ALL, "root") as every, following(service, ALL, "root", queues=QUEUE) as some:
        await service.jobs.pause_queue("esg-updates")
        job = await service.jobs.trigger_space_categorization("space-1")
        paused, waiting = await every.take(2)
        assert (paused.name, paused.data["queue"]) == ("paused", "esg-updates")
        only = await some.next()
    assert only.data == waiting.data
    assert list(only.data) == ["event", "queue", "offset", "at_ms", "job_id"]
    assert (only.data["event"], only.data["job_id"], only.id) == ("waiting", job.id, only.data["offset"])
    assert (await service.ask("GET", ALL, "olivia")).status_code == 403


async def test_a_client_that_comes_back_misses_nothing_and_hears_nothing_twice(service: Service) -> None:
    """Over several queues, each at its own place, from the id of any event."""
    async with following(service, ALL, "root") as stream:
        begin = stream.last_id
        jobs = [await service.jobs.trigger_esg_refresh([f"C{n}"]) for n in range(5)]
        more = [await service.jobs.trigger_space_categorization(f"space-{n}") for n in range(5)]
        first = await stream.take(4)
    assert {part.partition("@")[0] for part in begin.split(",")} == set(QUEUE_NAMES)
    async with following(service, ALL, "root", last_id=first[-1].id) as stream:
        later = await service.jobs.trigger_space_categorization("space-9")
        rest = await stream.take(7)
    told = [message.data["job_id"] for message in first + rest]
    assert sorted(told) == sorted(job.id for job in [*jobs, *more, later])
    async with following(service, ALL, "root", last_id=begin, since="0") as stream:
        assert [message.data for message in await stream.take(11)] != []


async def test_the_past_is_told_from_the_oldest_that_is_kept_or_from_a_moment(service: Service) -> None:
    """And then what happens, without a seam."""
    jobs = [await service.jobs.trigger_space_categorization(f"space-{n}") for n in range(3)]
    info = await service.jobs.get_job(QUEUE, jobs[2].id)
    moment = datetime.fromtimestamp(info.created_ms / 1000, UTC).isoformat()
    for since, expected in (("0", 3), (moment, 1)):
        async with following(service, ALL, "root", queues=QUEUE, since=since) as stream:
            told = [message.data["job_id"] for message in await stream.take(expected)]
            assert set(told) <= {job.id for job in jobs}
            await service.jobs.pause_queue(QUEUE)
            assert (await stream.next()).name in ("paused", "waiting")
            await service.jobs.resume_queue(QUEUE)


async def test_a_gap_is_told(service: Service) -> None:
    """What the stream in Redis no longer keeps is not passed over in silence."""
    queue = service.engine.queue(QUEUE)
    async with following(service, ALL, "root", queues=QUEUE) as stream:
        await service.jobs.pause_queue(QUEUE)
        place = (await stream.next()).id
    await service.jobs.resume_queue(QUEUE)
    await service.jobs.pause_queue(QUEUE)
    await service.engine.redis.xtrim(f"{queue.root}:events", maxlen=1, approximate=False)
    async with following(service, ALL, "root", queues=QUEUE, last_id=place) as stream:
        gap, last = await stream.take(2)
    assert (gap.name, last.name) == ("gap", "paused")
    assert gap.data["oldest"] == last.data["offset"]


async def test_many_who_follow_share_one_connection_to_redis(service: Service, wait_until: WaitUntil) -> None:
    """However many there are, and the last one takes it along."""

    async def readers() -> int:
        found = await service.engine.redis.client_list()
        return sum(row["name"] == f"{service.engine.client_name}:events" for row in found)

    async with contextlib.AsyncExitStack() as stack:
        streams = []
        for user in ["root"] * event_hub.MOST_OF_ONE_USER:
            streams.append(await stack.enter_async_context(following(service, ALL, user)))
        assert await readers() == 1
        one_more = await service.ask("GET", ALL, "root")
        assert (one_more.status_code, one_more.headers["Retry-After"]) == (429, "60")
        await service.jobs.pause_queue(QUEUE)
        for stream in streams:
            assert (await stream.next()).name == "paused"

    async def none() -> bool:
        return await readers() == 0

    await wait_until(none, "the reader's connection is closed")
    async with following(service, ALL, "root") as stream:
        await service.jobs.resume_queue(QUEUE)
        assert (await stream.next()).name == "resumed"


async def test_who_falls_behind_is_told_of_everything_all_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Redis, at its own speed, and its buffer stays small."""
    hub = event_hub.EventHub(service.jobs, buffered=10)
    slow = await hub.listen("root", [QUEUE])
    quick = await hub.listen("mia", [QUEUE])
    jobs = await service.jobs.trigger_bulk_categorization(f"space-{n:03}" for n in range(500))

    async def read(listener: event_hub.Listener, count: int) -> list[str]:
        told: list[str] = []
        async with asyncio.timeout(20):
            async for step in listener:
                assert 0 < len(step) <= event_hub.PER_STEP
                told += [str(getattr(each.event, "job_id", "")) for each in step]
                if len(told) >= count:
                    break
        return told

    await read(quick, 500)
    assert len(slow._buffer) <= 10
    assert await read(slow, 500) == [job.id for job in jobs]
    again = await service.jobs.trigger_space_categorization("space-x")
    assert await read(slow, 1) == [again.id]
    assert await read(quick, 1) == [again.id]
    await slow.close()
    await quick.close()
    assert (hub.listening, hub.reads) == (0, False)


async def test_all_who_fall_behind_at_once_take_turns_to_catch_up(service: Service) -> None:
    """A burst doesn't make as many connections as there are listeners, nor do all who come back to the past at once."""
    hub = event_hub.EventHub(service.jobs, buffered=10)
    listeners = [await hub.listen(f"user-{n}", [QUEUE]) for n in range(30)]
    listeners += [await hub.listen(f"user-{n}", [QUEUE], "0") for n in range(30)]
    jobs = await service.jobs.trigger_bulk_categorization(f"space-{n:03}" for n in range(100))
    most = 0

    async def read(listener: event_hub.Listener) -> list[str]:
        nonlocal most
        told: list[str] = []
        async with asyncio.timeout(30):
            async for step in listener:
                told += [str(getattr(each.event, "job_id", "")) for each in step]
                names = [row["name"] for row in await service.engine.redis.client_list()]
                most = max(most, sum(name == f"{service.engine.client_name}:events" for name in names))
                if len(told) >= len(jobs):
                    break
        return told

    assert await asyncio.gather(*map(read, listeners)) == [[job.id for job in jobs]] * 60
    assert 1 <= most <= 1 + event_hub.RECOVERING
    for listener in listeners:
        await listener.close()


async def test_a_client_that_comes_back_before_the_first_event_begins_where_it_began(service: Service) -> None:
    """The place that it is told at the start is the one that it asked for, not the present."""
    async with following(service, ALL, "root", queues=QUEUE) as stream:
        begin = stream.last_id
    await service.jobs.pause_queue(QUEUE)
    async with following(service, ALL, "root", queues=QUEUE, last_id=begin) as stream:
        assert stream.last_id == begin or (await stream.next()).name == "paused"
    hub = service.app.state.context.events
    listener = await hub.listen("root", [QUEUE], {QUEUE: begin})
    assert listener.places == {QUEUE: begin}
    await listener.close()


async def test_silence_is_broken_by_signs_of_life(start_service: StartService, wait_until: WaitUntil) -> None:
    """So that proxies keep the connection and a client notices a dead one."""
    service = await start_service(heartbeat_s=0.02)
    async with following(service, ALL, "root") as stream:
        asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(service.jobs.pause_queue(QUEUE)))
        await stream.next()
        assert stream.comments > 1


async def test_whoever_may_no_longer_listen_is_cut_off(start_service: StartService) -> None:
    """An administrator who is none any more hears no more, and is refused when they come back."""
    service = await start_service(heartbeat_s=0.02, recheck_s=0.05)
    async with following(service, ALL, "root") as stream:
        await service.store.users.upsert([{"id": "root", "is_admin": False}])
        assert await stream.rest() == []
    assert (await service.ask("GET", ALL, "root")).status_code == 403


async def test_a_stream_ends_as_it_should_when_the_server_ends(service: Service) -> None:
    """Its last chunk arrives, and the server need not wait for it."""
    async with following(service, ALL, "root") as stream:
        stopping = asyncio.create_task(service.server.stop())
        assert await stream.rest() == []
        await stopping


async def test_a_client_that_takes_nothing_is_cut_off(
    service: Service, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no listener and no memory for ever."""
    monkeypatch.setattr(event_stream, "STALLED_S", 0.2)
    hub = service.app.state.context.events
    # Its connections inherit a small buffer, which little fills.
    service.server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    host, port = service.server.url.removeprefix("http://").split(":")
    with socket.socket() as sleeper:
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeper.connect((host, int(port)))
        request = f"GET {ALL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token('root')}\r\n\r\n"
        sleeper.sendall(request.encode())
        await wait_until(lambda: hub.listening == 1, "it listens")
        await service.jobs.trigger_bulk_categorization(f"space-{n}" for n in range(2000))
        await wait_until(lambda: hub.listening == 0, "it was cut off")


async def test_without_redis_nobody_is_left_to_wait(start_redis: StartRedis, start_service: StartService) -> None:
    """503 before anything is sent."""
    server = start_redis()
    service = await start_service(redis_url=server.url)
    server.kill()
    answer = await service.ask("GET", ALL, "root")
    assert answer.status_code == 503
    assert service.app.state.context.events.listening == 0


async def test_an_outage_of_redis_takes_only_time(
    start_redis: StartRedis, start_service: StartService, wait_until: WaitUntil
) -> None:
    """The stream stays open, and goes on."""
    server = start_redis("--appendonly", "yes")
    service = await start_service(redis_url=server.url)

    async def back() -> bool:
        with contextlib.suppress(EngineUnavailable):
            await service.jobs.resume_queue(QUEUE)
            return True
        return False

    async with following(service, ALL, "root", queues=QUEUE) as stream:
        await service.jobs.pause_queue(QUEUE)
        assert (await stream.next()).name == "paused"
        server.kill()
        server.start()
        await wait_until(back, "Redis answers again")
        assert (await stream.next()).name == "resumed"


async def test_streams_are_not_counted_as_requests(start_service: StartService) -> None:
    """Whoever follows may still ask."""
    service = await start_service(limit=RateLimit(1, 60))
    for _ in range(3):
        async with following(service, ALL, "root"):
            pass
    assert (await service.ask("GET", "/admin/queues/stats", "root")).status_code == 200
