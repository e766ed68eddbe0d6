"""One queue on a real server and the book that says what it ought to hold: verbs play on both, `check` compares them.

Time stands still but for the verb that moves it. What a worker process would remember (its claims, its last call)
stands in `hands`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import redis.asyncio as redis_async

from dhanam_jobs.engine import Engine, Queue
from dhanam_jobs.engine.inspection import inspect_queue
from dhanam_jobs.engine.scripts import FIND, LIMITS, STATS, Script
from tests.model.book import Book
from tests.model.parts import ENDED, LIVE, Ended, Job
from tests.model.picture import Seen, look

if TYPE_CHECKING:
    from tests.conftest import RedisServer

START_MS = 1_700_000_000_000
LEVELS = (2, 5, 9)
NAMES = ("add", "sub")
PAYLOADS = ("1", "[]", '{"x":{}}')
KEYS = ("k1", "k2", "k3")
TENANTS = ("t1", "t2", "t3", "t4")
IDS = ("i1", "i2", "i3")


#: One way to act on the queue; its choices are drawn from the generator that it is given.
Verb = Callable[["Field", Random], Coroutine[Any, Any, None]]


class Mismatch(AssertionError):
    """The queue is not as the model says."""


@dataclass(frozen=True)
class Claim:
    """What a worker was handed."""

    place: str
    entry: str
    id: str
    fields: dict[str, str]


@dataclass
class Hand:
    """What a worker's process knows: the claims that it has not settled, and its last trip."""

    held: list[Claim] = field(default_factory=list)
    call: int = 0
    last: tuple[Script, tuple[Any, ...]] | None = None


class Field:
    """A queue, its book, and the verbs' common ground. `rng` is drawn from for the choices of one program."""

    def __init__(self, server: RedisServer, engine: Engine, raw: redis_async.Redis, choices: Random) -> None:
        self.server = server
        self.engine = engine
        self.queue: Queue = engine.queue("model")
        self.client = raw
        keeps: list[int | str] = [0, 1, 2, 5, ""]
        self.book = Book(
            now=START_MS,
            keep={state: choices.choice(keeps) for state in ENDED},
            dead_wanted=choices.choice([0, 2, 10_000]),
            max_stalls=choices.choice([0, 1, 2]),
        )
        self.keyed: float = choices.choice([0, 0.3, 0.7])
        self.engine.time_override = START_MS
        self.hands: dict[str, Hand] = {}
        self.seen = Seen({})
        self.story: list[str] = []
        self._workers = 0

    # -- doing ----------------------------------------------------------------------------------------------------

    async def run(self, script: Script, *arguments: Any) -> Any:
        """The script's reply."""
        return await self.engine.run(script, self.queue.root, *arguments)

    def tell(self, text: str) -> None:
        """One more line of what happened."""
        self.story.append(text)

    def expect(self, what: str, found: Any, wanted: Any) -> None:
        """Fails where the two differ."""
        if found != wanted:
            raise Mismatch(f"{what}: the queue says {found!r}, the model {wanted!r}")

    def advance(self, milliseconds: int) -> None:
        self.book.now += milliseconds
        self.engine.time_override = self.book.now

    def new_worker(self) -> str:
        self._workers += 1
        name = f"w{self._workers:03}"
        self.hands[name] = Hand()
        return name

    def record(self, claim: Claim, state: str) -> bytes:
        """The record that an executor would write for a claim."""
        fields = claim.fields
        parts: dict[str, Any] = {
            "id": claim.id,
            "name": fields["name"],
            "state": state,
            "priority": int(claim.place[-1]),
            "attempt": int(fields.get("attempt", 0)) + 1,
            "created_ms": 1,
            "started_ms": self.book.now,
            "finished_ms": self.book.now,
            "payload": json.loads(fields["payload"]),
        }
        if "unique" in fields:
            parts["unique"] = fields["unique"]
        if "key" in fields:
            parts["key"] = fields["key"]
        for name in ("meta", "errors"):
            if name in fields:
                parts[name] = json.loads(fields[name])
        return json.dumps(parts, separators=(",", ":")).encode()

    def some_ids(self, rng: Random, *states: str, most: int = 3) -> list[str]:
        """Ids to name in a call: mostly of these states, now and then any other, also one that nobody has."""
        likely = self.book.of_state(*states)
        for state in states:
            if state in ENDED:
                likely += self.book.lists[state]
        others = [*self.book.jobs, *self.book.records, *self.book.results, *self.book.dead, *IDS, "none", "5-77-0"]
        count = rng.randint(1, most)
        return [rng.choice(likely if likely and rng.random() < 0.8 else others) for _ in range(count)]

    # -- comparing ------------------------------------------------------------------------------------------------

    async def check(self, rng: Random) -> None:
        """Everything that is stored is as the book says, and what must always be true is."""
        before = self.seen
        self.seen = await look(self.client, self.queue.root, self.book.now)
        if self.seen.strange:
            raise Mismatch("; ".join(self.seen.strange))
        wanted = self.book.picture()
        if self.seen.picture != wanted:
            raise Mismatch(_difference(self.seen.picture, wanted))
        self._always(before)
        await self._ask(rng)

    async def inspect(self) -> None:
        """The queue's own inspection finds nothing but claims of the dead that are still to be swept."""
        book = self.book
        left = any(job.holder and job.holder not in book.workers for job in book.jobs.values())
        problems = await inspect_queue(self.queue)
        if left:
            problems = [problem for problem in problems if not problem.endswith("which is no live worker")]
        if problems:
            raise Mismatch(f"inspect says: {'; '.join(problems)}")

    async def end(self) -> None:
        """All that is to be true was looked at."""

    def _always(self, before: Seen) -> None:
        book, picture = self.book, self.seen.picture
        live = [job_id for stream in picture["streams"].values() for job_id, _, _ in stream]
        live += [job_id for _, job_id in picture["delayed"]] + list(picture["blocked"])
        live += [job_id for _, job_id in picture["parked"]]
        live += [one for line in picture["lines"].values() for one in line]
        if len(set(live)) != len(live) or set(live) & set(picture["records"]):
            raise Mismatch(f"a job is in two states: {sorted(live)}, ended {sorted(picture['records'])}")
        counters = picture["counters"]
        gone = sum(counters[name] for name in (*ENDED, "removed"))
        if counters["added"] + counters["revived"] != len(live) + gone:
            raise Mismatch(f"counters don't balance: {counters}, {len(live)} live")
        for state in ENDED:
            keep = book.keep[state]
            if keep != "" and len(picture["lists"][state]) > int(keep):
                raise Mismatch(f"{state} holds {picture['lists'][state]}, at most {keep} are to be kept")
        active = [item for stream in picture["streams"].values() for item in stream if item[1]]
        for key in KEYS:
            holders = [job_id for job_id, _, fields in active if fields.get("unique") == key]
            if len(holders) > 1 and key not in book.freed_by_hand:
                raise Mismatch(f"two jobs of unique key {key} run: {holders}")
        if before.picture and before.picture["paused"] and picture["paused"]:
            ran = {item[0] for stream in before.picture["streams"].values() for item in stream if item[1]}
            started = {item[0] for item in active} - ran
            if started:
                raise Mismatch(f"started while paused: {sorted(started)}")
        for job_id, count in book.claims.items():
            if count > 1 + book.returns.get(job_id, 0):
                raise Mismatch(f"job {job_id} was started {count} times, but came back {book.returns.get(job_id, 0)}")
        self._wakes()

    def _wakes(self) -> None:
        """Nothing that could run is left without a token at the bell, or somebody who watches the clock for it."""
        book, seen, turns = self.book, self.seen, self.book.turns
        running = book.running()
        turns.observe(running, book.now)
        opening: list[int] = []
        ready = sum(len(book.waiting_in(place)) for place in book.streams)
        for key, line in turns.lines.items():
            room, opens = turns.room_of(key, running.get(key, 0), book.now)
            rests = seen.resting.get(key)
            if room and seen.turns.get(key) != line[0][0] and (rests is None or rests > book.now):
                raise Mismatch(f"key {key} may start a job, but has turn {seen.turns.get(key)} and rests until {rests}")
            if opens and key not in seen.turns and (rests is None or rests > opens):
                raise Mismatch(f"key {key} may start a job at {opens}, but rests until {rests}")
            ready += room > 0
            if opens:
                opening.append(opens)
        if book.paused or seen.bell:
            return
        room, opens = turns.room_of_queue(1, book.count("active"), book.now)
        opened = turns.lines or turns.limits or turns.limited_until
        if ready and room and not (opened and seen.watch and seen.watch[1] <= book.now):
            raise Mismatch(f"{ready} jobs or keys could start, but no bell rings and the watch is {seen.watch}")
        if opens and (ready or opening):
            opening = [opens]
        elif not room:
            opening = []  # whoever ends a job claims the next, or rings
        opening += [book.delayed[0][0]] if book.delayed else []
        if opening and (seen.watch is None or seen.watch[1] > min(opening)):
            raise Mismatch(f"something may start at {min(opening)}, but the watch is {seen.watch} and no bell rings")

    async def _ask(self, rng: Random) -> None:
        """Counts, and the states of some jobs, as the queue itself tells them."""
        book = self.book
        counts = await self.run(STATS)
        live = tuple(book.count(state) for state in LIVE)
        self.expect("the counts", tuple(counts[:5]), live)
        self.expect("the lifetime counts", tuple(counts[5:8]), tuple(book.counters[state] for state in ENDED))
        job_id = rng.choice([*book.jobs, *book.records, *book.dead, *IDS])
        reply = await self.run(FIND, job_id)
        state = reply[0].decode() if reply else None
        if state == "ended":
            state = json.loads(reply[1])["state"]
        self.expect(f"the state of {job_id}", state, book.state_of(job_id))
        await self._ask_limits(rng)

    async def _ask_limits(self, rng: Random) -> None:
        """What limits the queue or a key, and when it opens."""
        book, turns = self.book, self.book.turns
        key = rng.choice(["", *TENANTS])
        _, limit, running, waiting, opens, own = await self.run(LIMITS, key)
        if key == "":
            active = book.count("active")
            room, at = turns.room_of_queue(1, active, book.now)
            what = "queue"
            wanted = (active, book.count("waiting"), 0 if room else at or -1, 1)
        else:
            active = book.running().get(key, 0)
            room, at = turns.room_of(key, active, book.now)
            what = f"key:{key}" if f"key:{key}" in turns.limits else "keys"
            wanted = (active, len(turns.lines.get(key, [])), 0 if room else at or -1, int(what != "keys"))
        text = " ".join(map(str, turns.limits.get(what, ())))
        self.expect(
            f"the limit of {key or 'the queue'}", (limit.decode(), running, waiting, opens, own), (text, *wanted)
        )

    # -- the model's part of what several verbs do ------------------------------------------------------------------

    def entry_ms(self, job_id: str) -> int:
        return int(self.seen.entries[job_id].partition("-")[0])

    def cancelled(self, job: Job, attempt: int) -> Ended:
        """The end of a job whose cancellation is noted."""
        return self.book.ended(job, "cancelled", attempt)


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    lines = []
    for part in wanted:
        if found[part] == wanted[part]:
            continue
        one, other = found[part], wanted[part]
        if isinstance(one, dict) and isinstance(other, dict):
            for name in sorted({*one, *other}):
                if one.get(name) != other.get(name):
                    lines.append(f"{part} {name}: the queue has {one.get(name)!r}, the model {other.get(name)!r}")
        else:
            lines.append(f"{part}: the queue has {one!r}, the model {other!r}")
    return "\n".join(lines)
