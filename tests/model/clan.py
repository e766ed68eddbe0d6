"""Families over three queues on a real server, and what is known of them: who waits for whom, and how each job ended.

Processes are played by hand: workers claim and settle, couriers carry, and any of them may die at any call. What is
carried takes its time, so most is judged at a quiet moment, when there is nothing left to carry.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import redis.asyncio as redis_async

from dhanam_jobs.engine import Child, Engine, Queue
from dhanam_jobs.engine.children import Kin, read_family
from dhanam_jobs.engine.inspection import inspect_queue
from dhanam_jobs.engine.scripts import CLAIM, FIND, LEAVE, REGISTER, SETTLE, STATS, SWEEP, Script
from tests.engine.conftest import Keys
from tests.model.field import START_MS, Mismatch
from tests.model.workers import claims_of

if TYPE_CHECKING:
    from tests.conftest import RedisServer
    from tests.model.field import Claim

QUEUES = ("up", "down", "far")
#: A job of one queue.
Name = tuple[str, str]
#: Rounds within which there must be nothing left to carry, and within which all that is left must end.
ROUNDS = 12
LIVE = ("waiting", "active", "delayed", "blocked", "parked")


class Killed(BaseException):
    """The process that made a call is gone; no handler of errors sees it."""


@dataclass(frozen=True)
class End:
    """How a job ended; `state` '' where it was not told, but was no success."""

    state: str
    result: int | None = None


@dataclass
class Member:
    """A job as its family knows it; `seen`: failures that let it go on, known as it began to wait, None: it doesn't."""

    name: Name
    children: dict[str, tuple[Name, str]] = field(default_factory=dict)
    seen: int | None = None
    stored: bool = False
    over: bool = False
    tree: str = ""


def setbacks_of(kin: list[Kin]) -> int:
    """The failures that let a parent go on."""
    return sum(one.on_failure == "continue" and one.end is not None and not one.end.completed for one in kin)


class Clan:
    """Three queues, and what must be true of the families in them."""

    def __init__(self, server: RedisServer, engine: Engine, raw: redis_async.Redis, choices: Random) -> None:
        self.server, self.engine, self.client = server, engine, raw
        self.queues: dict[str, Queue] = {name: engine.queue(name) for name in QUEUES}
        for queue in self.queues.values():
            queue.courier.wake = lambda: None  # type: ignore[method-assign]  # couriers go when the program says so
        keeps: list[int | str] = [0, 1, "", ""]
        self.keep = {name: choices.choice(keeps) for name in QUEUES}
        self.now = START_MS
        engine.time_override = self.now
        self.members: dict[Name, Member] = {}
        self.ends: dict[Name, list[End]] = {}
        self.claims: Counter[Name] = Counter()
        self.allowed: Counter[Name] = Counter()
        self.completed: Counter[str] = Counter()
        self.held: dict[str, list[Claim]] = {name: [] for name in QUEUES}
        self.felled: dict[Name, str] = {}
        self.may_go: set[Name] = set()
        self.told_late: set[Name] = set()  # ended before they were told to go: the message is still on its way
        self.late: list[tuple[int, Script, str, tuple[Any, ...]]] = []
        self.joinable: set[Name] = set()
        self.given: dict[Name, list[Child]] = {}
        self.story: list[str] = []
        self.number = 0
        self._calls = 0
        self._workers = dict.fromkeys(QUEUES, "")

    # -- doing ------------------------------------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        self.story.append(text)

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def member(self, name: Name) -> Member:
        return self.members.setdefault(name, Member(name))

    async def state(self, name: Name) -> str:
        """The state of a job; '' where nothing is known of it."""
        reply = await self.engine.run(FIND, self.queues[name[0]].root, name[1])
        return reply[0].decode() if reply else ""

    async def worker(self, queue: str) -> str:
        """The name of the queue's worker, which is registered where it is not."""
        if not self._workers[queue]:
            self._workers[queue] = f"w{self.next_number()}"
            await self.engine.run(REGISTER, self.queues[queue].root, self._workers[queue], "{}")
        return self._workers[queue]

    async def claim(self, queue: str, want: int) -> None:
        """The queue's worker is given jobs; none of them may come too early, or once too often."""
        worker = await self.worker(queue)
        self._calls += 1
        reply = await self.engine.run(CLAIM, self.queues[queue].root, worker, self._calls, want, 0, self.keep[queue])
        for one in claims_of(reply):
            name = (queue, one.id)
            self.held[queue].append(one)
            self.claims[name] += 1
            if self.claims[name] > self.allowed[name]:
                raise Mismatch(f"{name} was started {self.claims[name]} times, {self.allowed[name]} were allowed")
            member = self.members.get(name)
            kin = await self.read_ends(name)
            if member and member.seen is not None:
                open_ = [kid.key for kid in kin if kid.end is None]
                if len(kin) != len(member.children) or (open_ and setbacks_of(kin) <= member.seen):
                    raise Mismatch(f"{name} runs again, {member.seen} failures known, although {open_} go on: {kin}")
                member.seen = None

    def _bad(self, child: Name) -> bool:
        return any(end.state != "completed" for end in self.ends.get(child, ()))

    def _failed(self, child: Name) -> bool:
        """Whether a child failed, or another job may have that held its unique key and so was the child; which it was,
        a quiet moment tells."""
        return self._bad(child) or (child not in self.ends and any(self._bad(other) for other in self.joinable))

    async def settle(self, queue: str, claim: Claim, kind: str, body: str) -> bool:
        """One outcome; False where the claim was lost."""
        self._calls += 1
        keep = self.keep[queue]
        arguments = (await self.worker(queue), self._calls, 0, 0, keep, keep, keep)
        outcome = (claim.place, claim.entry, claim.id, kind, body)
        reply = await self.engine.run(SETTLE, self.queues[queue].root, *arguments, *outcome)
        self.held[queue].remove(claim)
        return bool(reply[2] == b"1")

    async def die(self, queue: str) -> None:
        """The queue's worker is dead; what it held goes back to the front."""
        for one in self.held[queue]:
            self.allowed[queue, one.id] += 1
        self.held[queue], self._workers[queue] = [], ""
        await self.engine.run(SWEEP, self.queues[queue].root, 1, 1, 1000, 100, "", 1, 1, "")
        await self.discover()

    # -- what becomes of jobs -----------------------------------------------------------------------------------------

    def ended(self, name: Name, end: End) -> None:
        """A job has ended; its children that go on are taken along where that was asked for."""
        self.ends.setdefault(name, []).append(end)
        self.completed[name[0]] += end.state == "completed"
        member = self.member(name)
        children = {child for child, _ in member.children.values() if not self.is_over(child)}
        if member.tree:
            # One that exists without its parent is its child once its queue knows; one with other parents stays.
            own = {child for child in children if child[1].startswith(f"{name[1]}.") and child not in self.ends}
            own = {child for child in own if not self.has_parent(child, name)}
            self.felled |= dict.fromkeys(own, member.tree)
            self.may_go |= children - own
        elif name in self.felled or name in self.may_go:
            self.may_go |= children  # whether it was told before it ended, nobody knows
        if children and (member.tree or name in self.may_go or name in self.felled):
            self.may_go |= self.joinable  # a child may have been another job, that held its unique key
        member.over, member.children, member.seen, member.tree = True, {}, None, ""
        if self.felled.pop(name, None):
            self.told_late.add(name)

    def is_over(self, name: Name) -> bool:
        return name in self.ends and self.member(name).over

    def has_parent(self, child: Name, but: Name | None = None) -> bool:
        """Whether one waits for it, beside the one that is named."""
        others = [member for member in self.members.values() if member.name != but]
        return any(name == child for member in others for name, _ in member.children.values())

    async def discover(self) -> None:
        """Notes the ends that nobody did by hand: of parents whose child failed, and of what was taken along."""
        found = True
        while found:
            found = False
            for name, member in list(self.members.items()):
                if await self.state(name) in LIVE:
                    member.stored, member.over = True, False
                elif member.stored and not member.over:
                    failed = any(policy == "fail" and self._failed(child) for child, policy in member.children.values())
                    if not failed and name not in self.felled and name not in self.may_go:
                        raise Mismatch(f"{name} is gone, and nothing says why")
                    self.ended(name, End(""))
                    found = True

    # -- judging ------------------------------------------------------------------------------------------------------

    async def check(self, rng: Random) -> None:
        """Nothing: what is on its way is judged when it has come."""

    async def carry_all(self) -> None:
        """Every courier goes until there is nothing left to carry."""
        for _ in range(ROUNDS):
            carried = 0
            for queue in self.queues.values():
                carried += await queue.courier.run(mend=True)
                await self.discover()
            if carried == 0:
                self.told_late.clear()
                return
        raise Mismatch(f"after {ROUNDS} rounds there is still something to carry")

    async def inspect(self) -> None:
        """A quiet moment: no family is stuck, nothing is on its way, all that has ended is told."""
        self.tell("a quiet moment")
        await self.carry_all()
        await self.discover()
        for name, queue in self.queues.items():
            for what in ("planned", "handover", "felled"):
                if left := await self.engine.redis.hgetall(f"{queue.root}:{what}"):
                    raise Mismatch(f"{what} of {name} is not told: {left}")
            counts = await self.engine.run(STATS, queue.root)
            if counts[5] != self.completed[name]:
                raise Mismatch(f"{counts[5]} jobs of {name} completed, but {self.completed[name]} ended so")
        for member in list(self.members.values()):
            if member.stored and not member.over:
                await self._judge(member)
        await self._judge_trees()
        for queue in self.queues.values():
            if problems := await inspect_queue(queue):
                raise Mismatch(f"inspect says: {'; '.join(problems)}")

    async def _judge(self, parent: Member) -> None:
        kin = await self.read_ends(parent.name)
        if {one.key for one in kin} != set(parent.children):
            raise Mismatch(f"{parent.name} has children {[one.key for one in kin]}, not {list(parent.children)}")
        for one in kin:
            self._resolve(parent, one)
            child = (one.queue, one.id)
            if one.end is None and await self.state(child) not in LIVE:
                raise Mismatch(f"{parent.name} waits for {child}, which is {await self.state(child) or 'gone'}")
        if parent.seen is None or await self.state(parent.name) != "blocked":
            return
        setbacks = setbacks_of(kin)
        failed = [one.key for one in kin if one.on_failure == "fail" and one.end and not one.end.completed]
        if failed or setbacks > parent.seen or all(one.end for one in kin):
            raise Mismatch(f"{parent.name} waits, but {failed} failed, {setbacks} failures let it go on: {kin}")

    def _resolve(self, parent: Member, kin: Kin) -> None:
        """The job that the child is, where that is another one that held its unique key."""
        parent.children[kin.key] = ((kin.queue, kin.id), kin.on_failure)
        self.member((kin.queue, kin.id))

    async def read_ends(self, parent: Name) -> list[Kin]:
        """The family, whose ends must be those that there were."""
        kin = (await read_family(self.queues[parent[0]], parent[1])).children
        for one in kin:
            if one.end is None:
                continue
            known = self.ends.get((one.end.queue, one.end.id), [])
            result = one.end.result if one.end.completed else None
            if not any(end.state in ("", one.end.state) and end.result == result for end in known):
                raise Mismatch(f"{parent} was told {one.end} of {one.key}, but it ended as {known}")
        return kin

    async def _judge_trees(self) -> None:
        for name, verb in list(self.felled.items()):
            del self.felled[name]
            self.may_go.add(name)  # it may run still, asked to end; or have been asked before it had another parent
            if self.has_parent(name) or name in self.joinable:
                continue  # who holds a unique key may be another parent's child by now
            state = await self.state(name)
            asked = False
            if state == "active" and verb == "cancel":
                noted: Any = await self.engine.redis.hexists(f"{self.queues[name[0]].root}:cancelling", name[1])
                asked = bool(noted)
            if state in LIVE and not asked:
                raise Mismatch(f"{name} is {state}, although its parent was to {verb} it")

    async def end(self) -> None:
        """All that is left can be run to its end, and nothing remains of any family."""
        self.tell("all runs to its end")
        for _ in range(ROUNDS):
            await self.inspect()
            self.now += 10_000
            self.engine.time_override = self.now
            for queue in QUEUES:
                await self.die(queue)
                await self.claim(queue, 1000)
                for one in list(self.held[queue]):
                    await self.finish(queue, one)
            counts = [await self.engine.run(STATS, queue.root) for queue in self.queues.values()]
            if not any(sum(count[:5]) for count in counts):
                break
        else:
            raise Mismatch(f"after {ROUNDS} rounds jobs are left: {[count[:5] for count in counts]}")
        await self.inspect()
        for name, worker in self._workers.items():
            await self.engine.run(LEAVE, self.queues[name].root, worker)
        if left := await Keys(self.engine.redis).left_over():
            raise Mismatch(f"outlived their jobs: {left}")

    async def finish(self, queue: str, claim: Claim) -> None:
        """A job completes, or waits where its children have not ended."""
        kin = await self.read_ends((queue, claim.id))
        if any(one.end is None for one in kin):
            await self.wait(queue, claim, setbacks_of(kin))
        else:
            await self.complete(queue, claim)

    async def complete(self, queue: str, claim: Claim) -> None:
        """It returns a number that no other job returns."""
        number = self.next_number()
        kind = f"completed {claim.fields['unique']}" if "unique" in claim.fields else "completed"
        if await self.settle(queue, claim, kind, self.record(claim, "completed", number)):
            self.ended((queue, claim.id), End("completed", number))

    async def wait(self, queue: str, claim: Claim, seen: int) -> None:
        """Its handler waits for its children, and knew of that many failures that let it go on."""
        name = (queue, claim.id)
        if await self.settle(queue, claim, "waits", json.dumps({"seen": seen, "set": {"waits": "1"}})):
            self.member(name).seen = seen
            self.allowed[name] += 1
            await self.discover()

    def record(self, claim: Claim, state: str, number: int) -> str:
        """The record that an executor would write."""
        parts: dict[str, Any] = {"id": claim.id, "name": claim.fields["name"], "state": state}
        parts |= {"priority": int(claim.place[-1]), "attempt": 1, "created_ms": 1, "started_ms": self.now}
        parts |= {"finished_ms": self.now, "payload": json.loads(claim.fields["payload"])}
        if state == "completed":
            parts["result"] = number
        else:
            parts["error"] = {"type": "Broken", "message": f"number {number}"}
        return json.dumps(parts, separators=(",", ":"))
