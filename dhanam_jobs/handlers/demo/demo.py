"""Puts the demo into a store, once, or as new; the data and the shape they are in are not its matter."""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhanam_jobs.handlers.demo.people import DEMO_SPACE_ID, DEMO_SPACE_IDS

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Queries, Store
    from dhanam_jobs.handlers.token_cipher import TokenCipher

_HERE = Path(__file__).parent
BOOKS = _HERE / "books.json"
HOUSEHOLD = _HERE / "space_123.csv"


async def create_demo(store: Store, cipher: TokenCipher | None = None) -> bool:
    """Create the demo where it never was; True where it was created now.

    A demo that somebody has used, changed or deleted is left as it is. Its connections come with a cipher that seals
    their tokens; without one it has none.
    """
    from dhanam_jobs.handlers.store import StoreConflict

    if await store.spaces.get(DEMO_SPACE_ID) is not None:
        return False
    try:
        async with store.transaction() as tx:
            if await tx.spaces.get(DEMO_SPACE_ID) is not None:
                return False
            await _write(tx, cipher)
    except StoreConflict:
        # Another start was a moment faster, and has written it as a whole.
        if await store.spaces.get(DEMO_SPACE_ID) is None:
            raise
        return False
    return True


async def reset_demo(store: Store, cipher: TokenCipher | None = None) -> None:
    """Make the demo as new: its spaces with all their rows are erased and written again, its people restored.

    What its people have elsewhere is left alone. `cipher` as in `create_demo`.
    """
    async with store.transaction() as tx:
        await tx.spaces.erase(DEMO_SPACE_IDS)
        await _write(tx, cipher)


async def _write(tx: Queries, cipher: TokenCipher | None) -> None:
    from dhanam_jobs.handlers.load import load_document
    from dhanam_jobs.handlers.load_format import read_document
    from dhanam_jobs.handlers.sandbox.demo_world import RATES

    books = read_document(BOOKS)
    await load_document(tx, books)
    await tx.users.upsert([{"id": user.id, "deleted_at": None} for user in books.users])
    await tx.spaces.upsert([{"id": space_id, "is_demo": True} for space_id in DEMO_SPACE_IDS])
    await tx.transactions.upsert(household_rows())
    # So that its dollars are worth something before the first refresh.
    rates = {code: Decimal(str(rate)) for code, rate in RATES.items()}
    await tx.exchange_rates.write("USD", dt.datetime.now(dt.UTC).date(), rates, "sandbox", demo=True)
    if cipher is not None:
        from dhanam_jobs.handlers.demo.connections import connect_demo

        await connect_demo(tx, cipher)


def household_rows() -> list[dict[str, Any]]:
    """Give the household's transactions as rows for the store."""
    with HOUSEHOLD.open(encoding="utf-8", newline="") as file:
        return [
            {
                **line,
                "date": dt.date.fromisoformat(line["date"]),
                "amount": Decimal(line["amount"]),
                "merchant": line["merchant"] or None,
                "currency": "MXN",
            }
            for line in csv.DictReader(file)
        ]
