"""Inspection: says what is wrong with a queue's keys, in sentences. It reads only; mending is an operator's decision.

What must always be true is checked in bounded steps, each atomic (`inspect.lua`), so a busy queue may be inspected:
every job that was added is in one state or was counted when it ended, everything that names a job leads to it, and no
key outlives its job.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import ResponseError

from . import keys, scripts
from .children import Kin, read_family
from .circles import find_circles

if TYPE_CHECKING:
    from .queue import Queue

_LISTS = (
    *("keyed", "turns", "resting", "holding", "running"),
    *("index", "ended", "completed", "failed", "cancelled", "delayed", "blocked", "parked", "unique", "joined"),
    *("dead", "buried", "notes", "cancelling", "runs", "families", "parents", "planned", "untold"),
)
_LIVE = ("waiting", "active", "delayed", "blocked", "parked")
_GONE = ("completed", "failed", "cancelled", "removed")


async def inspect_queue(queue: Queue) -> list[str]:
    """The problems of a queue, a sentence each; an empty list where there are none.

    Takes time in proportion to the number of jobs, in steps that hold Redis for about a millisecond. A key of a wrong
    type is one of the problems. Raises EngineUnavailable where Redis does not answer.
    """
    problems: dict[str, None] = {}  # a scan may meet an item twice
    try:
        for problem in _unbalanced(await _counts(queue)):
            problems[problem] = None
    except ResponseError as error:
        problems[f"counts: {error.__cause__ or error}"] = None
    for what in _LISTS:
        await _walk(queue, problems, what, "0")
    await _walk_families(queue, problems)
    for problem in await find_circles(queue):
        problems[problem] = None
    async for key in queue.engine.servers.at(queue.root).scan_iter(match=f"{queue.root}:*", count=1000):
        name = key.decode("utf-8", "replace")[len(queue.root) + 1 :]
        await _step(queue, problems, "key", name)
        if name.startswith(("front:", "waiting:", "admitted:")):
            await _walk_place(queue, problems, "entries", name)
            await _walk_place(queue, problems, "claims", name)
    return list(problems)


async def _counts(queue: Queue) -> dict[str, int]:
    flat: list[Any] = await queue.engine.run(scripts.INSPECT, queue.root, "counts", "")
    return {name.decode(): int(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}


def _unbalanced(counts: dict[str, int]) -> list[str]:
    problems = []
    began = counts["added"] + counts["revived"]
    accounted = sum(counts[name] for name in (*_LIVE, *_GONE))
    if began != accounted:
        parts = ", ".join(f"{counts[name]} {name}" for name in (*_LIVE, *_GONE))
        problems.append(
            f"counts: {counts['added']} jobs were added and {counts['revived']} revived, but {accounted} are accounted "
            f"for ({parts})"
        )
    if counts["records"] != counts["retained"]:
        problems.append(f"counts: {counts['records']} records, but {counts['retained']} ids in the lists of ended jobs")
    if counts["dead"] != counts["buried"]:
        problems.append(f"counts: {counts['dead']} dead letters, but {counts['buried']} records of them")
    return problems


async def _step(queue: Queue, problems: dict[str, None], what: str, about: str, after: bytes | str = "") -> bytes:
    try:
        reply = await queue.engine.run(scripts.INSPECT, queue.root, what, about, after)
    except ResponseError as error:  # a key of a wrong type
        problems[f"{what} {'' if about == '0' else about}: {error.__cause__ or error}"] = None
        return b"0" if what in _LISTS else b""
    for problem in reply[1:]:
        problems[problem.decode("utf-8", "replace")] = None
    cursor: bytes = reply[0]
    return cursor


async def _walk_families(queue: Queue, problems: dict[str, None]) -> None:
    # Two queues can't be read at one moment: what seems to be wrong is looked at again.
    redis = queue.engine.servers.at(queue.root)
    try:
        async for found, _ in redis.hscan_iter(f"{queue.root}:families", count=200):
            parent = found.decode()
            if " " in parent:
                continue
            for kin in (await read_family(queue, parent)).children:
                if kin.end is None and await _unknown(queue, parent, kin) and await _unknown(queue, parent, kin):
                    problems[
                        f"blocked {parent}: waits for child {kin.key}, job {kin.id}, but queue {kin.queue!r} does not "
                        "know that it does"
                    ] = None
    except (ResponseError, msgspec.MsgspecError) as error:
        problems[f"families: {error.__cause__ or error}"] = None


def _literally(text: str) -> str:
    """A pattern of Redis that matches the text alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


async def _unknown(queue: Queue, parent: str, kin: Kin) -> bool:
    servers, far = queue.engine.servers, keys.root(queue.engine.prefix, kin.queue)
    here, there = servers.at(queue.root), servers.at(far)
    link = f"{queue.name} {parent} {kin.key}"
    if await here.hexists(f"{queue.root}:planned", f"{parent} {kin.key}"):
        return False
    links = await there.hget(f"{far}:parents", kin.id)
    known = links.decode().split("\n") if isinstance(links, bytes) else []
    if any(one.startswith(f"{link} ") for one in known):
        return False
    async for _ in there.hscan_iter(f"{far}:handover", match=f"{_literally(link)} *", count=1000):
        return False
    return not await here.hexists(f"{queue.root}:child_ends:{parent}", kin.key)


async def _walk(queue: Queue, problems: dict[str, None], what: str, cursor: str) -> None:
    while (cursor := (await _step(queue, problems, what, cursor)).decode()) != "0":
        pass


async def _walk_place(queue: Queue, problems: dict[str, None], what: str, place: str) -> None:
    after: bytes | str = ""
    while after := await _step(queue, problems, what, place, after):
        pass
