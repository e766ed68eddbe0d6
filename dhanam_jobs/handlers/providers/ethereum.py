"""Ethereum by JSON-RPC: balances, and the plain transfers of whole blocks. Whose they are is the sync's matter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, Final

import msgspec

from dhanam_jobs.handlers.providers.errors import RateLimited, SyncFailed
from dhanam_jobs.handlers.providers.transport import DEFAULT_RETRY_AFTER_S, Transport

WEI: Final = Decimal(10) ** 18
_EXACT = Context(prec=60)
_LIMIT_CODES = (-32005, 429)


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Reply(msgspec.Struct, frozen=True):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class _Transaction(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    hash: str
    sender: str
    value: str
    to: str | None = None


class _Block(msgspec.Struct, frozen=True):
    number: str
    timestamp: str
    transactions: list[msgspec.Raw]


class _Receipt(msgspec.Struct, frozen=True, rename="camel"):
    status: str | None = None
    gas_used: str = "0x0"
    effective_gas_price: str = "0x0"


class Transfer(msgspec.Struct, frozen=True):
    """Ether sent within a block; addresses as the node gives them, `value` in ether."""

    hash: str
    sender: str
    to: str | None
    value: Decimal
    block: int
    at: dt.datetime


class Receipt(msgspec.Struct, frozen=True):
    """How a transaction ended and what its gas has cost, in ether."""

    succeeded: bool
    fee: Decimal


class EthereumClient:
    """A node's view of the chain."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def balance(self, address: str) -> Decimal:
        """The ether that an address holds."""
        (found,) = await self._ask([("eth_getBalance", [address, "latest"])])
        return in_ether(self._number(found))

    async def head(self) -> int:
        """The number of the newest block."""
        (found,) = await self._ask([("eth_blockNumber", [])])
        return self._number(found)

    async def transfers(self, first: int, last: int) -> list[Transfer]:
        """All transfers of ether in these blocks, both included, in one call.

        Raises SyncFailed where the node lacks one of the blocks.
        """
        numbers = range(first, last + 1)
        replies = await self._ask([("eth_getBlockByNumber", [hex(number), True]) for number in numbers])
        found: list[Transfer] = []
        for number, reply in zip(numbers, replies, strict=True):
            block: _Block | None = self._decoded(reply, _Block | None)
            if block is None:
                raise SyncFailed(self._transport.provider, f"block {number} is not there yet")
            at = dt.datetime.fromtimestamp(self._quantity(block.timestamp), dt.UTC)
            for raw in block.transactions:
                entry: _Transaction = self._decoded(raw, _Transaction)
                wei = self._quantity(entry.value)
                if wei:
                    found.append(Transfer(entry.hash, entry.sender, entry.to, in_ether(wei), number, at))
        return found

    async def receipts(self, hashes: Sequence[str]) -> list[Receipt]:
        """The receipts of transactions, in their order, in one call."""
        if not hashes:
            return []
        receipts = []
        for hash_, reply in zip(
            hashes, await self._ask([("eth_getTransactionReceipt", [each]) for each in hashes]), strict=True
        ):
            found: _Receipt | None = self._decoded(reply, _Receipt | None)
            if found is None:
                raise SyncFailed(self._transport.provider, f"transaction {hash_[:18]}… has no receipt yet")
            fee = in_ether(self._quantity(found.gas_used) * self._quantity(found.effective_gas_price))
            # Before the Byzantium fork receipts had no status.
            receipts.append(Receipt(found.status is None or self._quantity(found.status) == 1, fee))
        return receipts

    async def _ask(self, calls: Sequence[tuple[str, list[Any]]]) -> list[msgspec.Raw]:
        """Several calls in one request; the results in the calls' order."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        content = msgspec.json.encode(body if len(body) > 1 else body[0])
        request = self._transport.build("POST", "", content=content, headers={"Content-Type": "application/json"})
        name = self._transport.provider
        answer = await self._transport.send(request)
        if answer.status >= 300:
            raise SyncFailed(name, f"it answered {answer.status}")
        found = answer.decode(list[_Reply] | _Reply, name)
        by_id = {reply.id: reply for reply in (found if isinstance(found, list) else [found])}
        results = []
        for number, (method, _) in enumerate(calls):
            reply = by_id.get(number)
            # A node that can't take the batch answers with one error, whose id is null.
            error = (by_id.get(None) or _Reply()).error if reply is None else reply.error
            if error is not None and error.code in _LIMIT_CODES:
                raise RateLimited(name, f"{method} met its limit", retry_after=DEFAULT_RETRY_AFTER_S, scope="provider")
            if error is not None:
                raise SyncFailed(name, f"{method} was refused with code {error.code}")
            if reply is None:
                raise SyncFailed(name, f"{method} got no answer")
            results.append(reply.result)
        return results

    def _decoded(self, raw: msgspec.Raw, kind: Any) -> Any:
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as error:
            raise SyncFailed(self._transport.provider, f"a result can't be read: {error}") from None

    def _number(self, raw: msgspec.Raw) -> int:
        return self._quantity(self._decoded(raw, str))

    def _quantity(self, text: str) -> int:
        try:
            return int(text, 16)
        except ValueError:
            raise SyncFailed(self._transport.provider, "a quantity is no hexadecimal number") from None


def in_ether(wei: int) -> Decimal:
    """Wei as ether, exactly.

    >>> in_ether(1)
    Decimal('1E-18')
    """
    return _EXACT.divide(Decimal(wei), WEI)
