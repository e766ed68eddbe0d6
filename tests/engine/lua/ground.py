"""One queue that a test drives script by script, at a time of its own; and the shapes of replies and outcomes.

Each script is run as the engine runs it: on its root alone, with the whole text where the server lacks it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec
import redis.asyncio as redis_async
from redis.exceptions import NoScriptError

from dhanam_jobs.engine import scripts
from dhanam_jobs.engine.scripts import Script

START_MS = 1_700_000_000_000
Claimed = tuple[str, str, dict[str, str]]
"""Place, entry and fields of one claim."""


class Ground:
    """One queue on a real server; `now` (ms) is the time that its scripts are told."""

    root = "jobs:{q}"

    def __init__(self, client: redis_async.Redis) -> None:
        self.client = client
        self.now = START_MS
        self._calls = 0

    def key(self, name: str) -> str:
        """The whole name of one of the queue's keys."""
        return f"{self.root}:{name}"

    async def command(self, *words: Any) -> Any:
        """One command's raw reply."""
        reply: Awaitable[Any] = self.client.execute_command(*words)  # type: ignore[no-untyped-call]
        return await reply

    async def run(self, script: Script, *arguments: Any) -> Any:
        """The script's reply at `now`."""
        try:
            return await self.command("EVALSHA", script.sha, 1, self.root, self.now, *arguments)
        except NoScriptError:
            return await self.command("EVAL", script.text, 1, self.root, self.now, *arguments)

    def call(self) -> int:
        """The next call number, rising over all workers."""
        self._calls += 1
        return self._calls

    async def enqueue(self, name: str = "greet", payload: str = "1", level: int = 5, **extra: Any) -> str:
        """Stores one job; `extra` as in the script's header. Returns its id."""
        reply = await self.run(scripts.ENQUEUE, level, msgspec.json.encode(extra) if extra else b"", name, payload)
        return str(reply[0][0].decode())

    async def register(self, worker: str = "ana") -> int:
        """Makes a worker's row."""
        return int(await self.run(scripts.REGISTER, worker, "{}"))

    async def claim(self, want: int = 10, fair: int = 0, worker: str = "ana") -> list[Claimed]:
        """Claims, and returns (place, entry, fields) of each."""
        return claims_of(await self.run(scripts.CLAIM, worker, self.call(), want, fair))

    async def settle(self, *outcomes: tuple[Any, ...], want: int = 0, worker: str = "ana", keep: Any = "") -> Any:
        """Settles (place, entry, id, kind, body) each; the script's reply. `keep`: records kept, of both kinds."""
        flat = [part for outcome in outcomes for part in outcome]
        return await self.run(scripts.SETTLE, worker, self.call(), want, 0, keep, keep, keep, *flat)

    async def sweep(self, *, lease: int = 10_000, budget: int = 200, stalls: int = 3, again: bool = True) -> Any:
        """One step of the sweep; `again` goes past the throttle and its grace."""
        return await self.run(scripts.SWEEP, 2000, lease, budget, stalls, "", int(again), 0)

    async def next_ms(self) -> None:
        """Returns when the server's clock has moved on, so that the next entry is younger than the last."""
        start = await self.command("TIME")
        while [int(part) for part in await self.command("TIME")][1] // 1000 == int(start[1]) // 1000:
            pass

    async def run_dry(self) -> None:
        """Takes every job back from its worker and runs the queue empty."""
        self.now += 1_000_000
        await self.run(scripts.SWEEP, 2000, 0, 200, 99, "", 1, 1)
        await self.register("last")
        while claims := await self.claim(200, worker="last"):
            kinds = [f"completed {claim[2]['unique']}" if "unique" in claim[2] else "completed" for claim in claims]
            await self.settle(*map(outcome, claims, kinds), worker="last")

    async def find(self, job_id: str) -> Any:
        """The job's state, or None."""
        reply = await self.run(scripts.FIND, job_id)
        return reply[0].decode() if reply else None

    async def entries(self, place: str) -> list[dict[str, str]]:
        """What a stream holds: the fields of each entry."""
        return [decoded(fields) for _, fields in await self.command("XRANGE", self.key(place), "-", "+")]

    async def events(self) -> list[tuple[str, str]]:
        """The events so far: state and ids of each, in order."""
        told = [decoded(fields) for _, fields in await self.command("XRANGE", self.key("events"), "-", "+")]
        return [item for fields in told for item in fields.items()]

    async def fill(self) -> None:
        """Makes the server's memory full: from now on it refuses what could grow."""
        await self.command("CONFIG", "SET", "maxmemory", 1)

    async def plant(self, name: str) -> None:
        """Puts a value of a wrong type in a key's place."""
        kind = await self.command("TYPE", self.key(name))
        await self.command("DEL", self.key(name))
        if kind == b"string":
            await self.command("RPUSH", self.key(name), "planted")
        else:
            await self.command("SET", self.key(name), "planted")


def decoded(fields: dict[bytes, bytes]) -> dict[str, str]:
    """The fields of an entry as texts."""
    return {name.decode(): value.decode() for name, value in fields.items()}


def texts(flat: list[bytes]) -> dict[str, str]:
    """A flat list of fields as a dict."""
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def claims_of(reply: list[Any]) -> list[Claimed]:
    """The claims in a reply of claim, settle or recover: (place, entry, fields) of each."""
    claims = []
    if reply[-2] == b"late":
        reply = reply[:-2]
    for place, entries in zip(reply[4::2], reply[5::2], strict=True):
        claims += [(place.decode(), entry.decode(), texts(fields)) for entry, fields in entries]
    return claims


def id_of(claim: Claimed) -> str:
    """The id of a claimed job."""
    place, entry, fields = claim
    return fields.get("id", f"{place[-1]}-{entry}")


def outcome(claim: Claimed, kind: str = "completed", body: str = "") -> tuple[str, ...]:
    """What settles a claim: a record by default."""
    job_id = id_of(claim)
    state = kind.partition(" ")[0]
    if not body and state in ("completed", "failed", "cancelled"):
        body = f'{{"id":"{job_id}","state":"{state}"}}'
    return claim[0], claim[1], job_id, kind, body or '{"set":{}}'
