"""Hooks on final failure: told of jobs that ran here and have failed for good, once that is settled."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .context import JobContext, Workplace
from .job import Claim, Record
from .middleware import Middleware
from .registry import JobType

log = logging.getLogger(__name__)
Hook = Callable[[JobContext, Record], Any]


class FailureHooks:
    """The hooks of one worker's jobs (`on_failure` of the row, then each middleware's `failed`); falsy where there are
    none."""

    def __init__(self, place: Workplace, jobs: Mapping[str, JobType], middleware: Sequence[Middleware]) -> None:
        self._place = place
        self._own = {name: job.on_failure for name, job in jobs.items() if job.on_failure is not None}
        self._common = [layer.failed for layer in middleware if type(layer).failed is not Middleware.failed]
        self._calls: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._own or self._common)

    def tell(self, claim: Claim, body: bytes) -> None:
        """Calls the hooks of a job whose record is `body`, beside whatever goes on."""
        own = self._own.get(claim.name)
        hooks: list[Hook] = [*([own] if own is not None else []), *self._common]
        if hooks:
            call = asyncio.get_running_loop().create_task(self._call(hooks, claim, body), name=f"failed {claim.id}")
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def close(self, timeout: float) -> None:
        """Gives the calls on their way `timeout` seconds, then cancels them."""
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=timeout)
            for call in late:
                log.warning("%s: its hook was cut off when the worker ended", call.get_name())
                call.cancel()

    async def _call(self, hooks: list[Hook], claim: Claim, body: bytes) -> None:
        record = msgspec.json.decode(body, type=Record)
        context = JobContext(claim, self._place)
        for hook in hooks:
            try:
                if inspect.iscoroutinefunction(hook):
                    await hook(context, record)
                else:
                    await asyncio.to_thread(hook, context, record)
            except Exception:
                log.exception("job %s: a hook on its failure failed", claim.id)
