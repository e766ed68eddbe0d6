"""Loading books from JSON: what arrives, what a second load changes, and what each mistake is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dhanam_jobs.handlers.load import Loaded, load_document, load_file
from dhanam_jobs.handlers.load_format import LoadError, decode_document
from dhanam_jobs.handlers.store import Store

CONDITION = {"field": "description", "operator": "contains", "value": "oxxo"}
BOOKS: dict[str, Any] = {
    "users": [{"id": "ana", "email": "Ana@Example.test", "name": "Ana", "preferences": {"autoCategorizeTxns": False}}],
    "spaces": [{"id": "home", "name": "Casa"}, {"id": "shop", "name": "Tienda", "type": "business"}],
    "members": [{"userId": "ana", "spaceId": "home", "role": "owner"}],
    "accounts": [
        {"id": "debit", "spaceId": "home", "name": "Débito", "type": "checking", "balance": "999999999999999.9999"},
        {"id": "till", "spaceId": "shop", "name": "Caja", "type": "other", "currency": "USD", "balance": "0.0001"},
    ],
    "budgets": [{"id": "budget", "spaceId": "home", "name": "Gastos"}],
    "categories": [{"id": "food", "budgetId": "budget", "name": "Comida"}],
    "rules": [{"id": "r1", "spaceId": "home", "name": "Oxxo", "conditions": [CONDITION], "categoryId": "food"}],
    "transactions": [
        {"id": "t1", "accountId": "debit", "amount": "-10.50", "date": "2026-09-01", "description": "OXXO"},
        {"id": "t2", "accountId": "till", "amount": -3, "date": "2026-09-02", "description": "Café"},
    ],
}


@pytest.fixture
def books() -> dict[str, Any]:
    return copy.deepcopy(BOOKS)


Load = Callable[[Any], Any]


@pytest.fixture
def load(store: Store, tmp_path: Path) -> Load:
    """Write a document to a file and load it."""

    async def load_it(document: Any) -> dict[str, Loaded]:
        path = tmp_path / "books.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return await load_file(store, path)

    return load_it


async def test_everything_arrives_once_and_a_second_load_adds_nothing(
    store: Store, load: Load, books: dict[str, Any]
) -> None:
    """Counts say what was new and what was known."""
    text = json.dumps(books).replace('"999999999999999.9999"', "999999999999999.9999")

    assert await load(text) == {name: Loaded(len(rows), 0) for name, rows in books.items()}
    assert await load(text) == {name: Loaded(0, len(rows)) for name, rows in books.items()}

    ana = await store.users.get("ana")
    assert ana is not None
    assert (ana.email, ana.locale, ana.is_active, ana.is_admin) == ("ana@example.test", "es", True, False)
    assert await store.spaces.role_of("ana", "home") == "owner"
    assert await store.spaces.owner_declined_categorization("home")
    accounts = await store.accounts.by_ids(["debit", "till"])
    assert accounts["debit"].balance == Decimal("999999999999999.9999")
    assert accounts["till"].balance == Decimal("0.0001")
    assert [rule.id for rule in await store.rules.of_space("home")] == ["r1"]
    assert [found.amount for found in await store.transactions.by_ids("home", ["t1", "t2"])] == [Decimal("-10.50")]


async def test_what_a_second_file_leaves_out_stays(store: Store, load: Load, books: dict[str, Any]) -> None:
    """A category that was chosen meanwhile, preferences, and all that only the store knows."""
    await load(books)
    await store.transactions.set_categories({"food": ["t1"]})
    del books["users"][0]["preferences"]
    books["transactions"][0]["description"] = "OXXO 2"
    await load({key: books[key] for key in ("users", "transactions")})

    (found,) = await store.transactions.by_ids("home", ["t1"])
    assert (found.category_id, found.description) == ("food", "OXXO 2")
    assert await store.spaces.owner_declined_categorization("home")


async def test_null_empties_what_may_be_empty(store: Store, load: Load, books: dict[str, Any]) -> None:
    """Null is a value, not an omission."""
    await load(books)
    await load({"rules": [{**books["rules"][0], "categoryId": None}]})

    (rule,) = await store.rules.of_space("home")
    assert rule.category_id is None


async def test_older_condition_shapes_are_loaded(load: Load, books: dict[str, Any]) -> None:
    """As exports of the original have them."""
    books["rules"][0]["conditions"] = {"type": "regex", "descriptionPattern": "oxxo|7-eleven"}

    assert (await load(books))["rules"] == Loaded(1, 0)


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *steps, last, value = path

    def change(document: Any) -> None:
        for step in steps:
            document = document[step]
        document[last] = value

    return change


def _copy_of(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document[name].append({**document[name][0], **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("users", 0, "email", 5), "$.users[0].email: found 5, wanted `str`, got `int`"),
        (_set("users", 0, "email", "ana"), '$.users[0].email: found "ana", wanted `str` matching regex'),
        (_set("users", 0, "nick", "A"), "$.users[0]: Object contains unknown field `nick`; there are: id, email, name"),
        (_set("users", [{"id": "x"}]), "$.users[0]: Object missing required field `email`"),
        (_set("users", {}), "$.users: wanted `array`, got `object`"),
        (_set("user", []), "$: Object contains unknown field `user`; there are: users, spaces, members"),
        (
            _set("users", 0, "preferences", "exportFormat", "xls"),
            'preferences.exportFormat: found "xls", wanted one of csv',
        ),
        (_set("spaces", 0, "currency", "BTC"), '$.spaces[0].currency: found "BTC", wanted one of MXN, USD, EUR, CAD'),
        (_set("spaces", 1, "id", "a b"), '$.spaces[1].id: found "a b", wanted `str` matching regex'),
        (
            _set("members", 0, "role", "boss"),
            '$.members[0].role: found "boss", wanted one of owner, admin, member, viewer',
        ),
        (_set("accounts", 0, "balance", "ten"), '$.accounts[0].balance: found "ten", Invalid decimal string'),
        (_set("transactions", 0, "date", "2026-02-30"), '$.transactions[0].date: found "2026-02-30", Invalid'),
        (
            _set("transactions", 0, "description", "a\0b"),
            '$.transactions[0].description: found "a\\u0000b", wanted a text',
        ),
        (_set("transactions", 0, "metadata", {"k": ["\0"]}), "$.transactions[0].metadata.k[0]: found"),
    ],
)
def test_a_wrong_shape_is_named_by_path(books: dict[str, Any], change: Callable[[Any], None], message: str) -> None:
    """Path, what was found and what is wanted, with the legal values or fields where there is a choice."""
    change(books)

    with pytest.raises(LoadError) as caught:
        decode_document(json.dumps(books).encode(), "books.json")

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"127.0.0.1 localhost", "books.json: found text that is no JSON"),
        (b"[" * 200_000, "books.json: found text that is no JSON"),
        (b'{"users": [{"id": 1}], "spaces": [', "books.json: found text that is no JSON"),
        (b'{"users": [{"id": ', "books.json: found text that is no JSON"),
        (b"3.5", "$: found 3.5, wanted `object`"),
        (b'{"users": [], "users": []}', '"users" stands twice in one object, wanted once'),
        (b'{"spaces": [], "users": [{"id": "u", "id": "v", "email": "u@example.test", "name": "U"}]}', '"id" stands'),
    ],
)
def test_rubbish_is_refused_in_words(raw: bytes, message: str) -> None:
    """Whatever a file holds: no trace, and no list lost behind another of its name."""
    with pytest.raises(LoadError) as caught:
        decode_document(raw, "books.json")

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("users", 0, "timezone", "Mars/Olympus"), '$.users[0].timezone: found "Mars/Olympus", wanted a zone'),
        (_set("members", 0, "userId", "bob"), "$.members[0].userId: found 'bob', wanted the id of a user"),
        (_set("members", 0, "spaceId", "x"), "$.members[0].spaceId: found 'x', wanted the id of a space"),
        (_copy_of("members"), "$.members[0]: found ana, home 2 times, wanted each userId and spaceId once"),
        (_copy_of("users", id="eva"), "$.users[0]: found ana@example.test 2 times, wanted each email once"),
        (_set("accounts", 0, "balance", "1.23456"), "$.accounts[0].balance: amount: found 1.23456, wanted at most 4"),
        (_set("accounts", 0, "balance", "NaN"), "$.accounts[0].balance: amount: found Decimal('NaN'), wanted a finite"),
        (_set("accounts", 0, "ownerId", "bob"), "$.accounts[0].ownerId: found 'bob', wanted the id of a user"),
        (_set("categories", 0, "budgetId", "b2"), "$.categories[0].budgetId: found 'b2', wanted the id of a budget"),
        (_copy_of("categories", id="food2"), "store: "),
        (_set("rules", 0, "conditions", []), "$.rules[0].conditions: found [], wanted a rule that can match"),
        (
            _set("rules", 0, "conditions", 0, "value", 5),
            "wanted a rule that can match: its condition on 'description' can never hold",
        ),
        (
            _set("rules", 0, "spaceId", "shop"),
            "categoryId: found 'food' of space 'home', wanted a category of space 'shop'",
        ),
        (_set("transactions", 1, "categoryId", "food"), "$.transactions[1].categoryId: found 'food' of space 'home'"),
        (_set("transactions", 0, "accountId", "x"), "$.transactions[0].accountId: found 'x', wanted the id of a"),
    ],
)
async def test_a_mistake_is_named_by_path_and_nothing_is_loaded(
    store: Store, load: Load, books: dict[str, Any], change: Callable[[Any], None], message: str
) -> None:
    """Path, what was found and what is wanted; the good entries before it are not kept either."""
    change(books)

    with pytest.raises(LoadError) as caught:
        await load(books)

    assert message in str(caught.value)
    assert await store.users.get("ana") is None
    assert await store.spaces.get("home") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _set("accounts", 0, "spaceId", "shop"),
            "$.accounts[0].spaceId: found 'shop', wanted 'home', to which 'debit'",
        ),
        (_set("budgets", 0, "spaceId", "shop"), "$.budgets[0].spaceId: found 'shop', wanted 'home'"),
        (_set("rules", 0, "spaceId", "shop"), "$.rules[0].spaceId: found 'shop', wanted 'home'"),
        (_set("transactions", 0, "accountId", "till"), "$.transactions[0].accountId: found 'till', wanted 'debit'"),
    ],
)
async def test_what_a_row_belongs_to_cannot_change(
    load: Load, books: dict[str, Any], change: Callable[[Any], None], message: str
) -> None:
    """Else one file could carry an account with its history into another household."""
    await load(books)
    change(books)

    with pytest.raises(LoadError) as caught:
        await load(books)

    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "not json", '{"users": [}'])
async def test_text_that_is_no_json_is_said_to_be_none(load: Load, text: str) -> None:
    """With the file's name and where reading stopped."""
    with pytest.raises(LoadError, match=r"books\.json: found text that is no JSON"):
        await load(text)


async def test_a_missing_file_is_named(store: Store, tmp_path: Path) -> None:
    """As the system says it."""
    with pytest.raises(LoadError, match=r"nowhere\.json: No such file"):
        await load_file(store, tmp_path / "nowhere.json")


async def test_a_byte_order_mark_is_no_mistake(load: Load, books: dict[str, Any]) -> None:
    """Windows' editors write one."""
    assert (await load("\ufeff" + json.dumps({"users": books["users"]})))["users"] == Loaded(1, 0)


async def test_the_example_in_the_docs_loads(store: Store) -> None:
    """The page's JSON block has every list and no mistake."""
    page = Path(__file__).parents[2] / "docs" / "load-format.md"
    example = page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]

    async with store.transaction() as tx:
        counts = await load_document(tx, decode_document(example.encode(), "example"))

    assert set(counts) == set(BOOKS)
