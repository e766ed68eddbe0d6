"""The demo is what the README promises, by honest rows and rules, and can be had as new."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal

from dhanam_jobs.handlers.categorize_transactions import categorize_space
from dhanam_jobs.handlers.demo import (
    DEMO_ADMIN_ID,
    DEMO_SPACE_ID,
    DEMO_SPACE_IDS,
    DEMO_USER_ID,
    DEMO_VIEWER_ID,
    create_demo,
    reset_demo,
)
from dhanam_jobs.handlers.demo.demo import BOOKS, household_rows
from dhanam_jobs.handlers.store import Store


async def _run(store: Store, space_id: str = DEMO_SPACE_ID) -> tuple[int, int]:
    done = await categorize_space(store, space_id)
    return done.categorized, done.total


async def test_the_household_gives_the_specifications_own_numbers(store: Store) -> None:
    """45 of 120, then 0 of 75."""
    await create_demo(store)

    assert await _run(store) == (45, 120)
    assert await _run(store) == (0, 75)


async def test_each_rule_matches_the_rows_that_a_reader_would_give_it(store: Store) -> None:
    """Recounted here from the statement's words alone; a changed row or rule breaks the count."""
    await create_demo(store)
    await _run(store)
    rows = {row["id"]: row for row in household_rows()}
    by_category: dict[str | None, list[str]] = {}
    for found in await store.transactions.by_ids(DEMO_SPACE_ID, list(rows)):
        by_category.setdefault(found.category_id, []).append(found.description)

    del by_category[None]
    assert {category: len(found) for category, found in by_category.items()} == {
        "cat_despensa": 10,
        "cat_gasolina": 6,
        "cat_servicios": 2,
        "cat_telefono": 5,
        "cat_suscripciones": 7,
        "cat_domicilio": 5,
        "cat_transporte": 5,
        "cat_sueldo": 5,
    }
    assert all("EATS" not in description for description in by_category["cat_transporte"])
    assert all("QUINCENA" in description for description in by_category["cat_sueldo"])


async def test_another_row_or_a_rule_switched_off_changes_the_numbers(store: Store) -> None:
    """Nothing is wired to 45: without the fuel rule six fewer match, with a taxi more one more does."""
    await create_demo(store)
    await store.rules.upsert([{"id": "rule_gasolina", "enabled": False}])
    taxi = {**household_rows()[0], "id": "txn_more", "description": "UBER TRIP"}
    await store.transactions.upsert([taxi])

    assert await _run(store) == (45 - 6 + 1, 121)


def test_the_rows_read_like_a_statement() -> None:
    """120 rows of their own, in order of date, over several months and both signs, in centavos."""
    rows = household_rows()

    assert len({row["id"] for row in rows}) == 120
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
    assert len({(row["date"].year, row["date"].month) for row in rows}) >= 3
    assert {row["amount"] > 0 for row in rows} == {True, False}
    assert all(row["amount"] == round(row["amount"], 2) != Decimal(0) for row in rows)
    assert len({row["description"] for row in rows}) > 60


async def test_the_people_have_the_roles_that_the_guards_are_shown_with(store: Store) -> None:
    """An owner, an administrator and a viewer; and spaces where the default user may not write or not even look."""
    await create_demo(store)
    admin = await store.users.get(DEMO_ADMIN_ID)
    maria = await store.users.get(DEMO_USER_ID)

    assert admin is not None
    assert maria is not None
    assert (admin.is_admin, maria.is_admin) == (True, False)
    role = store.spaces.role_of
    assert [await role(DEMO_USER_ID, space) for space in DEMO_SPACE_IDS] == ["owner", "viewer", None]
    assert await role(DEMO_VIEWER_ID, DEMO_SPACE_ID) == "viewer"
    assert {account.type for account in await store.accounts.of_space(DEMO_SPACE_ID)} == {
        "checking",
        "credit",
        "savings",
    }


async def test_every_demo_space_has_rules_that_find_something_or_nothing(store: Store) -> None:
    """The workshop's match some rows; the guest has no rules yet."""
    await create_demo(store)

    assert await _run(store, "space_456") == (5, 8)
    assert await _run(store, "space_789") == (0, 4)


async def test_a_second_start_leaves_what_the_first_has_become(store: Store) -> None:
    """Created once; two starts at once create one demo too."""
    created = await asyncio.gather(create_demo(store), create_demo(store))
    assert any(created)
    await _run(store)

    assert await create_demo(store) is False
    assert await _run(store) == (0, 75)


async def test_a_reset_makes_it_as_new_and_spares_the_rest(store: Store) -> None:
    """Own spaces of a demo person and other people's books stay."""
    await create_demo(store)
    await _run(store)
    await store.spaces.upsert([{"id": "mine", "name": "Mine"}])
    await store.spaces.upsert_members([{"user_id": DEMO_USER_ID, "space_id": "mine", "role": "owner"}])
    await store.users.upsert([{"id": DEMO_USER_ID, "is_active": False}])

    await reset_demo(store)

    assert await _run(store) == (45, 120)
    assert await store.spaces.role_of(DEMO_USER_ID, "mine") == "owner"
    maria = await store.users.get(DEMO_USER_ID)
    assert maria is not None
    assert maria.is_active


async def test_schedules_leave_the_demo_alone(store: Store) -> None:
    """Its spaces are marked, so that an hourly run doesn't take the newcomer's first result away."""
    await create_demo(store)

    assert await store.spaces.live_ids(with_demo=False) == []
    assert await store.spaces.live_ids(with_demo=True) == sorted(DEMO_SPACE_IDS)


def test_no_address_of_the_demo_can_reach_a_person() -> None:
    """All are under dhanam.demo, whose top level doesn't exist, and among those that the clean-up keeps."""
    users = json.loads(BOOKS.read_text(encoding="utf-8"))["users"]

    kept = re.compile(r"(guest|maria|carlos|patricia|diego)@dhanam\.demo")
    assert all(kept.fullmatch(user["email"]) for user in users)
