"""What the model's book is made of: jobs, what is kept of those that ended, workers, schedules."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

LIVE = ("waiting", "active", "delayed", "blocked", "parked")
ENDED = ("completed", "failed", "cancelled")


def digest_of(name: str, payload: str) -> str:
    """By what two jobs under one unique key are told apart."""
    return hashlib.sha1(f"{name}\n{payload}".encode(), usedforsecurity=False).hexdigest()


@dataclass
class Job:
    """A job that has not ended. `fields` are those of its entry, but for `id` and `created`."""

    id: str
    level: int
    fields: dict[str, str]
    state: str = "new"
    place: str = ""
    holder: str = ""
    home: bool = False
    due: int | None = None
    created: int | None = None
    front: bool = False

    @property
    def digest(self) -> str:
        return digest_of(self.fields["name"], self.fields["payload"])

    @property
    def started(self) -> bool:
        """True where it has run, or was about to."""
        return self.front or any(name in self.fields for name in ("attempt", "stalls", "snoozes"))

    @property
    def key(self) -> str:
        """For whom it runs; '' where nobody limits it."""
        return self.fields.get("key", "")


@dataclass
class Ended:
    """What is kept of a job that ended."""

    id: str
    state: str
    attempt: int
    level: int
    finished: int
    fields: dict[str, str]


@dataclass
class Row:
    """A worker that the queue takes for living."""

    beat: int
    call: int = 0
    settled: int = 0
    verdicts: str = ""
    messages: int = 0


@dataclass
class Plan:
    """A schedule: when it fires next (None: never again), and what its runs are."""

    next_ms: int | None
    fields: dict[str, str]
    level: int
    unique: str
    overlap: str
    paused: bool = False
    count: int = 0
    skipped: int = 0
    last_id: str = ""
