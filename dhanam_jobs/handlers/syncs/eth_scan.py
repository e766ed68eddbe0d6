"""Ethereum's history: one reading of the chain's blocks, shared by all wallets, from where the last one ended.

A node has no history by address. Blocks are read in order, each chunk's transfers are imported and the cursor is moved
in one transaction, so that a chunk counts once whoever reads it. A new wallet's history begins at its first sync.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dhanam_jobs.handlers.providers.amounts import plain
from dhanam_jobs.handlers.providers.ethereum import EthereumClient, Receipt, Transfer
from dhanam_jobs.handlers.store.synced_books import SyncedTransaction
from dhanam_jobs.handlers.syncs.wallets import Unpriced, Valuation

if TYPE_CHECKING:
    from dhanam_jobs.handlers.providers import Providers, Side
    from dhanam_jobs.handlers.store import Store
    from dhanam_jobs.handlers.store.wallets import Wallet

CONFIRMATIONS: Final = 12
"""Blocks on top of one before it is read: what is younger may yet be replaced."""

FIRST_LOOK: Final = 100
"""Blocks that the first reading of all looks back."""

BLOCKS_PER_CALL: Final = 20
MAX_BLOCKS: Final = 2000
"""Blocks of one run, some seven hours of the chain; the next run goes on where it ended."""


class Scanned(msgspec.Struct, frozen=True):
    """What a reading has brought, and how many confirmed blocks are left for the next.

    `missing_price`: it ended before a transfer that has no price.
    """

    transactions: int
    blocks_left: int
    missing_price: bool = False


async def scan_ethereum(store: Store, providers: Providers, *, demo: bool) -> Scanned:
    """Read on for all wallets of one side, the demo's or everybody else's. Raises ProviderError."""
    side = providers.side(demo=demo)
    network = "ethereum-sandbox" if demo else "ethereum"
    # Others of this process wait here and then find little left; those of other processes may read in vain.
    async with providers.scanning, providers.guarded(side, "ethereum") as transport:
        client = EthereumClient(transport)
        last = await client.head() - CONFIRMATIONS
        first = await store.provider_health.next_block(network)
        if first is None:
            await store.provider_health.begin_scan(network, max(0, last + 1 - FIRST_LOOK))
            first = await store.provider_health.next_block(network)
            assert first is not None
        wallets: dict[str, list[Wallet]] = {}
        for wallet in await store.wallets.all_of("eth", demo=demo):
            wallets.setdefault(wallet.address.lower(), []).append(wallet)
        count, end = 0, min(last, first + MAX_BLOCKS - 1)
        while first <= end:
            until = min(end, first + BLOCKS_PER_CALL - 1)
            found = [
                transfer
                for transfer in await client.transfers(first, until)
                if transfer.sender.lower() in wallets or (transfer.to or "").lower() in wallets
            ]
            receipts = await client.receipts([transfer.hash for transfer in found])
            good = [pair for pair in zip(found, receipts, strict=True) if pair[1].succeeded]
            try:
                rows = await _rows(providers, side, wallets, good)
            except Unpriced:
                return Scanned(count, last + 1 - first, missing_price=True)
            async with store.transaction() as tx:
                if await tx.provider_health.advance_scan(network, first, until + 1):
                    written = await tx.synced_books.write_transactions(rows)
                    count += written.new + written.changed
            # Whoever moved it, go on from there.
            first = await store.provider_health.next_block(network) or until + 1
    return Scanned(count, max(0, last + 1 - first))


async def _rows(
    providers: Providers,
    side: Side,
    wallets: dict[str, list[Wallet]],
    transfers: list[tuple[Transfer, Receipt]],
) -> list[SyncedTransaction]:
    values = await Valuation.load(side, providers, "eth", [transfer.at for transfer, _ in transfers])
    rows = []
    for transfer, receipt in transfers:
        sender, receiver = transfer.sender.lower(), (transfer.to or "").lower()
        for address in {sender, receiver} & wallets.keys():
            net = Decimal(0)
            net += transfer.value if address == receiver else 0
            net -= transfer.value if address == sender else 0
            amount, marks = values.of(net, transfer.at)
            if amount is None:
                raise Unpriced(transfer.hash)
            rows += [_row(wallet, transfer, receipt, net, amount, marks) for wallet in wallets[address]]
    return rows


def _row(
    wallet: Wallet, transfer: Transfer, receipt: Receipt, net: Decimal, amount: Decimal, marks: dict[str, Any]
) -> SyncedTransaction:
    return SyncedTransaction(
        account_id=wallet.account_id,
        provider_transaction_id=transfer.hash,
        amount=amount,
        currency="USD",
        date=transfer.at.astimezone(wallet.zone).date(),
        description=f"{'Sent' if net < 0 else 'Received'} {plain(transfer.value)} ETH",
        merchant="Blockchain Transfer",
        metadata={
            "txHash": transfer.hash,
            "from": [transfer.sender],
            "to": [transfer.to] if transfer.to else [],
            "cryptoAmount": plain(net),
            "cryptoCurrency": "ETH",
            "fee": plain(receipt.fee),
            "blockNumber": transfer.block,
            "status": "confirmed",
            "network": "ethereum",
            **marks,
        },
    )
