"""Children of a job as callers and handlers see them: how they are asked for, and how they ended.

Storing them in their queues, and handing their ends to the parent, is the courier's part.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from . import defaults, scripts
from .errors import CircularWait, ConfigurationError, JobFailed
from .job import JobError
from .keys import check_queue_name
from .options import EnqueueOptions
from .registry import Registry
from .request import Encoder, Request
from .scripts import Script

if TYPE_CHECKING:
    from .engine import Engine
    from .queue import Queue

OnFailure = Literal["fail", "ignore", "continue"]
_KEY = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,256}\Z")
_NOT_FOR_PARENTS = {
    "unique": "a unique key",
    "due": "a run_at",
    "delay": "a delay",
    "expires": "an expiry",
    "expires_at": "an expiry",
}


class Child(msgspec.Struct, frozen=True):
    """A job that another one waits for: `Child("page-1", Fetch(url))`, or `Child("page-1", "fetch", {"url": url})`.

    `key` tells it from its siblings: at most 256 characters, no white space. A parent that asks for a key again has the
    child already. `queue` is the typed payload's, else the parent's own. `on_failure` is what its failure, cancellation
    or removal means to the parent:

    - `"fail"`: the parent can't do without it and fails at once, for good (`ChildFailed`);
    - `"ignore"`: it has ended, as the others do, and the parent finds how;
    - `"continue"`: the parent runs again at once, while the other children go on.

    `options` are those of `EnqueueOptions`. Its id is `<parent's id>.<key>` (its SHA-256 where that is too long) unless
    they, or its job's row, give another; where a job of that id, or of its unique key and payload, exists, the child is
    that job. `children` are its own: it runs once they have ended, and finds their results; such a child takes no
    unique key, delay or expiry.
    """

    key: str
    job: Any
    payload: Any = None
    queue: str | None = None
    on_failure: OnFailure = "fail"
    options: dict[str, Any] = {}
    children: Sequence[Child] = ()


class ChildEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a child ended: `state` is completed, failed, cancelled or removed; `raw_result` is JSON."""

    key: str
    queue: str
    id: str
    state: str
    raw_result: msgspec.Raw = msgspec.Raw(b"null")
    error: JobError | None = None

    @property
    def completed(self) -> bool:
        """True where it ended well."""
        return self.state == "completed"

    @property
    def reason(self) -> str | None:
        """Why it did not complete, in a sentence; None where it did."""
        if self.completed:
            return None
        return self.state if self.error is None else f"{self.error.type}: {self.error.message}"

    @property
    def result(self) -> Any:
        """What it returned, decoded. Raises JobFailed where it did not complete."""
        if not self.completed:
            error = self.error or JobError(self.state.capitalize(), f"the child was {self.state}")
            raise JobFailed(self.id, self.state, error.type, error.message)
        return msgspec.json.decode(self.raw_result)

    def result_as(self, kind: Any) -> Any:
        """What it returned, as a value of that type; raises as `result`, and msgspec's ValidationError."""
        return msgspec.json.decode(self.raw_result, type=kind) if self.completed else self.result


class Kin(msgspec.Struct, frozen=True):
    """One child as its parent's queue knows it: its `key`, its place among its siblings (`number`), its policy,
    where it is, and how it ended; `end` is None while it goes on."""

    key: str
    number: int
    on_failure: str
    queue: str
    id: str
    end: ChildEnd | None = None


class ParentOf(msgspec.Struct, frozen=True):
    """A job that waits for another one: its queue and id, and the key under which it has the other as a child."""

    queue: str
    id: str
    key: str


class Family(msgspec.Struct, frozen=True):
    """The children of a job that has not ended, in the order in which they were added."""

    children: list[Kin]

    @property
    def ended(self) -> list[ChildEnd]:
        """How those ended that have."""
        return [kin.end for kin in self.children if kin.end is not None]

    @property
    def progress(self) -> float:
        """The share of the children that have ended, 0 to 1."""
        return len(self.ended) / len(self.children) if self.children else 1.0


class FamilyCounts(msgspec.Struct, frozen=True):
    """How a family stands: `setbacks` are the failures that let the parent go on (`"continue"`)."""

    children: int
    ended: int
    setbacks: int
    failed: bool


class Planned(msgspec.Struct, frozen=True):
    """A child on its way into its queue: the arguments of `enqueue.lua`, kept with the parent until it is stored."""

    queue: str
    level: int
    extra: str
    name: str
    payload: str


def chain(steps: Iterable[Child]) -> Child:
    """The steps one after the other: each has the one before as its only child, so that it finds that one's result.
    What is returned is the last step. Raises ConfigurationError where there is none, or one that has children."""
    last: Child | None = None
    for step in steps:
        if step.children:
            raise ConfigurationError(f"step {step.key!r} of a chain has children of its own")
        last = step if last is None else msgspec.structs.replace(step, children=(last,))
    if last is None:
        raise ConfigurationError("a chain without a step: wanted at least one")
    return last


def plan(
    registry: Registry, own_queue: str, parent: str, children: Iterable[Child], line: Sequence[str] = ()
) -> list[bytes]:
    """Checks and encodes children, and theirs, as `add_children.lua` takes them: key, about and spec of each. `line`
    names the jobs that wait for the parent, `<queue> <id>`, the nearest last. Raises as enqueue does, and CircularWait.
    """
    line = (*line, f"{own_queue} {parent}")[-defaults.ANCESTORS :]
    flat: list[bytes] = []
    seen: set[str] = set()
    asked = secrets.token_hex(4)  # tells a child that is asked for anew from one that is stored late a second time
    for child in children:
        if not isinstance(child, Child):
            raise ConfigurationError(f"child {child!r}: wanted a Child")
        if not _KEY.match(child.key):
            raise ConfigurationError(f"key {child.key[:80]!r} of a child: wanted 1 to 256 characters, no white space")
        if child.key in seen:
            raise ConfigurationError(f"two children of {parent} have the key {child.key!r}")
        seen.add(child.key)
        if child.on_failure not in get_args(OnFailure):
            wanted = ", ".join(get_args(OnFailure))
            raise ConfigurationError(f"on_failure {child.on_failure!r} of child {child.key!r}: wanted one of {wanted}")
        flat += _planned(registry, own_queue, parent, child, line, asked)
    return flat


def _planned(
    registry: Registry, own_queue: str, parent: str, child: Child, line: Sequence[str], asked: str
) -> tuple[bytes, bytes, bytes]:
    queue = child.queue
    if queue is None:
        queue = own_queue if isinstance(child.job, str) else registry.taking(type(child.job)).queue
    check_queue_name(queue)
    if registry.queues:
        registry.queue_config(queue)  # raises where the registry has queues, and not this one
    request = Encoder(registry, queue).encode(child.job, child.payload, child.options)  # type: ignore[arg-type]
    extra: dict[str, Any] = msgspec.json.decode(request.extra) if request.extra else {}
    if "id" not in extra:
        own = Encoder(registry, queue).encode(
            child.job,
            child.payload,
            {**child.options, "id": _id_of(parent, child.key)},  # type: ignore[typeddict-item]
        )
        extra = msgspec.json.decode(own.extra)
    own_place = f"{queue} {extra['id']}"
    if own_place in line:
        raise CircularWait(f"child {child.key!r} of {parent}: {circle([*line[line.index(own_place) :], own_place])}")
    extra["parent"] = f"{own_queue} {parent} {child.key} {asked}"
    extra["line"] = "\n".join(line)
    if child.children:
        with_children(registry, queue, extra, child.children, line)
    spec = Planned(queue, request.level, msgspec.json.encode(extra).decode(), request.name, request.payload.decode())
    about = f"{child.on_failure} {queue} {extra['id']}"
    return child.key.encode(), about.encode(), msgspec.json.encode(spec)


def _id_of(parent: str, key: str) -> str:
    made = f"{parent}.{key}"
    return made if len(made) <= defaults.MAX_ID_LENGTH else hashlib.sha256(made.encode()).hexdigest()


def circle(places: Iterable[str]) -> str:
    """Says of jobs (`<queue> <id>`), each of which waits for the next, that they wait in a circle."""
    return "these wait for each other: " + " → ".join(places)


def with_children(
    registry: Registry, queue: str, extra: dict[str, Any], children: Iterable[Child], line: Sequence[str] = ()
) -> None:
    """Gives a job that is to be stored, with an id, its children; raises ConfigurationError for an option that a job
    can't have that waits for children first."""
    for option, what in _NOT_FOR_PARENTS.items():
        if option in extra:
            raise ConfigurationError(f"job {extra['id']!r} waits for children first: it takes no {what.split()[-1]}")
    extra["children"] = [text.decode() for text in plan(registry, queue, extra["id"], children, line)]


def parent_request(
    registry: Registry,
    queue: str,
    job: Any,
    payload: Any,
    children: Iterable[Child],
    options: EnqueueOptions,
) -> Request:
    """The request for a job that waits for its children first. Raises as enqueue does, and CircularWait."""
    if options.get("id") is None:
        options = {**options, "id": f"family-{secrets.token_hex(12)}"}
    request = Encoder(registry, queue).encode(job, payload, options)
    extra = msgspec.json.decode(request.extra)
    with_children(registry, queue, extra, children)
    return Request(request.level, msgspec.json.encode(extra), request.name, request.payload)


def has_children(request: Request) -> bool:
    """True for what `parent_request` has made."""
    return b'"children":' in request.extra


async def read_counts(queue: Queue, parent: str) -> FamilyCounts:
    """How the family of a job stands; nothing but zeros where it has none."""
    mark, children, ended, _ = await queue.engine.run(scripts.FAMILY, queue.root, parent, "", "0")
    word, _, rest = mark.partition(b" ")
    return FamilyCounts(children, ended, int(rest) if word == b"go" else 0, word == b"fail")


async def read_family(queue: Queue, parent: str) -> Family:
    """The children of a job, and how those ended that have; empty where it has none, or has ended."""
    return await read_family_at(queue.engine, queue.root, parent)


async def read_family_at(engine: Engine, root: str, parent: str) -> Family:
    """`read_family` for a queue of which only the root is known."""
    ends = {key: msgspec.json.decode(text, type=ChildEnd) for key, text in await _read(engine, root, parent, "ends")}
    return family_of(ends, await _read(engine, root, parent, "children"))


def family_of(ends: Mapping[bytes, ChildEnd], children: Iterable[tuple[bytes, bytes]]) -> Family:
    """A family as `family.lua` tells of it: children's keys and texts, and the ends of those that have ended."""
    kin = []
    for key, about in children:
        number, policy, of, child_id = about.decode().split(" ", 3)
        kin.append(Kin(key.decode(), int(number), policy, of, child_id, ends.get(key)))
    return Family(sorted(kin, key=lambda one: one.number))


async def read_parents(queue: Queue, child: str) -> list[ParentOf]:
    """The jobs that wait for this one, in the order in which they asked for it; none where it has ended."""
    links = await queue.engine.command(queue.root, "HGET", f"{queue.root}:parents", child)
    return [ParentOf(*link.split(" ")[:3]) for link in links.decode().split("\n")] if links else []


async def _read(engine: Engine, root: str, parent: str, what: str) -> list[tuple[bytes, bytes]]:
    script: Script = scripts.FAMILY
    found: dict[bytes, bytes] = {}
    cursor: bytes = b"0"
    while True:
        _, _, _, cursor, *flat = await engine.run(script, root, parent, what, cursor)
        found.update(zip(flat[::2], flat[1::2], strict=True))
        if cursor == b"0":
            return list(found.items())
