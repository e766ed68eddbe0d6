"""What a queue ought to hold: jobs, keys, counters and workers in plain Python, with no knowledge of Redis.

`Book` says what each move does to them; which move a verb makes is the business of the verbs' own files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.model.parts import ENDED, Ended, Job, Plan, Row
from tests.model.turns import Turns

PROMOTE_AT_MOST = 200


@dataclass
class Book:
    """The state of one queue. `keep` says how many records of each kind stay, '' for all; `max_stalls` as the row."""

    now: int
    keep: dict[str, int | str]
    dead_wanted: int
    max_stalls: int
    jobs: dict[str, Job] = field(default_factory=dict)
    streams: dict[str, list[str]] = field(default_factory=dict)
    delayed: list[tuple[int, int, str]] = field(default_factory=list)
    blocked: dict[str, int] = field(default_factory=dict)
    parked: list[tuple[str, int, str]] = field(default_factory=list)
    unique: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    throttled: dict[str, tuple[int, str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=lambda: {state: [] for state in ENDED})
    records: dict[str, Ended] = field(default_factory=dict)
    results: dict[str, Ended] = field(default_factory=dict)
    dead: dict[str, Ended] = field(default_factory=dict)
    waited: dict[str, int] = field(default_factory=dict)
    cancelling: dict[str, str] = field(default_factory=dict)
    joined: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    workers: dict[str, Row] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*ENDED, "added", "removed", "revived"), 0))
    trash: dict[str, list[str]] = field(default_factory=dict)
    paused: bool = False
    max_length: int | None = None
    dead_keep: int = 10_000
    swept: int | None = None
    grace: int | None = None
    freed_by_hand: set[str] = field(default_factory=set)
    turns: Turns = field(default_factory=Turns)
    claims: dict[str, int] = field(default_factory=dict)
    returns: dict[str, int] = field(default_factory=dict)
    _sequence: int = 0

    # -- looking --------------------------------------------------------------------------------------------------

    def state_of(self, job_id: str) -> str | None:
        """A live job's state, an ended one's, or None."""
        if job_id in self.jobs:
            return self.jobs[job_id].state
        ended = self.records.get(job_id) or self.results.get(job_id)
        return ended.state if ended else None

    def places(self) -> list[str]:
        """The streams that were ever used, in the order of claims."""
        kinds = ("front", "waiting", "admitted")
        return sorted(self.streams, key=lambda place: (place[-1], kinds.index(place.partition(":")[0])))

    def waiting_in(self, place: str) -> list[str]:
        """What waits in one place, first in first."""
        return [job_id for job_id in self.streams.get(place, ()) if not self.jobs[job_id].holder]

    def of_state(self, *states: str) -> list[str]:
        """Ids of live jobs, in the order in which they were stored."""
        return [job.id for job in self.jobs.values() if job.state in states]

    def count(self, state: str) -> int:
        return len(self.of_state(state))

    def line(self, key: str) -> list[str]:
        """Who waits for a unique key, in order."""
        return [job_id for _, job_id in self.held.get(key, ())]

    def sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    # -- moves ----------------------------------------------------------------------------------------------------

    def put_waiting(self, job: Job, kind: str = "waiting", *, home: bool = False) -> None:
        """At the end of its level, or of its level's front; with a key, in the line of that key."""
        job.place = f"{kind}:{job.level}"
        job.state, job.holder, job.home, job.due, job.front = "waiting", "", home, None, kind == "front"
        if job.key:
            job.place = "keyed"
            self.turns.line_up(job)
            self.jobs[job.id] = job
            return
        self.streams.setdefault(job.place, []).append(job.id)
        self.jobs[job.id] = job

    def put_delayed(self, job: Job, due: int) -> None:
        job.state, job.place, job.holder, job.home, job.due, job.front = "delayed", "", "", False, due, False
        self.delayed.append((due, self.sequence(), job.id))
        self.delayed.sort()
        self.jobs[job.id] = job

    def put_blocked(self, job: Job, due: int | None) -> None:
        """Behind those that wait for its key already."""
        key = job.fields["unique"]
        job.state, job.place, job.holder, job.home, job.due = "blocked", "", "", False, due
        self.blocked[job.id] = self.now
        self.held.setdefault(key, []).append((job.digest, job.id))
        self.jobs[job.id] = job

    def put_parked(self, job: Job) -> None:
        job.state, job.place, job.holder, job.home, job.front = "parked", "", "", False, False
        self.parked.append((job.fields["name"], self.sequence(), job.id))
        self.parked.sort()

    def take_out(self, job: Job) -> None:
        """From where it is; it is still to be put somewhere, or to end."""
        if job.place == "keyed":
            self.turns.leave(job)
        elif job.state in ("waiting", "active"):
            self.streams[job.place].remove(job.id)
        elif job.state == "delayed":
            self.delayed = [item for item in self.delayed if item[2] != job.id]
        elif job.state == "parked":
            self.parked = [item for item in self.parked if item[2] != job.id]
        elif job.state == "blocked":
            del self.blocked[job.id]
            key = job.fields["unique"]
            self.held[key] = [item for item in self.held.get(key, []) if item[1] != job.id]
            if not self.held[key]:
                del self.held[key]
        job.holder = ""

    def promote(self) -> int:
        """What is due waits, in order of due times; how many."""
        due = [item for item in self.delayed if item[0] <= self.now][:PROMOTE_AT_MOST]
        for item in due:
            job = self.jobs[item[2]]
            self.take_out(job)
            self.put_waiting(job)
        return len(due)

    def running(self) -> dict[str, int]:
        """How many jobs of each key are active."""
        keys = [job.key for job in self.jobs.values() if job.state == "active" and job.key]
        return {key: keys.count(key) for key in keys}

    def start(self, worker: str, job_id: str) -> None:
        """A worker is given a job; one with a key leaves its line for the stream of what runs."""
        job = self.jobs[job_id]
        if job.place == "keyed":
            self.turns.leave(job)
            job.place = f"admitted:{job.level}"
            self.streams.setdefault(job.place, []).append(job_id)
        job.state, job.holder = "active", worker
        self.claims[job_id] = self.claims.get(job_id, 0) + 1

    def claim(self, want: int, fair: Sequence[str] = ()) -> list[tuple[str, str]]:
        """What is to be handed out where no job with a key waits: (place, id) of each, those of `fair` first."""
        rest = [job_id for place in self.places() for job_id in self.waiting_in(place) if job_id not in fair]
        return [(self.jobs[job_id].place, job_id) for job_id in [*fair, *rest][:want]]

    def comes_back(self, job: Job) -> None:
        """One more run of it is allowed."""
        self.returns[job.id] = self.returns.get(job.id, 0) + 1

    # -- ends -----------------------------------------------------------------------------------------------------

    def ended(self, job: Job, state: str, attempt: int) -> Ended:
        return Ended(job.id, state, attempt, job.level, self.now, dict(job.fields))

    def finish(self, state: str, ended: Sequence[Ended], *, kept: bool = True) -> None:
        """Ends a batch in one state, by retention. The jobs are out of their places already."""
        self.counters[state] += len(ended)
        for one in ended:
            del self.jobs[one.id]
            self.cancelling.pop(one.id, None)
            self.runs.pop(one.id, None)
            if one.id in self.waited:
                del self.waited[one.id]
                self.results[one.id] = one
            if kept:
                self.lists[state].append(one.id)
                self.records[one.id] = one
            else:
                self.forget_notes(one.id)
        keep = self.keep[state]
        if kept and keep != "":
            self.drop_oldest(state, len(self.lists[state]) - int(keep))

    def drop_oldest(self, state: str, count: int) -> None:
        for _ in range(count):
            job_id = self.lists[state].pop(0)
            record = self.records.pop(job_id)
            self.forget_notes(job_id)
            if state == "failed" and self.dead_keep:
                self.dead.pop(job_id, None)
                self.dead[job_id] = record
        if count > 0 and state == "failed" and self.dead_keep:
            self.drop_dead(len(self.dead) - self.dead_keep)

    def drop_dead(self, count: int) -> None:
        for job_id in list(self.dead)[: max(0, count)]:
            del self.dead[job_id]

    def forget_notes(self, job_id: str) -> None:
        for noted in (self.joined, self.notes, self.logs):
            noted.pop(job_id, None)

    def forget_ended(self, job_id: str) -> None:
        """Nothing remains of a job that has ended, but for a dead letter."""
        record = self.records.pop(job_id, None)
        if record:
            self.lists[record.state].remove(job_id)
        self.results.pop(job_id, None)
        self.forget_notes(job_id)

    def remove_live(self, job: Job) -> None:
        self.take_out(job)
        del self.jobs[job.id]
        self.cancelling.pop(job.id, None)
        self.runs.pop(job.id, None)
        self.waited.pop(job.id, None)
        self.forget_notes(job.id)
        self.counters["removed"] += 1
        self.free_unique(job.fields.get("unique"), job.id)

    def free_unique(self, key: str | None, job_id: str) -> None:
        """The key of a job that ended goes to the next in line, which waits now, or until it is due."""
        if key is None or self.unique.get(key, ("", ""))[1] != job_id:
            return
        del self.unique[key]
        if not self.held.get(key):
            return
        following = self.jobs[self.held[key][0][1]]
        self.unique[key] = self.held[key][0]
        due = following.due
        self.take_out(following)
        if due is not None and due > self.now:
            self.put_delayed(following, due)
        else:
            self.put_waiting(following)

    def free_all(self, ended: Iterable[tuple[str | None, str]]) -> None:
        for key, job_id in ended:
            self.free_unique(key, job_id)

    # -- the whole ------------------------------------------------------------------------------------------------

    def picture(self) -> dict[str, Any]:
        """Everything that is to be found in Redis, in the shape that `picture.py` reads."""
        return {
            "streams": {
                place: [(job_id, self.jobs[job_id].holder, self.jobs[job_id].fields) for job_id in ids]
                for place, ids in self.streams.items()
            },
            "delayed": [(due, job_id) for due, _, job_id in self.delayed],
            "blocked": dict(self.blocked),
            "parked": [(name, job_id) for name, _, job_id in self.parked],
            "beside": {
                job.id: (job.level, job.due if job.state == "blocked" else None, job.fields)
                for job in self.jobs.values()
                if job.state in ("delayed", "blocked", "parked") or job.place == "keyed"
            },
            "index": {job.id: job.place or job.state for job in self.jobs.values() if not job.home},
            "unique": dict(self.unique),
            "held": {key: list(line) for key, line in self.held.items()},
            "throttled": dict(self.throttled),
            "lists": {state: list(ids) for state, ids in self.lists.items()},
            "records": {one.id: (one.state, one.attempt, one.finished) for one in self.records.values()},
            "results": {one.id: (one.state, one.attempt, one.finished) for one in self.results.values()},
            "dead": [(one.id, one.state, one.attempt, one.finished) for one in self.dead.values()],
            "waited": dict(self.waited),
            "cancelling": dict(self.cancelling),
            "joined": {job_id: list(owners) for job_id, owners in self.joined.items()},
            "notes": dict(self.notes),
            "logs": {job_id: list(lines) for job_id, lines in self.logs.items() if lines},
            "runs": dict(self.runs),
            "schedules": {
                name: (None if plan.paused else plan.next_ms, plan.count, plan.skipped, plan.last_id)
                for name, plan in self.plans.items()
            },
            "workers": {
                name: (row.beat, row.call, row.settled, row.verdicts, row.messages)
                for name, row in self.workers.items()
            },
            "counters": dict(self.counters),
            "trash": {name: sorted(ids) for name, ids in self.trash.items() if ids},
            "paused": self.paused,
            "max_length": self.max_length,
            "running": self.running(),
            **self.turns.picture(self.now),
        }
