"""Connections at rest: loaded with sealed secrets, renewed under a new key, and the demo's synced from the sandbox."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from dhanam_jobs.handlers.categorize_transactions import categorize_space
from dhanam_jobs.handlers.demo import create_demo, reset_demo
from dhanam_jobs.handlers.load import load_document
from dhanam_jobs.handlers.load_format import LoadError, decode_document
from dhanam_jobs.handlers.providers import Endpoints, Providers
from dhanam_jobs.handlers.sandbox.demo_world import demo_world
from dhanam_jobs.handlers.sandbox.server import endpoints_at, running_sandbox
from dhanam_jobs.handlers.store import Store
from dhanam_jobs.handlers.store.schema import accounts, transactions
from dhanam_jobs.handlers.sync_transactions import sync_connection
from dhanam_jobs.handlers.sync_wallets import sync_wallets_of
from dhanam_jobs.handlers.token_cipher import TokenCipher

CIPHER = TokenCipher("n" * 32)
USERS = [{"id": "ana", "email": "ana@example.test", "name": "Ana"}]
BITSO = {"id": "b", "userId": "ana", "provider": "bitso", "providerUserId": "client-1"}


async def _load(store: Store, cipher: TokenCipher | None = CIPHER, **lists: Any) -> Any:
    async with store.transaction() as tx:
        return await load_document(tx, decode_document(json.dumps(lists).encode(), "test"), cipher)


async def test_loaded_secrets_are_sealed_and_open_again(store: Store) -> None:
    """Neither stands in the store as it was given."""
    await _load(store, users=USERS, connections=[{**BITSO, "token": "the-key", "apiSecret": "the-secret"}])

    connection = await store.provider_connections.get("b")
    assert connection is not None
    sealed = connection.details["encryptedApiSecret"]
    assert "the-" not in connection.encrypted_token + sealed
    assert CIPHER.decrypt(connection.encrypted_token) == "the-key"
    assert CIPHER.decrypt(sealed) == "the-secret"


async def test_loading_again_keeps_what_the_file_leaves_out(store: Store) -> None:
    """Token, secret and what syncs have noted; a field that is given is set among the others."""
    await _load(store, users=USERS, connections=[{**BITSO, "token": "the-key", "apiSecret": "the-secret"}])
    await store.provider_connections.set_metadata("b", {"tradesMarker": 7})

    counts = await _load(store, connections=[{**BITSO, "metadata": {"label": "mine"}}])

    connection = await store.provider_connections.get("b")
    assert (counts["connections"].new, counts["connections"].known) == (0, 1)
    assert connection is not None
    assert set(connection.details) == {"encryptedApiSecret", "tradesMarker", "label"}
    assert CIPHER.decrypt(connection.encrypted_token) == "the-key"


@pytest.mark.parametrize(
    ("entry", "cipher", "mistake"),
    [
        ({"token": "t", "apiSecret": "s"}, None, r"\$\.connections\[0\]\.token: .* ENCRYPTION_KEY"),
        ({"apiSecret": "s"}, CIPHER, r"\.token: not given"),
        ({"token": "t"}, CIPHER, r"\.apiSecret: not given"),
        ({"token": "t", "apiSecret": "s", "userId": "eva"}, CIPHER, r"\.userId: found 'eva'"),
        ({"token": "t", "apiSecret": "s", "spaceId": "none"}, CIPHER, r"\.spaceId: found 'none'"),
        ({"provider": "mx", "token": "t"}, CIPHER, r"\.provider: found \"mx\", wanted one of belvo, plaid, bitso"),
    ],
)
async def test_mistakes_are_named_by_their_path(
    store: Store, entry: dict[str, Any], cipher: TokenCipher | None, mistake: str
) -> None:
    """And nothing is loaded."""
    with pytest.raises(LoadError, match=mistake) as raised:
        await _load(store, cipher, users=USERS, connections=[{**BITSO, **entry}])
    assert "'s'" not in str(raised.value)
    assert await store.provider_connections.get("b") is None


async def test_a_new_key_takes_over_every_stored_secret(store: Store) -> None:
    """Tokens and API secrets, once."""
    old = TokenCipher("o" * 32)
    await _load(store, old, users=USERS, connections=[{**BITSO, "token": "the-key", "apiSecret": "the-secret"}])
    both = TokenCipher("n" * 32, ["o" * 32])

    assert await store.provider_connections.renew_tokens(both.rotate) == 1
    assert await store.provider_connections.renew_tokens(both.rotate) == 0

    connection = await store.provider_connections.get("b")
    assert connection is not None
    assert CIPHER.decrypt(connection.encrypted_token) == "the-key"
    assert CIPHER.decrypt(connection.details["encryptedApiSecret"]) == "the-secret"


async def test_the_demo_syncs_from_the_sandbox_and_from_nowhere_else(store: Store) -> None:
    """Everything that there is, twice without change; the addresses of the real providers lead nowhere here."""
    await create_demo(store, CIPHER)
    world = demo_world()
    nowhere = "http://127.0.0.1:9"
    live = Endpoints(bitso=nowhere, belvo=nowhere, plaid=nowhere, ethereum=nowhere, bitcoin=nowhere, prices=nowhere)
    async with (
        running_sandbox(world) as url,
        Providers.open(store, cipher=CIPHER, live=live, sandbox=endpoints_at(url, world)) as providers,
    ):
        first = await _sync_everything(store, providers)
        again = await _sync_everything(store, providers)

    assert {name: (r.accounts, r.transactions, r.removed, r.skipped) for name, r in first.items()} == {
        "conn_belvo": (3, 96, 0, 2),
        "conn_bitso": (6, 260, 0, 0),
        "conn_plaid": (3, 59, 0, 0),
    }
    assert [result.transactions for result in again.values()] == [0, 0, 0]
    assert all(result.missing_prices == [] for result in first.values())
    balances = await _balances(store)
    assert balances["acc_bitcoin"] > 0
    assert balances["acc_ether"] == Decimal("2886.2312")


async def test_a_synced_demo_is_as_new_after_its_reset(store: Store) -> None:
    """Connections without cursors, spaces without what was synced."""
    await create_demo(store, CIPHER)
    world = demo_world()
    async with (
        running_sandbox(world) as url,
        Providers.open(store, cipher=CIPHER, live=Endpoints(), sandbox=endpoints_at(url, world)) as providers,
    ):
        await _sync_everything(store, providers)

    await reset_demo(store, CIPHER)

    connection = await store.provider_connections.get("conn_bitso")
    assert connection is not None
    assert (connection.last_synced_at, connection.details.get("tradesMarker")) == (None, None)
    assert await store.provider_connections.of_provider("bitso", with_demo=False) == []
    done = await categorize_space(store, "space_123")
    assert (done.categorized, done.total) == (45, 120)


async def _sync_everything(store: Store, providers: Providers) -> dict[str, Any]:
    results = {}
    for name in ("conn_belvo", "conn_bitso", "conn_plaid"):
        connection = await store.provider_connections.get(name)
        assert connection is not None
        results[name] = await sync_connection(store, providers, connection)
    wallets = await sync_wallets_of(store, providers, "user_maria")
    assert (wallets.synced, wallets.errors) == (2, 0)
    return results


async def _balances(store: Store) -> dict[str, Decimal]:
    async with store._connections.reading() as connection:
        orphans = sa.select(sa.func.count()).select_from(transactions).where(transactions.c.currency.is_(None))
        assert (await connection.execute(orphans)).scalar_one() == 0
        rows = await connection.execute(sa.select(accounts.c.id, accounts.c.balance))
        return {row.id: row.balance for row in rows}
