"""The demo's connections and wallets: real rows with sealed tokens, which only the sandbox takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dhanam_jobs.handlers.demo.people import DEMO_ADMIN_ID, DEMO_SPACE_ID, DEMO_SPACE_IDS, DEMO_USER_ID
from dhanam_jobs.handlers.sandbox import demo_world as sandbox

if TYPE_CHECKING:
    from dhanam_jobs.handlers.store import Queries
    from dhanam_jobs.handlers.token_cipher import TokenCipher

_WORKSHOP_ID = DEMO_SPACE_IDS[1]


async def connect_demo(tx: Queries, cipher: TokenCipher) -> None:
    """Write the connections as new, without what syncs have noted on them, and the wallets."""
    rows = _connections(cipher)
    await tx.provider_connections.erase([row["id"] for row in rows])
    await tx.provider_connections.upsert(rows)
    await tx.accounts.upsert(
        [
            _wallet("acc_bitcoin", "Bitcoin en frío", "btc", sandbox.BTC_ADDRESS),
            _wallet("acc_ether", "Ether", "eth", sandbox.ETH_ADDRESS),
        ]
    )


def _connections(cipher: TokenCipher) -> list[dict[str, Any]]:
    def connection(id: str, user_id: str, provider: str, name: str, token: str, **metadata: Any) -> dict[str, Any]:
        return {
            "id": id,
            "user_id": user_id,
            "provider": provider,
            "provider_user_id": name,
            "encrypted_token": cipher.encrypt(token),
            "metadata": {"demo": True, **metadata},
        }

    return [
        connection(
            "conn_bitso",
            DEMO_USER_ID,
            "bitso",
            "demo-maria",
            sandbox.BITSO_KEY,
            encryptedApiSecret=cipher.encrypt(sandbox.BITSO_SECRET),
            autoSync=True,
        ),
        connection(
            "conn_belvo",
            DEMO_ADMIN_ID,
            "belvo",
            sandbox.BELVO_LINK,
            sandbox.BELVO_LINK,
            spaceId=_WORKSHOP_ID,
            institution="erebor_mx_retail",
        ),
        connection(
            "conn_plaid",
            DEMO_ADMIN_ID,
            "plaid",
            "demo-item-carlos",
            sandbox.PLAID_TOKEN,
            spaceId=_WORKSHOP_ID,
            itemId="demo-item-carlos",
        ),
    ]


def _wallet(id: str, name: str, coin: str, address: str) -> dict[str, Any]:
    return {
        "id": id,
        "space_id": DEMO_SPACE_ID,
        "owner_id": DEMO_USER_ID,
        "name": name,
        "type": "crypto",
        "subtype": "non-custodial",
        "provider": "manual",
        "provider_account_id": address,
        "currency": "USD",
        "metadata": {"readOnly": True, "cryptoCurrency": coin, "address": address, "label": name},
    }
