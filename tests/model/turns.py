"""Lines, limits and turns in plain Python: who waits under which key, and what each key and the queue may start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.model.parts import Job

Limit = tuple[int, int, int]
"""Concurrency, starts, and their period (ms); 0 for what isn't limited."""
NONE: Limit = (0, 0, 0)


@dataclass
class Turns:
    """The lines of keys, what limits them, and since which step each of them could have had its turn.

    In `limits`, `queue` is the queue's, `keys` that of each key, `key:<key>` one key's own; '' is the queue in `starts`
    (what the engine ought to remember of starts) and in `history` (all starts since the limit is what it is).
    """

    lines: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    limited: dict[str, int] = field(default_factory=dict)
    limited_until: int | None = None
    starts: dict[str, list[int]] = field(default_factory=dict)
    history: dict[str, list[int]] = field(default_factory=dict)
    ready: dict[str, tuple[int, int]] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)
    _number: int = 0
    _step: int = 0

    # -- lines ------------------------------------------------------------------------------------------------------

    def line_up(self, job: Job) -> None:
        """Behind what came back of its level, or behind all of its level."""
        self._number += 1
        line = self.lines.setdefault(job.key, [])
        line.append((job.level * 2 + (not job.front), self._number, job.id))
        line.sort()
        self._changed(job.key)

    def leave(self, job: Job) -> None:
        self.lines[job.key] = [item for item in self.lines[job.key] if item[2] != job.id]
        if not self.lines[job.key]:
            del self.lines[job.key]
        self._changed(job.key)

    def _changed(self, key: str) -> None:
        if key in self.ready and (key not in self.lines or self.lines[key][0][0] != self.ready[key][0]):
            del self.ready[key]  # another level's turn, or none: it stands at the end

    # -- limits -----------------------------------------------------------------------------------------------------

    def limit_of(self, key: str) -> Limit:
        return self.limits.get(f"key:{key}") or self.limits.get("keys") or NONE

    def set_limit(self, what: str, limit: Limit) -> None:
        """`what` as in `limits`."""
        if limit == NONE:
            self.limits.pop(what, None)
        else:
            self.limits[what] = limit
        if what == "queue":
            self.history.pop("", None)
            if limit == NONE:
                self.starts.pop("", None)
        else:
            self.history = {"": self.history.get("", [])}

    def _left(self, key: str, starts: int, period: int, want: int, now: int) -> tuple[int, int | None]:
        log = self.starts.get(key, [])[-starts:]
        recent = [at for at in log if at + period > now]
        left = starts - len(recent)
        return (want, None) if left >= want else (left, recent[0] + period if recent else None)

    def room_of(self, key: str, running: int, now: int) -> tuple[int, int | None]:
        """How many jobs the key may start now; where it is none, when one (ms); None: when one that runs has ended."""
        concurrency, starts, period = self.limit_of(key)
        room = 10**9
        if concurrency:
            room = max(0, concurrency - running)
            if room == 0:
                return 0, None
        opens = self.limited.get(key, 0)
        if starts:
            left, at = self._left(key, starts, period, starts, now)
            room = min(room, left)
            if left == 0:
                opens = max(opens, at or 0)
        return (0, opens) if opens > now else (room, None)

    def room_of_queue(self, want: int, active: int, now: int) -> tuple[int, int | None]:
        """How many of that many jobs the queue may start; where time alone is in the way of one, when (ms)."""
        if self.limited_until is not None and self.limited_until > now:
            return 0, self.limited_until
        concurrency, starts, period = self.limits.get("queue", NONE)
        if concurrency:
            want = min(want, concurrency - active)
            if want <= 0:
                return 0, None
        if starts:
            return self._left("", starts, period, want, now)
        return want, None

    def rest(self, key: str | None, until: int, now: int) -> None:
        """Nothing of a key, or (None) of the queue, starts until then; a longer rest that runs goes on."""
        if key is None:
            self.limited_until = max(until, self.limited_until or 0)
        elif self.limited.get(key, 0) < until:
            self.limited[key] = until

    # -- turns ------------------------------------------------------------------------------------------------------

    def observe(self, running: dict[str, int], now: int) -> None:
        """Notes which keys could start a job, and since when without a break."""
        self._step += 1
        for key, line in self.lines.items():
            if self.room_of(key, running.get(key, 0), now)[0] == 0:
                self.ready.pop(key, None)
            elif self.ready.get(key, (-1, 0))[0] != line[0][0]:
                self.ready[key] = (line[0][0], self._step)

    def passed_over(self, key: str, code: int) -> str | None:
        """The key that has waited for its turn since before this one had its last, if there is one."""
        last = self.served.get(key, 0)
        return next((b for b, (at, since) in self.ready.items() if b != key and at == code and since < last), None)

    def begin(self, key: str, running: int, now: int) -> None:
        """A job of the key (or '', of the queue) starts. Its line is shorter by one already."""
        self._step += 1
        starts = (self.limits.get("queue", NONE) if key == "" else self.limit_of(key))[1]
        if starts:
            self.starts[key] = [*self.starts.get(key, []), now][-starts:]
        self.history.setdefault(key, []).append(now)
        if key:
            self.served[key] = self._step
            self.ready.pop(key, None)
            if key in self.lines and self.room_of(key, running, now)[0] > 0:
                self.ready[key] = (self.lines[key][0][0], self._step)

    def broken(self, now: int, active: int, running: dict[str, int], started: list[str]) -> str | None:
        """Says which limit is broken after jobs of these keys ('' for each job) were started, or None."""
        for key in sorted(set(started)):
            limit = self.limits.get("queue", NONE) if key == "" else self.limit_of(key)
            at_once = active if key == "" else running.get(key, 0)
            what = f"key {key}" if key else "the queue"
            if limit[0] and at_once > limit[0]:
                return f"{at_once} jobs of {what} run, at most {limit[0]} may"
            within = [at for at in self.history.get(key, []) if at + limit[2] > now]
            if limit[1] and len(within) > limit[1]:
                return f"{len(within)} jobs of {what} started within {limit[2]} ms, at most {limit[1]} may"
        return None

    def picture(self, now: int) -> dict[str, Any]:
        """What `picture.py` reads of it."""
        told = self.limited_until
        return {
            "lines": {key: [job_id for _, _, job_id in line] for key, line in self.lines.items()},
            "limits": {what: " ".join(map(str, limit)) for what, limit in self.limits.items()},
            "limited_until": told if told is not None and told > now else None,
            "limited": {key: until for key, until in self.limited.items() if until > now},
            "starts": {key: list(log) for key, log in self.starts.items()},
        }
