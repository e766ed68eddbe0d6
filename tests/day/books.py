"""The store of a simulated day: who lives in the town, and what stands in their books at its end."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from dhanam_jobs.handlers.store.maintenance_tables import sessions
from dhanam_jobs.handlers.store.provider_tables import provider_connections
from dhanam_jobs.handlers.store.schema import accounts, transactions, user_spaces, users
from dhanam_jobs.handlers.store.valuation_tables import asset_valuations
from tests.day.town import BTC, ETH, PEOPLE, RULES, SECRET, Row

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.token_cipher import TokenCipher

Valued = dict[str, list[tuple[dt.date, str, Decimal]]]


class Books:
    """The town's people in a store, read past the service's own queries."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def furnish(self, cipher: TokenCipher, zone: str) -> None:
        """Write people, spaces, rules, connections and wallets, and what the nightly clean-ups are to find."""
        old = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)
        async with self.store.transaction() as tx:
            await tx.users.upsert([self._user(name) for name in PEOPLE])
            await tx.users.upsert([{"id": "left", "email": "left@example.test", "name": "x", "deleted_at": old}])
            await tx.users.upsert(
                [
                    {"id": "visitor", "email": "visitor@dhanam.demo", "name": "x", "updated_at": old},
                    {"id": "persona", "email": "maria@dhanam.demo", "name": "x", "updated_at": old},
                ]
            )
            # Eva wants no week, Luis no month.
            await tx.users.upsert_preferences([{"user_id": "eva", "weekly_reports": False}])
            await tx.users.upsert_preferences([{"user_id": "luis", "monthly_reports": False}])
            for name in PEOPLE:
                await self._spaces(tx, name, zone)
                await self._rules(tx, name)
            await tx.provider_connections.upsert([row for name in PEOPLE for row in self._connections(name, cipher)])
            await tx.accounts.upsert([self._wallet(name, "btc", address) for name, address in BTC.items()])
            await tx.accounts.upsert([self._wallet(name, "eth", address) for name, address in ETH.items()])
        async with self.store._connections.writing() as connection:
            stale = {"updated_at": old, "created_at": old}
            await connection.execute(
                sa.update(provider_connections).where(provider_connections.c.id == "stale").values(stale)
            )
            await connection.execute(sa.update(users).where(users.c.id.in_(["visitor", "persona"])).values(stale))
            session = {"user_id": "ana", "refresh_token_hash": "x", "created_at": old, "updated_at": old}
            soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
            for name, expires in (("over", old), ("good", soon)):
                row = {**session, "id": name, "token_family": name, "expires_at": expires}
                await connection.execute(sa.insert(sessions).values(row))

    def _user(self, name: str) -> dict[str, Any]:
        locale = "en" if name == "luis" else "es"
        return {"id": name, "email": f"{name}@example.test", "name": name.title(), "locale": locale}

    async def _spaces(self, tx: Any, name: str, zone: str) -> None:
        rows = [
            {"id": f"home-{name}", "name": f"Casa {name}", "type": "personal", "timezone": zone},
            {"id": f"firm-{name}", "name": f"Taller {name}", "type": "business", "timezone": zone},
        ]
        await tx.spaces.upsert(rows)
        await tx.spaces.upsert_members([{"user_id": name, "space_id": row["id"], "role": "owner"} for row in rows])

    async def _rules(self, tx: Any, name: str) -> None:
        await tx.budgets.upsert([{"id": f"budget-{name}", "space_id": f"firm-{name}", "name": "Gastos"}])
        for word, category in RULES.items():
            own = f"{category}-{name}"
            await tx.budgets.upsert_categories([{"id": own, "budget_id": f"budget-{name}", "name": category}])
            condition = {"field": "description", "operator": "contains", "value": word.lower()}
            rule = {"id": f"rule-{own}", "space_id": f"firm-{name}", "name": word, "category_id": own}
            await tx.rules.upsert([{**rule, "conditions": [condition]}])

    def _connections(self, name: str, cipher: TokenCipher) -> list[dict[str, Any]]:
        def row(id: str, provider: str, token: str, **metadata: Any) -> dict[str, Any]:
            sealed = cipher.encrypt(token)
            named = {"user_id": name, "provider": provider, "provider_user_id": name}
            return {"id": id, **named, "encrypted_token": sealed, "metadata": metadata}

        rows = [
            row(f"bitso-{name}", "bitso", f"key-{name}", encryptedApiSecret=cipher.encrypt(SECRET)),
            row(f"belvo-{name}", "belvo", f"link-{name}", spaceId=f"firm-{name}"),
            row(f"plaid-{name}", "plaid", f"access-{name}", spaceId=f"firm-{name}"),
        ]
        return [*rows, row("stale", "mx", "old")] if name == "ana" else rows

    def _wallet(self, name: str, coin: str, address: str) -> dict[str, Any]:
        return {
            "id": f"{coin}-{name}",
            "space_id": f"home-{name}",
            "owner_id": name,
            "name": coin,
            "type": "crypto",
            "subtype": "non-custodial",
            "provider": "manual",
            "provider_account_id": address,
            "currency": "USD",
            "metadata": {"readOnly": True, "cryptoCurrency": coin, "address": address},
        }

    # -- what stands there -------------------------------------------------------------------------------------------

    async def rows(self, name: str) -> list[Row]:
        """All live transactions of a person's spaces, as Town.rows has them."""
        query = (
            sa.select(
                accounts.c.provider_account_id,
                transactions.c.provider_transaction_id,
                transactions.c.amount,
                transactions.c.category_id,
            )
            .join(accounts, accounts.c.id == transactions.c.account_id)
            .join(user_spaces, user_spaces.c.space_id == accounts.c.space_id)
            .where(user_spaces.c.user_id == name, transactions.c.deleted_at.is_(None))
        )
        found = await self._all(query)
        return [(row[0], row[1], row[2], row[3].removesuffix(f"-{name}") if row[3] else None) for row in found]

    async def balances(self, name: str) -> dict[str, tuple[str, Decimal]]:
        """Currency and balance of all accounts of a person's spaces, by the provider's id."""
        query = (
            sa.select(accounts.c.provider_account_id, accounts.c.currency, accounts.c.balance)
            .join(user_spaces, user_spaces.c.space_id == accounts.c.space_id)
            .where(user_spaces.c.user_id == name, accounts.c.deleted_at.is_(None))
        )
        found = await self._all(query)
        assert len(found) == len({row[0] for row in found})
        return {row[0]: (row[1], row[2]) for row in found}

    async def valuations(self, name: str) -> Valued:
        """Day, currency and value of what was kept of a person's accounts, by the provider's id."""
        query = (
            sa.select(
                accounts.c.provider_account_id,
                asset_valuations.c.date,
                asset_valuations.c.currency,
                asset_valuations.c.value,
            )
            .join(accounts, accounts.c.id == asset_valuations.c.account_id)
            .join(user_spaces, user_spaces.c.space_id == accounts.c.space_id)
            .where(user_spaces.c.user_id == name)
        )
        found: Valued = {}
        for row in await self._all(query):
            found.setdefault(row[0], []).append((row[1], row[2], row[3]))
        return found

    async def statuses(self) -> dict[str, str]:
        """The status of every connection."""
        return {
            row[0]: row[1]
            for row in await self._all(sa.select(provider_connections.c.id, provider_connections.c.status))
        }

    async def ids(self, table: sa.Table) -> set[str]:
        """The ids of all rows of a table."""
        return {row[0] for row in await self._all(sa.select(table.c.id))}

    async def choose_by_hand(self, name: str) -> tuple[str, str]:
        """Give a transaction without a rule a category, as people do; gives its provider's id and the category."""
        query = (
            sa.select(transactions.c.id, transactions.c.provider_transaction_id)
            .join(accounts, accounts.c.id == transactions.c.account_id)
            .where(accounts.c.provider_account_id == f"cheques-{name}", transactions.c.category_id.is_(None))
        )
        found = sorted(await self._all(query), key=lambda row: hashlib.sha256(row[1].encode()).digest())[0]
        await self.store.transactions.set_categories({f"rides-{name}": [found[0]]})
        return found[1], "rides"

    async def _all(self, query: sa.Select[Any]) -> list[Any]:
        async with self.store._connections.reading() as connection:
            return list((await connection.execute(query)).all())
