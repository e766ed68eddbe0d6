"""Makes up a household's bank statements, with the categories that a person would give: no two lines need be alike.

The same seed gives the same lines. What is measured on them is domain.py's.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

FIRST_DAY: Final = dt.date(2025, 1, 1)
DAYS: Final = 540
"""Eighteen months."""

# fmt: off
PLACES: Final = (
    "COYOACAN", "TLALPAN", "MIXCOAC", "ROMA", "NAPOLES", "NARVARTE", "POLANCO", "CONDESA", "COPILCO",
    "PERISUR", "TOLUCA", "PUEBLA", "QUERETARO", "SATELITE", "LINDAVISTA", "XOCHIMILCO", "TAXQUENA",
    "PORTALES", "SANTAFE", "INTERLOMAS",
)
PEOPLE: Final = (
    "ANA", "LUIS", "EVA", "JORGE", "LUZ", "PEDRO", "ROSA", "HUGO", "INES", "RAUL", "SARA", "OMAR", "NORA",
    "IVAN", "ELSA",
)
SURNAMES: Final = (
    "TORRES", "MENDEZ", "RAMOS", "LOPEZ", "CRUZ", "VEGA", "SOTO", "LUNA", "RIOS", "MORA", "PENA", "SALAS",
    "IBARRA",
)
# fmt: on


class Shop(msgspec.Struct, frozen=True):
    """One merchant: how often it comes, and which categories a person gives it, with their shares."""

    text: str
    share: float
    categories: tuple[tuple[str, float], ...]
    amount: tuple[int, int]


class Line(msgspec.Struct, frozen=True):
    """One line of a statement; `truth` is its category."""

    day: dt.date
    description: str
    merchant: str | None
    amount: Decimal
    truth: str


def _always(category: str) -> tuple[tuple[str, float], ...]:
    return ((category, 1.0),)


SHOPS: Final = (
    Shop("OXXO {place} {n} CDMX", 14, (("tienda", 0.97), ("telefono", 0.03)), (20, 300)),
    Shop("UBER TRIP HELP.UBER.COM {code}", 8, _always("transporte"), (50, 300)),
    Shop("UBER EATS PENDING {code}", 5, _always("domicilio"), (120, 600)),
    Shop("RAPPI MEXICO {code}", 4, (("domicilio", 0.85), ("despensa", 0.15)), (100, 900)),
    Shop("WALMART SUPERCENTER {place}", 5, (("despensa", 0.9), ("hogar", 0.1)), (200, 3000)),
    Shop("SORIANA HIPER {place} {n}", 4, _always("despensa"), (200, 2500)),
    Shop("CHEDRAUI SELECTO {place}", 3, _always("despensa"), (200, 2500)),
    Shop("PEMEX ES {n} {place}", 4, _always("gasolina"), (400, 1200)),
    Shop("GASOLINERA LA NORIA {place}", 2, _always("gasolina"), (400, 1200)),
    Shop("FARMACIAS DEL AHORRO SUC {n}", 3, _always("salud"), (60, 900)),
    Shop("FARMACIA SAN PABLO {place}", 2, _always("salud"), (60, 900)),
    Shop(
        "AMAZON MX MARKETPLACE {code}",
        5,
        (("hogar", 0.4), ("ropa", 0.2), ("libros", 0.2), ("regalos", 0.2)),
        (90, 4000),
    ),
    Shop("MERCADO LIBRE MX {n} PRODUCTOS", 4, (("hogar", 0.5), ("ropa", 0.3), ("regalos", 0.2)), (90, 3000)),
    Shop("LIVERPOOL {place} MODA", 2, (("ropa", 0.7), ("regalos", 0.2), ("hogar", 0.1)), (300, 5000)),
    Shop("NETFLIX.COM CDMX MX", 1, _always("suscripciones"), (219, 219)),
    Shop("SPOTIFY P{code} STOCKHOLM SE", 1, _always("suscripciones"), (129, 129)),
    Shop("CFE SUMINISTRADOR SERV BASICOS {n}", 1, _always("servicios"), (250, 900)),
    Shop("TELMEX RECIBO {n}", 1, _always("telefono"), (399, 599)),
    Shop("TELCEL RECARGA {n}", 2, _always("telefono"), (50, 200)),
    Shop("RETIRO CAJERO AUTOMATICO SUC {n}", 4, _always("efectivo"), (500, 4000)),
    Shop("SPEI ENVIADO {person} {surname} RENTA", 1, _always("vivienda"), (9800, 9800)),
    Shop(
        "SPEI ENVIADO {person} {surname}",
        6,
        (("personas", 0.5), ("comida", 0.2), ("clases", 0.2), ("regalos", 0.1)),
        (50, 3000),
    ),
    Shop("CAFE EL JAROCHO {place}", 3, _always("comida"), (40, 200)),
    Shop("STARBUCKS {place} {n}", 3, _always("comida"), (60, 250)),
    Shop("TACOS EL GUERO {place}", 3, _always("comida"), (60, 400)),
    Shop("CINEPOLIS {place} TAQUILLA", 1, _always("ocio"), (80, 600)),
    Shop("SMART FIT {place} MENSUALIDAD", 1, _always("ocio"), (499, 499)),
    Shop("ESTACIONAMIENTO {place}", 2, _always("transporte"), (20, 120)),
)
_KINDS: Final = ("comida", "hogar", "salud", "ropa", "ocio", "regalos")


def statement(seed: int, lines: int, *, wrong: float = 0.02, rare: float = 0.10) -> Iterator[tuple[Line, str]]:
    """Give lines in order of day, each with the category that was noted: the truth, but for a share `wrong`, since
    people slip. A share `rare` comes from shops that are seen a few times or once, with any category."""
    chance = random.Random(seed)
    names = sorted({category for shop in SHOPS for category, _ in shop.categories})
    corner = [(f"{kind} {chance.choice(SURNAMES)} {chance.choice(PLACES)}", chance.choice(_KINDS)) for kind in _CORNERS]
    days = sorted(chance.randrange(DAYS) for _ in range(lines))
    for day in days:
        if chance.random() < rare:
            text, truth = chance.choice(corner)
            amount = chance.randint(30, 900)
        else:
            shop = chance.choices(SHOPS, [shop.share for shop in SHOPS])[0]
            text = _fill(shop.text, chance)
            kinds, shares = zip(*shop.categories, strict=True)
            truth = chance.choices(kinds, shares)[0]
            amount = chance.randint(*shop.amount)
        noted = chance.choice(names) if chance.random() < wrong else truth
        when = FIRST_DAY + dt.timedelta(days=day)
        yield Line(when, text, None, -Decimal(amount), truth), noted


_CORNERS: Final = tuple(
    f"{kind} {word}"
    for kind in ("ABARROTES", "FONDA", "PAPELERIA", "ESTETICA", "FERRETERIA", "CLINICA", "BAZAR", "JUGUETERIA")
    for word in ("LUPITA", "EL SOL", "LA LUNA", "SAN JUAN", "DEL CENTRO", "LA ESPERANZA", "DON PEPE", "REGINA")
)


def _fill(text: str, chance: random.Random) -> str:
    return text.format(
        place=chance.choice(PLACES),
        n=chance.randint(100, 9999),
        code=f"{chance.getrandbits(24):06X}",
        person=chance.choice(PEOPLE),
        surname=chance.choice(SURNAMES),
    )
