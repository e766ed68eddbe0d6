"""What guards, the importer and the categorisation ask of the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dhanam_jobs.handlers.store import StoreConflict, UnknownAccount, UnknownSpace
from dhanam_jobs.handlers.store.columns import utc_now

if TYPE_CHECKING:
    from tests.handlers.conftest import Household


async def test_a_deleted_user_is_no_user(household: Household) -> None:
    """An inactive one still is, and says so."""
    users = household.store.users
    await users.upsert([{"id": "ana", "is_active": False}, {"id": "eva", "deleted_at": utc_now()}])

    ana = await users.get("ana")
    assert ana is not None
    assert not ana.is_active
    assert await users.get("eva") is None
    assert await users.get("nobody") is None


async def test_a_role_counts_only_in_its_own_live_space(household: Household) -> None:
    """No member, no space and a deleted space all give no role."""
    spaces = household.store.spaces

    assert await spaces.role_of("ana", "home") == "owner"
    assert await spaces.role_of("luis", "home") == "viewer"
    assert await spaces.role_of("ana", "other") is None
    assert await spaces.role_of("ana", "nowhere") is None

    await spaces.upsert([{"id": "home", "deleted_at": utc_now()}])
    assert await spaces.role_of("ana", "home") is None
    assert await spaces.of_user("ana") == []


async def test_schedules_see_no_demo_and_no_deleted_space(household: Household) -> None:
    """A trigger that asks for the demo's gets them."""
    spaces = household.store.spaces
    await spaces.upsert([{"id": "show", "name": "Demo", "is_demo": True}])
    await spaces.upsert([{"id": "other", "deleted_at": utc_now()}])

    assert await spaces.live_ids(with_demo=False) == ["home"]
    assert await spaces.live_ids(with_demo=True) == ["home", "show"]


async def test_a_space_with_one_account_needs_none_named(household: Household) -> None:
    """The importer takes the only live account there is."""
    account = await household.store.accounts.for_import("home", None)

    assert account.id == "debit"


async def test_a_space_with_several_accounts_lists_them(household: Household) -> None:
    """So that the next try can name one; deleted ones are not offered."""
    accounts = household.store.accounts
    more = {"space_id": "home", "name": "Crédito", "type": "credit"}
    await accounts.upsert([{"id": "credit", **more}, {"id": "gone", **more, "deleted_at": utc_now()}])

    with pytest.raises(UnknownAccount, match=r"credit \(Crédito, MXN\), debit \(Débito, MXN\)$"):
        await accounts.for_import("home", None)
    assert (await accounts.for_import("home", "credit")).id == "credit"
    with pytest.raises(UnknownAccount, match="found 'gone'"):
        await accounts.for_import("home", "gone")
    with pytest.raises(UnknownAccount, match="found 'foreign', wanted one of space 'home'"):
        await accounts.for_import("home", "foreign")
    with pytest.raises(UnknownSpace, match="found 'nowhere'"):
        await accounts.for_import("nowhere", None)


async def test_inserting_again_adds_only_what_is_new(household: Household) -> None:
    """Counts are exact over batches, repeats within the call, and rows known before."""
    rows = [household.row(f"k{i}") for i in range(2500)]
    insert = household.store.transactions.insert_new

    assert await insert("debit", rows) == 2500
    assert await insert("debit", rows) == 0
    assert await insert("debit", [*rows, household.row("new"), household.row("new"), household.row("x")]) == 2
    assert await insert("foreign", rows) == 2500
    assert await household.store.transactions.count_uncategorized("home") == 2502


async def test_two_imports_at_once_insert_each_row_once(household: Household) -> None:
    """Whoever comes second counts nothing."""
    rows = [household.row(f"k{i}") for i in range(1500)]
    insert = household.store.transactions.insert_new

    counts = await asyncio.gather(insert("debit", rows), insert("debit", rows))

    assert sum(counts) == 1500
    assert await household.store.transactions.count_uncategorized("home") == 1500


async def test_pages_hold_every_row_once_while_rows_leave(household: Household) -> None:
    """Categorising each page as it comes neither skips nor repeats a row."""
    ids = await household.insert(*(household.row(f"k{i:03}", f"{i:03}") for i in range(107)))
    seen: list[str] = []

    async for page in household.store.transactions.uncategorized_pages("home", size=10):
        assert len(page) <= 10
        seen += [c.id for c in page]
        await household.store.transactions.set_categories({"food": [c.id for c in page[::2]]})

    assert sorted(ids) == sorted(seen)


async def test_a_category_once_chosen_is_not_replaced(household: Household) -> None:
    """The second choice changes nothing and counts nothing."""
    first, second = await household.insert(household.row("a", "a"), household.row("b", "b"))
    choose = household.store.transactions.set_categories

    assert await choose({"fuel": [first]}) == 1
    assert await choose({"food": [first, second]}) == 1
    assert [await household.category_of(first), await household.category_of(second)] == ["fuel", "food"]


async def test_deleted_rows_and_accounts_are_left_alone(household: Household) -> None:
    """They are in no page, in no look-up, and take no category."""
    transactions = household.store.transactions
    kept, gone = await household.insert(household.row("a", "a"), household.row("b", "b"))
    await transactions.upsert([{"id": gone, "deleted_at": utc_now()}])

    assert [kept] == await household.ids()
    assert [kept] == [c.id for c in await transactions.by_ids("home", [kept, gone])]
    assert await transactions.set_categories({"food": [gone]}) == 0

    await household.store.accounts.upsert([{"id": "debit", "deleted_at": utc_now()}])
    assert await household.ids() == []
    assert await transactions.count_uncategorized("home") == 0
    assert await transactions.by_ids("home", [kept]) == []


async def test_ids_of_another_space_are_not_found(household: Household) -> None:
    """A caller can't reach over the fence by naming an id."""
    (foreign,) = await household.insert(household.row("a"), account_id="foreign")

    assert await household.store.transactions.by_ids("home", [foreign, "nonsense"]) == []


async def test_an_upsert_keeps_what_it_does_not_name(household: Household) -> None:
    """Changing one field leaves the others and the day of creation."""
    before = await household.store.users.get("ana")
    await household.store.users.upsert([{"id": "ana", "is_admin": True}])

    after = await household.store.users.get("ana")
    assert before is not None
    assert after is not None
    assert (before.email, before.name, True) == (after.email, after.name, after.is_admin)


async def test_a_transaction_that_raises_leaves_nothing(household: Household) -> None:
    """All groups of one transaction go together."""

    async def break_off() -> None:
        async with household.store.transaction() as tx:
            await tx.spaces.upsert([{"id": "half", "name": "Half"}])
            assert await tx.spaces.get("half") is not None
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await break_off()

    assert await household.store.spaces.get("half") is None


async def test_a_callers_own_error_passes_through_a_transaction(household: Household) -> None:
    """A file that is missing is no outage of the database."""

    async def read_a_file() -> None:
        async with household.store.transaction():
            raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        await read_a_file()


async def test_a_key_that_is_taken_is_a_conflict(household: Household) -> None:
    """And so is a reference to nothing; both name the constraint."""
    with pytest.raises(StoreConflict, match="email"):
        await household.store.users.upsert([{"id": "x", "email": "ana@example.test", "name": "X"}])
    with pytest.raises(StoreConflict, match=r"(?i)foreign key"):
        await household.store.transactions.insert_new("nowhere", [household.row("a")])


async def test_a_write_cancelled_at_any_point_leaves_the_store_usable(household: Household) -> None:
    """Wherever a job's time-out strikes, the write is whole or absent, and the next one isn't blocked."""
    transactions = household.store.transactions
    for steps in range(60):
        rows = [household.row(f"c{steps}-{i}") for i in range(3)]
        write = asyncio.create_task(transactions.insert_new("debit", rows))
        for _ in range(steps * 40):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)

    assert await transactions.count_uncategorized("home") % 3 == 0
    assert await transactions.insert_new("debit", [household.row("after")]) == 1
