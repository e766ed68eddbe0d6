"""Gives the engine's tests an engine of their own on an emptied server, and watches that no key outlives its job.

The servers and the way to wait for a fact are the root conftest's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, Queue, Registry, scripts
from dhanam_jobs.engine.sweeper import Sweeper

#: What may remain of a queue whose jobs have all ended: bounded, or with a time to live.
_LASTING = re.compile(
    r":(meta|events|bell|completed|failed|cancelled|ended|dead|buried|joined|notes|waited|workers|sweeping|metrics|hooks"
    r"|limits|handed|(front|waiting|admitted):[0-9]|(result|throttled|log|starts|limited|metrics):.+|starts)\Z",
    re.DOTALL,
)
_ENDING = (":result:", ":throttled:", ":metrics:", ":handed")
_LIVE = ("delayed", "blocked", "parked", "keyed")


class Keys:
    """The keys of one server, read by a test: all of them, what they hold, and whether a queue is at rest."""

    def __init__(self, client: redis_async.Redis) -> None:
        self.client = client

    async def command(self, *words: Any) -> Any:
        """One command's raw reply."""
        reply: Awaitable[Any] = self.client.execute_command(*words)  # type: ignore[no-untyped-call]
        return await reply

    async def names(self, pattern: str = "*") -> set[str]:
        """The names of all keys that match."""
        return {name.decode() async for name in self.client.scan_iter(match=pattern, count=1000)}

    async def contents(self) -> dict[str, bytes]:
        """Every key and all that it holds, so that two moments can be compared."""
        return {name: await self.command("DUMP", name) for name in await self.names()}

    async def jobs_left(self, root: str) -> int:
        """Jobs of the queue that have not ended."""
        left = 0
        for place in [f"{root}:{kind}:{level}" for kind in ("front", "waiting", "admitted") for level in range(10)]:
            left += await self.command("XLEN", place)
        for name in _LIVE:
            left += await self.command("ZCARD", f"{root}:{name}")
        return left

    async def left_over(self) -> list[str]:
        """What outlived its jobs: keys, and notes on jobs, of queues that hold none."""
        found = []
        names = await self.names()
        for root in sorted({name.partition("}")[0] + "}" for name in names if "}" in name}):
            if await self.jobs_left(root):
                continue
            for name in sorted(name for name in names if name.startswith(f"{root}:")):
                suffix = name[len(root) :]
                if re.match(r":worker:", suffix):
                    if await self.command("ZSCORE", f"{root}:workers", suffix[len(":worker:") :]) is None:
                        found.append(f"{name}: the row of a worker that is gone")
                elif not _LASTING.match(suffix):
                    found.append(name)
                elif suffix.startswith(_ENDING) and await self.command("PTTL", name) < 0:
                    found.append(f"{name}: kept for ever")
                elif suffix.startswith(":log:") and not await self.command("HEXISTS", f"{root}:notes", suffix[5:]):
                    found.append(f"{name}: its job has no notes")
            for kind in ("joined", "notes"):
                for job in await self.command("HKEYS", f"{root}:{kind}"):
                    if not await self.command("HEXISTS", f"{root}:ended", job):
                        found.append(f"{root}:{kind} still names {job.decode()}")
        return found


@pytest.fixture
def keys(redis: redis_async.Redis) -> Keys:
    """The keys of the test's server."""
    return Keys(redis)


@pytest.fixture
def damage(keys: Keys) -> Keys:
    """The keys, for a test that spoils them by hand: what it leaves behind is its own doing."""
    return keys


@pytest.fixture(autouse=True)
async def _no_key_outlives_its_job(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """After a test on the session's server, queues that hold no job have only the keys that last."""
    watched = "redis" in request.fixturenames and "damage" not in request.fixturenames
    url = request.getfixturevalue("redis_url") if watched else ""
    yield
    if watched:
        async with redis_async.Redis.from_url(url, protocol=2) as client:
            left = await Keys(client).left_over()
        assert not left, f"outlived their jobs: {left}"


@pytest.fixture
def registry() -> Registry:
    """An empty registry, for the test's own queues and handlers."""
    return Registry()


@pytest.fixture
async def engine(redis: redis_async.Redis, redis_url: str, registry: Registry) -> AsyncIterator[Engine]:
    """An engine on an emptied server, with the test's registry."""
    async with Engine.connect(redis_url, registry=registry) as engine:
        yield engine


class Hands:
    """Time and workers in a test's hand: the scripts' clock stands still until `advance`, and a worker that is no
    process claims what the test says and then dies."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = 1_700_000_000_000
        self._calls = 0
        engine.time_override = self.now

    async def advance(self, queue: Queue, seconds: float) -> None:
        """Moves the clock on, and wakes a worker to look at it."""
        self.now += round(seconds * 1000)
        self.engine.time_override = self.now
        await self.engine.run(scripts.RING, queue.root)

    async def claim(self, queue: Queue, want: int = 1) -> None:
        """A worker called `ghost` claims jobs and does nothing with them."""
        await self.engine.run(scripts.REGISTER, queue.root, "ghost", "{}")
        self._calls += 1
        reply = await self.engine.run(scripts.CLAIM, queue.root, "ghost", self._calls, want, 0)
        assert sum(len(entries) for entries in reply[5::2]) == want

    async def claim_less(self, queue: Queue, want: int, got: int) -> None:
        """The ghost asks for `want` jobs and is given only `got`."""
        await self.engine.run(scripts.REGISTER, queue.root, "ghost", "{}")
        self._calls += 1
        reply = await self.engine.run(scripts.CLAIM, queue.root, "ghost", self._calls, want, 0)
        assert sum(len(entries) for entries in reply[5::2]) == got

    async def die(self, queue: Queue) -> None:
        """The ghost is declared dead, and its jobs are reclaimed."""
        await Sweeper([queue]).run_once(living=lambda _: [])


@pytest.fixture
def hands(engine: Engine) -> Hands:
    """The engine's time, standing still, and a worker that is no process."""
    return Hands(engine)
