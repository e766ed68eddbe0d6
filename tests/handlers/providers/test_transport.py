"""One call: how long it may take, how often it may come, and what the answer of a refusal is."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import AsyncIterator

import httpx2
import pytest

from dhanam_jobs.handlers.providers import BudgetSpent, ProviderTimeout, ProviderUnavailable, RateLimited, SyncFailed
from dhanam_jobs.handlers.providers.budget import Allowance, Budget, Share
from dhanam_jobs.handlers.providers.transport import Transport, retry_after_s
from dhanam_jobs.handlers.sandbox.server import running_sandbox
from dhanam_jobs.handlers.sandbox.world import Fault, World


@pytest.fixture
async def world() -> World:
    """A sandbox's world."""
    return World(prices={"bitcoin": 1.0})


@pytest.fixture
async def transport(world: World) -> AsyncIterator[Transport]:
    """A transport to the sandbox's prices."""
    async with running_sandbox(world) as url, httpx2.AsyncClient(trust_env=False) as client:
        yield Transport(client, "prices", f"{url}/prices/", Budget("prices", None), timeout=0.5)


async def _ask(transport: Transport) -> int:
    request = transport.build("GET", "/simple/price", params={"ids": "bitcoin"})
    return (await transport.send(request)).status


async def test_an_answer_comes_with_its_tally(transport: Transport) -> None:
    """Answered calls are counted with their time."""
    assert await _ask(transport) == 200
    assert (transport.tally.answered, transport.tally.failed) == (1, 0)
    assert transport.tally.total_ms > 0


async def test_a_silent_provider_is_given_up_in_time(transport: Transport, world: World) -> None:
    """P007, and it counts against the provider."""
    world.faults.append(Fault(path="/prices", hang=2))
    with pytest.raises(ProviderTimeout, match=r"P007 prices: no answer within 0\.5 s"):
        await _ask(transport)
    assert transport.tally.failed == 1


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_statuses_of_an_outage_count_against_the_provider(
    transport: Transport, world: World, status: int
) -> None:
    """P001; nothing is repeated within the job."""
    world.faults.append(Fault(path="/prices", status=status))
    with pytest.raises(ProviderUnavailable, match=f"P001 prices: it answered {status}"):
        await _ask(transport)
    assert (transport.tally.failed, len(world.asked)) == (1, 1)


async def test_an_answer_cut_off_half_way_is_an_outage(transport: Transport, world: World) -> None:
    """Never taken for a whole one."""
    world.faults.append(Fault(path="/prices", cut=True))
    with pytest.raises(ProviderUnavailable):
        await _ask(transport)


async def test_nobody_there_is_an_outage() -> None:
    """A refused connection."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        transport = Transport(client, "prices", "http://127.0.0.1:9", Budget("prices", None))
        with pytest.raises(ProviderUnavailable, match="can't be reached"):
            await _ask(transport)


@pytest.mark.parametrize("status", [420, 429])
async def test_limits_say_how_long_and_speak_not_against_the_provider(
    transport: Transport, world: World, status: int
) -> None:
    """P003 with Retry-After."""
    world.faults.append(Fault(path="/prices", status=status, headers={"Retry-After": "17"}))
    with pytest.raises(RateLimited) as raised:
        await _ask(transport)
    assert (raised.value.retry_after, transport.tally.failed) == (17, 0)


async def test_redirects_are_not_followed(transport: Transport, world: World) -> None:
    """Credentials go nowhere but to the address that was set."""
    world.faults.append(Fault(path="/prices", status=302, headers={"Location": "/bitso/v3/ticker/"}))
    assert await _ask(transport) == 302
    assert len(world.asked) == 1


async def test_an_unreadable_answer_names_no_content(transport: Transport, world: World) -> None:
    """The message says where it differs, and holds nothing of what stood there."""
    world.faults.append(Fault(path="/prices", status=200, body={"secret": "hunter2"}))
    answer = await transport.send(transport.build("GET", "/simple/price"))
    with pytest.raises(SyncFailed) as raised:
        answer.decode(dict[str, int], "prices")
    assert "hunter2" not in str(raised.value)


def test_retry_after_is_read_as_a_number_or_a_date() -> None:
    """Bounded, and a minute where it can't be read."""
    now = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
    cases = ["5", "0", "1e9", "nan", "Sun, 01 Nov 2026 12:00:30 GMT", "Sun, 01 Nov 2020 12:00:30 GMT", "soon", None]
    assert [retry_after_s(case, now) for case in cases] == [5, 1, 3600, 60, 30, 1, 60, 60]


async def test_a_budget_lets_a_burst_through_and_then_gives_the_slot_back() -> None:
    """Not slept through: a long wait is the queue's to wait."""
    now = [0.0]
    budget = Budget("bitso", Allowance(per_minute=2, per_hour=100, burst=3), clock=lambda: now[0])
    for _ in range(3):
        await budget.take()
    with pytest.raises(BudgetSpent) as raised:
        await budget.take()
    assert raised.value.wait == pytest.approx(30)
    now[0] += 30
    await budget.take()


async def test_a_budget_holds_over_an_hour() -> None:
    """A burst every minute may not exceed what the hour allows."""
    now = [0.0]
    budget = Budget("bitso", Allowance(per_minute=60, per_hour=10, burst=5), clock=lambda: now[0])
    taken = 0
    for _ in range(30):
        now[0] += 5
        try:
            await budget.take()
        except BudgetSpent:
            continue
        taken += 1
    assert taken == 10


async def test_processes_share_a_budget_and_count_themselves_anew() -> None:
    """Of four, each may make a fourth of the calls; a count that fails leaves the share as it was."""
    now, counts = [0.0], [4, 0, 1]

    async def processes() -> int:
        if (found := counts.pop(0)) == 0:
            raise ConnectionError("Redis is away")
        return found

    share = Share(processes, clock=lambda: now[0])
    budget = Budget("bitso", Allowance(per_minute=2, per_hour=1000, burst=4), share=share, clock=lambda: now[0])

    async def calls() -> int:
        for made in itertools.count():
            try:
                await budget.take()
            except BudgetSpent:
                return made
        return -1

    assert await calls() == 1
    now[0] = 31
    assert await calls() == 0
    now[0] = 400
    assert await calls() == 4
    assert counts == []
