"""Loads people, spaces and their books from a JSON file into the store: `dhanam-jobs load FILE.json`.

Everything in one transaction: an error leaves the store as it was. Rows are upserted by id; what a row belongs to
(an account's space, a category's budget, ...) can't change. The file's shape is load_format.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from dhanam_jobs.handlers.load_format import Document, LoadError, excerpt, read_document, row_of

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Queries, Store
    from dhanam_jobs.handlers.token_cipher import TokenCipher

Rows = list[dict[str, Any]]

MONEY_FIELDS = (
    "balance",
    "apr",
    "minimum_payment",
    "last_payment_amount",
    "credit_limit",
    "original_principal",
    "budgeted_amount",
    "amount",
)


class Loaded(msgspec.Struct, frozen=True):
    """How many rows of one list were new to the store, and how many were there before."""

    new: int
    known: int


async def load_file(store: Store, path: Path, cipher: TokenCipher | None = None) -> dict[str, Loaded]:
    """Load a file; gives the counts of each list that has entries. `cipher` seals the secrets of connections.

    Raises LoadError, and then nothing has been loaded.
    """
    from dhanam_jobs.handlers.store import StoreConflict

    document = read_document(path)
    try:
        async with store.transaction() as tx:
            return await load_document(tx, document, cipher)
    except StoreConflict as error:
        raise LoadError(str(error)) from error


async def load_document(tx: Queries, document: Document, cipher: TokenCipher | None = None) -> dict[str, Loaded]:
    """Load a checked document within a transaction; raises LoadError, or StoreConflict for a key that is taken."""
    load = _Load(tx, cipher)
    for name in document.__struct_fields__:
        entries = getattr(document, name)
        if entries:
            rows = [row_of(entry) for entry in entries]
            _check_values(name, rows)
            await getattr(load, name)(rows)
    return load.counts


class _Load:
    """One method per list, in an order in which each finds what it refers to already written."""

    def __init__(self, tx: Queries, cipher: TokenCipher | None) -> None:
        self._tx = tx
        self._cipher = cipher
        self.counts: dict[str, Loaded] = {}

    async def users(self, rows: Rows) -> None:
        _once("users", rows, "id")
        preferences = [{"user_id": row["id"], **row_of(row.pop("preferences"))} for row in rows if "preferences" in row]
        for row in rows:
            row["email"] = row["email"].lower()
        _once("users", rows, "email")
        self._count("users", await self._tx.users.upsert(rows))
        await self._tx.users.upsert_preferences(preferences)

    async def spaces(self, rows: Rows) -> None:
        _once("spaces", rows, "id")
        self._count("spaces", await self._tx.spaces.upsert(rows))

    async def members(self, rows: Rows) -> None:
        _once("members", rows, "user_id", "space_id")
        await self._user_exists("members", rows, "user_id")
        await self._space_exists("members", rows)
        self._count("members", await self._tx.spaces.upsert_members(rows))

    async def accounts(self, rows: Rows) -> None:
        _once("accounts", rows, "id")
        await self._space_exists("accounts", rows)
        await self._user_exists("accounts", rows, "owner_id")
        known = await self._tx.accounts.by_ids(_column(rows, "id"))
        _stays("accounts", rows, "space_id", {key: account.space_id for key, account in known.items()})
        self._count("accounts", await self._tx.accounts.upsert(rows))

    async def budgets(self, rows: Rows) -> None:
        _once("budgets", rows, "id")
        await self._space_exists("budgets", rows)
        _stays("budgets", rows, "space_id", await self._tx.budgets.space_ids(_column(rows, "id")))
        self._count("budgets", await self._tx.budgets.upsert(rows))

    async def categories(self, rows: Rows) -> None:
        _once("categories", rows, "id")
        budgets = await self._tx.budgets.space_ids(_column(rows, "budget_id"))
        _exists("categories", rows, "budget_id", budgets.keys(), "budget")
        known = await self._tx.budgets.categories_by_ids(_column(rows, "id"))
        _stays("categories", rows, "budget_id", {key: category.budget_id for key, category in known.items()})
        self._count("categories", await self._tx.budgets.upsert_categories(rows))

    async def rules(self, rows: Rows) -> None:
        _once("rules", rows, "id")
        await self._space_exists("rules", rows)
        _stays("rules", rows, "space_id", await self._tx.rules.space_ids(_column(rows, "id")))
        await self._category_fits("rules", rows, [row["space_id"] for row in rows])
        for index, row in enumerate(rows):
            _check_conditions(f"$.rules[{index}].conditions", row["conditions"])
        self._count("rules", await self._tx.rules.upsert(rows))

    async def transactions(self, rows: Rows) -> None:
        _once("transactions", rows, "id")
        accounts = await self._tx.accounts.by_ids(_column(rows, "account_id"))
        _exists("transactions", rows, "account_id", accounts.keys(), "account")
        known = await self._tx.transactions.account_ids(_column(rows, "id"))
        _stays("transactions", rows, "account_id", known)
        await self._category_fits("transactions", rows, [accounts[row["account_id"]].space_id for row in rows])
        for row in rows:
            if row["id"] not in known:
                row.setdefault("currency", accounts[row["account_id"]].currency)
        self._count("transactions", await self._tx.transactions.upsert(rows))

    async def connections(self, rows: Rows) -> None:
        _once("connections", rows, "id")
        _once("connections", rows, "user_id", "provider", "provider_user_id")
        await self._user_exists("connections", rows, "user_id")
        await self._space_exists("connections", rows)
        known = await self._tx.provider_connections.user_ids(_column(rows, "id"))
        _stays("connections", rows, "user_id", known)
        for index, row in enumerate(rows):
            await self._seal(f"$.connections[{index}]", row)
        self._count("connections", await self._tx.provider_connections.upsert(rows))

    async def _seal(self, path: str, row: dict[str, Any]) -> None:
        """Turn an entry into a row: secrets sealed, and what the metadata hold set among what they held."""
        token, secret = row.pop("token", None), row.pop("api_secret", None)
        kept = await self._tx.provider_connections.get(row["id"])
        if (token is not None or secret is not None) and self._cipher is None:
            raise LoadError(f"{path}.token: found a secret, wanted ENCRYPTION_KEY to be set, which seals it")
        if kept is None and token is None:
            raise LoadError(f"{path}.token: not given, wanted the provider's token for a new connection")
        given = row.pop("metadata", None) or {}
        metadata = {**(kept.details if kept is not None else {}), **given}
        if "space_id" in row:
            metadata["spaceId"] = row.pop("space_id")
        if self._cipher is not None and token is not None:
            row["encrypted_token"] = self._cipher.encrypt(token)
        if self._cipher is not None and secret is not None:
            metadata["encryptedApiSecret"] = self._cipher.encrypt(secret)
        if row["provider"] == "bitso" and not isinstance(metadata.get("encryptedApiSecret"), str):
            raise LoadError(f"{path}.apiSecret: not given, wanted the API secret of a Bitso connection")
        row["metadata"] = metadata

    def _count(self, name: str, counts: tuple[int, int]) -> None:
        self.counts[name] = Loaded(*counts)

    async def _space_exists(self, name: str, rows: Rows) -> None:
        _exists(name, rows, "space_id", await self._tx.spaces.existing_ids(_column(rows, "space_id")), "space")

    async def _user_exists(self, name: str, rows: Rows, field: str) -> None:
        _exists(name, rows, field, await self._tx.users.existing_ids(_column(rows, field)), "user")

    async def _category_fits(self, name: str, rows: Rows, space_ids: Sequence[str]) -> None:
        categories = await self._tx.budgets.categories_by_ids(_column(rows, "category_id"))
        _exists(name, rows, "category_id", categories.keys(), "category")
        for index, (row, space_id) in enumerate(zip(rows, space_ids, strict=True)):
            category = categories.get(row.get("category_id") or "")
            if category is not None and category.space_id != space_id:
                raise LoadError(
                    f"$.{name}[{index}].categoryId: found {category.id!r} of space {category.space_id!r}, "
                    f"wanted a category of space {space_id!r}"
                )


def _column(rows: Rows, field: str) -> list[Any]:
    return [row[field] for row in rows if row.get(field) is not None]


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _once(name: str, rows: Rows, *fields: str) -> None:
    counts = Counter(tuple(row[field] for field in fields) for row in rows)
    for index, row in enumerate(rows):
        key = tuple(row[field] for field in fields)
        if counts[key] > 1:
            wanted = " and ".join(_camel(field) for field in fields)
            raise LoadError(f"$.{name}[{index}]: found {', '.join(key)} {counts[key]} times, wanted each {wanted} once")


def _exists(name: str, rows: Rows, field: str, known: Any, what: str) -> None:
    for index, row in enumerate(rows):
        value = row.get(field)
        if value is not None and value not in known:
            path = f"$.{name}[{index}].{_camel(field)}"
            raise LoadError(f"{path}: found {value!r}, wanted the id of a {what} of the file or the store")


def _stays(name: str, rows: Rows, field: str, known: Mapping[str, str]) -> None:
    for index, row in enumerate(rows):
        before = known.get(row["id"])
        if before is not None and before != row[field]:
            path = f"$.{name}[{index}].{_camel(field)}"
            raise LoadError(f"{path}: found {row[field]!r}, wanted {before!r}, to which {row['id']!r} belongs")


def _check_values(name: str, rows: Rows) -> None:
    from dhanam_jobs.handlers.store import MoneyError
    from dhanam_jobs.handlers.store.columns import exact_money

    for index, row in enumerate(rows):
        for field in MONEY_FIELDS:
            value = row.get(field)
            if isinstance(value, Decimal):
                try:
                    exact_money(value)
                except MoneyError as error:
                    raise LoadError(f"$.{name}[{index}].{_camel(field)}: {error}") from None
        if "timezone" in row:
            try:
                ZoneInfo(row["timezone"])
            except (ValueError, OSError, KeyError):
                found = excerpt(row["timezone"])
                raise LoadError(
                    f"$.{name}[{index}].timezone: found {found}, wanted a zone such as America/Mexico_City"
                ) from None


def _check_conditions(path: str, conditions: Any) -> None:
    from dhanam_jobs.handlers.rules import compile_rules
    from dhanam_jobs.handlers.store import StoredRule

    # The category is another check's matter; here any will do.
    compiled = compile_rules([StoredRule("", "", "", 0, conditions, "", "")])
    for skipped in compiled.skipped:
        raise LoadError(f"{path}: found {excerpt(conditions)}, wanted a rule that can match: {skipped.reason}")
