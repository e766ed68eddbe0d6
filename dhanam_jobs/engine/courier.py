"""The courier of one queue: carries what concerns families between queues, which may live on different servers' slots.

A queue writes down what others are to be told (`planned`, `handover`, `felled`) in the same script that makes it true;
the courier tells them and only then strikes it out. A crash in between makes it tell them again, which changes nothing.
Whoever knows that there is something to carry wakes it; the sweeper asks every queue now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import ResponseError

from . import defaults, keys, scripts
from .children import ChildEnd, Planned
from .errors import EngineError, EngineUnavailable, UnknownQueue
from .job import JobError

if TYPE_CHECKING:
    from .queue import Queue

log = logging.getLogger(__name__)
_STEP = 100
_encode = msgspec.json.Encoder().encode


class _End(msgspec.Struct):
    id: str
    state: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: JobError | None = None


class Courier:
    """One for each queue of this process: `queue.courier`."""

    def __init__(self, queue: Queue) -> None:
        self._engine = queue.engine
        self._queue = queue.name
        self._root = queue.root
        self._announced: set[str] = set()
        self._carrying: asyncio.Task[None] | None = None
        self._again = False
        self._turn = asyncio.Lock()

    def wake(self) -> None:
        """There is something to carry: sees to it in the background, and returns."""
        self._again = True
        if self._carrying is None:
            self._carrying = asyncio.get_running_loop().create_task(self._carry(), name=f"courier {self._queue}")

    @property
    def busy(self) -> bool:
        """True while something is carried in the background."""
        return self._carrying is not None

    async def close(self) -> None:
        """Ends what goes on in the background; what was not carried is carried by others."""
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.wait([self._carrying])
            self._carrying = None

    async def _carry(self) -> None:
        try:
            while self._again:
                self._again = False
                try:
                    await self.run()
                except (EngineUnavailable, ResponseError) as error:
                    log.warning("queue %s: families were not told, the sweep tries again: %s", self._queue, error)
        finally:
            self._carrying = None

    async def run(self, *, mend: bool = False) -> int:
        """Carries all there is, and returns how much that was; what can't be carried now stays for the next time.

        `mend` takes a step through what is left of children and parents that are gone. Raises EngineUnavailable.
        """
        carried = 0
        async with self._turn:
            while True:
                *outgoing, more = await self._engine.run(scripts.OUTGOING, self._root, _STEP, int(mend))
                planned, ends, felled = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in outgoing)
                done = await self._store(planned) + await self._hand_over(ends) + await self._fell(felled)
                carried += done
                if not done or not more:
                    return carried
                mend = False

    async def _sent(self, what: str, names: dict[bytes, bytes]) -> int:
        flat = [text for pair in names.items() for text in pair]
        if flat:
            await self._engine.run(scripts.SENT, self._root, what, *flat)
        return len(names)

    # -- children to their queues ---------------------------------------------------------------------------------

    async def _store(self, planned: dict[bytes, bytes]) -> int:
        by_queue: dict[str, list[tuple[bytes, Planned]]] = defaultdict(list)
        for name, text in planned.items():
            try:
                spec = msgspec.json.decode(text, type=Planned)
            except msgspec.DecodeError as error:
                log.warning("queue %s: planned child %r can't be read: %s", self._queue, name, error)
            else:
                by_queue[spec.queue].append((name, spec))
        done = 0
        for queue, children in by_queue.items():
            try:
                done += await self._store_in(queue, children)
            except (EngineError, ResponseError) as error:
                log.warning("queue %s: %d children were not stored: %s", queue, len(children), error)
        return done

    async def _store_in(self, queue: str, children: list[tuple[bytes, Planned]]) -> int:
        if queue not in self._announced:
            await self._engine.announce_queue(queue)
            self._announced.add(queue)
        root = keys.root(self._engine.prefix, queue)
        arguments: list[str | int] = []
        for _, spec in children:
            arguments += (spec.level, spec.extra, spec.name, spec.payload)
        reply: list[Any] = await self._engine.run(scripts.ENQUEUE, root, *arguments)
        if reply[0] == b"full":
            if len(children) == 1:
                log.warning("queue %s is full: a child waits for room", queue)
                return 0
            # No room for all together; the first ones may fit.
            return sum([await self._store_in(queue, [child]) for child in children])
        ids, existing = reply
        done = await self._sent("planned", {name: job_id for (name, _), job_id in zip(children, ids, strict=True)})
        if existing or any('"children"' in spec.extra for _, spec in children):
            # One that had ended before hands its end over; one with children of its own has them stored.
            self._wake(queue)
        return done

    # -- ends to parents ------------------------------------------------------------------------------------------

    async def _hand_over(self, ends: dict[bytes, bytes]) -> int:
        by_queue: dict[str, list[tuple[bytes, str, str, _End]]] = defaultdict(list)
        for name, record in ends.items():
            queue, parent, key, *_ = name.decode().split(" ")
            try:
                end = msgspec.json.decode(record, type=_End)
            except msgspec.DecodeError as error:
                log.warning("queue %s: the end of a child, %r, can't be read: %s", self._queue, name, error)
            else:
                by_queue[queue].append((name, parent, key, end))
        done = 0
        for queue, handed in by_queue.items():
            try:
                done += await self._hand_to(queue, handed)
            except (EngineError, ResponseError) as error:
                log.warning("queue %s: %d ends of children were not handed over: %s", queue, len(handed), error)
        return done

    async def _hand_to(self, queue: str, handed: list[tuple[bytes, str, str, _End]]) -> int:
        arguments: list[str | bytes | int] = [self._keep_failed(queue)]
        for _, parent, key, record in handed:
            error = None if record.error is None else JobError(record.error.type, record.error.message)
            end = ChildEnd(key, self._queue, record.id, record.state, record.result, error)
            reason = "" if error is None else f"{error.type}: {error.message}"
            arguments += (parent, key, record.state, reason[: defaults.MAX_REASON_LENGTH], _encode(end))
        reply = await self._engine.run(scripts.ACCEPT, keys.root(self._engine.prefix, queue), *arguments)
        done = await self._sent("handover", {name: b"" for name, *_ in handed})
        if reply[2]:
            self._wake(queue)
        return done

    def _keep_failed(self, queue: str) -> int | str:
        retention = self._engine.registry.row_of(queue).retention
        return "" if retention.failed is None else retention.failed

    # -- children whose parent lets them go -----------------------------------------------------------------------

    async def _fell(self, felled: dict[bytes, bytes]) -> int:
        done: dict[bytes, bytes] = {}
        for name, verb in felled.items():
            queue, child, parent, key = name.decode().split(" ")
            try:
                await self._take_along(queue, child, verb.decode(), parent, key)
            except (EngineError, ResponseError) as error:
                log.warning("queue %s: child %s was not taken along: %s", queue, child, error)
            else:
                done[name] = b""
        return await self._sent("felled", done)

    async def _take_along(self, queue: str, child: str, verb: str, parent: str, key: str) -> None:
        root = keys.root(self._engine.prefix, queue)
        verb, _, unsure = verb.partition(" ")
        link = f"{self._queue} {parent} {key}"
        what, state = await self._engine.run(scripts.LET_GO, root, child, link, int(bool(unsure)))
        if what != b"alone" or state in (b"", b"ended"):
            return
        await self._engine.run(scripts.TAKE_ALONG, root, child, verb)
        if verb == "remove":
            await self._engine.run(scripts.REMOVE, root, " waiting delayed blocked parked active ", child)
        else:
            retention = self._engine.registry.row_of(queue).retention
            keep = "" if retention.cancelled is None else retention.cancelled
            await self._engine.run(scripts.CANCEL, root, keep, f"its parent {parent} was cancelled", child)
        self._wake(queue)

    def _wake(self, queue: str) -> None:
        if queue == self._queue:
            self._again = True
            if self._carrying is None:
                self.wake()
        else:
            with contextlib.suppress(UnknownQueue):  # then its own processes' sweep carries it
                self._engine.queue(queue).courier.wake()
