"""What becomes of a parent's children where it is cancelled or removed by hand.

The tree is taken along by the parent's own end, whenever that comes; here it is looked at, and the wish written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from . import scripts
from .children import read_family
from .errors import ConfigurationError, UnknownQueue, WrongState
from .job import JobState

if TYPE_CHECKING:
    from .queue import Queue

Tree = Literal["leave", "take", "take_idle"]
"""`leave`: children go on by themselves; `take`: those that have not ended, and theirs, end in the same way, unless
they have another parent; `take_idle`: the same, but nothing is done while one of them runs."""
Verb = Literal["cancel", "remove"]


async def mark_tree(queue: Queue, job_id: str, verb: Verb, tree: Tree) -> None:
    """Notes that the end of a job takes its children along. Raises WrongState for `take_idle` where a child runs at the
    moment that it is looked at, and ConfigurationError."""
    if tree not in get_args(Tree):
        raise ConfigurationError(f"tree {tree!r}: wanted one of {', '.join(get_args(Tree))}")
    if tree == "leave":
        return
    if tree == "take_idle" and (child := await active_child(queue, job_id)) is not None:
        raise WrongState(child, "active", f"{verb} its parent {job_id} with it,", "no active child, or tree='take'")
    await queue.engine.run(scripts.TAKE_ALONG, queue.root, job_id, verb)


async def active_child(queue: Queue, job_id: str) -> str | None:
    """The id of a child that runs, at whatever depth, or None. One in a queue that this process doesn't know can't be
    looked at."""
    for kin in (await read_family(queue, job_id)).children:
        if kin.end is not None:
            continue
        try:
            of = queue.engine.queue(kin.queue)
        except UnknownQueue:
            continue
        info = await of.get(kin.id)
        if info is not None and info.state is JobState.ACTIVE:
            return kin.id
        deeper = await active_child(of, kin.id)
        if deeper is not None:
            return deeper
    return None
