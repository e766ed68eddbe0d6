"""The world of the demo: an exchange, two banks and two chains as its people know them, made anew for today.

Nothing is random: the same day gives the same world. Odd but legal entries stand among the ordinary ones, as they do
in the providers' own answers.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from dhanam_jobs.handlers.esg.built_in import BUILT_IN
from dhanam_jobs.handlers.esg.scoring import Scores
from dhanam_jobs.handlers.sandbox.world import BelvoLink, BitsoClient, Chain, Json, PlaidItem, World

BITSO_KEY: Final = "sandboxMaria"
BITSO_SECRET: Final = "only-the-sandbox-takes-this"  # noqa: S105 - the stand-in's own, worth nothing elsewhere
BELVO_LINK: Final = "b91835f5-6f83-4d9b-a0ad-a5a249f18b7c"
PLAID_TOKEN: Final = "access-sandbox-carlos"  # noqa: S105 - as above
BTC_ADDRESS: Final = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS: Final = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

_STRANGER: Final = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
_ETH_STRANGER: Final = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
_HEAD: Final = 5_000
_DAY_S: Final = 86_400

PRICES: Final = {
    "bitcoin": 91_250.5,
    "ethereum": 3_120.25,
    "solana": 142.8,
    "chainlink": 14.1,
    "tether": 1.0,
}
RATES: Final = {"MXN": 18.4215, "EUR": 0.8571, "CAD": 1.3946}
"""What a US dollar is worth in others."""


def demo_world(now: dt.datetime | None = None) -> World:
    """The world as it is today."""
    now = now or dt.datetime.now(dt.UTC)
    return World(
        bitso={BITSO_KEY: BitsoClient(BITSO_SECRET, _balances(), _trades(now))},
        tickers=_tickers(),
        belvo={BELVO_LINK: BelvoLink(_belvo_accounts(), _belvo_transactions(now.date()))},
        plaid={PLAID_TOKEN: _plaid_item(now.date())},
        bitcoin={BTC_ADDRESS: [_payment(number, now) for number in range(32)]},
        ethereum=_chain(now),
        prices=dict(PRICES),
        esg=_esg(now),
        rates={"base": "USD", "date": now.date().isoformat(), "rates": dict(RATES)},
        past_prices={
            coin: [
                (int((now.timestamp() - day * _DAY_S) * 1000), round(price * (1 - 0.0006 * day), 2))
                for day in range(400, -1, -1)
            ]
            for coin, price in PRICES.items()
        },
    )


def _esg(now: dt.datetime) -> dict[str, Json]:
    """Scores of the coins that the built-in table knows, told an hour ago."""

    def asset(symbol: str, scores: Scores) -> Json:
        told = {name: int(getattr(scores, name)) for name in scores.__struct_fields__}
        moment = (now - dt.timedelta(hours=1)).isoformat(timespec="seconds")
        return {
            "symbol": symbol,
            "name": symbol,
            "score": {**told, "overall": 0, "lastUpdated": moment, "methodology": "Dhanam ESG", "sources": ["sandbox"]},
            "metrics": {"consensusMechanism": "pow" if symbol == "BTC" else "pos"},
            "category": "cryptocurrency",
            "marketCap": None,
        }

    return {symbol.lower(): asset(symbol, scores) for symbol, scores in BUILT_IN.items()}


def _balances() -> list[Json]:
    held = {"mxn": "12450.75", "usd": "310.20", "btc": "0.03218450", "eth": "0.8", "usdt": "512.4", "sol": "6.25"}
    rows: list[Json] = [
        {"currency": currency, "total": total, "available": total, "locked": "0.00000000", "pending_deposit": "0"}
        for currency, total in held.items()
    ]
    # Coins that were never held are told as well, and fields that nobody announced.
    never: Json = {"total": "0.00000000", "available": None, "locked": None}
    return [*rows, {**never, "currency": "xrp", "note": {"new": True}}, {**never, "currency": "zzz9"}]


def _tickers() -> list[Json]:
    last = {
        "btc_mxn": "1688134.25",
        "eth_mxn": "57724.60",
        "usd_mxn": "18.50",
        "usdt_mxn": "18.52",
        "sol_usd": "142.80",
        "bat_mxn": None,
    }
    return [
        {"book": book, "last": price, "volume": "10.5", "vwap": price, "high": price} for book, price in last.items()
    ]


def _trades(now: dt.datetime) -> list[Json]:
    trades = []
    for number in range(1, 131):
        buys = number % 4 != 0
        coins = 50_000 + number * 731
        price = 1_500_000 + number * 1_250
        paid = coins * price // 10**6
        sign, other = ("", "-") if buys else ("-", "")
        created = now - dt.timedelta(days=131 - number, hours=number % 9)
        trades.append(
            {
                "book": "btc_mxn",
                "tid": 51_000_000 + number * 17,
                "oid": f"demo{number:06d}",
                "major": f"{sign}0.{coins:08d}",
                "minor": f"{other}{paid // 100}.{paid % 100:02d}",
                "price": f"{price}.00",
                "fees_amount": f"0.{coins // 200:08d}",
                "fees_currency": "btc" if buys else "mxn",
                "side": "buy" if buys else "sell",
                "maker_side": "sell",
                "created_at": created.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            }
        )
    return trades


def _belvo_accounts() -> list[Json]:
    institution = {"name": "erebor_mx_retail", "type": "bank", "code": "10001"}
    common = {"link": BELVO_LINK, "institution": institution, "currency": "MXN", "collected_at": None}
    return [
        {
            **common,
            "id": "belvo-cheques",
            "name": "Cuenta de cheques empresarial",
            "category": "CHECKING_ACCOUNT",
            "type": "Cuentas",
            "balance_type": "ASSET",
            "balance": {"current": 184320.15, "available": 184320.15},
            "number": "4057068115181",
        },
        {
            **common,
            "id": "belvo-tarjeta",
            "name": "Tarjeta empresarial",
            "category": "CREDIT_CARD",
            "type": "Creditos",
            "balance_type": "LIABILITY",
            "balance": {"current": 22904.6, "available": 77095.4},
            "number": "5120694470616271",
            "credit_data": {
                "credit_limit": 100000,
                "minimum_payment": 1145.23,
                "interest_rate": 38.9,
                "next_payment_date": None,
            },
        },
        {
            **common,
            "id": "belvo-credito",
            "name": "Crédito para maquinaria",
            "category": "LOAN_ACCOUNT",
            "type": "Creditos",
            "balance_type": "LIABILITY",
            "balance": {"current": 312500, "available": None},
            "number": None,
            "loan_data": {"principal": 450000, "monthly_payment": 13980.4, "interest_rate": 17.5},
        },
    ]


_BELVO: Final = (
    ("OUTFLOW", "1845.30", "REFACCIONARIA CALIFORNIA MTY", "Refaccionaria California"),
    ("INFLOW", "7400.00", "SPEI RECIBIDO CLIENTE TALLER", None),
    ("OUTFLOW", "612.00", "GASOLINERA G500 GONZALITOS", "G500"),
    ("OUTFLOW", "2390.00", "CFE SUMINISTRADOR BASICO", "CFE"),
    ("INFLOW", "3150.50", "PAGO CON TARJETA TPV", None),
    ("OUTFLOW", "948.70", "HERRAMIENTAS TRUPER ONLINE", "Truper"),
)


def _belvo_transactions(today: dt.date) -> list[Json]:
    rows: list[Json] = []
    for number in range(96):
        kind, amount, description, merchant = _BELVO[number % len(_BELVO)]
        card = kind == "OUTFLOW" and number % 3 == 0
        rows.append(
            {
                "id": f"belvo-{number:04d}",
                "account": {"id": "belvo-tarjeta" if card else "belvo-cheques"},
                "amount": float(amount) + number,
                "type": kind,
                "value_date": (today - dt.timedelta(days=88 - number * 88 // 96)).isoformat(),
                "description": f"{description} {number:03d}",
                "merchant": {"name": merchant, "logo": None} if merchant else None,
                "category": None if number % 5 else "Bills & Utilities",
                "status": "PENDING" if number > 93 else "PROCESSED",
                "mcc": None,
                "observations": None,
            }
        )
    # A bank that sends the same movement twice, one that has no amount, and one that no bank could hold.
    odd = [{**rows[6], "id": "belvo-odd", "amount": None}, {**rows[7], "id": "belvo-huge", "amount": 1e30}]
    return [*rows, rows[5], *odd]


def _plaid_item(today: dt.date) -> PlaidItem:
    def balances(current: float, **more: object) -> Json:
        return {"current": current, "available": None, "limit": None, "iso_currency_code": "USD", **more}

    accounts: list[Json] = [
        {
            "account_id": "plaid-checking",
            "name": "Business Checking",
            "official_name": "Everyday Business Checking",
            "mask": "0000",
            "type": "depository",
            "subtype": "checking",
            "balances": balances(4210.66, available=4100),
        },
        {
            "account_id": "plaid-savings",
            "name": "Business Savings",
            "official_name": None,
            "mask": "1111",
            "type": "depository",
            "subtype": "savings",
            "balances": balances(15000),
        },
        {
            "account_id": "plaid-card",
            "name": "Business Card",
            "official_name": None,
            "mask": None,
            "type": "credit",
            "subtype": "credit card",
            "balances": balances(812.35, limit=5000),
        },
    ]
    events: list[tuple[str, Json]] = []
    shops = ("Tool Depot", "Harbor Parts", "United Freight", "Client Payment", "Cloud Books")
    for number in range(60):
        shop = shops[number % len(shops)]
        events.append(
            (
                "added",
                {
                    "transaction_id": f"plaid-{number:04d}",
                    "account_id": "plaid-card" if number % 3 == 2 else "plaid-checking",
                    "amount": (-640.0 if shop == "Client Payment" else 45.5) - number * 0.25,
                    # One was paid in points, a currency that nobody else knows.
                    "iso_currency_code": None if number == 7 else "USD",
                    "unofficial_currency_code": "PTS" if number == 7 else None,
                    "date": (today - dt.timedelta(days=62 - number)).isoformat(),
                    "authorized_date": None,
                    "name": f"{shop.upper()} #{number:03d}",
                    "merchant_name": None if shop == "Client Payment" else shop,
                    "category": None,
                    "pending": number == 59,
                    "pending_transaction_id": None,
                    "personal_finance_category": {"primary": "GENERAL_MERCHANDISE"},
                },
            )
        )
    events.append(("modified", {**events[10][1], "amount": 47.25}))
    events.append(("removed", {"transaction_id": "plaid-0011", "account_id": "plaid-card"}))
    debts = {
        "credit": [
            {
                "account_id": "plaid-card",
                "aprs": [{"apr_percentage": 21.49, "apr_type": "purchase_apr"}],
                "is_overdue": False,
                "minimum_payment_amount": 35,
                "last_payment_amount": 250.5,
                "last_payment_date": (today - dt.timedelta(days=20)).isoformat(),
                "next_payment_due_date": (today + dt.timedelta(days=9)).isoformat(),
            }
        ],
        "mortgage": None,
        "student": None,
    }
    return PlaidItem(accounts, events, debts)


def _payment(number: int, now: dt.datetime) -> Json:
    """Every fifth leaves the wallet, and its change comes back as the first output."""
    leaves = number % 5 == 4
    value = 150_000 + number * 1_000
    own, stranger = {"scriptpubkey_address": BTC_ADDRESS}, {"scriptpubkey_address": _STRANGER}
    vout = [{**own, "value": value // 2 if leaves else value}, {**stranger, "value": value // 2 - 400 if leaves else 9}]
    confirmed = number < 31
    status: Json = {"confirmed": False}
    if confirmed:
        at = now - dt.timedelta(days=300 - 9 * number)
        status = {"confirmed": True, "block_height": 870_000 + number * 1_300, "block_time": int(at.timestamp())}
    return {
        "txid": f"{0xB17C0140 + number:064x}",
        "version": 2,
        "fee": 400,
        "vin": [{"prevout": {**(own if leaves else stranger), "value": value}}],
        "vout": vout,
        "status": status,
    }


def _chain(now: dt.datetime) -> Chain:
    def transfer(number: int, sender: str, to: str, milliether: int) -> Json:
        return {
            "hash": f"0x{0xE7400000 + number:064x}",
            "from": sender.lower(),
            "to": to.lower(),
            "value": hex(milliether * 10**15),
            "gas": "0xf4240",
            "gasPrice": "0x3b9aca00",
            "input": "0x",
        }

    blocks = {
        _HEAD - 90: [transfer(1, _ETH_STRANGER, ETH_ADDRESS, 1200)],
        _HEAD - 71: [transfer(2, ETH_ADDRESS, _ETH_STRANGER, 350), transfer(3, _ETH_STRANGER, _ETH_STRANGER, 5)],
        _HEAD - 40: [transfer(4, ETH_ADDRESS, _ETH_STRANGER, 9000)],
        _HEAD - 22: [transfer(5, _ETH_STRANGER, ETH_ADDRESS, 75)],
    }
    return Chain(
        head=_HEAD,
        blocks=blocks,
        balances={ETH_ADDRESS.lower(): 925 * 10**15},
        failed={f"0x{0xE7400000 + 4:064x}"},
        first_time=int(now.timestamp()) - _HEAD * 12,
    )
