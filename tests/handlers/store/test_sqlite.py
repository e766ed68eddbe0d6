"""What only SQLite needs: one writer at a time, in order, without lost updates and without hanging."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.handlers.store import StoreError

if TYPE_CHECKING:
    from tests.handlers.conftest import Household


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone."""
    return f"sqlite:///{tmp_path / 'store.db'}"


async def test_a_hundred_read_then_write_transactions_lose_nothing(household: Household) -> None:
    """A count kept in a name ends at 100, whatever the order (SQLite's own driver would lose nearly all)."""

    async def once() -> None:
        async with household.store.transaction() as tx:
            space = await tx.spaces.get("home")
            assert space is not None
            await tx.spaces.upsert([{"id": "home", "name": str(int(space.name) + 1)}])

    await household.store.spaces.upsert([{"id": "home", "name": "0"}])
    await asyncio.gather(*(once() for _ in range(100)))

    space = await household.store.spaces.get("home")
    assert space is not None
    assert space.name == "100"


async def test_writing_past_an_open_transaction_is_an_error_not_a_hang(household: Household) -> None:
    """On SQLite the second write would wait for the first for ever."""
    async with household.store.transaction():
        with pytest.raises(StoreError, match="wanted the transaction's own queries"):
            await household.store.spaces.upsert([{"id": "x", "name": "X"}])
