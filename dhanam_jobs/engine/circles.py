"""Jobs that wait for each other, in whatever queues: found where no script could see the whole circle when it closed.

A script sees one slot of a cluster. Where two jobs of different queues become each other's children at one moment, by
way of ids or unique keys, neither queue sees it; then nobody of the circle ever runs again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from . import keys, scripts
from .children import read_family_at

if TYPE_CHECKING:
    from .queue import Queue

Place = tuple[str, str]
"""Queue and id of a job."""
_MOST = 10_000


async def find_circles(queue: Queue) -> list[str]:
    """A sentence for each circle of blocked jobs that one of this queue is in, after at most 10,000 jobs looked at.
    Raises EngineUnavailable."""
    waits_for: dict[Place, list[Place]] = {}
    found: list[str] = []
    named: set[Place] = set()
    try:
        redis = queue.engine.servers.at(queue.root)
        async for parent, _ in redis.hscan_iter(f"{queue.root}:families", count=200):
            start = (queue.name, parent.decode())
            if " " in start[1] or start in named:
                continue
            circle = await _circle_through(queue, start, waits_for)
            # Queues can't be read at one moment: what seems to be a circle is looked at again, afresh.
            if circle and (circle := await _circle_through(queue, start, {})):
                named.update(circle)
                path = " → ".join(f"{name} {job}" for name, job in [*circle, circle[0]])
                found.append(
                    f"blocked {start[1]}: waits in a circle: {path}; cancel or remove one of them, and the others go "
                    "on as their children's policies say"
                )
    except (ResponseError, msgspec.MsgspecError) as error:
        found.append(f"families: {error}")
    return found


async def _circle_through(queue: Queue, start: Place, waits_for: dict[Place, list[Place]]) -> list[Place] | None:
    """The jobs from `start` on, each waiting for the next and the last for the first; None where there is no such
    way."""
    before: dict[Place, Place] = {}
    unseen = [start]
    while unseen and len(waits_for) < _MOST:
        place = unseen.pop()
        if place not in waits_for:
            waits_for[place] = await _waited_for(queue, place)
        for other in waits_for[place]:
            if other == start:
                way = [place]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if other not in before:
                before[other] = place
                unseen.append(other)
    return None


async def _waited_for(queue: Queue, place: Place) -> list[Place]:
    """What a blocked job waits for: its children that have not ended, or the holder of its unique key."""
    engine, (name, job) = queue.engine, place
    root = keys.root(engine.prefix, name)
    reply = await engine.run(scripts.FIND, root, job)
    if not reply or reply[0] != b"blocked":
        return []
    if reply[1] == b"for children":
        family = await read_family_at(engine, root, job)
        return [(kin.queue, kin.id) for kin in family.children if kin.end is None]
    holder = await engine.command(root, "HGET", f"{root}:unique", reply[1])
    return [(name, holder[41:].decode())] if isinstance(holder, bytes) else []
