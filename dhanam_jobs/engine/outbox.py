"""Transactional enqueue: a job is written as a row beside the application's own, and stored in Redis after the commit.

The table, its driver and its transactions are the application's; this file knows what a row holds and how rows are
delivered: at least once, and once as long as a row is forgotten within a day of its delivery.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack
from uuid import uuid4

import msgspec

from .children import Child, parent_request
from .errors import ConfigurationError
from .link import Backoff, sleep_or
from .options import EnqueueOptions
from .registry import Registry
from .request import Encoder, Request

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger(__name__)
_REMEMBERED_MS = 86_400_000


class OutboxRow(msgspec.Struct, frozen=True):
    """What the application's table keeps of one job: `id`, unique, and `body`, JSON text of at most about 1.1 MB."""

    id: str
    body: str


class _Body(msgspec.Struct):
    queue: str
    level: int
    name: str
    payload: msgspec.Raw
    extra: dict[str, Any]


def outbox_row(
    registry: Registry,
    job: str | Any,
    payload: Any = None,
    *,
    queue: str | None = None,
    children: Sequence[Child] = (),
    **options: Unpack[EnqueueOptions],
) -> OutboxRow:
    """The row for one job, checked as `Queue.enqueue` checks it, without Redis: insert it in the transaction that the
    job belongs to. `queue` may be left out for a typed payload. A `delay` counts from the delivery, a `run_at` does
    not. With `children`, which are in the same row, the job waits for them first, as `Queue.enqueue_parent` has it.
    Raises InvalidPayload, UnknownJobName and ConfigurationError."""
    if queue is None:
        if isinstance(job, str):
            raise ConfigurationError(f"job {job!r} without a queue: wanted one, or a typed payload")
        queue = registry.taking(type(job)).queue
    row_id = uuid4().hex
    if children:
        options = {**options, "id": options.get("id") or f"outbox:{row_id}"}
        request = parent_request(registry, queue, job, payload, children, options)
    else:
        request = Encoder(registry, queue).encode(job, payload, options)
    extra: dict[str, Any] = msgspec.json.decode(request.extra) if request.extra else {}
    # A delivery whose reply was lost is repeated, maybe when retention has let the job's record go. Where the caller
    # has a key of his own, the id tells the repetition, as long as the record is kept.
    if children:
        pass  # it has an id, and takes no key
    elif "unique" not in extra:
        extra.update(unique=f"outbox:{row_id}", unique_mode="throttle", period=_REMEMBERED_MS)
    elif "id" not in extra:
        extra.update(id=f"outbox:{row_id}", mode="return")
    body = _Body(queue, request.level, request.name, msgspec.Raw(request.payload), extra)
    return OutboxRow(row_id, msgspec.json.encode(body).decode())


def requests_by_queue(rows: Iterable[OutboxRow]) -> dict[str, list[Request]]:
    """What `Queue.store` and `SyncQueue.store` take, in the rows' order within each queue. Raises ConfigurationError
    for a row that `outbox_row` has not made."""
    found: dict[str, list[Request]] = {}
    for row in rows:
        try:
            body = msgspec.json.decode(row.body, type=_Body)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"outbox row {row.id!r} can't be read: {error}") from None
        request = Request(body.level, msgspec.json.encode(body.extra), body.name, bytes(body.payload))
        found.setdefault(body.queue, []).append(request)
    return found


class OutboxRelay:
    """Carries rows from the application's table to their queues, in order, as long as `run` runs.

    `read(limit)` returns the oldest rows that are not forgotten; `forget(ids)` deletes rows that were delivered.
    `interval` seconds lie between two looks at an empty table; `wake()` after a commit saves the wait. Several relays
    may run at once: they deliver some rows twice, which stores each job once, and order is then nobody's promise.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        read: Callable[[int], Awaitable[Sequence[OutboxRow]]],
        forget: Callable[[list[str]], Awaitable[None]],
        limit: int = 500,
        interval: float = 1.0,
    ) -> None:
        self._engine = engine
        self._read = read
        self._forget = forget
        self._limit = limit
        self._interval = interval
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is a new row."""
        self._woken.set()

    async def run_once(self) -> int:
        """Delivers at most `limit` rows; returns how many. Raises what `read`, `forget` and `Queue.store` raise: then
        the rows are still there."""
        rows = await self._read(self._limit)
        for queue, requests in requests_by_queue(rows).items():
            await self._engine.queue(queue).store(requests)
        if rows:
            await self._forget([row.id for row in rows])
        return len(rows)

    async def run(self) -> None:
        """Delivers until it is cancelled. An error is logged, and tried again with back-off: rows only wait longer."""
        backoff = Backoff(first=0.1, most=30.0)
        while True:
            self._woken.clear()
            try:
                delivered = await self.run_once()
            except Exception as error:
                log.warning("outbox: nothing delivered: %s: %s", type(error).__name__, error)
                await asyncio.sleep(backoff.next(random.random()))
                continue
            backoff.reset()
            if delivered < self._limit:
                await sleep_or(self._woken, self._interval)
