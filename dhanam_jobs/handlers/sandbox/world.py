"""What the sandbox's providers know, what they were asked, and what is to go wrong: plain data that tests may change.

How it is told over the wire is each provider's file. All entries are JSON objects of the provider's own shape, so that
odd but legal ones can stand beside ordinary ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

Json = dict[str, Any]


class Asked(msgspec.Struct, frozen=True):
    """One request as it came: `target` is path and query, `who` whom its credentials name, `body` its JSON."""

    method: str
    target: str
    who: str | None = None
    body: Any = None


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with requests whose target begins with `path`.

    `after` of them pass first, then it happens `times` times. `status`, `headers` and `body` (JSON, or a text as it is)
    are answered; with `hang` nothing is for so many seconds; with `cut` the connection ends in the middle of a body.
    """

    path: str
    after: int = 0
    times: int = 1
    status: int = 503
    headers: dict[str, str] = {}
    body: Any = None
    hang: float = 0.0
    cut: bool = False


class BitsoClient(msgspec.Struct):
    """A client of the exchange, by API key."""

    secret: str
    balances: list[Json]
    trades: list[Json]
    last_nonce: int = 0


class PlaidItem(msgspec.Struct):
    """An item by its access token. `events` are what happened, oldest first: ("added", {…}), ("modified", {…}) or
    ("removed", {…}); a cursor is a number of events."""

    accounts: list[Json]
    events: list[tuple[str, Json]]
    liabilities: Json | None = None


class BelvoLink(msgspec.Struct):
    """A link by its id. With `page_rows` its answers are paged."""

    accounts: list[Json]
    transactions: list[Json]
    page_rows: int | None = None


class Chain(msgspec.Struct):
    """Ethereum: `blocks` by number hold transactions; blocks that aren't named are empty, up to `head`."""

    head: int = 0
    blocks: dict[int, list[Json]] = {}
    balances: dict[str, int] = {}
    failed: set[str] = set()
    first_time: int = 1_700_000_000


class World(msgspec.Struct):
    """Everything that the sandbox's providers know, and a record of what they were asked.

    `limits` is how many requests a minute each provider takes of one client; above it refuses as the provider does.
    """

    bitso: dict[str, BitsoClient] = {}
    tickers: list[Json] = []
    belvo: dict[str, BelvoLink] = {}
    belvo_secret: tuple[str, str] = ("sandbox-id", "sandbox-password")
    plaid: dict[str, PlaidItem] = {}
    plaid_secret: tuple[str, str] = ("sandbox-client", "sandbox-secret")
    bitcoin: dict[str, list[Json]] = {}
    bitcoin_height: int = 900_000
    ethereum: Chain = msgspec.field(default_factory=Chain)
    prices: dict[str, float] = {}
    past_prices: dict[str, list[tuple[int, float]]] = {}
    esg: dict[str, Json] = {}
    rates: Json = {}
    limits: dict[str, int] = msgspec.field(default_factory=lambda: {"bitso": 300, "belvo": 600, "plaid": 600})
    faults: list[Fault] = []
    asked: list[Asked] = []
    clock: Callable[[], float] = time.monotonic
    _recent: dict[tuple[str, str], list[float]] = {}

    def note(self, asked: Asked) -> None:
        """Keep a request; the newest 10,000 stay."""
        self.asked.append(asked)
        del self.asked[:-10_000]

    def asked_of(self, path: str) -> list[Asked]:
        """The requests whose target begins with the path, oldest first."""
        return [each for each in self.asked if each.target.startswith(path)]

    def fault_for(self, target: str) -> Fault | None:
        """The fault that happens to this request, if one does; it is counted down."""
        for fault in self.faults:
            if target.startswith(fault.path):
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def too_often(self, provider: str, who: str) -> bool:
        """Whether this client has had its requests of the minute; counts this one."""
        now = self.clock()
        recent = [at for at in self._recent.get((provider, who), []) if now - at < 60]
        recent.append(now)
        self._recent[provider, who] = recent
        return len(recent) > self.limits.get(provider, 1_000_000)


async def hang(seconds: float) -> None:
    """Answer nothing for a while."""
    await asyncio.sleep(seconds)
