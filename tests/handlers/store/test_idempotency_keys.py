"""Keys of requests in the store: one of many is the first, the dead make room, and there is an end to them."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from dhanam_jobs.handlers.store import Store, idempotency_keys
from dhanam_jobs.handlers.store.columns import utc_now
from dhanam_jobs.handlers.store.idempotency_keys import KeptRequest, TooManyKeys

if TYPE_CHECKING:
    from tests.handlers.conftest import Household

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


async def age(store: Store, by: dt.timedelta) -> None:
    """Make all keys as old as that."""
    async with store._connections.writing() as connection:
        await connection.execute(sa.update(idempotency_keys.idempotency_keys).values(begun_at=utc_now() - by))


async def test_of_many_at_once_one_is_the_first(store: Store, household: Household) -> None:
    """The others get what it noted."""
    keys = store.idempotency_keys
    begun = await asyncio.gather(*(keys.begin("ana", KEY, "asked") for _ in range(10)))
    assert begun.count(None) == 1
    await keys.note_jobs("ana", KEY, [("q", "1"), ("q", "2")])
    await keys.note_answer("ana", KEY, "first")
    await keys.note_answer("ana", KEY, "last")
    assert await keys.begin("ana", KEY, "asked") == KeptRequest("asked", [("q", "1"), ("q", "2")], "last")
    assert await keys.begin("eva", KEY, "asked") is None


async def test_the_key_of_a_request_that_died_is_taken_over_once(store: Store, household: Household) -> None:
    """After a minute, by the same request; before that it is being served."""
    keys = store.idempotency_keys
    assert await keys.begin("ana", KEY, "asked") is None
    assert await keys.begin("ana", KEY, "asked") == KeptRequest("asked", None, None)
    await age(store, dt.timedelta(seconds=61))
    assert await keys.begin("ana", KEY, "something else") == KeptRequest("asked", None, None)
    taken = await asyncio.gather(*(keys.begin("ana", KEY, "asked") for _ in range(5)))
    assert taken.count(None) == 1


async def test_only_a_request_without_jobs_is_forgotten(store: Store, household: Household) -> None:
    """What was enqueued stays known, for a day."""
    keys = store.idempotency_keys
    await keys.begin("ana", KEY, "asked")
    await keys.forget("ana", KEY)
    assert await keys.begin("ana", KEY, "asked") is None
    await keys.note_jobs("ana", KEY, [])
    await keys.forget("ana", KEY)
    assert await keys.begin("ana", KEY, "asked") == KeptRequest("asked", [], None)
    await age(store, dt.timedelta(hours=24))
    assert await keys.begin("ana", KEY, "something else") is None


async def test_one_sender_has_so_many_keys_and_no_more(
    store: Store, household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is refused and leaves nothing; others have their own."""
    keys = store.idempotency_keys
    monkeypatch.setattr(idempotency_keys, "MAX_KEYS", 3)
    for number in range(3):
        assert await keys.begin("ana", str(number), "asked") is None
    for _ in range(2):
        with pytest.raises(TooManyKeys, match="found 3 keys"):
            await keys.begin("ana", "3", "asked")
    assert await keys.begin("eva", "3", "asked") is None
    assert await keys.begin("ana", "1", "asked") is not None
