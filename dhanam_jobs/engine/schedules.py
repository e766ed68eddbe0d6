"""The schedules of an engine as their owners see them: upsert, list, pause, resume, run now, remove.

Firing them is the scheduler's part. Every change is one script on the schedule's queue; the registry in Redis says
which queue has which name, since names are unique over the key prefix.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from . import defaults, keys, scripts
from .errors import ConfigurationError, EngineError, EngineUnavailable, ScheduleNotFound, ScheduleOwned
from .request import Encoder
from .results import Job
from .schedule import OPERATOR, Schedule, ScheduleInfo, definition, read, to_ms

if TYPE_CHECKING:
    from .engine import Engine
    from .queue import Queue

log = logging.getLogger(__name__)
Names = list[str]


class Schedules:
    """`engine.schedules`. Every method raises EngineUnavailable where Redis doesn't answer; those that take a name
    raise ScheduleNotFound where there is no such schedule, but for `get` and `remove`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def upsert(self, schedule: Schedule, *, owner: str = OPERATOR) -> bool:
        """Makes the schedule of that name, or changes it to this; from its return on that is what fires. True where
        something changed.

        Times that stay the same keep the next fire; other times count from now. Whether it is paused, how often it ran
        and how the last run ended stay as they are. `owner` is the application that declares it; the default stands for
        people. An application takes over what people made; what an application owns, only it may change: else
        ScheduleOwned. Raises ConfigurationError, InvalidPayload, UnknownJobName and UnknownQueue too.
        """
        queue = self._queue_of(schedule)
        arguments = _definition_arguments(schedule, queue)
        await self._engine.announce_queue(queue.name)
        for _ in range(defaults.SCHEDULE_TRIES):
            before = await self._home(schedule.name)
            if before is not None and before != queue.name:
                await self._check_owner(before, schedule.name, owner)
            if before != queue.name:
                await self._registry("HSET", f"schedule:{schedule.name}", queue.name)
            changed = await self._upsert(queue, schedule, owner, arguments)
            if before is not None and before != queue.name:
                await self._engine.run(scripts.SCHEDULE_REMOVE, self._root(before), schedule.name, "")
            # Another caller may have moved the name to a queue of its own meanwhile: the last one has it.
            if await self._home(schedule.name) == queue.name:
                if changed:
                    await self._tell(queue.name, schedule.name, "upserted")
                return changed
            await self._engine.run(scripts.SCHEDULE_REMOVE, queue.root, schedule.name, owner)
        raise EngineUnavailable(f"schedule {schedule.name!r} was moved between queues by others again and again")

    async def _upsert(self, queue: Queue, schedule: Schedule, owner: str, arguments: list[str]) -> bool:
        cron = schedule.parsed()
        start_ms = 0 if schedule.start is None else to_ms(schedule.start)
        end_ms = None if schedule.end is None else to_ms(schedule.end)
        from_ms = int(self._engine.time_override or time.time() * 1000)
        while True:
            next_ms = cron.next_after_ms(max(from_ms, start_ms - 1))
            if next_ms is not None and end_ms is not None and next_ms > end_ms:
                next_ms = None
            given = "" if next_ms is None else next_ms
            reply = await self._engine.run(
                scripts.SCHEDULE_UPSERT, queue.root, schedule.name, owner, from_ms, given, *arguments
            )
            if reply[0] == b"owned":
                raise _owned(schedule.name, reply[2].decode(), owner)
            if reply[0] != b"again":
                return bool(reply[0] != b"same")
            # This process's clock is not Redis's; the reply says what time it is there.
            from_ms = reply[1]

    async def declare(self, schedules: Iterable[Schedule], *, owner: str) -> list[str]:
        """Makes these the schedules of an application: upserts each, and removes those of this owner that are not
        among them. Returns the names of those removed. Raises as `upsert`, and ConfigurationError for an illegal owner
        and for a name given twice."""
        rows = list(schedules)
        if not owner or owner == OPERATOR or owner.split() != [owner]:
            raise ConfigurationError(f"owner {owner!r}: wanted an application's name without blanks, not {OPERATOR!r}")
        names = [row.name for row in rows]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(f"schedule {name!r} is declared twice")
        for row in rows:
            self._queue_of(row)
        for row in rows:
            await self.upsert(row, owner=owner)
        await self._registry("HSET", f"schedules-of:{owner}", len(rows))
        removed = []
        async for queue, name, fields, _, _ in self._rows():
            if fields.get("owner") == owner and name not in names and await self._remove(queue, name, owner):
                removed.append(name)
        return removed

    async def declared(self, owner: str) -> bool:
        """True where this owner's schedules were declared, and Redis has not lost its data since."""
        return bool(await self._registry("HEXISTS", f"schedules-of:{owner}"))

    async def list(self, *, queue: str | None = None, upcoming: int = 3) -> list[ScheduleInfo]:
        """All schedules (of one queue), by name; each with its next `upcoming` fires. One that can't be read here (a
        time zone that this machine lacks, damage by hand) is logged and left out."""
        found = {}
        async for of, name, fields, state, now_ms in self._rows(queue):
            if not fields:
                continue
            try:
                found[name] = read(name, of, fields, state, now_ms, upcoming)
            except (KeyError, ValueError, EngineError) as error:
                log.warning("schedule %s on queue %s can't be read: %s", name, of, error)
        return [found[name] for name in sorted(found)]

    async def get(self, name: str, *, upcoming: int = 3) -> ScheduleInfo | None:
        """The schedule of that name, with its next `upcoming` fires, or None."""
        queue = await self._home(name)
        if queue is None:
            return None
        reply = await self._engine.run(scripts.SCHEDULE_LIST, self._root(queue), "0", 1, name)
        fields = _texts(reply[3])
        return read(name, queue, fields, reply[4].decode(), reply[0], upcoming) if fields else None

    async def pause(self, name: str) -> bool:
        """From now on it starts no runs, until `resume`; those that were started go on. False where it was paused."""
        return await self._set(scripts.SCHEDULE_PAUSE, name, "paused")

    async def resume(self, name: str) -> bool:
        """Ends a pause; what fell due meanwhile is not made up for. False where it was not paused."""
        return await self._set(scripts.SCHEDULE_RESUME, name, "resumed")

    async def run_now(self, name: str) -> Job:
        """Starts a run at once, paused or not, and returns its job; neither the next fire nor the limit takes note of
        it. Where runs may not overlap, it waits for the one that goes on."""
        queue = self._engine.queue(await self._existing_home(name))
        reply = await self._engine.run(scripts.SCHEDULE_RUN, queue.root, name)
        if not reply:
            raise _not_found(name)
        return Job(queue, reply[0].decode(), reply[1].decode(), reply[2] != b"joined")

    async def remove(self, name: str) -> bool:
        """Takes it away; a run that goes on goes on to its end. False where there is none."""
        queue = await self._home(name)
        return queue is not None and await self._remove(queue, name, "")

    async def _remove(self, queue: str, name: str, owner: str) -> bool:
        removed = bool(await self._engine.run(scripts.SCHEDULE_REMOVE, self._root(queue), name, owner))
        if removed:
            await self._registry("HDEL", f"schedule:{name}")
            await self._tell(queue, name, "removed")
        return removed

    async def _set(self, script: scripts.Script, name: str, change: str) -> bool:
        queue = await self._existing_home(name)
        done: int = await self._engine.run(script, self._root(queue), name)
        if done < 0:
            raise _not_found(name)
        if done:
            await self._tell(queue, name, change)
        return bool(done)

    async def _check_owner(self, queue: str, name: str, owner: str) -> None:
        reply = await self._engine.run(scripts.SCHEDULE_LIST, self._root(queue), "0", 1, name)
        found = _texts(reply[3]).get("owner", OPERATOR)
        if found not in (owner, OPERATOR):
            raise _owned(name, found, owner)

    async def _rows(self, queue: str | None = None) -> AsyncIterator[tuple[str, str, dict[str, str], str, int]]:
        """Queue, name, fields, state of the last run, time (ms) of each."""
        for of in await self._queues() if queue is None else [queue]:
            cursor: bytes | str = "0"
            while True:
                reply: list[Any] = await self._engine.run(
                    scripts.SCHEDULE_LIST, self._root(of), cursor, defaults.SCHEDULE_PAGE
                )
                for at in range(2, len(reply), 3):
                    yield of, reply[at].decode(), _texts(reply[at + 1]), reply[at + 2].decode(), reply[0]
                cursor = reply[1]
                if cursor == b"0":
                    break

    async def _queues(self) -> Names:
        known = await self._registry("HKEYS")
        fields = (field.decode().partition(":") for field in known)
        return sorted(name for kind, _, name in fields if kind == "queue")

    def _root(self, queue: str) -> str:
        return keys.root(self._engine.prefix, queue)

    async def _home(self, name: str) -> str | None:
        """The queue that has the schedule of that name."""
        found: bytes | None = await self._registry("HGET", f"schedule:{name}")
        return None if found is None else found.decode()

    async def _existing_home(self, name: str) -> str:
        queue = await self._home(name)
        if queue is None:
            raise _not_found(name)
        return queue

    def _queue_of(self, schedule: Schedule) -> Queue:
        if schedule.queue is not None:
            return self._engine.queue(schedule.queue)
        registry = self._engine.registry
        names = [row.name for row in registry.queues if registry.find(row.name, schedule.job) is not None]
        if len(names) != 1:
            found = f"job {schedule.job!r} on {', '.join(names) or 'no queue'}"
            raise ConfigurationError(f"schedule {schedule.name!r}: queue: found {found}, wanted `queue` to name one")
        return self._engine.queue(names[0])

    async def _tell(self, queue: str, name: str, change: str) -> None:
        """Wakes the schedulers of all processes."""
        command = ("XADD", keys.schedule_changes(self._engine.prefix), "MAXLEN", defaults.SCHEDULE_CHANGES_KEPT, "*")
        await self._command(*command, "schedule", name, "queue", queue, "change", change)

    async def _registry(self, command: str, *arguments: str | int) -> Any:
        return await self._command(command, keys.registry(self._engine.prefix), *arguments)

    async def _command(self, *words: str | int) -> Any:
        return await self._engine.command(str(words[1]), *words)


def _definition_arguments(schedule: Schedule, queue: Queue) -> list[str]:
    # The rows of the job and its queue decide what the runs are: level, unique key, further fields.
    encoder = Encoder(queue.engine.registry, queue.name, stamped=False)
    request = encoder.encode(schedule.job, schedule.payload, {"priority": schedule.priority})
    extra: dict[str, Any] = msgspec.json.decode(request.extra) if request.extra else {}
    # A key that throttles, debounces or keeps the last one is about callers; a schedule has its own times.
    unique = "" if "unique_mode" in extra else extra.get("unique", "")
    row = definition(
        schedule,
        payload=request.payload,
        priority=request.level,
        unique=unique,
        expires_ms=str(extra.get("expires", "")),
        fields=extra.get("fields", []),
    )
    return [text for pair in row.items() for text in pair]


def _texts(flat: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _not_found(name: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"schedule {name!r}: there is none of that name")


def _owned(name: str, found: str, wanted: str) -> ScheduleOwned:
    return ScheduleOwned(
        f"schedule {name!r} belongs to {found!r}, not to {wanted!r}: only its owner may change it; "
        "anybody may pause it or run it now"
    )
