"""Lives one job on a real server and proves that docs/one-jobs-life.md shows the keys as they were.

`DHANAM_JOBS_WRITE_DOCS=1` writes the page anew.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, JobContext, Registry, RetryPolicy, scripts
from dhanam_jobs.engine.executor import Clock, Executor
from dhanam_jobs.engine.job import Claim, Outcome
from tests.engine.conftest import Hands, Keys

PAGE = Path(__file__).parents[2] / "docs" / "one-jobs-life.md"
ROOT = "jobs:{mail}"
WORKER = "web1-4711-0a1b2c3d"
_FIRST = (b"id", b"name")
_MS = re.compile(r"\b(\d{13})(-\d+)?\b")


class StillClock(Clock):
    """Redis's time, standing still."""

    __slots__ = ("ms",)

    def __init__(self, ms: int) -> None:
        super().__init__()
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


def shown(reply: Any) -> list[str]:
    """A raw reply as redis-cli prints it, except for the order of fields."""
    if isinstance(reply, dict):
        # The order of a hash's fields means nothing, and differs from run to run.
        order = sorted(reply.items(), key=lambda pair: (pair[0] not in _FIRST, pair[0]))
        reply = [part for pair in order for part in pair]
    if isinstance(reply, list | tuple):
        if not reply:
            return ["(empty array)"]
        lines: list[str] = []
        width = len(str(len(reply)))
        for number, item in enumerate(reply, 1):
            head = f"{number:>{width}}) "
            first, *rest = shown(item)
            lines += [head + first, *(" " * len(head) + line for line in rest)]
        return lines
    if reply is None:
        return ["(nil)"]
    if isinstance(reply, int):
        return [f"(integer) {reply}"]
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"']


class Story:
    """The page as it grows: words, and commands with the replies of the server."""

    def __init__(self, keys: Keys, hands: Hands) -> None:
        self._keys = keys
        self._hands = hands
        self._times: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._numbers: Counter[tuple[str, int]] = Counter()
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        """Lines of text."""
        self.lines += [*lines, ""]

    async def show(self, *commands: tuple[Any, ...]) -> None:
        """Commands, and what the server answers."""
        await self.note()
        self.lines.append("```")
        for words in commands:
            text = " ".join(f"'{word}'" if " " in str(word) else str(word) for word in words)
            self.lines.append(f"> {self._steady(text)}")
            self.lines += [self._steady(line) for line in shown(await self._keys.command(*words))]
        self.lines += ["```", ""]

    async def show_keys(self) -> None:
        """All keys, with their types."""
        await self.note()
        self.lines += ["```", "> SCAN 0 MATCH jobs:* (names, and their types)"]
        for name in sorted(await self._keys.names("jobs:*")):
            kind = (await self._keys.command("TYPE", name)).decode()
            self.lines.append(self._steady(f"{name:42} {kind}"))
        self.lines += ["```", ""]

    async def note(self) -> None:
        """Entry ids hold the server's own time; from now on those that are new stand for the story's."""
        for stream in (f"{ROOT}:waiting:5", f"{ROOT}:events"):
            for entry, _ in await self._keys.command("XRANGE", stream, "-", "+"):
                real = entry.decode()
                ms = real.partition("-")[0]
                now = self._times.setdefault(ms, self._hands.now)
                if (stream, real) not in self._seen:
                    self._seen.add((stream, real))
                    self._ids[real] = f"{now}-{self._numbers[stream, now]}"
                    self._numbers[stream, now] += 1

    def _steady(self, text: str) -> str:
        def told(match: re.Match[str]) -> str:
            if match[0] in self._ids:
                return self._ids[match[0]]
            return str(self._times.get(match[1], match[1])) + (match[2] or "")

        return _MS.sub(told, text)


async def server_ms(keys: Keys) -> int:
    """The server's own clock."""
    seconds, micros = await keys.command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def claim(engine: Engine, call: int) -> tuple[Claim, list[Any]]:
    """The worker's next claim, by the script that workers use."""
    reply = await engine.run(scripts.CLAIM, ROOT, WORKER, call, 1, 0)
    place = reply[4].decode()
    ((entry, fields),) = reply[5]
    return Claim(place, int(place[-1]), entry, fields), reply


async def settle(engine: Engine, call: int, outcome: Outcome) -> None:
    """Settles as workers do."""
    claim = outcome.claim
    reply = await engine.run(
        scripts.SETTLE,
        ROOT,
        *(WORKER, call, 0, 0, 100, 50, 50),
        *(claim.place, claim.entry, claim.id, outcome.kind, outcome.body),
    )
    assert reply[2] == b"1"


async def test_the_page_shows_what_redis_holds(
    engine: Engine, registry: Registry, hands: Hands, keys: Keys, redis: redis_async.Redis
) -> None:
    """From enqueue over a failed attempt to the record."""
    registry.queue("mail", retry=RetryPolicy(attempts=3))

    @registry.job("welcome", queue="mail")
    async def welcome(ctx: JobContext, payload: dict[str, str]) -> str:
        raise AssertionError("nobody runs it: the test plays the worker")

    (job_type,) = registry.jobs_of("mail")
    queue = engine.queue("mail")
    story = Story(keys, hands)
    clock = StillClock(hands.now)
    executor = Executor(WORKER, registry.queue_config("mail").retry, clock)

    async def pass_time(ms: int) -> None:
        # No two steps share a millisecond of the server's own clock, which is in the ids of entries.
        before = await server_ms(keys)
        while await server_ms(keys) == before:
            pass
        hands.now += ms
        engine.time_override = clock.ms = hands.now

    story.say(
        "# One job's life",
        "",
        "What redis-cli shows while a job is enqueued, claimed, fails, is tried again and ends. The replies below are",
        "those of a real server: a test lives this job and compares. What each key is for stands in ARCHITECTURE.md.",
    )
    job = await queue.enqueue("welcome", {"to": "ana@example.com"})
    story.say("## Enqueued", "", '`await queue.enqueue("welcome", {"to": "ana@example.com"})`')
    await story.show_keys()
    story.say("The job is one entry of the stream of its level. Its id is the level and the entry's id.")
    await story.show(
        ("XRANGE", f"{ROOT}:waiting:5", "-", "+"),
        ("HGETALL", f"{ROOT}:meta"),
        ("ZRANGE", f"{ROOT}:bell", 0, -1),
        ("XRANGE", f"{ROOT}:events", "-", "+"),
    )

    await pass_time(40)
    await engine.run(scripts.REGISTER, ROOT, WORKER, msgspec.json.encode({"host": "web1", "pid": 4711}))
    claimed, _ = await claim(engine, 1)
    claimed.started_ms = hands.now
    story.say(
        "## Claimed", "", "A worker was woken by the bell and read the entry through the group: it is pending now,"
    )
    story.lines[-1:] = ["which is what *active* means. The entry itself stays where it is.", ""]
    await story.show(
        ("XPENDING", f"{ROOT}:waiting:5", "workers"),
        ("HGETALL", f"{ROOT}:worker:{WORKER}"),
        ("ZRANGE", f"{ROOT}:workers", 0, -1, "WITHSCORES"),
    )

    await pass_time(120)
    refused = executor.raised(claimed, job_type, ConnectionRefusedError("no mail server at 10.0.0.9:25"))
    await settle(engine, 2, refused)
    story.say(
        "## Failed once", "", "The handler raised. The entry is acknowledged and deleted; the job stands beside the"
    )
    story.lines[-1:] = ["streams until it is due, with its history, and `index` says where it is.", ""]
    await story.show(
        ("XLEN", f"{ROOT}:waiting:5"),
        ("ZRANGE", f"{ROOT}:delayed", 0, -1, "WITHSCORES"),
        ("HGETALL", f"{ROOT}:job:{job.id}"),
        ("HGETALL", f"{ROOT}:index"),
    )

    await pass_time(5_000)
    again, _ = await claim(engine, 3)
    again.started_ms = hands.now
    assert again.id == job.id
    assert again.attempt == 2
    story.say(
        "## Due, and claimed again",
        "",
        "The next claim promotes what is due. The job is an entry again, under its old id.",
    )
    await story.show(("XRANGE", f"{ROOT}:waiting:5", "-", "+"), ("HGETALL", f"{ROOT}:index"))

    await pass_time(80)
    await settle(engine, 4, executor.completed(again, job_type, "250 ok"))
    story.say("## Completed", "", "What remains is the record, which retention keeps, and the counters.")
    await story.show_keys()
    await story.show(
        ("ZRANGE", f"{ROOT}:completed", 0, -1, "WITHSCORES"),
        ("HGET", f"{ROOT}:ended", job.id),
        ("HGETALL", f"{ROOT}:meta"),
    )
    story.say("## What was told meanwhile", "", "`events` has an entry for each step; one entry may tell of many jobs.")
    await story.show(("XRANGE", f"{ROOT}:events", "-", "+"))
    await engine.run(scripts.LEAVE, ROOT, WORKER)

    page = "\n".join(story.lines).rstrip() + "\n"
    if os.environ.get("DHANAM_JOBS_WRITE_DOCS"):
        PAGE.write_text(page, "utf-8")
    assert PAGE.read_text("utf-8") == page


@pytest.mark.parametrize(
    ("reply", "lines"),
    [([], ["(empty array)"]), ([1, [b'a"b', None]], ["1) (integer) 1", '2) 1) "a\\"b"', "   2) (nil)"])],
)
def test_replies_are_printed_as_redis_cli_does(reply: Any, lines: list[str]) -> None:
    """So that a reader recognises his own screen."""
    show: Callable[[Any], list[str]] = shown
    assert show(reply) == lines
