"""What happened to a queue's jobs, as typed events: one class per transition, decoded from the event stream.

Reading the stream, back, from an offset and live, is the reader's part (`event_reader.py`). Encoded to JSON, an event
names itself in the field `event`: `{"event":"active","queue":"mail","offset":"…","at_ms":…,"job_id":"…","worker":"…"}`.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Something happened on `queue` at `at_ms` (Redis's clock). A reader that begins at `offset` goes on behind it."""

    queue: str
    offset: str
    at_ms: int

    @property
    def kind(self) -> str:
        """The word for what happened, as in JSON: "waiting", "active", "paused" and so on."""
        return str(self.__struct_config__.tag)


class JobEvent(Event, frozen=True, tag="job"):
    """Something happened to one job."""

    job_id: str


class Waiting(JobEvent, frozen=True, tag="waiting"):
    """It can run: enqueued, promoted when due, handed back, or put back to life."""


class Delayed(JobEvent, frozen=True, tag="delayed"):
    """It is not due yet: enqueued with a delay, or to be tried again."""


class Blocked(JobEvent, frozen=True, tag="blocked"):
    """It waits for another job, such as the one that holds its unique key."""


class Parked(JobEvent, frozen=True, tag="parked"):
    """No worker that claimed it knows its name."""


class Active(JobEvent, frozen=True, tag="active"):
    """It was handed to `worker`."""

    worker: str


class Completed(JobEvent, frozen=True, tag="completed"):
    """It ended well."""


class Failed(JobEvent, frozen=True, tag="failed"):
    """It ended badly, for good."""


class Cancelled(JobEvent, frozen=True, tag="cancelled"):
    """It ended by a cancellation."""


class Removed(JobEvent, frozen=True, tag="removed"):
    """It, or its record, was taken away by hand."""


class Stalled(JobEvent, frozen=True, tag="stalled"):
    """Its worker died. What became of it is the event behind this one."""


class Replaced(JobEvent, frozen=True, tag="replaced"):
    """Newer data came under its unique key before it had started."""


class Edited(JobEvent, frozen=True, tag="edited"):
    """Its payload was changed by hand."""


class Progressed(JobEvent, frozen=True, tag="progress"):
    """It told how far it is: `value`, or None where that is too large for an event (`Queue.notes` has it)."""

    value: Any = None


class WorkerDied(Event, frozen=True, tag="dead"):
    """A worker stopped beating and lost its claims."""

    worker: str


class Paused(Event, frozen=True, tag="paused"):
    """From now on nothing of the queue starts."""


class Resumed(Event, frozen=True, tag="resumed"):
    """A pause ended."""


class Cleared(Event, frozen=True, tag="cleared"):
    """All jobs and records of the queue were taken away."""


class Gap(Event, frozen=True, tag="gap"):
    """The reader fell behind the stream's bound: events between `offset` and `oldest` may be lost. It goes on there."""

    oldest: str


class Other(Event, frozen=True, tag="other"):
    """Something that this release has no word for, told by a newer one: its name and the ids, or whatever it says."""

    name: str
    text: str


_OF_JOBS: dict[str, type[JobEvent]] = {
    "waiting": Waiting,
    "delayed": Delayed,
    "blocked": Blocked,
    "parked": Parked,
    "completed": Completed,
    "failed": Failed,
    "cancelled": Cancelled,
    "removed": Removed,
    "stalled": Stalled,
    "replaced": Replaced,
    "edited": Edited,
}
_OF_QUEUES: dict[str, type[Event]] = {"paused": Paused, "resumed": Resumed, "cleared": Cleared}


def events_of(queue: str, entry: str, fields: list[bytes]) -> list[Event]:
    """The events that one entry of a queue's stream tells of, in the order in which they happened.

    All but the last have an offset `<entry>:<n>`, n being how many of the entry's events were read by then.
    """
    at_ms = int(entry[: entry.index("-")])
    texts = [field.decode("utf-8", "replace") for field in fields]
    told = list(zip(texts[::2], texts[1::2], strict=True))
    about = dict(told)
    made: list[tuple[type[Event], tuple[Any, ...]]] = []
    # That a worker died comes before what became of its jobs, though the script tells it last.
    for name, text in sorted(told, key=lambda pair: pair[0] != "stalled"):
        if name == "active":
            made += [(Active, (job_id, about.get("worker", ""))) for job_id in text.split(" ")]
        elif name == "progress":
            made.append((Progressed, (text, _decoded(about.get("value")))))
        elif name == "dead":
            made.append((WorkerDied, (text,)))
        elif name in _OF_JOBS:
            made += [(_OF_JOBS[name], (job_id,)) for job_id in text.split(" ")]
        elif name in _OF_QUEUES:
            made.append((_OF_QUEUES[name], ()))
        elif not (name == "worker" and "active" in about) and not (name == "value" and "progress" in about):
            made.append((Other, (name, text)))
    last = len(made)
    return [
        kind(queue, entry if number == last else f"{entry}:{number}", at_ms, *rest)
        for number, (kind, rest) in enumerate(made, 1)
    ]


def _decoded(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
