"""Hooks on final failure: told of every job of theirs that has failed for good, once that is settled.

What failed here is told at once. What failed otherwise (lost its worker too often, expired, failed for a child's sake),
or where the process died before the hook had run, is kept in Redis until a worker that has the hook was told: each
sweep says whether there is any. So a hook is called at least once; more often only where a process died, or more than a
minute passed, between the call and striking it out.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from . import defaults, scripts
from .context import JobContext, Workplace
from .errors import EngineUnavailable
from .job import Claim, Record
from .middleware import Middleware
from .registry import JobType

log = logging.getLogger(__name__)
Hook = Callable[[JobContext, Record], Any]
_AT_ONCE = 20
_NOTE_EVERY = defaults.HOOKS_KNOWN / 30
_decode = msgspec.json.Decoder(Record).decode


class FailureHooks:
    """The hooks of one worker's jobs (`on_failure` of the row, then each middleware's `failed`); falsy where there are
    none."""

    def __init__(self, place: Workplace, jobs: Mapping[str, JobType], middleware: Sequence[Middleware]) -> None:
        self._place = place
        self._own = {name: job.on_failure for name, job in jobs.items() if job.on_failure is not None}
        self._common = [layer.failed for layer in middleware if type(layer).failed is not Middleware.failed]
        self._names = list(jobs) if self._common else list(self._own)
        self._calls: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[int] | None = None
        self._noted = -_NOTE_EVERY

    def __bool__(self) -> bool:
        return bool(self._names)

    async def note(self) -> None:
        """Says in Redis which jobs have hooks, so that their failures are kept. Raises EngineUnavailable."""
        if not self._names:
            return
        queue = self._place.queue
        try:
            await queue.engine.run(scripts.HOOKS, queue.root, round(defaults.HOOKS_KNOWN * 1000), *self._names)
            self._noted = asyncio.get_running_loop().time()
        except ResponseError as error:
            # A full Redis refuses it, and is emptied by workers that start all the same.
            log.warning("queue %s: hooks on failure could not be noted, the next sweep does: %s", queue.name, error)

    def tell(self, claim: Claim, body: bytes) -> None:
        """Calls the hooks of a job that failed here, whose record is `body`, beside whatever goes on."""
        if claim.name in self._names:
            self._start(claim, body)

    def swept(self, untold: int) -> None:
        """A sweep found so many failures of which some hook is to be told: sees to it in the background."""
        old = asyncio.get_running_loop().time() - self._noted > _NOTE_EVERY
        if self._names and self._looking is None and (untold or old):
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="untold failures")

    async def catch_up(self) -> int:
        """Returns when the hooks were told of all failures that there are by now, and of how many that is; 0 where
        there was nothing to tell."""
        told = len(self._calls)
        while self._calls or self._looking is not None:
            await asyncio.wait([*self._calls, *([] if self._looking is None else [self._looking])])
        return told + (await self._look() if self._names else 0)

    async def close(self, timeout: float) -> None:
        """Gives the calls on their way `timeout` seconds, then cancels them: another worker will make them."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=timeout)
            for call in late:
                log.warning("%s: its hook was cut off when the worker ended", call.get_name())
                call.cancel()

    async def _look(self) -> int:
        queue, told = self._place.queue, 0
        try:
            if asyncio.get_running_loop().time() - self._noted > _NOTE_EVERY:
                await self.note()
            while True:
                lent = await queue.engine.run(scripts.UNTOLD, queue.root, defaults.HOOK_MS, _AT_ONCE, *self._names)
                if not lent:
                    break
                calls = []
                for name, member, body in zip(lent[::3], lent[1::3], lent[2::3], strict=True):
                    try:
                        calls.append(self._start(Claim.of_record(_decode(body)), body))
                    except msgspec.MsgspecError as error:
                        log.error("queue %s: no hook is told of %r, which can't be read: %s", queue.name, member, error)
                        await queue.engine.run(scripts.TOLD, queue.root, name, member)
                if calls:
                    told += len(calls)
                    await asyncio.wait(calls)
        except (EngineUnavailable, ResponseError) as error:
            log.warning("queue %s: failures were not told, the next sweep tries again: %s", queue.name, error)
        finally:
            self._looking = None
        return told

    def _start(self, claim: Claim, body: bytes) -> asyncio.Task[None]:
        call = asyncio.get_running_loop().create_task(self._call(claim, body), name=f"failed {claim.id}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    async def _call(self, claim: Claim, body: bytes) -> None:
        record = _decode(body)
        context = JobContext(claim, self._place)
        own = self._own.get(claim.name)
        for hook in [*([own] if own is not None else []), *self._common]:
            try:
                if inspect.iscoroutinefunction(hook):
                    await hook(context, record)
                else:
                    await asyncio.to_thread(hook, context, record)
            except (Exception, SystemExit):
                log.exception("job %s: a hook on its failure failed", claim.id)
        queue = self._place.queue
        try:
            await queue.engine.run(scripts.TOLD, queue.root, claim.name, f"{record.finished_ms} {record.id}")
        except (EngineUnavailable, ResponseError) as error:
            log.warning("job %s: its hook is called once more, striking it out failed: %s", claim.id, error)
