"""A small town for a simulated day: three people, what their banks, exchange and chains know, and what that comes to.

`Town.hour` lets something happen at every provider. What the books must hold is worked out here from the sandbox's
world alone, by other means than the service's.
"""

from __future__ import annotations

import datetime as dt
import random
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from dhanam_jobs.handlers.sandbox.world import BelvoLink, BitsoClient, Chain, PlaidItem, World

PEOPLE: Final = ("ana", "eva", "luis")
BTC: Final = {"ana": "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "eva": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}
ETH: Final = {
    "ana": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "luis": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
}
PRICES: Final = {"bitcoin": 90_000.5, "ethereum": 3_000.25}
RATES: Final = {"MXN": 18.5, "EUR": 0.9, "CAD": 1.4}
RULES: Final = {"OXXO": "food", "UBER": "rides", "TOOL DEPOT": "tools"}
SECRET: Final = "the-api-secret"
CONFIRMATIONS: Final = 12
_STRANGER: Final = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
_ETH_STRANGER: Final = "0x00000000000000000000000000000000000000ff"
_SHOPS: Final = ("OXXO", "UBER VIAJE", "CFE RECIBO", "SPEI RECIBIDO", "FARMACIA", "TOOL DEPOT")
_MONEY: Final = Decimal("0.0001")

Row = tuple[str, str, Decimal, str | None]
"""A transaction: the provider's ids of its account and of itself, amount, and the category that a rule gives it."""


class Town:
    """Three people with two spaces each: the exchange and wallets in `home-…`, the banks in `firm-…`.

    Args:
        chance: decides what happens.
        today: the day it is in the spaces' time zone.
        now: seconds since 1970.
    """

    def __init__(self, chance: random.Random, today: dt.date, now: int) -> None:
        self.chance = chance
        self.today = today
        self.now = now
        self.number = 0
        self.world = World(
            belvo={f"link-{name}": BelvoLink(self._belvo_accounts(name), [], page_rows=40) for name in PEOPLE},
            plaid={f"access-{name}": PlaidItem(self._plaid_accounts(name), [], {"credit": None}) for name in PEOPLE},
            bitso={f"key-{name}": BitsoClient(SECRET, [], []) for name in PEOPLE},
            bitcoin={address: [] for address in BTC.values()},
            ethereum=Chain(head=1000, first_time=now - 1000 * 12),
            prices=dict(PRICES),
            past_prices={
                coin: [((now - day * 86_400) * 1000, price) for day in range(60, -1, -1)]
                for coin, price in PRICES.items()
            },
            rates={"base": "USD", "date": today.isoformat(), "rates": dict(RATES)},
            limits={"bitso": 10_000, "belvo": 10_000, "plaid": 10_000},
        )
        for name in PEOPLE:
            for day in range(40, 0, -1):
                self._belvo_movement(name, today - dt.timedelta(days=day))
                self._plaid_event(name, today - dt.timedelta(days=day))
            self._odd_entries(name)
            for _ in range(105):
                self._trade(name)
        for address in BTC.values():
            self._payment(address, 10**11)
            for _ in range(30):
                self._payment(address)
        self._transfers()
        self._balances()

    def hour(self) -> None:
        """An hour passes: movements, trades, payments and blocks come, balances and prices change."""
        for name in PEOPLE:
            for _ in range(self.chance.randint(1, 4)):
                self._belvo_movement(name, self.today)
                self._plaid_event(name, self.today)
                self._trade(name)
            self._plaid_changes(name)
        for address in BTC.values():
            if self.chance.random() < 0.6:
                self._payment(address)
        self.world.ethereum.head += 20
        self._transfers()
        self._balances()

    def night(self) -> None:
        """Blocks come until all that was transferred is confirmed."""
        self.world.ethereum.head += CONFIRMATIONS

    # -- what happens ------------------------------------------------------------------------------------------------

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _cents(self, most: int) -> float:
        return self.chance.randint(100, most) / 100

    def _belvo_accounts(self, name: str) -> list[Any]:
        common = {"link": "…", "institution": {"name": "erebor"}, "currency": "MXN", "number": None}
        return [
            {**common, "id": f"cheques-{name}", "name": "Cheques", "category": "CHECKING_ACCOUNT"},
            {
                **common,
                "id": f"tarjeta-{name}",
                "name": "Tarjeta",
                "category": "CREDIT_CARD",
                "balance_type": "LIABILITY",
                "credit_data": {"credit_limit": 50_000},
            },
        ]

    def _plaid_accounts(self, name: str) -> list[Any]:
        common = {"official_name": None, "mask": None}
        return [
            {**common, "account_id": f"checking-{name}", "name": "C", "type": "depository", "subtype": "checking"},
            {**common, "account_id": f"card-{name}", "name": "D", "type": "credit", "subtype": "credit card"},
        ]

    def _balances(self) -> None:
        for name in PEOPLE:
            for account in self.world.belvo[f"link-{name}"].accounts:
                account["balance"] = {"current": self._cents(9_000_000), "available": None}
            for account in self.world.plaid[f"access-{name}"].accounts:
                account["balances"] = {"current": self._cents(900_000), "iso_currency_code": "USD", "limit": None}
            held = {coin: f"{self.chance.randint(1, 10**9)}e-8" for coin in ("btc", "eth", "usdt")}
            held["mxn"] = f"{self._cents(5_000_000):.2f}"
            self.world.bitso[f"key-{name}"].balances = [
                {"currency": coin, "total": f"{Decimal(total):f}", "available": None, "locked": None}
                for coin, total in held.items()
            ]
        for address in ETH.values():
            self.world.ethereum.balances[address.lower()] = self.chance.randint(1, 10**19)
        peso = Decimal(self.chance.randint(1700, 2100)) / 100
        self.world.tickers = [
            {"book": "usd_mxn", "last": f"{peso}", "new": {"field": None}},
            {"book": "btc_mxn", "last": f"{self.chance.randint(1_500_000, 1_900_000)}.25"},
            {"book": "usdt_mxn", "last": f"{peso + Decimal('0.07')}"},
            {"book": "eth_usd", "last": f"{self.chance.randint(2_500, 3_500)}.5"},
            {"book": "dead_mxn", "last": None},
        ]

    def _belvo_movement(self, name: str, day: dt.date) -> None:
        number = self._next()
        rows = self.world.belvo[f"link-{name}"].transactions
        rows.append(
            {
                "id": f"b{number}",
                "account": {"id": self.chance.choice([f"cheques-{name}", f"tarjeta-{name}"])},
                "amount": self._cents(500_000),
                "type": self.chance.choice(["OUTFLOW", "OUTFLOW", "INFLOW"]),
                "value_date": day.isoformat(),
                "description": f"{self.chance.choice(_SHOPS)} {number}",
                "merchant": None,
                "status": "PROCESSED",
            }
        )
        if self.chance.random() < 0.1:
            rows.append(rows[-1])

    def _odd_entries(self, name: str) -> None:
        """Odd, but legal JSON: none of these can be kept."""
        rows = self.world.belvo[f"link-{name}"].transactions
        for changes in ({"amount": None}, {"type": "SIDEWAYS"}, {"amount": 1e30}, {"account": {"id": "nobody's"}}):
            rows.append({**rows[0], "id": f"odd{self._next()}", **changes})
        events = self.world.plaid[f"access-{name}"].events
        events.append(("added", {**events[0][1], "transaction_id": f"odd{self._next()}", "account_id": "nobody's"}))

    def _plaid_event(self, name: str, day: dt.date) -> None:
        number = self._next()
        entry = {
            "transaction_id": f"p{number}",
            "account_id": self.chance.choice([f"checking-{name}", f"card-{name}"]),
            "amount": self._cents(90_000) * self.chance.choice([1, 1, -1]),
            "iso_currency_code": "USD",
            "date": day.isoformat(),
            "name": f"{self.chance.choice(_SHOPS)} {number}",
            "merchant_name": None,
            "pending": False,
            "counterparties": [{"new": "field"}],
        }
        self.world.plaid[f"access-{name}"].events.append(("added", entry))

    def _plaid_changes(self, name: str) -> None:
        events = self.world.plaid[f"access-{name}"].events
        live = [entry for _, entry in self._plaid_rows(name) if entry["date"] == self.today.isoformat()]
        if live and self.chance.random() < 0.5:
            events.append(("modified", {**self.chance.choice(live), "amount": self._cents(90_000)}))
        if len(live) > 1 and self.chance.random() < 0.3:
            events.append(("removed", {"transaction_id": live[0]["transaction_id"]}))

    def _trade(self, name: str) -> None:
        trades = self.world.bitso[f"key-{name}"].trades
        buys = self.chance.random() < 0.7
        paid, coins = self._cents(5_000_000), self.chance.randint(1, 10**7)
        trades.append(
            {
                "tid": 1000 + self._next(),
                "book": "btc_mxn",
                "major": f"{'' if buys else '-'}{Decimal(coins) / 10**8:f}",
                "minor": f"{'-' if buys else ''}{paid:.2f}",
                "price": "1800000",
                "fees_amount": "0.0001",
                "fees_currency": "btc",
                "oid": None,
                "side": "buy" if buys else "sell",
                "created_at": dt.datetime.fromtimestamp(self.now - 60, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
            }
        )

    def _payment(self, address: str, comes: int = 0) -> None:
        number, value = self._next(), comes or self.chance.randint(10_000, 10**8)
        leaves = not comes and self.chance.random() < 0.3
        own, other = (address, _STRANGER) if leaves else (_STRANGER, address)
        self.world.bitcoin[address].append(
            {
                "txid": f"{number:064x}",
                "fee": 500,
                "vin": [{"prevout": {"scriptpubkey_address": own, "value": value + 500}}, {"prevout": None}],
                "vout": [{"scriptpubkey_address": other, "value": value}],
                "status": {"confirmed": True, "block_height": 800_000 + number, "block_time": self.now - 7200},
            }
        )

    def _transfers(self) -> None:
        """Some transfers in blocks that nobody has read yet; every fifth one fails."""
        chain = self.world.ethereum
        for address in ETH.values():
            for _ in range(self.chance.randint(0, 2)):
                number = self._next()
                sender, to = self.chance.sample([address, _ETH_STRANGER], 2)
                entry = {
                    "hash": f"0x{number:064x}",
                    "from": sender.lower(),
                    "to": to.lower(),
                    "value": hex(self.chance.randint(1, 10**18)),
                    "gas": "0x5208",
                    "gasPrice": "0x1",
                    "input": "0x",
                }
                chain.blocks.setdefault(chain.head - self.chance.randint(0, 10), []).append(entry)
                if number % 5 == 0:
                    chain.failed.add(entry["hash"])

    # -- what the books must hold ------------------------------------------------------------------------------------

    def _plaid_rows(self, name: str) -> list[tuple[str, Any]]:
        live: dict[str, Any] = {}
        for kind, entry in self.world.plaid[f"access-{name}"].events:
            if kind == "removed":
                live.pop(entry["transaction_id"], None)
            elif entry["account_id"] != "nobody's":
                live[entry["transaction_id"]] = entry
        return list(live.items())

    def rows(self, name: str) -> set[Row]:
        """All transactions of a person, in both spaces."""
        found: set[Row] = set()
        for row in self.world.belvo[f"link-{name}"].transactions:
            if row["id"].startswith("b"):
                amount = Decimal(str(row["amount"])) * (1 if row["type"] == "INFLOW" else -1)
                found.add((row["account"]["id"], row["id"], amount, category(row["description"])))
        for key, row in self._plaid_rows(name):
            found.add((row["account_id"], key, -Decimal(str(row["amount"])), category(row["name"])))
        for trade in self.world.bitso[f"key-{name}"].trades:
            paid, key = Decimal(trade["minor"]), f"bitso_trade_{trade['tid']}"
            found.add((f"bitso_mxn_{name}", key, paid, None))
            found.add((f"bitso_btc_{name}", key, -paid, None))
        if name in BTC:
            for payment in self.world.bitcoin[BTC[name]]:
                coins = _gained(payment, BTC[name]) / Decimal(10**8)
                found.add((BTC[name], payment["txid"], _rounded(coins * Decimal("90000.5")), None))
        if name in ETH:
            own = ETH[name].lower()
            for entry in (each for block in self.world.ethereum.blocks.values() for each in block):
                if own in (entry["from"], entry["to"]) and entry["hash"] not in self.world.ethereum.failed:
                    coins = Decimal(int(entry["value"], 16)) / 10**18 * (1 if entry["to"] == own else -1)
                    found.add((ETH[name], entry["hash"], _rounded(coins * Decimal("3000.25")), None))
        return found

    def balances(self, name: str) -> dict[str, tuple[str, Decimal]]:
        """Currency and balance of all accounts of a person, by the provider's id."""
        found: dict[str, tuple[str, Decimal]] = {}
        for account in self.world.belvo[f"link-{name}"].accounts:
            sign = -1 if account["category"] == "CREDIT_CARD" else 1
            found[account["id"]] = ("MXN", sign * Decimal(str(account["balance"]["current"])))
        for account in self.world.plaid[f"access-{name}"].accounts:
            sign = -1 if account["type"] == "credit" else 1
            found[account["account_id"]] = ("USD", sign * Decimal(str(account["balances"]["current"])))
        last = {each["book"]: Decimal(each["last"]) for each in self.world.tickers if each["last"]}
        dollars = {
            "btc": last["btc_mxn"] / last["usd_mxn"],
            "usdt": last["usdt_mxn"] / last["usd_mxn"],
            "eth": last["eth_usd"],
        }
        for balance in self.world.bitso[f"key-{name}"].balances:
            coin, total = balance["currency"], Decimal(balance["total"])
            worth = ("MXN", total) if coin == "mxn" else ("USD", _rounded(total * dollars[coin]))
            found[f"bitso_{coin}_{name}"] = worth
        if name in BTC:
            satoshis = sum(_gained(payment, BTC[name]) for payment in self.world.bitcoin[BTC[name]])
            found[BTC[name]] = ("USD", _rounded(satoshis / Decimal(10**8) * Decimal("90000.5")))
        if name in ETH:
            wei = self.world.ethereum.balances[ETH[name].lower()]
            found[ETH[name]] = ("USD", _rounded(Decimal(wei) / 10**18 * Decimal("3000.25")))
        return found


def category(description: str) -> str | None:
    """The category that the rules give a description."""
    return next((name for word, name in RULES.items() if word in description), None)


def _gained(payment: Any, address: str) -> Decimal:
    gained = sum(out["value"] for out in payment["vout"] if out["scriptpubkey_address"] == address)
    spent = (each["prevout"] for each in payment["vin"] if each["prevout"])
    return Decimal(gained - sum(out["value"] for out in spent if out["scriptpubkey_address"] == address))


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_MONEY, ROUND_HALF_UP)
