"""How many requests a sender may make, over HTTP, with the counts in a real Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis
from starlette.requests import Request

from dhanam_jobs.http.rate_limit import RateLimit, sender_of
from dhanam_jobs.http.table import ENDPOINTS

if TYPE_CHECKING:
    from tests.conftest import StartRedis, WaitUntil
    from tests.endpoints.conftest import StartService

LOOK = ("GET", "/jobs/categorize-transactions/5-1-0")
KEY = "jobs:requests:user:olivia"


async def test_the_answers_say_what_is_left_and_when_more_comes_back(start_service: StartService) -> None:
    service = await start_service(limit=RateLimit(2, 900))
    first = await service.ask(*LOOK, "olivia")
    assert first.headers["RateLimit-Policy"] == '"default";q=2;w=900'
    assert first.headers["RateLimit"] == '"default";r=1;t=900'
    assert (await service.ask(*LOOK, "olivia")).headers["RateLimit"].startswith('"default";r=0;t=')
    refused = await service.ask(*LOOK, "olivia")
    assert refused.status_code == 429
    assert 890 < int(refused.headers["Retry-After"]) <= 900
    assert refused.headers["RateLimit"].startswith('"default";r=0;t=')
    error = refused.json()["error"]
    assert (error["code"], error["retryable"]) == ("RATE_LIMITED", True)
    assert error["message"] == "More than 2 requests in 900 s"


async def test_a_trigger_beyond_the_limit_does_nothing(start_service: StartService) -> None:
    service = await start_service(limit=RateLimit(1, 900), wait_s=0.05)
    assert (await service.ask("POST", "/jobs/categorize/space-1", "olivia")).status_code == 202
    await service.jobs.clear_queue("categorize-transactions")
    assert (await service.ask("POST", "/jobs/categorize/space-1", "olivia")).status_code == 429
    assert (await service.jobs.get_queue_stats("categorize-transactions")).waiting == 0


async def test_each_user_has_a_count_of_their_own_and_strangers_share_their_address(
    start_service: StartService,
) -> None:
    """A good token counts for its user, from whatever address; who is refused counts too."""
    service = await start_service(limit=RateLimit(1, 900))
    for user in ("olivia", "mia", "root"):
        assert (await service.ask(*LOOK, user)).status_code == 404
        assert (await service.ask(*LOOK, user)).status_code == 429
    bad = {"Authorization": "Bearer a.b.c"}
    assert (await service.ask(*LOOK)).status_code == 401
    assert (await service.ask(*LOOK, headers=bad)).status_code == 429
    assert (await service.ask(*LOOK, "vera")).status_code == 404, "a flood without tokens locks no user out"
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 403
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 429


async def test_processes_share_the_count(start_service: StartService) -> None:
    """Of 40 requests at once to two services, as many pass as the limit says."""
    services = [await start_service(limit=RateLimit(15, 900)) for _ in range(2)]
    answers = await asyncio.gather(*(services[n % 2].ask(*LOOK, "olivia") for n in range(40)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(404), statuses.count(429)) == (15, 25)


async def test_no_window_holds_more_than_the_limit_wherever_it_begins(
    start_service: StartService, redis: Redis
) -> None:
    """The counts age by their own moments: half of them leave, half may come, and never twice as many."""
    service = await start_service(limit=RateLimit(10, 900))
    for _ in range(10):
        assert (await service.ask(*LOOK, "olivia")).status_code == 404
    moments = [int(text) for text in await redis.lrange(KEY, 0, -1)]
    assert len(moments) == 10
    for position in range(5):  # as if they had been made a window ago, and a second less
        await redis.lset(KEY, position, str(moments[position] - 900_000))
    for position in range(5, 10):
        await redis.lset(KEY, position, str(moments[position] - 899_000 + 30_000))
    answers = [(await service.ask(*LOOK, "olivia")).status_code for _ in range(8)]
    assert answers == [404] * 5 + [429] * 3
    refused = await service.ask(*LOOK, "olivia")
    assert 25 <= int(refused.headers["Retry-After"]) <= 31, "when the oldest that counts leaves"


async def test_what_was_counted_goes_with_its_window(start_service: StartService, redis: Redis) -> None:
    service = await start_service(limit=RateLimit(3, 7))
    await service.ask(*LOOK, "olivia")
    assert 0 < await redis.pttl(KEY) <= 7000
    assert await redis.keys("jobs:requests:*") == [KEY.encode()]


async def test_a_lowered_limit_counts_what_was_let_through_before(start_service: StartService) -> None:
    wide = await start_service(limit=RateLimit(10, 900))
    for _ in range(5):
        await wide.ask(*LOOK, "olivia")
    narrow = await start_service(limit=RateLimit(3, 900))
    refused = await narrow.ask(*LOOK, "olivia")
    assert refused.status_code == 429
    assert 890 < int(refused.headers["Retry-After"]) <= 900


async def test_0_is_no_limit(start_service: StartService, redis: Redis) -> None:
    service = await start_service(limit=RateLimit(0, 900))
    answer = await service.ask(*LOOK, "olivia")
    assert answer.status_code == 404
    assert "RateLimit" not in answer.headers
    assert await redis.keys("jobs:requests:*") == []


async def test_health_metrics_and_descriptions_are_not_counted(start_service: StartService, redis: Redis) -> None:
    """Nor is any stream."""
    service = await start_service(limit=RateLimit(1, 900))
    free = [row for row in ENDPOINTS if not row.rate_limited]
    assert {"/healthz", "/readyz"} <= {row.path for row in free}
    for row in free:
        for _ in range(3):
            assert (await service.ask("GET", row.path)).status_code in (200, 503), row
    assert await redis.keys("jobs:requests:*") == []


async def test_while_redis_is_away_requests_pass_and_the_log_says_so(
    start_redis: StartRedis, start_service: StartService, caplog: pytest.LogCaptureFixture, wait_until: WaitUntil
) -> None:
    """Neither a Redis that is gone nor one that never answers locks anybody out, and no request waits for it twice."""
    server = start_redis()
    service = await start_service(redis_url=server.url, limit=RateLimit(1, 900))
    limiter: Any = service.limiter
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 403
    server.freeze()
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 403
    told = [record for record in caplog.records if "requests are not counted" in record.message]
    assert len(told) == 1
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 403
    assert len([record for record in caplog.records if "requests are not counted" in record.message]) == 1
    server.thaw()
    limiter._paused_until = 0.0
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 429
    server.kill()
    limiter._paused_until = 0.0
    assert (await service.ask("GET", "/admin/queues/stats", "otto")).status_code == 403


async def test_a_redis_that_forgot_the_script_is_told_it_again(start_service: StartService, redis: Redis) -> None:
    service = await start_service(limit=RateLimit(9, 900))
    await redis.script_flush()
    assert (await service.ask(*LOOK, "olivia")).headers["RateLimit"] == '"default";r=8;t=900'


@pytest.mark.parametrize(
    ("host", "sender"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("::ffff:192.0.2.7", "address:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("testclient", "address:testclient"),
        (None, "address:unknown"),
    ],
)
def test_a_sender_without_a_token_is_an_address_or_a_network(host: str | None, sender: str) -> None:
    request = Request({"type": "http", "client": host and (host, 1), "headers": [], "state": {}})
    assert sender_of(request) == sender
