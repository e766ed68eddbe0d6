"""Bitcoin by an Esplora-style HTTP API: an address's balance and history. Worth and keeping are the sync's matter."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from dhanam_jobs.handlers.providers.errors import SyncFailed, SyncRefused
from dhanam_jobs.handlers.providers.transport import Transport

SATOSHI: Final = Decimal(10) ** 8


class _Sums(msgspec.Struct, frozen=True):
    funded_txo_sum: int
    spent_txo_sum: int


class _Address(msgspec.Struct, frozen=True):
    chain_stats: _Sums


class _Output(msgspec.Struct, frozen=True):
    value: int
    scriptpubkey_address: str | None = None


class _Input(msgspec.Struct, frozen=True):
    prevout: _Output | None = None


class _Status(msgspec.Struct, frozen=True):
    confirmed: bool
    block_height: int | None = None
    block_time: int | None = None


class _Transaction(msgspec.Struct, frozen=True):
    txid: str
    vin: list[_Input]
    vout: list[_Output]
    status: _Status
    fee: int = 0


class Movement(msgspec.Struct, frozen=True):
    """What a transaction has done to one address: `net` in bitcoin, negative for what left it, its share of the fee
    included. `at` is None while unconfirmed. `others` are the addresses on the other side."""

    txid: str
    net: Decimal
    fee: Decimal
    confirmed: bool
    block: int | None
    at: dt.datetime | None
    others: list[str]


class BitcoinClient:
    """An Esplora server's view of the chain."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def balance(self, address: str) -> Decimal:
        """The confirmed bitcoin that an address holds."""
        found: _Address = await self._ask(f"/address/{address}", _Address)
        return in_bitcoin(found.chain_stats.funded_txo_sum - found.chain_stats.spent_txo_sum)

    async def history(self, address: str, older_than: str | None = None) -> AsyncIterator[list[Movement]]:
        """Pages of what happened at the address, newest first and unconfirmed ones before all.

        With `older_than`, a transaction's id, only what was confirmed before that one.
        """
        page = await self._page(address, older_than)
        while page:
            yield [movement_of(entry, address) for entry in page]
            confirmed = [entry.txid for entry in page if entry.status.confirmed]
            if not confirmed or confirmed[-1] == older_than:
                return
            older_than = confirmed[-1]
            page = await self._page(address, older_than)

    async def _page(self, address: str, older_than: str | None) -> list[_Transaction]:
        path = f"/address/{address}/txs" + (f"/chain/{older_than}" if older_than else "")
        page: list[_Transaction] = await self._ask(path, list[_Transaction])
        return page

    async def _ask(self, path: str, kind: Any) -> Any:
        name = self._transport.provider
        answer = await self._transport.send(self._transport.build("GET", path))
        if answer.status == 400:
            raise SyncRefused(name, "it knows no such address")
        if answer.status >= 300:
            raise SyncFailed(name, f"it answered {answer.status}")
        return answer.decode(kind, name)


def movement_of(entry: _Transaction, address: str) -> Movement:
    """What a transaction has done to the address: all outputs to it, less all inputs that were its."""
    received = sum(output.value for output in entry.vout if output.scriptpubkey_address == address)
    spent = sum(
        source.prevout.value
        for source in entry.vin
        if source.prevout is not None and source.prevout.scriptpubkey_address == address
    )
    if spent > received:
        sides = [output.scriptpubkey_address for output in entry.vout]
    else:
        sides = [source.prevout.scriptpubkey_address for source in entry.vin if source.prevout is not None]
    status = entry.status
    at = None if status.block_time is None else dt.datetime.fromtimestamp(status.block_time, dt.UTC)
    return Movement(
        txid=entry.txid,
        net=in_bitcoin(received - spent),
        fee=in_bitcoin(entry.fee),
        confirmed=status.confirmed,
        block=status.block_height,
        at=at,
        others=sorted({side for side in sides if side is not None and side != address})[:10],
    )


def in_bitcoin(satoshis: int) -> Decimal:
    """Satoshis as bitcoin, exactly."""
    return Decimal(satoshis).scaleb(-8)
