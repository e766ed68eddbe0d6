"""Honours `Idempotency-Key`: a request that is sent again gets the job that it got before (IETF
draft-ietf-httpapi-idempotency-key-header).

A key is its caller's own, stands for one method, path, query and body, and is known for 24 hours in every process,
since it is kept in the store. It is written down before the enqueue, so of two requests at once one enqueues and the
other is given its job. A process that is killed between the two leaves a key that another request takes over after a
minute; then the job that was enqueued, if it was, is joined where it has not ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog
from starlette.requests import Request

from dhanam_jobs.engine import Job, JobNotFound
from dhanam_jobs.handlers.jobs_service import JobsService
from dhanam_jobs.handlers.store.errors import StoreUnavailable
from dhanam_jobs.handlers.store.idempotency_keys import KeptRequest, TooManyKeys
from dhanam_jobs.http.errors import ApiError

log = structlog.get_logger("dhanam_jobs.http")

HEADER: Final = "Idempotency-Key"
MAX_CHARACTERS: Final = 255
BUSY_S: Final = 10.0
"""How long the second of two requests waits for the first to have enqueued, before it is answered 409."""

_FIT = re.compile(rf"[\x21-\x7e]{{1,{MAX_CHARACTERS}}}")


class Keys(Protocol):
    """Where keys are kept: the store's `idempotency_keys`, which says what each method does."""

    async def begin(self, user_id: str, key: str, request: str) -> KeptRequest | None: ...
    async def note_jobs(self, user_id: str, key: str, jobs: Sequence[tuple[str, str]]) -> None: ...
    async def note_answer(self, user_id: str, key: str, answer: str) -> None: ...
    async def forget(self, user_id: str, key: str) -> None: ...


class Replay(Exception):
    """Raised where a request's jobs are gone: the answer that was given to it when they were not."""

    def __init__(self, status: int, answer: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


class _Given(msgspec.Struct, omit_defaults=True):
    """An answer as the store keeps it: the JSON of a success, or what an error said."""

    status: int
    body: msgspec.Raw = msgspec.Raw(b"null")
    message: str = ""
    details: dict[str, object] = {}


class Once:
    """Enqueues what a request asks for, once per key; without a key, always."""

    def __init__(self, keys: Keys, jobs: JobsService, user_id: str, key: str | None, request: str) -> None:
        self._keys = keys
        self._jobs = jobs
        self._user_id = user_id
        self._key = key
        self._request = request
        self.used = False

    async def __call__(self, enqueue: Callable[[], Awaitable[Job]]) -> Job:
        """Return the job that `enqueue` makes, or made when the request came before."""

        async def enqueue_one() -> list[Job]:
            return [await enqueue()]

        (job,) = await self.many(enqueue_one)
        return job

    async def many(self, enqueue: Callable[[], Awaitable[list[Job]]]) -> list[Job]:
        """Return the jobs that `enqueue` makes, in order, or made when the request came before.

        Raises:
            ApiError: 422 where the key stands for another request, 409 where that one is still being enqueued, 429
                where the caller has too many keys.
            Replay: the jobs are known and gone.
        """
        self.used = True
        if self._key is None:
            return await enqueue()
        known = await self._begin(self._key)
        if known is not None:
            return await self._again(known)
        try:
            jobs = await enqueue()
        except BaseException:
            await self._keys.forget(self._user_id, self._key)
            raise
        await self._keys.note_jobs(self._user_id, self._key, [(job.queue, job.id) for job in jobs])
        return jobs

    async def keep(self, status: int, body: bytes) -> None:
        """Note a success, for the time when the jobs are gone."""
        await self._note(_Given(status, msgspec.Raw(body)))

    async def keep_error(self, error: ApiError) -> None:
        """Note how jobs ended that did not end well; other refusals are not the jobs'."""
        if error.status == 502:
            await self._note(_Given(502, message=error.message, details=dict(error.details or {})))

    async def _note(self, given: _Given) -> None:
        if not self.used or self._key is None:
            return
        try:
            await self._keys.note_answer(self._user_id, self._key, msgspec.json.encode(given).decode())
        except StoreUnavailable as error:
            # The job is enqueued and known by its key; only what comes after its record is gone is the poorer for it.
            log.warning("answer_not_kept", reason=type(error).__name__)

    async def _begin(self, key: str) -> KeptRequest | None:
        """Return None where the key is ours to enqueue under, else what it stands for, with its jobs."""
        deadline = asyncio.get_running_loop().time() + BUSY_S
        pause = 0.01
        while True:
            try:
                known = await self._keys.begin(self._user_id, key, self._request)
            except TooManyKeys as refused:
                raise ApiError(429, str(refused), retry_after_s=3600) from None
            if known is None:
                return None
            if known.request != self._request:
                raise ApiError(422, f"{HEADER}: this key came with another request before; wanted a new one")
            if known.jobs is not None:
                return known
            if asyncio.get_running_loop().time() > deadline:
                raise ApiError(409, f"{HEADER}: the first request with this key is being served", retry_after_s=5)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def _again(self, known: KeptRequest) -> list[Job]:
        refs = known.jobs or []
        try:
            for queue, job_id in refs:
                await self._jobs.get_job(queue, job_id)
        except JobNotFound:
            if known.answer is None:
                raise
            given = msgspec.json.decode(known.answer, type=_Given)
            if given.message:
                raise ApiError(given.status, given.message, details=given.details) from None
            raise Replay(given.status, bytes(given.body)) from None
        return [self._jobs.job(queue, job_id) for queue, job_id in refs]


def key_from(request: Request) -> str | None:
    """Return the request's key, out of its quotes where it has them as the draft says; None where it has none.

    Raises:
        ApiError: 400 for several keys, or one that is not 1 to 255 visible ASCII characters.
    """
    values = request.headers.getlist(HEADER)
    if not values:
        return None
    key = values[0].strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(values) > 1 or not _FIT.fullmatch(key):
        found = f"{len(values)} headers" if len(values) > 1 else f"{len(key)} characters"
        wanted = f"one header with 1 to {MAX_CHARACTERS} visible ASCII characters"
        raise ApiError(400, f"{HEADER}: found {found}, wanted {wanted}")
    return key


def request_hash(method: str, path: str, read: object) -> str:
    """Return what tells a request from another: SHA-256 of method, path, and query and body as they were read."""
    said = msgspec.json.encode((method, path, read), order="deterministic")
    return hashlib.sha256(said).hexdigest()
