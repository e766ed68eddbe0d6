"""The endpoints that go on telling what happens: on queues, for administrators, and to one job, for its people."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from dhanam_jobs.engine import Event, JobEvent, JobInfo, JobNotFound
from dhanam_jobs.engine.events import Cleared, Gap
from dhanam_jobs.handlers.queues import QUEUE_NAMES
from dhanam_jobs.handlers.redaction import redact
from dhanam_jobs.http.codec import NoFields, json_bytes
from dhanam_jobs.http.endpoint import Call, Endpoint, Guard
from dhanam_jobs.http.errors import ApiError
from dhanam_jobs.http.event_hub import Listener, Told
from dhanam_jobs.http.event_stream import MEDIA_TYPE, EventStream, frame, place_frame
from dhanam_jobs.http.jobs import check_may_see, view_of

if TYPE_CHECKING:
    from dhanam_jobs.engine.event_reader import Since

HEADER: Final = "Last-Event-ID"
_OFFSET: Final = re.compile(r"\d{1,15}-\d{1,20}(:\d{1,9})?\Z", re.ASCII)
_ENDS: Final = ("completed", "failed", "cancelled", "removed")
_LONGEST: Final = 2_000


class WhichEvents(msgspec.Struct):
    """Which queues' events, and from where on; `Last-Event-ID` goes before `since`."""

    queues: (
        Annotated[str, Meta(description="Names, separated by commas; all, where none is named.", max_length=1000)]
        | UnsetType
    ) = UNSET
    since: (
        Annotated[
            str,
            Meta(
                description="An id that an event had, `0` for the oldest that is kept, or a moment in ISO 8601 with "
                "its zone; from now on, where it is left out.",
                max_length=_LONGEST,
            ),
        ]
        | UnsetType
    ) = UNSET


async def follow_events(call: Call[WhichEvents, NoFields]) -> Response:
    """What happens on queues, as it happens."""
    given = call.query.queues
    queues = QUEUE_NAMES if given is UNSET else tuple(dict.fromkeys(name.strip() for name in given.split(",")))
    since: Since = _last_event_id(call.request, queues)
    if since is None and call.query.since is not UNSET:
        since = _since(call.query.since, queues)
    listener = await call.context.events.listen(call.caller.id, queues, since)
    return _stream(call, listener, _of_queues(listener), lambda: call.context.guards.admin(call.request))


async def follow_job(call: Call[NoFields, NoFields]) -> Response:
    """What happens to a job, until it has ended."""
    queue, job_id = call.path["queue"], call.path["id"]
    jobs = call.context.jobs
    await check_may_see(call, await jobs.get_job(queue, job_id))
    since = _last_event_id(call.request, (queue,))
    listener = await call.context.events.listen(call.caller.id, (queue,), since)
    try:
        # As it is now: whatever happens behind this moment comes as an event.
        info = await jobs.get_job(queue, job_id)
    except BaseException:
        await listener.close()
        raise

    async def allowed() -> None:
        await call.context.guards.caller(call.request)
        await check_may_see(call, await jobs.get_job(queue, job_id))

    return _stream(call, listener, _of_job(call, listener, info), allowed)


def _stream(
    call: Call[Any, Any],
    listener: Listener,
    frames: AsyncGenerator[bytes],
    allowed: Callable[[], Awaitable[object]],
) -> EventStream:
    options = call.context.options
    return EventStream(
        frames,
        close=listener.close,
        closing=call.context.closing,
        allowed=allowed,
        heartbeat_s=options.heartbeat_s,
        recheck_s=options.recheck_s,
    )


async def _of_queues(listener: Listener) -> AsyncGenerator[bytes]:
    if place := _id(listener.places):
        yield place_frame(place)
    async for step in listener:
        yield b"".join(_frame(told) for told in step)


async def _of_job(call: Call[Any, Any], listener: Listener, info: JobInfo) -> AsyncGenerator[bytes]:
    yield _view(call, listener, info)
    if info.finished_ms is not None:
        return
    async for step in listener:
        pieces: list[bytes] = []
        look = False
        for told in step:
            event = told.event
            if isinstance(event, Gap | Cleared):
                look = True
            elif isinstance(event, JobEvent) and event.job_id == info.id:
                look = look or event.kind in _ENDS
            else:
                continue
            pieces.append(_frame(told))
        over = False
        if look:
            # It may have begun anew since: then its end is still to come.
            try:
                info = await call.context.jobs.get_job(info.queue, info.id)
                over = info.finished_ms is not None
                pieces.append(_view(call, listener, info))
            except JobNotFound:
                over = True
        if pieces:
            yield b"".join(pieces)
        if over:
            return


def _view(call: Call[Any, Any], listener: Listener, info: JobInfo) -> bytes:
    return frame(json_bytes(view_of(call, info)), event="job", id=_id(listener.places))


def _frame(told: Told) -> bytes:
    return frame(json_bytes(_shown(told.event)), event=told.event.kind, id=_id(told.places))


def _shown(event: Event) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(event)
    for name in ("value", "text"):
        if name in shown:
            shown[name] = redact(shown[name])
    return shown


def _id(places: Mapping[str, str]) -> str:
    """Where a listener is: the offset, where it listens to one queue, else each queue's with its name."""
    if len(places) == 1:
        return next(iter(places.values()))
    return ",".join(f"{queue}@{offset}" for queue, offset in places.items())


def _last_event_id(request: Request, queues: Sequence[str]) -> Since:
    values = request.headers.getlist(HEADER)
    if not values or values == [""]:
        return None
    if len(values) > 1 or len(values[0]) > _LONGEST or (places := _places(values[0], queues)) is None:
        raise ApiError(400, f"{HEADER}: found {values[0][:80]!r}, wanted the id of an event of these queues")
    return places


def _since(text: str, queues: Sequence[str]) -> Since:
    if text == "0":
        return "0"
    if (places := _places(text, queues)) is not None:
        return places
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.year < 1971:
        wanted = "an event's id, 0, or a moment such as 2026-05-20T16:00:00Z"
        raise ApiError(422, f"The query does not fit: since: found {text[:80]!r}, wanted {wanted}")
    return moment


def _places(text: str, queues: Sequence[str]) -> dict[str, str] | None:
    """The offsets that an id says; None where it is none, or speaks of other queues."""
    if len(queues) == 1 and _is_offset(text):
        return {queues[0]: text}
    places: dict[str, str] = {}
    for part in text.split(","):
        queue, _, offset = part.partition("@")
        if queue not in queues or queue in places or not _is_offset(offset):
            return None
        places[queue] = offset
    return places


def _is_offset(text: str) -> bool:
    # Redis numbers a moment's entries in 64 bits.
    return _OFFSET.match(text) is not None and int(re.split("[-:]", text)[1]) < 2**64


ROWS: Final = (
    Endpoint(
        "GET",
        "/jobs/{queue}/{id}/events",
        follow_job,
        Guard.CALLER,
        "Follow one job: its states and progress as they come, until it has ended",
        tag="Jobs",
        answers={200: MEDIA_TYPE},
        errors=(400, 403, 404, 429),
        stream=True,
    ),
    Endpoint(
        "GET",
        "/admin/events",
        follow_events,
        Guard.ADMIN,
        "Follow what happens on queues, from now on or from any place",
        tag="Administration: events",
        answers={200: MEDIA_TYPE},
        errors=(400, 404, 429),
        stream=True,
    ),
)
"""The endpoints that go on."""
