"""Reads all that a queue's keys hold, at one moment, in the shape of `Book.picture`; and the stream entry of each job.

A key that nothing in the picture accounts for is a failure: it outlived its job, or the model doesn't know it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as redis_async

from tests.model.parts import ENDED

#: The due time of what never is.
NEVER = 2**62
#: What a level and front take of a score, as `limits.lua` has it.
STEP = 10**14


def raw_client(url: str) -> redis_async.Redis:
    """A client whose replies are the protocol's own: lists and bytes."""
    client = redis_async.Redis.from_url(url, protocol=2)
    client.response_callbacks.clear()
    return client


@dataclass
class Seen:
    """What was found: the picture, each streamed job's entry id, the texts of records, and what concerns waking."""

    picture: dict[str, Any]
    entries: dict[str, str] = field(default_factory=dict)
    records: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    buried: dict[str, bytes] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    bell: bool = False
    watch: tuple[str, int] | None = None
    turns: dict[str, int] = field(default_factory=dict)
    resting: dict[str, int] = field(default_factory=dict)


def _texts(flat: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _whole(score: bytes) -> int:
    return NEVER if score == b"inf" else int(float(score))


def _without(fields: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name not in names}


def _ended(text: bytes) -> tuple[str, int, int]:
    record = json.loads(text)
    return record["state"], record["attempt"], record["finished_ms"]


def _reader(name: str) -> list[tuple[Any, ...]]:
    """The commands that read a key, by its name."""
    kind = name.partition(":")[0]
    if kind in ("front", "waiting", "admitted"):
        return [("XRANGE", "-", "+"), ("XPENDING", "workers", "-", "+", 100_000)]
    if kind in ("delayed", "blocked", "parked", "waited", "workers", "schedules", "dead", "keyed", *ENDED):
        return [("ZRANGE", 0, -1, "WITHSCORES")]
    if kind in ("trash",):
        return [("ZRANGE", 0, -1)] if name in ("trash:delayed", "trash:parked") else [("HKEYS",)]
    if kind in ("turns", "resting"):
        return [("ZRANGE", 0, -1, "WITHSCORES")]
    if kind in ("held", "log", "inbox", "starts"):
        return [("LRANGE", 0, -1)]
    if kind in ("throttled", "result", "limited"):
        return [("GET",)]
    if name == "bell":
        return [("ZRANGE", 0, -1)]
    if name in ("events", "sweeping"):
        return []
    return [("HGETALL",)]


async def look(client: redis_async.Redis, root: str, now: int) -> Seen:
    """The queue as it is at that time (ms); nothing else may write meanwhile."""
    keys: Any = await client.keys(root.replace("{", "\\{") + ":*")
    names = sorted(key.decode()[len(root) + 1 :] for key in keys)
    async with client.pipeline(transaction=False) as pipe:
        for name in names:
            for command, *words in _reader(name):
                pipe.execute_command(command, f"{root}:{name}", *words)
        replies = iter(await pipe.execute())
    return _picture({name: [next(replies) for _ in _reader(name)] for name in names}, now)


def _picture(found: dict[str, list[Any]], now: int) -> Seen:
    def pairs(name: str) -> list[tuple[str, int]]:
        flat = found.pop(name, [[]])[0]
        return [(member.decode(), _whole(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]

    def table(name: str) -> dict[str, str]:
        return _texts(found.pop(name, [[]])[0])

    def family(prefix: str) -> list[tuple[str, list[Any]]]:
        names = [name for name in found if name.startswith(f"{prefix}:")]
        return [(name[len(prefix) + 1 :], found.pop(name)) for name in names]

    seen = Seen({})
    meta = table("meta")
    seen.bell = bool(found.pop("bell", [[]])[0])
    if "watch" in meta:
        worker, due = meta["watch"].split(" ")
        seen.watch = worker, int(float(due))
    for name in ("events", "sweeping"):
        found.pop(name, None)

    streams: dict[str, list[tuple[str, str, dict[str, str]]]] = {}
    for kind in ("front", "waiting", "admitted"):
        for level, (entries, pending) in family(kind):
            place = f"{kind}:{level}"
            holders = {item[0].decode(): item[1].decode() for item in pending}
            streams[place] = []
            for entry, flat in entries:
                fields = _texts(flat)
                job_id = fields.get("id", f"{level}-{entry.decode()}")
                holder = holders.pop(entry.decode(), "")
                streams[place].append((job_id, holder, _without(fields, "id", "created")))
                seen.entries[job_id] = entry.decode()
            seen.strange += [f"{place}: {worker} holds {entry}, which is gone" for entry, worker in holders.items()]
    if set(meta.get("places", "").split()) != set(streams):
        seen.strange.append(f"places {meta.get('places')!r}, but the streams are {sorted(streams)}")

    index = table("index")
    bare, keyed = {}, {}
    members = {state: pairs(state) for state in ("delayed", "blocked", "parked")}
    beside = {}
    for job_id, (flat,) in family("job"):
        fields = _texts(flat)
        since = int(fields["due"]) if "due" in fields else None
        beside[job_id] = (int(fields["priority"]), since, _without(fields, "id", "created", "priority", "due"))
    for job_id, where in index.items():
        place, _, rest = where.partition(" ")
        bare[job_id] = place
        there = {"delayed": members["delayed"], "parked": members["parked"]}.get(place)
        if there is not None and rest not in dict(there):
            seen.strange.append(f"index {job_id}: {where!r} leads nowhere")
        if place == "keyed":
            keyed[job_id] = rest
        if place.startswith(("front", "waiting", "admitted")) and seen.entries.get(job_id) != rest:
            seen.strange.append(f"index {job_id}: {where!r}, but the entry is {seen.entries.get(job_id)}")

    seen.records = {name: text.encode() for name, text in table("ended").items()}
    seen.results = {name: text for name, (text,) in family("result")}
    seen.buried = {name: text.encode() for name, text in table("buried").items()}
    dead = [job_id for job_id, _ in pairs("dead")]
    if set(dead) != set(seen.buried):
        seen.strange.append(f"dead {sorted(dead)}, but buried {sorted(seen.buried)}")
    workers = dict(pairs("workers"))
    messages = {name: len(items) for name, (items,) in family("inbox")}
    rows = {name: _texts(flat) for name, (flat,) in family("worker")}
    if set(rows) != set(workers) or not set(messages) <= set(workers):
        seen.strange.append(f"workers {sorted(workers)}, but rows {sorted(rows)} and inboxes {sorted(messages)}")
    schedules = dict(pairs("schedules"))
    plans = {name: _texts(flat) for name, (flat,) in family("schedule")}
    if set(plans) != set(schedules):
        seen.strange.append(f"schedules {sorted(schedules)}, but rows {sorted(plans)}")
    trash = {name: sorted(_trashed(name, item.decode()) for item in items) for name, (items,) in family("trash")}
    for name in ("delayed", "parked"):
        for job_id in trash.get(name, ()):
            if bare.get(job_id) not in ("delayed", "blocked", "parked", "keyed"):
                beside.pop(job_id, None)

    lines: dict[str, list[tuple[str, int]]] = {}
    for key, (flat,) in family("keyed"):
        lines[key] = [(member.decode(), _whole(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
    if sorted(pairs("keyed")) != sorted(pair for line in lines.values() for pair in line):
        seen.strange.append(f"keyed: not what stands in the lines {lines}")
    shares = {
        f"{place} {seen.entries[job_id]}": fields.get("key", "")
        for place, entries in streams.items()
        for job_id, _, fields in entries
        if place.startswith("admitted")
    }
    if keyed != {job_id: key for key, line in lines.items() for job_id, _ in line}:
        seen.strange.append(f"index {keyed}: not what stands in the lines {lines}")
    holding = table("holding")
    if holding != shares:
        seen.strange.append(f"holding {holding}, but what runs has {shares}")
    seen.turns = {key: score // STEP for key, score in pairs("turns")}
    seen.resting = dict(pairs("resting"))
    told = int(float(meta.get("limited_until", 0)))
    starts = {key: log for key, (log,) in family("starts")}
    if "starts" in found:
        starts[""] = found.pop("starts")[0]

    seen.picture = {
        "lines": {key: [job_id for job_id, _ in line] for key, line in lines.items()},
        "running": {key: int(count) for key, count in table("running").items()},
        "limits": {**table("limits"), **({"queue": meta["limit"]} if "limit" in meta else {})},
        "limited_until": told if told > now else None,
        "limited": {key: int(until) for key, (until,) in family("limited") if int(until) > now},
        "starts": {key: [int(at) for at in log] for key, log in starts.items()},
        "streams": streams,
        "delayed": [(due, member[16:]) for member, due in members["delayed"]],
        "blocked": dict(members["blocked"]),
        "parked": [(member.split(" ")[0], member.split(" ")[2]) for member, _ in members["parked"]],
        "beside": beside,
        "index": bare,
        "unique": {key: (value[:40], value[41:]) for key, value in table("unique").items()},
        "held": {key: [(item[:40].decode(), item[41:].decode()) for item in line] for key, (line,) in family("held")},
        "throttled": {
            key: (int(value.decode().split(" ")[0]), value.decode().split(" ")[1])
            for key, (value,) in family("throttled")
        },
        "lists": {state: [job_id for job_id, _ in pairs(state)] for state in ENDED},
        "records": {name: _ended(text) for name, text in seen.records.items()},
        "results": {name: _ended(text) for name, text in seen.results.items()},
        "dead": [(job_id, *_ended(seen.buried[job_id])) for job_id in dead if job_id in seen.buried],
        "waited": dict(pairs("waited")),
        "cancelling": {name: json.loads(text)["reason"] for name, text in table("cancelling").items()},
        "joined": {name: json.loads(text) for name, text in table("joined").items()},
        "notes": table("notes"),
        "logs": {name: [line.decode() for line in lines] for name, (lines,) in family("log")},
        "runs": table("runs"),
        "schedules": {
            name: (
                None if due == NEVER else due,
                int(plans[name].get("count", 0)),
                int(plans[name].get("skipped", 0)),
                plans[name].get("last_id", ""),
            )
            for name, due in schedules.items()
        },
        "workers": {
            name: (
                beat,
                int(rows[name]["call"]),
                int(rows[name].get("settled", 0)),
                rows[name]["verdicts"],
                messages.get(name, 0),
            )
            for name, beat in workers.items()
            if name in rows
        },
        "counters": {name: int(meta.get(name, 0)) for name in (*ENDED, "added", "removed", "revived")},
        "trash": trash,
        "paused": "paused" in meta,
        "max_length": int(meta["max_length"]) if "max_length" in meta else None,
    }
    seen.strange += [f"{name}: a key that should not be there" for name in found]
    return seen


def _trashed(name: str, member: str) -> str:
    if name == "delayed":
        return member[16:]
    return member.split(" ")[2] if name == "parked" else member
